package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"

	"github.com/edgews/edgews"
)

// length is how many scores the scoreboard keeps.
const length = 10

// result is the score of a player.
type result struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Score int    `json:"score"`
}

// scoreboard is an object with the best scores of all sessions. The sessions call it; it calls none of them.
type scoreboard struct {
	st    *edgews.State
	calls edgews.Mux
	best  []result // the same as in storage, the best first
}

func newScoreboard(ctx context.Context, st *edgews.State) (edgews.Object, error) {
	b := &scoreboard{st: st, best: []result{}}
	edgews.HandleCall(&b.calls, "report", b.report)
	edgews.HandleCall(&b.calls, "best", func(context.Context, *edgews.Socket, any) ([]result, error) { return b.best, nil })
	data, err := st.Storage().Get(ctx, "best")
	if errors.Is(err, edgews.ErrKeyNotFound) {
		return b, nil
	}
	if err != nil {
		return nil, err
	}
	return b, json.Unmarshal(data, &b.best)
}

func (b *scoreboard) Call(ctx context.Context, method string, req json.RawMessage) (any, error) {
	return b.calls.Call(ctx, method, req)
}

// ServeHTTP answers with the scores.
func (b *scoreboard) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(b.best)
}

// report takes a score into account, and returns the best.
func (b *scoreboard) report(ctx context.Context, _ *edgews.Socket, r result) ([]result, error) {
	best := slices.DeleteFunc(slices.Clone(b.best), func(old result) bool { return old.ID == r.ID })
	best = append(best, r)
	slices.SortStableFunc(best, func(a, b result) int { return b.Score - a.Score })
	best = best[:min(len(best), length)]
	data, err := json.Marshal(best)
	if err != nil {
		return nil, err
	}
	if err := b.st.Storage().Put(ctx, "best", data); err != nil {
		return nil, err
	}
	b.best = best
	return best, nil
}
