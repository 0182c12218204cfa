package edgews_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func auto(request, response string) edgews.AutoResponse {
	return edgews.AutoResponse{Request: request, Response: response}
}

func TestAutoResponse(t *testing.T) {
	inRooms(t, nil, func(t *testing.T, n *rooms, id edgews.ID) {
		client, server, events := n.joins(id)
		st := n.wake(id)
		require.NoError(t, st.SetAutoResponse(auto("ping", "pong"), auto("", "empty")))
		_, ok := st.AutoResponseTimestamp(server)
		assert.False(t, ok)
		time.Sleep(time.Minute)
		n.wantsState(id, edgews.ObjectHibernated)
		for range 20 {
			time.Sleep(time.Second)
			client.Send("ping")
			events.wants(message("pong"))
		}
		client.Send("")
		events.wants(message("empty"))
		client.SendBytes([]byte("ping"))
		n.wants(bytesMessage("ping"))
		events.wants(message("echo ping"))
		assert.EqualValues(t, 2, n.made.Load(), "only what is not text, or not equal, wakes")
		st = n.wake(id)
		at, ok := st.AutoResponseTimestamp(server)
		assert.True(t, ok)
		assert.True(t, time.Now().Equal(at))
		assert.Equal(t, []edgews.AutoResponse{auto("ping", "pong"), auto("", "empty")}, st.AutoResponses())

		require.ErrorIs(t, st.SetAutoResponse(auto(strings.Repeat("x", 2049), "")), edgews.ErrAutoResponseTooBig)
		require.ErrorIs(t, st.SetAutoResponse(auto("", strings.Repeat("x", 2049))), edgews.ErrAutoResponseTooBig)
		require.ErrorIs(t, st.SetAutoResponse(auto("", "\xff")), edgews.ErrInvalidUTF8)
		assert.Len(t, st.AutoResponses(), 2)
		require.NoError(t, st.SetAutoResponse())
		assert.Empty(t, st.AutoResponses())
		client.Send("ping")
		n.wants(message("ping"))
		again, _ := st.AutoResponseTimestamp(server)
		assert.Equal(t, at, again)
	})
}

// The answer waits neither for the event that is running nor for messages before it, and does not postpone hibernation.
func TestAutoResponseDoesNotWait(t *testing.T) {
	inRooms(t, nil, func(t *testing.T, n *rooms, id edgews.ID) {
		client, server, events := n.joins(id)
		st := n.wake(id)
		require.NoError(t, st.SetAutoResponse(auto("ping", "pong")))
		free := make(chan struct{})
		go st.Do(t.Context(), func() error { <-free; return nil })
		client.Send("waits")
		client.Send("ping")
		events.wants(message("pong"))
		close(free)
		events.wants(message("echo waits"))
		start := time.Now()
		for {
			time.Sleep(time.Second)
			client.Send("ping")
			events.wants(message("pong"))
			synctest.Wait() // hibernation may be due in this very moment
			if o, _ := n.info(id); o.State == edgews.ObjectHibernated {
				break
			}
		}
		assert.Equal(t, 10*time.Second, time.Since(start))
		server.Close(4001, "")
		client.Send("ping")
		synctest.Wait()
		n.wants(message("waits"), closed(4001, "", true))
		events.wantsEnd(closed(4001, "", true))
	})
}
