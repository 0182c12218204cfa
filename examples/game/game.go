package main

import (
	"context"
	crypto "crypto/rand"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/http"
	"slices"

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
	ID string `json:"id"`
	field
	Score int `json:"score"`
}

// game is the object of a session.
type game struct {
	st   *edgews.State
	mux  edgews.Mux
	gems []field // the same as in storage
}

func newGame(ctx context.Context, st *edgews.State) (edgews.Object, error) {
	g := &game{st: st}
	edgews.Handle(&g.mux, "move", g.move)
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
	p := player{ID: crypto.Text(), field: anywhere()}
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

// WebSocketMessage calls move or leave, according to the "type" of the message. It closes the connection on other messages.
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

// move is a step in one of four directions, if it does not lead off the board.
func (g *game) move(ctx context.Context, s *edgews.Socket, step struct{ DX, DY int }) error {
	var p player
	if err := s.Attachment(&p); err != nil {
		return err
	}
	to := field{p.X + step.DX, p.Y + step.DY}
	if step.DX*step.DX+step.DY*step.DY != 1 || min(to.X, to.Y) < 0 || max(to.X, to.Y) >= size {
		return nil
	}
	p.field = to
	if i := slices.Index(g.gems, to); i >= 0 {
		p.Score++
		g.gems[i] = anywhere()
		if err := g.save(ctx); err != nil {
			return err
		}
		g.broadcast("gems", g.gems)
	}
	if err := s.SetAttachment(p); err != nil {
		return err
	}
	g.broadcast("player", p)
	return nil
}

func (g *game) leave(_ context.Context, s *edgews.Socket, _ struct{}) error {
	return s.Close(edgews.StatusNormalClosure, "see you")
}

// broadcast sends a message to all players, for example {"type": "player", "player": {}}.
func (g *game) broadcast(what string, v any) {
	data, _ := json.Marshal(map[string]any{"type": what, what: v})
	g.st.Broadcast(edgews.Prepare(edgews.Text, data))
}
