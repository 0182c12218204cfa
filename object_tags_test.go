package edgews_test

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

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

func TestAttachments(t *testing.T) {
	_, s := edgews.NewPair()
	var into []byte
	require.ErrorIs(t, s.Attachment(&into), edgews.ErrNoAttachment)

	raw := []byte("raw")
	require.NoError(t, s.SetAttachment(raw))
	raw[0] = 'R'
	require.NoError(t, s.Attachment(&into))
	assert.Equal(t, "raw", string(into))
	into[0] = 'X'
	require.NoError(t, s.Attachment(&into))
	assert.Equal(t, "raw", string(into), "a copy each time")
	assert.Error(t, s.Attachment(new(int)))

	addr, got := netip.MustParseAddr("10.1.2.3"), netip.Addr{}
	require.NoError(t, s.SetAttachment(addr))
	require.NoError(t, s.Attachment(&got))
	assert.Equal(t, addr, got)

	type user struct{ Name string }
	require.NoError(t, s.SetAttachment(user{"ann"}))
	var u user
	require.NoError(t, s.Attachment(&u))
	assert.Equal(t, user{"ann"}, u)
	assert.Error(t, s.Attachment(new(int)))
	assert.Error(t, s.Attachment(nil))

	require.Error(t, s.SetAttachment(func() {}))
	require.NoError(t, s.SetAttachment(make([]byte, 16384)))
	err := s.SetAttachment(make([]byte, 16385))
	require.ErrorIs(t, err, edgews.ErrAttachmentTooBig)
	assert.ErrorContains(t, err, "16385")
	require.NoError(t, s.Attachment(&into))
	assert.Len(t, into, 16384, "the old one stays")
	require.NoError(t, s.SetAttachment(json.RawMessage(`{"name":"bob"}`)))
	require.NoError(t, s.Attachment(&u))
	assert.Equal(t, user{"bob"}, u)
	require.NoError(t, s.SetAttachment(nil))
	require.ErrorIs(t, s.Attachment(&into), edgews.ErrNoAttachment)
}

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

func TestIDs(t *testing.T) {
	n, other := newRooms(t, nil, nil), edgews.NewNamespace("other", noObject, nil)
	a := n.IDFromName("a")
	assert.Equal(t, a, n.IDFromName("a"))
	assert.NotEqual(t, a, n.IDFromName("b"))
	assert.NotEqual(t, a, other.IDFromName("a"))
	unique := n.NewUniqueID()
	assert.NotEqual(t, unique, n.NewUniqueID())
	for _, id := range []edgews.ID{a, unique, n.IDFromName("")} {
		assert.Regexp(t, "^[0-9a-f]{64}$", id.String())
		back, err := n.ParseID(id.String())
		require.NoError(t, err)
		assert.Equal(t, id, back)
		_, err = n.ParseID(strings.ToUpper(id.String()))
		assert.ErrorIs(t, err, edgews.ErrInvalidID)
		_, err = other.ParseID(id.String())
		assert.ErrorIs(t, err, edgews.ErrInvalidID)
		assert.Equal(t, id, n.Get(id).ID())
	}
	for _, bad := range []string{"", "a", strings.Repeat("g", 64), a.String()[1:], a.String() + "0", edgews.ID{}.String()} {
		_, err := n.ParseID(bad)
		assert.ErrorIs(t, err, edgews.ErrInvalidID, "%q", bad)
	}
}
