package main

import (
	"context"
	"net/http"

	"github.com/edgews/edgews"
)

// bot is the object of a program that speaks the protocol of the chat server. Nothing is filtered on the way, so Relay does the work: it
// forwards messages and ends in both directions, and makes the faster side wait for the slower one.
type bot struct {
	st     *edgews.State
	url    string // of the chat server
	client *http.Client
}

// newBots returns the namespace of the bots of the chat server at url.
func newBots(url string, client *http.Client) *edgews.Namespace {
	return edgews.NewNamespace("bots", func(_ context.Context, st *edgews.State) (edgews.Object, error) {
		return &bot{st, url, client}, nil
	}, nil)
}

// ServeHTTP connects to the chat server first, so that a bot learns from the status when that is away.
func (b *bot) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	upstream, _, err := edgews.Dial(r.Context(), b.url, &edgews.DialOptions{HTTPClient: b.client})
	if err != nil {
		http.Error(w, "the chat server is away", http.StatusBadGateway)
		return
	}
	s, err := edgews.Upgrade(w, r, nil)
	if err != nil { // answered already
		upstream.Accept()
		upstream.Close(edgews.StatusGoingAway, "")
		return
	}
	b.st.WaitUntil(func(ctx context.Context) { edgews.Relay(ctx, s, upstream) })
}
