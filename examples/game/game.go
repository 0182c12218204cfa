package main

import (
	"context"
	crypto "crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/edgews/edgews"
)

const (
	size = 12 // of the board, in fields per side
	gems = 8
)

// field is a place on the board.
type field struct {
	X int `json:"x"`
	Y int `json:"y"`
}

func anywhere() field { return field{rand.IntN(size), rand.IntN(size)} }

// player is the attachment of a socket, which is also sent to the others.
type player struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	field
	Score int `json:"score"`
}

// What a player may be told.
var (
	errNoStep = &edgews.CallError{Code: "no_step", Message: "a step leads to one of the four next fields of the board"}
	errName   = &edgews.CallError{Code: "bad_name", Message: "a name has 1 to 16 letters"}
)

// game is the object of a session.
type game struct {
	st     *edgews.State
	scores *edgews.Stub // the object with the best scores of all sessions
	mux    edgews.Mux
	gems   []field // the same as in storage
}

func newGame(ctx context.Context, st *edgews.State, scores *edgews.Stub) (edgews.Object, error) {
	g := &game{st: st, scores: scores}
	edgews.HandleCall(&g.mux, "move", g.move)
	edgews.HandleCall(&g.mux, "rename", g.rename)
	edgews.HandleCall(&g.mux, "best", g.best)
	edgews.Handle(&g.mux, "leave", g.leave)
	// The page uses it to check the connection. It does not wake the game.
	if err := st.SetAutoResponse(edgews.AutoResponse{Request: "ping", Response: "pong"}); err != nil {
		return nil, err
	}
	data, err := st.Storage().Get(ctx, "gems")
	if errors.Is(err, edgews.ErrKeyNotFound) {
		for range gems {
			g.gems = append(g.gems, anywhere())
		}
		return g, g.save(ctx)
	}
	if err != nil {
		return nil, err
	}
	return g, json.Unmarshal(data, &g.gems)
}

func (g *game) save(ctx context.Context) error {
	data, err := json.Marshal(g.gems)
	if err != nil {
		return err
	}
	return g.st.Storage().Put(ctx, "gems", data)
}

// ServeHTTP accepts a player.
func (g *game) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s, err := edgews.Upgrade(w, r, nil)
	if err != nil {
		return // answered already
	}
	if err := g.st.AcceptWebSocket(s); err != nil {
		s.Accept()
		s.Close(edgews.StatusTryAgainLater, err.Error())
		return
	}
	id := crypto.Text()
	p := player{ID: id, Name: "player " + id[:4], field: anywhere()}
	s.SetAttachment(p)
	edgews.SendJSON(s, map[string]any{"type": "welcome", "you": p.ID, "size": size, "gems": g.gems, "players": g.players()})
	g.broadcast("player", p)
}

// players returns the connected players.
func (g *game) players() (all []player) {
	for _, s := range g.st.WebSockets() {
		var p player
		if s.ReadyState() == edgews.Open && s.Attachment(&p) == nil {
			all = append(all, p)
		}
	}
	return all
}

// WebSocketMessage calls a method, according to the "type" of the message. It closes the connection on messages that are no requests of this
// game; requests that cannot be fulfilled are answered with an error.
func (g *game) WebSocketMessage(ctx context.Context, s *edgews.Socket, m edgews.Message) error {
	err := g.mux.Dispatch(ctx, s, m)
	if err != nil {
		s.Close(edgews.StatusUnsupportedData, "that did not work")
	}
	return err
}

func (g *game) WebSocketClose(_ context.Context, s *edgews.Socket, _ edgews.CloseEvent) error {
	var p player
	if err := s.Attachment(&p); err != nil {
		return err
	}
	g.broadcast("left", p)
	return nil
}

// move is a step in one of four directions. The reply is the score.
func (g *game) move(ctx context.Context, s *edgews.Socket, step struct{ DX, DY int }) (score int, err error) {
	var p player
	if err := s.Attachment(&p); err != nil {
		return 0, err
	}
	to := field{p.X + step.DX, p.Y + step.DY}
	if step.DX*step.DX+step.DY*step.DY != 1 || min(to.X, to.Y) < 0 || max(to.X, to.Y) >= size {
		return p.Score, errNoStep
	}
	p.field = to
	gem := slices.Index(g.gems, to)
	if gem >= 0 {
		p.Score++
		g.gems[gem] = anywhere()
		if err := g.save(ctx); err != nil {
			return 0, err
		}
		g.broadcast("gems", g.gems)
	}
	if err := s.SetAttachment(p); err != nil {
		return 0, err
	}
	g.broadcast("player", p)
	if gem >= 0 {
		g.report(ctx, p)
	}
	return p.Score, nil
}

// report tells the scoreboard of a score, and the players of what it has now. The game goes on without.
func (g *game) report(ctx context.Context, p player) {
	best, err := edgews.Call[result, []result](ctx, g.scores, "report", result{p.ID, p.Name, p.Score})
	if err != nil {
		slog.Warn("game: a score is not reported", "error", err)
		return
	}
	g.broadcast("best", best)
}

// rename gives a player another name.
func (g *game) rename(_ context.Context, s *edgews.Socket, req struct{ Name string }) (player, error) {
	var p player
	if err := s.Attachment(&p); err != nil {
		return p, err
	}
	p.Name = strings.TrimSpace(req.Name)
	if n := utf8.RuneCountInString(p.Name); n < 1 || n > 16 {
		return p, errName
	}
	if err := s.SetAttachment(p); err != nil {
		return p, err
	}
	g.broadcast("player", p)
	return p, nil
}

// best returns the best scores of all sessions.
func (g *game) best(ctx context.Context, _ *edgews.Socket, _ struct{}) ([]result, error) {
	return edgews.Call[any, []result](ctx, g.scores, "best", nil)
}

func (g *game) leave(_ context.Context, s *edgews.Socket, _ struct{}) error {
	return s.Close(edgews.StatusNormalClosure, "see you")
}

// broadcast sends a message to all players, for example {"type": "player", "player": {}}.
func (g *game) broadcast(what string, v any) {
	g.st.BroadcastJSON(map[string]any{"type": what, what: v})
}
