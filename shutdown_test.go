package edgews_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestShutdown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var n *rooms
		n = newRooms(t, nil, func(r *room) {
			r.message = func(_ context.Context, s *edgews.Socket, m edgews.Message) error {
				time.Sleep(3 * time.Second)
				n.notes("handled")
				return nil
			}
			r.close = func(_ context.Context, s *edgews.Socket, e edgews.CloseEvent) error {
				n.notes("%s", closed(int(e.Code), e.Reason, e.WasClean))
				return nil
			}
		})
		id := n.NewUniqueID()
		client, _, events := n.joins(id)
		client.Send("work")
		n.wake(id).WaitUntil(func(context.Context) { time.Sleep(20 * time.Second); n.notes("background") })
		time.Sleep(15 * time.Second)
		second := make(chan error, 1)
		go func() {
			time.Sleep(time.Second)
			upgrade := httptest.NewRequest(http.MethodGet, "/", nil)
			upgrade.Header.Set("Upgrade", "websocket")
			w := httptest.NewRecorder()
			n.Get(id).ServeHTTP(w, upgrade)
			assert.Equal(t, http.StatusServiceUnavailable, w.Code)
			assert.ErrorIs(t, n.wake(id).AcceptWebSocket(client), edgews.ErrAccepted)
			_, late := edgews.NewPair()
			assert.ErrorIs(t, n.wake(id).AcceptWebSocket(late), edgews.ErrShutdown)
			second <- n.Shutdown(context.Background())
		}()
		start := time.Now()
		require.NoError(t, n.Shutdown(t.Context()))
		assert.GreaterOrEqual(t, time.Since(start), 5*time.Second)
		require.NoError(t, <-second)
		n.wants("handled", closed(1012, "service restart", true), "background")
		events.wantsEnd(closed(1012, "service restart", true))
		assert.Equal(t, http.StatusServiceUnavailable, n.get(id).Code)
		assert.ErrorIs(t, n.state.Do(t.Context(), func() error { return nil }), edgews.ErrShutdown)
	})
}

// Not all at once: the sockets close over a second.
func TestShutdownSpreads(t *testing.T) {
	inRooms(t, nil, func(t *testing.T, n *rooms, id edgews.ID) {
		for range 100 {
			n.joins(id)
		}
		go n.Shutdown(t.Context())
		time.Sleep(500 * time.Millisecond)
		synctest.Wait()
		o, _ := n.info(id)
		assert.InDelta(t, 50, o.Sockets, 3)
		time.Sleep(time.Second)
		assert.Len(t, n.diary, 100)
	})
}

// What does not end in time is cut.
func TestShutdownCuts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := newRooms(t, nil, func(r *room) {
			r.message = func(ctx context.Context, s *edgews.Socket, m edgews.Message) error { <-ctx.Done(); return nil }
		})
		id := n.NewUniqueID()
		client, server, _ := n.joins(id)
		client.Send("stuck")
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		start := time.Now()
		assert.Equal(t, context.DeadlineExceeded, n.Shutdown(ctx))
		assert.Equal(t, 10*time.Second, time.Since(start))
		waitDone(t, server)
		waitDone(t, client)
	})
}

func TestShutdownOfNothing(t *testing.T) {
	n := edgews.NewNamespace("n", nil, nil)
	server := &http.Server{}
	server.RegisterOnShutdown(func() { n.Shutdown(context.Background()) })
	require.NoError(t, n.Shutdown(t.Context()))
	require.NoError(t, n.Shutdown(t.Context()))
	require.NoError(t, server.Shutdown(t.Context()))
}
