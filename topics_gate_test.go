package edgews_test

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// topicGate is a gateTest whose object publishes to "x", which its own socket and one of another object have subscribed to.
type topicGate struct {
	*gateTest
	other *subscriber
}

func overTopicGate(t *testing.T, opts edgews.Options, f func(t *testing.T, g *topicGate)) {
	bubble(t, func(t *testing.T) {
		client, server := edgews.NewPair()
		g := newGate(t, server, opts, nil)
		g.client, g.events = client, record(t, client)
		require.NoError(t, client.Accept())
		require.NoError(t, g.st.Subscribe("x", server))
		f(t, &topicGate{g, g.subscribed("other", "x")})
	})
}

// publishesIn publishes text with the context of an event or of a WaitUntil function of the object.
func (g *topicGate) publishesIn(where, text string) (done chan error) {
	done = make(chan error, 1)
	publish := func(ctx context.Context) { done <- g.Publish(ctx, "x", edgews.Prepare(edgews.Text, []byte(text))) }
	switch where {
	case "event":
		go func() {
			_ = g.Get(g.st.ID()).Do(context.Background(), func(ctx context.Context, _ edgews.Object) error {
				publish(ctx)
				return nil
			})
		}()
	case "WaitUntil":
		g.st.WaitUntil(publish)
	}
	synctest.Wait()
	return done
}

// What an object publishes waits for the commit that is under way.
func TestPublishWaitsForTheCommitOfItsObject(t *testing.T) {
	for _, where := range []string{"event", "WaitUntil"} {
		t.Run(where, func(t *testing.T) {
			overTopicGate(t, edgews.Options{}, func(t *testing.T, g *topicGate) {
				g.commits()
				done := g.publishesIn(where, "durable")
				assert.Empty(t, done)
				g.other.hears(t)
				g.receivesNothing()
				g.committed(nil)
				require.NoError(t, <-done)
				g.other.hears(t, "durable")
				g.events.wants(message("durable"))
				require.NoError(t, <-g.publishesIn(where, "no commit is under way"))
				g.other.hears(t, "no commit is under way")
			})
		})
	}
}

// If the commit fails, nothing is published.
func TestPublishFailsWithTheCommitOfItsObject(t *testing.T) {
	for where, want := range map[string]error{"event": edgews.ErrAborted, "WaitUntil": context.Canceled} {
		t.Run(where, func(t *testing.T) {
			overTopicGate(t, edgews.Options{}, func(t *testing.T, g *topicGate) {
				g.commits()
				done := g.publishesIn(where, "never")
				g.committed(io.ErrClosedPipe)
				assert.ErrorIs(t, <-done, want)
				g.other.hears(t)
				g.events.wantsEnd(closed(1011, "storage failed", true))
				require.NoError(t, <-g.publishesIn("event", "by the next value"))
				g.other.hears(t, "by the next value")
			})
		})
	}
}

// The same for another owner of the storage: the object has stopped.
func TestPublishOfAFencedObject(t *testing.T) {
	overTopicGate(t, edgews.Options{}, func(t *testing.T, g *topicGate) {
		g.commits()
		done := g.publishesIn("event", "never")
		g.committed(edgews.ErrFenced)
		assert.ErrorIs(t, <-done, edgews.ErrFenced)
		g.other.hears(t)
	})
}

// pausingHandler is a slog.Handler that waits when it gets a certain message.
type pausingHandler struct {
	slog.Handler
	at       string
	reached  chan struct{}
	goesOn   chan struct{}
	onlyOnce *sync.Once
}

func (h *pausingHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h *pausingHandler) Handle(_ context.Context, r slog.Record) error {
	if r.Message == h.at {
		h.onlyOnce.Do(func() {
			close(h.reached)
			<-h.goesOn
		})
	}
	return nil
}

// The same between the failure and the reset.
func TestPublishBetweenFailureAndReset(t *testing.T) {
	h := &pausingHandler{slog.DiscardHandler, "edgews: commit failed, object is reset", nil, nil, new(sync.Once)}
	overTopicGate(t, edgews.Options{Logger: slog.New(h)}, func(t *testing.T, g *topicGate) {
		h.reached, h.goesOn = make(chan struct{}), make(chan struct{})
		g.commits()
		g.ends <- io.ErrClosedPipe
		<-h.reached
		done := g.publishesIn("event", "never")
		assert.Empty(t, done)
		close(h.goesOn)
		require.ErrorIs(t, <-g.done, io.ErrClosedPipe)
		assert.ErrorIs(t, <-done, edgews.ErrAborted)
		g.other.hears(t)
	})
}

// The end of its context ends the wait.
func TestPublishGivesUpWaitingForACommit(t *testing.T) {
	overTopicGate(t, edgews.Options{}, func(t *testing.T, g *topicGate) {
		g.commits()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- g.Get(g.st.ID()).Do(ctx, func(ctx context.Context, _ edgews.Object) error {
				return g.Publish(ctx, "x", edgews.Prepare(edgews.Text, []byte("never")))
			})
		}()
		synctest.Wait()
		assert.Empty(t, done)
		cancel()
		assert.ErrorIs(t, <-done, context.Canceled)
		g.committed(nil)
		g.other.hears(t)
		g.receivesNothing()
	})
}

// Publish does not wait for commits of other objects. The sockets of such an object hold back what they get, as everything.
func TestPublishFromElsewhereDuringACommit(t *testing.T) {
	overTopicGate(t, edgews.Options{}, func(t *testing.T, g *topicGate) {
		g.commits()
		g.publishes("x", "no object")
		m := edgews.Prepare(edgews.Text, []byte("another object"))
		require.NoError(t, g.ByName("other").Do(t.Context(), func(ctx context.Context, _ edgews.Object) error { return g.Publish(ctx, "x", m) }))
		m = edgews.Prepare(edgews.Text, []byte("another object, called by this one"))
		require.NoError(t, g.Get(g.st.ID()).Do(t.Context(), func(ctx context.Context, _ edgews.Object) error {
			return g.ByName("third").Do(ctx, func(ctx context.Context, _ edgews.Object) error { return g.Publish(ctx, "x", m) })
		}))
		g.other.hears(t, "no object", "another object", "another object, called by this one")
		g.receivesNothing()
		g.committed(nil)
		g.events.wants(message("no object"), message("another object"), message("another object, called by this one"))
	})
}

// Publish waits for the commit that is under way when it is called, and not for those that follow.
func TestPublishWaitsForOneCommit(t *testing.T) {
	overTopicGate(t, edgews.Options{}, func(t *testing.T, g *topicGate) {
		g.commits()
		done := g.publishesIn("event", "after the first")
		go func() { g.done <- g.st.Storage().Put(context.Background(), "b", nil) }()
		g.ends <- nil
		<-g.begun
		require.NoError(t, <-g.done)
		require.NoError(t, <-done)
		g.other.hears(t, "after the first")
		g.committed(nil)
		g.events.wants(message("after the first"))
	})
}
