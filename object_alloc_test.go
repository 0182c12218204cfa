package edgews_test

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
)

// handledRoom is an object whose messages a test handles.
type handledRoom func(context.Context, *edgews.Socket, edgews.Message) error

func (handledRoom) ServeHTTP(http.ResponseWriter, *http.Request) {}

func (handle handledRoom) WebSocketMessage(ctx context.Context, s *edgews.Socket, m edgews.Message) error {
	return handle(ctx, s, m)
}

// TestObjectEventsAllocateNothing: 32 events share one allocation, for their contexts.
func TestObjectEventsAllocateNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	echo := func(ctx context.Context, s *edgews.Socket, m edgews.Message) error {
		return s.Write(ctx, m.Kind, m.Data)
	}
	var told atomic.Int64
	for _, c := range []struct {
		name   string
		opts   edgews.NamespaceOptions
		handle handledRoom
	}{
		{"Write", edgews.NamespaceOptions{}, echo},
		{"SendBytes", edgews.NamespaceOptions{}, func(_ context.Context, s *edgews.Socket, m edgews.Message) error { return s.SendBytes(m.Data) }},
		{"Write with a meter", edgews.NamespaceOptions{Options: edgews.Options{Meter: edgews.NewMeter(nil)}}, echo},
		{"Write with an observer", edgews.NamespaceOptions{Options: edgews.Options{
			Observer: observerFunc(func(edgews.MessageObservation) { told.Add(1) }),
		}}, echo},
	} {
		t.Run(c.name, func(t *testing.T) {
			states := make(chan *edgews.State, 1)
			n := edgews.NewNamespace("rooms", func(_ context.Context, st *edgews.State) (edgews.Object, error) {
				states <- st
				return c.handle, nil
			}, &c.opts)
			s, p := overTCP.serverAndPeer(t, c.opts.Options)
			acceptIn(t, n, n.NewUniqueID(), states, s)
			message := binaryOf(strings.Repeat("x", 128))
			answersWithoutAllocating(t, p, p.encode(message), message)
		})
	}
	assert.Greater(t, told.Load(), int64(2000))
}
