package inspect_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/edgewstest"
	"github.com/edgews/edgews/inspect"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// talker is an object that takes 100 ms for a message, and 1 s for the alarm that the message sets 5 s ahead.
type talker struct{ st *edgews.State }

func newTalker(_ context.Context, st *edgews.State) (edgews.Object, error) { return &talker{st}, nil }

func (o *talker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s, err := edgews.Upgrade(w, r, nil); err == nil {
		_ = o.st.AcceptWebSocket(s, r.URL.Query()["tag"]...)
	}
}

func (o *talker) WebSocketMessage(ctx context.Context, s *edgews.Socket, m edgews.Message) error {
	time.Sleep(100 * time.Millisecond)
	switch m.Text() {
	case "fail":
		return errors.New("as the message says")
	case "panic":
		panic("as the message says")
	}
	_ = s.Send("thanks")
	return o.st.Storage().SetAlarm(ctx, time.Now().Add(5*time.Second))
}

func (o *talker) Alarm(context.Context) error {
	time.Sleep(time.Second)
	return nil
}

// observed is an inspector in virtual time, and objects that it observes.
type observed struct {
	t         *testing.T
	inspector *inspect.Inspector
	rooms     *edgews.Namespace
	page      *client
}

func inBubble(t *testing.T, f func(t *testing.T, o *observed)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		meter := edgews.NewMeter(nil)
		i := inspect.New(&inspect.Options{Meter: meter, Authorize: anyone, Logger: quiet, AllowActions: true})
		rooms := edgews.NewNamespace("rooms", newTalker, &edgews.NamespaceOptions{
			HibernateAfter: 10 * time.Second,
			Tenant:         func(edgews.ID) string { return "acme" },
			Options:        edgews.Options{Observer: i, Meter: meter, Logger: quiet},
		})
		o := &observed{t, i, rooms, dial(t, i)}
		f(t, o)
		require.NoError(t, rooms.Shutdown(t.Context()))
		require.NoError(t, i.Shutdown(t.Context()))
	})
}

// join connects to a room.
func (o *observed) join(room, path string) *edgews.Socket {
	o.t.Helper()
	srv := edgewstest.New(o.t, o.rooms.ByName(room))
	s := srv.Dial(path, nil)
	s.OnMessage(func(edgews.MessageEvent) {})
	require.NoError(o.t, s.Accept())
	return s
}

// after returns the only object of a fresh sample, after a time.
func (o *observed) after(d time.Duration) inspect.ObjectRow {
	o.t.Helper()
	time.Sleep(d)
	list := call[inspect.ObjectList](o.t, o.page, inspect.CallObjects, nil)
	require.Len(o.t, list.Objects, 1)
	return list.Objects[0]
}

// TestHooks follows an object and its socket through a message, an alarm and hibernation.
func TestHooks(t *testing.T) {
	inBubble(t, func(t *testing.T, o *observed) {
		s := o.join("lobby", "/room?tag=red&tag=blue")
		require.NoError(t, s.Send("hello"))
		row := o.after(2 * time.Second)
		assert.Equal(t, "idle", row.State)
		assert.Equal(t, "request", row.WokenBy)
		assert.EqualValues(t, 2, row.Handled, "the request and the message")
		assert.Equal(t, 100.0, row.Busy)
		id := inspect.ObjectQuery{Namespace: "rooms", Name: "lobby"}
		detail := call[inspect.ObjectDetail](t, o.page, inspect.CallObject, id)
		assert.InDelta(t, time.Now().Add(3*time.Second).UnixMilli(), detail.Alarm, 1000)
		require.Len(t, detail.Connections, 1)

		sockets := call[inspect.SocketList](t, o.page, inspect.CallSockets, inspect.SocketsQuery{Tag: "blue", Object: "lobby"}).Sockets
		require.Len(t, sockets, 1)
		assert.Equal(t, detail.Connections[0].Socket, sockets[0].Socket)
		assert.Equal(t, []string{"red", "blue"}, sockets[0].Tags)
		assert.Equal(t, "open", sockets[0].State)
		assert.Equal(t, "/room", sockets[0].Path)
		assert.Equal(t, row.Object, sockets[0].Object)
		assert.EqualValues(t, 1, sockets[0].In)
		assert.EqualValues(t, 1, sockets[0].Out)
		assert.Equal(t, 100.0, sockets[0].Latency)

		row = o.after(5 * time.Second)
		assert.EqualValues(t, 1, row.Alarms)
		assert.Equal(t, 1100.0, row.Busy, "the alarm's second counts once")
		assert.Zero(t, call[inspect.ObjectDetail](t, o.page, inspect.CallObject, id).Alarm)

		assert.Equal(t, "hibernated", o.after(time.Minute).State)
		sums := call[inspect.Overview](t, o.page, inspect.CallOverview, nil)
		counts := sums.Objects
		assert.Equal(t, []int64{1, 1, 1, 0}, []int64{counts.Constructed, counts.Slept, counts.Alarms, counts.Failed})
		assert.Equal(t, []int{0, 1}, []int{counts.Awake, counts.Hibernated}, "the socket belongs to the object since it was opened")
		assert.InEpsilon(t, 100, sums.Latency.P50, 0.13)
		assert.Positive(t, counts.Commits)

		require.NoError(t, s.Send("panic"))
		row = o.after(2 * time.Second)
		assert.Equal(t, "hibernated", row.State)
		assert.EqualValues(t, 1, row.Crashes)
		sums = call[inspect.Overview](t, o.page, inspect.CallOverview, nil)
		assert.EqualValues(t, 1, sums.Objects.Crashed)
		assert.Equal(t, 1, sums.Sockets.Open)
		log := call[inspect.LogList](t, o.page, inspect.CallLog, nil).Entries
		require.Len(t, log, 2, "the error of the handler and the crash")
		for _, e := range log {
			assert.Equal(t, row.Object, e.Object, e.Text)
		}
		require.NoError(t, s.Close(edgews.StatusNormalClosure, ""))
		time.Sleep(3 * time.Minute)
		sums = call[inspect.Overview](t, o.page, inspect.CallOverview, nil)
		assert.Equal(t, []inspect.NameCount{{Name: "peer", Count: 1}}, sums.Causes)
		assert.Zero(t, sums.Sockets.Open)
		assert.Zero(t, sums.Objects.Hibernated)
		assert.Equal(t, "absent", call[inspect.ObjectDetail](t, o.page, inspect.CallObject, id).State)
	})
}

