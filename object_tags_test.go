package edgews_test

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTags(t *testing.T) {
	inRooms(t, nil, func(t *testing.T, n *rooms, id edgews.ID) {
		_, a, _ := n.joins(id, "red", "", "red", "x")
		_, b, _ := n.joins(id, "red")
		_, c, _ := n.joins(id)
		st := n.wake(id)
		look := func(tags ...string) []*edgews.Socket { return st.WebSockets(tags...) }
		assert.Equal(t, []*edgews.Socket{a, b, c}, look())
		assert.Equal(t, []*edgews.Socket{a, b}, look("red"))
		assert.Equal(t, []*edgews.Socket{a}, look("red", ""))
		assert.Empty(t, look("blue"))
		assert.Empty(t, look("red", "blue"))
		tags, err := st.Tags(a)
		require.NoError(t, err)
		assert.Equal(t, []string{"red", "", "x"}, tags)

		require.NoError(t, st.SetTags(c, "red", "late"))
		require.NoError(t, st.SetTags(a, "x"))
		assert.Equal(t, []*edgews.Socket{b, c}, look("red"))
		require.NoError(t, st.SetTags(a, "red"))
		assert.Equal(t, []*edgews.Socket{a, b, c}, look("red"), "oldest first, whenever it was tagged")
		assert.Empty(t, look("x"))
		require.ErrorIs(t, st.SetTags(a, strings.Repeat("x", 257)), edgews.ErrTagTooLong)
		require.ErrorIs(t, st.SetTags(a, strings.Split("0123456789x", "")...), edgews.ErrTooManyTags)
		assert.Equal(t, []*edgews.Socket{a, b, c}, look("red"), "an error changes nothing")
		require.NoError(t, st.SetTags(a, strings.Split("01234567899", "")...), "repetitions do not count")

		_, err = st.Tags(nil)
		assert.ErrorIs(t, err, edgews.ErrNotOwned)
		stranger, _ := edgews.NewPair()
		assert.ErrorIs(t, st.SetTags(stranger), edgews.ErrNotOwned)
		_, err = n.wake(n.NewUniqueID()).Tags(a)
		assert.ErrorIs(t, err, edgews.ErrNotOwned, "another object's")
	})
}

func TestTagsEndWithTheSocket(t *testing.T) {
	inRooms(t, nil, func(t *testing.T, n *rooms, id edgews.ID) {
		client, server, _ := n.joins(id, "red")
		st := n.wake(id)
		client.Close(1000, "")
		waitDone(t, server)
		assert.Empty(t, st.WebSockets("red"))
		_, err := st.Tags(server)
		assert.ErrorIs(t, err, edgews.ErrNotOwned)
		assert.ErrorIs(t, st.SetTags(server, "blue"), edgews.ErrNotOwned)
		assert.Empty(t, st.WebSockets("blue"))
	})
}

func TestBroadcastJSON(t *testing.T) {
	inRooms(t, nil, func(t *testing.T, n *rooms, id edgews.ID) {
		_, _, ann := n.joins(id, "all", "ann")
		_, _, bob := n.joins(id, "all")
		took, err := n.state.BroadcastJSON(map[string]int{"n": 1})
		assert.NoError(t, err)
		assert.Equal(t, 2, took)
		took, err = n.state.BroadcastJSON("hi", "all", "ann")
		assert.NoError(t, err)
		assert.Equal(t, 1, took)
		took, err = n.state.BroadcastJSON(make(chan int))
		assert.ErrorContains(t, err, "edgews: message cannot be encoded: json: unsupported type")
		assert.Zero(t, took)
		_, err = n.state.BroadcastJSON(json.RawMessage("\"\xff\""))
		assert.ErrorIs(t, err, edgews.ErrInvalidUTF8)
		ann.wants(message(`{"n":1}`), message(`"hi"`))
		bob.wants(message(`{"n":1}`))
		require.NoError(t, n.Shutdown(t.Context()))
		took, err = n.state.BroadcastJSON(1)
		assert.NoError(t, err)
		assert.Zero(t, took, "no value, no sockets")
	})
}

func TestBroadcast(t *testing.T) {
	inRooms(t, nil, func(t *testing.T, n *rooms, id edgews.ID) {
		var events []*recorder
		for range 3 {
			_, _, e := n.joins(id, "all")
			events = append(events, e)
		}
		st := n.wake(id)
		m := edgews.Prepare(edgews.Text, []byte("news"))
		assert.Equal(t, 3, st.Broadcast(m))
		st.WebSockets()[1].Close(1000, "")
		assert.Equal(t, 2, st.Broadcast(m, "all"))
		assert.Equal(t, 0, st.Broadcast(m, "none"))
		assert.Equal(t, 0, st.Broadcast(nil))
		assert.Equal(t, 0, st.Broadcast(edgews.Prepare(edgews.Text, []byte("\xff"))))
		events[0].wants(message("news"), message("news"))
		events[1].wantsEnd(message("news"), closed(1000, "", true))
		events[2].wants(message("news"), message("news"))
	})
}

func TestBroadcastWaitsForNobody(t *testing.T) {
	inRooms(t, nil, func(t *testing.T, n *rooms, id edgews.ID) {
		_, _, events := n.joins(id)
		st := n.wake(id)
		require.NoError(t, st.AcceptWebSocket(pairEnd()), "its other end is never accepted")
		text := strings.Repeat("x", 600<<10)
		m := edgews.Prepare(edgews.Text, []byte(text))
		assert.Equal(t, 2, st.Broadcast(m))
		synctest.Wait()
		assert.Equal(t, 1, st.Broadcast(m), "there is no room for two")
		events.wants(message(text), message(text))
	})
}
