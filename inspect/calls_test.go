package inspect_test

import (
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/edgewstest"
	"github.com/edgews/edgews/inspect"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestCalls makes each call that only reads.
func TestCalls(t *testing.T) {
	i := inspect.New(&inspect.Options{Meter: edgews.NewMeter(nil), Authorize: anyone})
	n := edgews.NewNamespace("rooms", newRoom, &edgews.NamespaceOptions{Options: edgews.Options{Observer: i}})
	defer n.Shutdown(t.Context())
	i.AddNamespaces(n)
	id := n.IDFromName("lobby")
	require.NoError(t, n.Get(id).Do(t.Context(), put("k", `{"a":1}`)))
	c := dial(t, i)
	client, server := edgews.NewPair()
	defer client.Close(edgews.StatusNormalClosure, "")
	require.NoError(t, server.Accept())
	i.ObserveSocket(edgews.SocketObservation{Socket: server, Event: edgews.SocketOpened})
	i.ObserveMessage(edgews.MessageObservation{Socket: server, Direction: edgews.Inbound, Bytes: 10, WireBytes: 12, Latency: time.Millisecond})
	i.ObserveRefusal(edgews.RefusalObservation{Status: 403, Cause: edgews.RefusedOrigin, Err: edgews.ErrClosed})

	hello := call[inspect.Hello](t, c, inspect.CallHello, nil)
	assert.Equal(t, []string{"rooms"}, hello.Namespaces)
	o := call[inspect.Overview](t, c, inspect.CallOverview, nil)
	assert.Equal(t, 1, o.Sockets.Open)
	assert.Equal(t, int64(12), o.Messages.WireIn)
	assert.InEpsilon(t, 1, o.Latency.P50, 0.13)
	assert.Equal(t, []inspect.NameCount{{Name: "origin", Count: 1}}, o.Refusals)
	assert.Len(t, call[inspect.History](t, c, inspect.CallHistory, inspect.HistoryQuery{Step: 1000}).Series, len(inspect.SeriesNames))
	sockets := call[inspect.SocketList](t, c, inspect.CallSockets, inspect.SocketsQuery{Sort: "queue", Desc: true})
	require.Len(t, sockets.Sockets, 1)
	assert.Equal(t, server.ID(), sockets.Sockets[0].Socket)
	assert.Equal(t, int64(1), call[inspect.SocketDetail](t, c, inspect.CallSocket, inspect.SocketQuery{Socket: server.ID()}).In)
	object := inspect.ObjectQuery{Namespace: "rooms", Name: "lobby"}
	assert.Equal(t, "absent", call[inspect.ObjectDetail](t, c, inspect.CallObject, inspect.ObjectQuery{Namespace: "rooms", Name: "kitchen"}).State)
	list := call[inspect.StorageList](t, c, inspect.CallStorage, inspect.StorageQuery{ObjectQuery: object})
	require.Len(t, list.Entries, 1)
	assert.Equal(t, inspect.Value{Size: 7, As: "json", Text: `{"a":1}`}, list.Entries[0].Value)
	value := inspect.ValueQuery{ObjectQuery: object, Cursor: list.Entries[0].Cursor, As: "hex", Offset: 1}
	assert.Equal(t, "2261223a317d", call[inspect.Value](t, c, inspect.CallValue, value).Text)
	objects := call[inspect.ObjectList](t, c, inspect.CallObjects, inspect.ObjectsQuery{Sort: "cost", Search: "LOB"})
	require.Len(t, objects.Objects, 1)
	assert.Equal(t, id.String(), objects.Objects[0].Object)
	assert.Empty(t, call[inspect.AlarmList](t, c, inspect.CallAlarms, inspect.AlarmsQuery{}).Alarms)
	assert.Len(t, call[inspect.BillReport](t, c, inspect.CallBill, inspect.BillQuery{}).Plans, 1)
	assert.Equal(t, "refusal", call[inspect.LogList](t, c, inspect.CallLog, inspect.LogQuery{}).Entries[0].Kind)

	for _, action := range []string{inspect.CallClose, inspect.CallSend, inspect.CallHibernate, inspect.CallRunAlarm} {
		_, err := c.request(t, action, nil)
		require.ErrorIs(t, err, &edgews.CallError{Code: inspect.CodeForbidden}, action)
	}
	_, err := c.request(t, inspect.CallSocket, inspect.SocketQuery{Socket: 1 << 40})
	require.ErrorIs(t, err, &edgews.CallError{Code: inspect.CodeNotFound})
}

func TestActions(t *testing.T) {
	i := inspect.New(&inspect.Options{AllowActions: true, Authorize: anyone, Logger: quiet})
	n := edgews.NewNamespace("rooms", newRoom, &edgews.NamespaceOptions{Options: edgews.Options{Observer: i}})
	defer n.Shutdown(t.Context())
	i.AddNamespaces(n)
	c := dial(t, i)
	client, server := edgews.NewPair()
	require.NoError(t, server.Accept())
	i.ObserveSocket(edgews.SocketObservation{Socket: server, Event: edgews.SocketOpened})
	rec := edgewstest.Record(t, client)
	require.NoError(t, client.Accept())
	call[inspect.Done](t, c, inspect.CallSend, inspect.SendRequest{Socket: server.ID(), Text: "hi"})
	rec.Want(`text "hi"`)
	call[inspect.Done](t, c, inspect.CallClose, inspect.CloseRequest{Socket: server.ID(), Code: 4000, Reason: "bye"})
	rec.WantEnd(edgewstest.CloseLine(4000, "bye", true))
	_, err := c.request(t, inspect.CallRunAlarm, inspect.ObjectQuery{Namespace: "rooms", Name: "lobby"})
	require.ErrorIs(t, err, &edgews.CallError{Code: inspect.CodeFailed})
	require.NoError(t, n.ByName("lobby").Do(t.Context(), put("k", "v")))
	call[inspect.Done](t, c, inspect.CallHibernate, inspect.ObjectQuery{Namespace: "rooms", Name: "lobby"})
	log := call[inspect.LogList](t, c, inspect.CallLog, inspect.LogQuery{Kinds: []string{"action"}})
	assert.Len(t, log.Entries, 4)
}

func TestWatch(t *testing.T) {
	i := inspect.New(&inspect.Options{Authorize: anyone})
	c := dial(t, i)
	call[inspect.Done](t, c, inspect.CallWatch, inspect.WatchRequest{Watch: "all", Call: inspect.CallOverview, Every: 250})
	for range 2 {
		u := <-c.updates
		assert.Equal(t, "all", u.Watch)
		assert.Contains(t, string(u.Result), `"sockets"`)
	}
	call[inspect.Done](t, c, inspect.CallWatch, inspect.WatchRequest{Watch: "all", Call: inspect.CallSocket, Params: []byte(`{"socket":9999999}`)})
	for u := range c.updates {
		if u.Error != nil {
			assert.Equal(t, inspect.CodeNotFound, u.Error.Code)
			break
		}
	}
	call[inspect.Done](t, c, inspect.CallUnwatch, inspect.UnwatchRequest{Watch: "all"})
	_, err := c.request(t, inspect.CallWatch, inspect.WatchRequest{Watch: "x", Call: inspect.CallClose})
	require.ErrorIs(t, err, edgews.ErrBadMessage)
}

func TestRedact(t *testing.T) {
	mask := func(_ string, _ edgews.ID, key string, value []byte) []byte {
		if key == "panic" {
			panic("of Redact")
		}
		return []byte("***")
	}
	i := inspect.New(&inspect.Options{Authorize: anyone, Redact: mask, Logger: quiet})
	n := edgews.NewNamespace("rooms", newRoom, nil)
	defer n.Shutdown(t.Context())
	i.AddNamespaces(n)
	require.NoError(t, n.ByName("lobby").Do(t.Context(), put("k", "secret")))
	require.NoError(t, n.ByName("lobby").Do(t.Context(), put("panic", "secret")))
	c := dial(t, i)
	list := call[inspect.StorageList](t, c, inspect.CallStorage, inspect.StorageQuery{ObjectQuery: inspect.ObjectQuery{Namespace: "rooms", Name: "lobby"}})
	require.Len(t, list.Entries, 2)
	assert.Equal(t, inspect.Value{Size: 6, As: "text", Text: "***", Redacted: true}, list.Entries[0].Value)
	assert.Equal(t, inspect.Value{Size: 6, As: "text", Redacted: true}, list.Entries[1].Value)
}