// TestAlarmOfAbsentObject: a page that shows an object that is not in memory does not bring it there.
func TestAlarmOfAbsentObject(t *testing.T) {
	inBubble(t, func(t *testing.T, o *observed) {
		s := o.join("lobby", "/room")
		require.NoError(t, o.rooms.ByName("lobby").Do(t.Context(), func(ctx context.Context, x edgews.Object) error {
			return x.(*talker).st.Storage().SetAlarm(ctx, time.Now().Add(24*time.Hour))
		}))
		require.NoError(t, s.Close(edgews.StatusNormalClosure, ""))
		time.Sleep(5 * time.Minute)
		id := inspect.ObjectQuery{Namespace: "rooms", Name: "lobby"}
		for range 2 {
			detail := call[inspect.ObjectDetail](t, o.page, inspect.CallObject, id)
			assert.Equal(t, "absent", detail.State)
			assert.NotZero(t, detail.Alarm)
			assert.Empty(t, call[inspect.ObjectList](t, o.page, inspect.CallObjects, nil).Objects)
			time.Sleep(time.Minute)
		}
		call[inspect.Done](t, o.page, inspect.CallRunAlarm, id)
		assert.EqualValues(t, 1, call[inspect.Overview](t, o.page, inspect.CallOverview, nil).Objects.Alarms)
	})
}

// TestSavedByHibernation compares the bill with the prices of the time for which objects had sockets, and were active.
func TestSavedByHibernation(t *testing.T) {
	inBubble(t, func(t *testing.T, o *observed) {
		s := o.join("lobby", "/room")
		opened := time.Now()
		time.Sleep(time.Hour)
		bill := call[inspect.BillReport](t, o.page, inspect.CallBill, nil)
		const perSecond = 0.128 * 12.50 / 1e6 // dollars, of an object
		want := perSecond * time.Since(opened).Seconds()
		require.Len(t, bill.Tenants, 1)
		assert.Equal(t, "acme", bill.Tenants[0].Tenant)
		for _, saved := range []string{bill.Tenants[0].Saved, bill.Plans[0].SavedAtPrices} {
			got, err := strconv.ParseFloat(saved, 64)
			require.NoError(t, err)
			assert.InEpsilon(t, want, got, 0.001)
		}
		assert.Equal(t, "0", strings.TrimRight(bill.Plans[0].Saved, ".0")+"0", "the plan includes as much")
		require.NoError(t, s.Close(edgews.StatusNormalClosure, ""))
		time.Sleep(time.Hour)
		later := call[inspect.BillReport](t, o.page, inspect.CallBill, nil)
		got, err := strconv.ParseFloat(later.Tenants[0].Saved, 64)
		require.NoError(t, err)
		assert.InEpsilon(t, want, got, 0.005, "without a socket nothing is saved")
	})
}

