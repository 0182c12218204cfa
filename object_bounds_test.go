package edgews_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestObjectSocketLimit(t *testing.T) {
	const most = 32768
	n, states := echoRooms(t)
	acceptIn(t, n, n.NewUniqueID(), states, pairEnd())
	n.Get(n.NewUniqueID()).ServeHTTP(nil, httpRequest)
	st := <-states
	st.WaitUntil(func(ctx context.Context) { <-ctx.Done() }) // or it may hibernate on a slow machine
	var last *edgews.Socket
	for range most {
		last = pairEnd()
		require.NoError(t, st.AcceptWebSocket(last, "all"))
	}
	assert.ErrorIs(t, st.AcceptWebSocket(pairEnd()), edgews.ErrTooManySockets)
	assert.Len(t, st.WebSockets("all"), most)
	assert.Equal(t, most, st.Broadcast(edgews.Prepare(edgews.Text, []byte("hello"))))
	st.Abort(nil)
	waitDone(t, last)
}

// pairEnd returns an end of a pair. Its other end is unreachable.
func pairEnd() *edgews.Socket {
	_, s := edgews.NewPair()
	return s
}

// Many sockets with messages are served one event each: one that never stops does not keep the others waiting.
func TestObjectIsFair(t *testing.T) {
	inRooms(t, nil, func(t *testing.T, n *rooms, id edgews.ID) {
		greedy, _, _ := n.joins(id)
		modest, _, _ := n.joins(id)
		st := n.wake(id)
		free := make(chan struct{})
		go st.Do(t.Context(), func() error { <-free; return nil })
		synctest.Wait()
		for range 1000 {
			require.NoError(t, greedy.Send("more"))
		}
		require.NoError(t, modest.Send("please"))
		require.NoError(t, modest.Send("thanks"))
		close(free)
		n.wants(message("more"), message("please"), message("more"), message("thanks"), message("more"))
	})
}

// An event costs two allocations: its context, and the goroutine that runs it, if none does already.
func TestEventAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	n, states := echoRooms(t)
	client, server := overTCP.connect(t, edgews.Options{})
	acceptIn(t, n, n.NewUniqueID(), states, server)
	ctx, p := context.Background(), make([]byte, 64)
	perEvent := mallocs(1000, func() {
		require.NoError(t, client.Write(ctx, edgews.Binary, p))
		_, err := client.Receive(ctx)
		require.NoError(t, err)
	})
	assert.Less(t, perEvent, 2.5)
}