// TestHistory compares the history with what has happened in each second.
func TestHistory(t *testing.T) {
	inBubble(t, func(t *testing.T, o *observed) {
		s := o.join("lobby", "/room")
		random := rand.New(rand.NewPCG(1, 2))
		var sent int
		for range 60 {
			for range random.IntN(5) {
				sent++
				require.NoError(t, s.Send("hello"))
			}
			time.Sleep(time.Second)
		}
		time.Sleep(5 * time.Second)
		for _, step := range []float64{1000, 10_000, 60_000} {
			h := call[inspect.History](t, o.page, inspect.CallHistory, inspect.HistoryQuery{Step: step})
			var in float64
			for n, rate := range h.Series["in"] {
				require.NotNil(t, rate)
				in += *rate * step / 1000
				if n > 0 {
					assert.InDelta(t, step, h.Times[n]-h.Times[n-1], 600)
				}
			}
			assert.Len(t, h.Series, len(inspect.SeriesNames))
			if step == 1000 {
				assert.InEpsilon(t, float64(sent), in, 0.02)
				assert.InEpsilon(t, 100, *h.Series["latency_p99"][3], 0.13)
			}
		}
		last := time.Now().Add(-3 * time.Second).UnixMilli()
		h := call[inspect.History](t, o.page, inspect.CallHistory, inspect.HistoryQuery{After: last})
		assert.LessOrEqual(t, len(h.Times), 3)
		_, err := o.page.request(t, inspect.CallHistory, inspect.HistoryQuery{Step: 7})
		require.ErrorIs(t, err, edgews.ErrBadMessage)
	})
}

// TestQuantiles compares quantiles with those of a sorted list.
func TestQuantiles(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 0))
		i := inspect.New(&inspect.Options{Authorize: anyone})
		s := openPairs(t, i, 1)[0]
		all := make([]float64, 1+random.IntN(3000))
		low, high := random.IntN(10), 10+random.IntN(25) // powers of two, in microseconds
		for k := range all {
			d := time.Duration(1+random.Float64()*1000) << (low + random.IntN(high-low))
			d = min(d, 100*time.Second)
			all[k] = float64(d) / 1e6
			i.ObserveMessage(edgews.MessageObservation{Socket: s, Direction: edgews.Inbound, Latency: d})
		}
		slices.Sort(all)
		got := call[inspect.Overview](t, dial(t, i), inspect.CallOverview, nil).Latency
		assert.EqualValues(t, len(all), got.Count)
		for _, c := range []struct{ q, got float64 }{{0.5, got.P50}, {0.99, got.P99}} {
			want := all[int(c.q*float64(len(all)))]
			if want < 0.000256 { // the first bucket
				assert.Less(t, c.got, 0.000256)
				continue
			}
			assert.InEpsilon(t, want, c.got, 0.13, "%v of %d", c.q, len(all))
		}
		assert.GreaterOrEqual(t, got.Max, all[len(all)-1])
	}
}

// TestHostileText: what peers choose arrives escaped and cut, on one line.
func TestHostileText(t *testing.T) {
	inBubble(t, func(t *testing.T, o *observed) {
		o.join("lobby", "/room%0A%1b%5b2J%E2%80%AE/"+strings.Repeat("x", 300)+"?tag=%0d%0aevil&tag=%ff")
		time.Sleep(2 * time.Second)
		rows := call[inspect.SocketList](t, o.page, inspect.CallSockets, nil).Sockets
		require.Len(t, rows, 1)
		assert.True(t, strings.HasPrefix(rows[0].Path, `/room\n\u001b[2J\u202e/xxx`), rows[0].Path)
		assert.True(t, strings.HasSuffix(rows[0].Path, "…"))
		assert.Equal(t, []string{`\r\nevil`, `\xff`}, rows[0].Tags)
	})
}

// TestLimits: what a page asks for is bounded, and so is what is kept.
func TestLimits(t *testing.T) {
	i := inspect.New(&inspect.Options{Authorize: anyone, Logger: quiet})
	c := dial(t, i)
	for k := range 400 {
		i.ObserveRefusal(edgews.RefusalObservation{Status: 403, Cause: edgews.RefusedOrigin, Err: fmt.Errorf("origin %d", k)})
	}
	log := call[inspect.LogList](t, c, inspect.CallLog, inspect.LogQuery{Limit: 1_000_000})
	assert.Len(t, log.Entries, 250)
	assert.EqualValues(t, 150, log.Dropped)
	for k := range 17 {
		_, err := c.request(t, inspect.CallWatch, inspect.WatchRequest{Watch: fmt.Sprint(k), Call: inspect.CallHello, Every: 3_600_000})
		assert.Equal(t, k == 16, err != nil, k)
	}
	openPairs(t, i, 600)
	assert.Len(t, call[inspect.SocketList](t, c, inspect.CallSockets, inspect.SocketsQuery{Limit: 1_000_000, Offset: -5}).Sockets, 500)
	for _, q := range []inspect.SocketsQuery{{Sort: "nothing"}, {State: "nothing"}} {
		_, err := c.request(t, inspect.CallSockets, q)
		require.ErrorIs(t, err, edgews.ErrBadMessage)
	}
	assert.Empty(t, call[inspect.SocketList](t, c, inspect.CallSockets, inspect.SocketsQuery{Offset: 1 << 30}).Sockets)
	for range 15 {
		dial(t, i)
	}
	_, resp, err := edgewstest.New(t, i.Handler()).TryDial(t.Context(), "/socket", nil)
	require.Error(t, err, "16 pages are open")
	assert.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
}
