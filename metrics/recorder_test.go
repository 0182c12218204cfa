package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/metrics"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// readings are samples as Prometheus writes them: name{value,value}. Histograms have their count and, after a slash, their sum.
type readings map[string]string

func read(t *testing.T, r *metrics.Recorder) readings {
	t.Helper()
	all := make(readings)
	for s := range r.Samples() {
		require.Len(t, s.Labels, len(s.Metric.Labels), s.Metric.Name)
		key := s.Metric.Name + "{" + strings.Join(s.Labels, ",") + "}"
		require.NotContains(t, all, key, "two samples with the same labels")
		if s.Metric.Type == metrics.Histogram {
			require.Len(t, s.Distribution.Buckets, len(s.Metric.Bounds)+1)
			all[key] = fmt.Sprintf("%d/%v", s.Distribution.Count(), s.Distribution.Sum)
			continue
		}
		all[key] = fmt.Sprint(s.Value)
	}
	return all
}

// has checks some of the readings.
func (all readings) has(t *testing.T, want map[string]string) {
	t.Helper()
	got := make(map[string]string)
	for key := range want {
		got[key] = all[key]
	}
	assert.Equal(t, want, got)
}

// open returns a socket that r has been told of.
func open(t testing.TB, r edgews.Observer) *edgews.Socket {
	t.Helper()
	s, _ := edgews.NewPair()
	require.NoError(t, s.Accept())
	r.ObserveSocket(edgews.SocketObservation{Socket: s, Event: edgews.SocketOpened})
	return s
}

func TestMessages(t *testing.T) {
	r := metrics.New(nil)
	s := open(t, r)
	told := []edgews.MessageObservation{
		{Direction: edgews.Inbound, Kind: edgews.Text, Bytes: 16, WireBytes: 22, Latency: time.Millisecond},
		{Direction: edgews.Inbound, Kind: edgews.Binary, Bytes: 17, WireBytes: 23, Latency: time.Second},
		{Direction: edgews.Inbound, Kind: edgews.Text, Bytes: 4, WireBytes: 10, Auto: true},
		{Direction: edgews.Outbound, Kind: edgews.Text, Bytes: 4, WireBytes: 6, Auto: true},
		{Direction: edgews.Outbound, Kind: edgews.Binary, Bytes: 100 << 20, WireBytes: 1000},
		{Direction: edgews.Outbound, Kind: edgews.Text, Bytes: 5, Dropped: true},
	}
	for _, o := range told {
		o.Socket = s
		r.ObserveMessage(o)
	}
	read(t, r).has(t, map[string]string{
		"edgews_messages_total{,server,in,text}":         "2",
		"edgews_messages_total{,server,in,binary}":       "1",
		"edgews_messages_total{,server,out,text}":        "1",
		"edgews_messages_total{,server,out,binary}":      "1",
		"edgews_message_size_bytes{,server,in}":          "3/37",
		"edgews_message_size_bytes{,server,out}":         "2/1.04857604e+08",
		"edgews_message_wire_bytes_total{,server,in}":    "55",
		"edgews_message_wire_bytes_total{,server,out}":   "1006",
		"edgews_message_handler_seconds{,server}":        "2/1.001",
		"edgews_auto_responses_total{,server}":           "1",
		"edgews_messages_dropped_total{,server}":         "1",
		"edgews_messages_total{other,server,in,text}":    "",
		"edgews_ping_round_trip_seconds{,server}":        "0/0",
		"edgews_sockets_open{,server}":                   "1",
		"edgews_sockets_closed_total{,server,peer,1000}": "",
		"edgews_upgrades_refused_total{origin}":          "0",
		"edgews_slow_sockets{,server}":                   "0",
		"edgews_slow_socket_oldest_seconds{,server}":     "0",
		"edgews_usage_connections_total{}":               "",
	})
}

// A bucket includes its bound.
func TestBuckets(t *testing.T) {
	r := metrics.New(nil)
	s := open(t, r)
	for _, bytes := range []int{0, 16, 17, 16 << 20, 16<<20 + 1} {
		r.ObserveMessage(edgews.MessageObservation{Socket: s, Direction: edgews.Outbound, Kind: edgews.Text, Bytes: bytes})
	}
	for _, d := range []time.Duration{-time.Second, 10 * time.Microsecond, 10*time.Microsecond + 1, 10 * time.Second, time.Hour} {
		r.ObserveMessage(edgews.MessageObservation{Socket: s, Direction: edgews.Inbound, Kind: edgews.Text, Latency: d})
	}
	for sample := range r.Samples() {
		switch {
		case sample.Metric.Name == "edgews_message_size_bytes" && sample.Labels[2] == "out":
			assert.Equal(t, []uint64{2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1}, sample.Distribution.Buckets)
		case sample.Metric.Name == "edgews_message_handler_seconds":
			assert.Equal(t, []uint64{2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1}, sample.Distribution.Buckets)
		}
	}
}

// Sums are exact, also those of messages and times that are counted in another way because they are large.
func TestSums(t *testing.T) {
	r := metrics.New(nil)
	s := open(t, r)
	const times = 200
	sizes := []int{0, 1, 100, 1<<14 - 1, 1 << 14, 1<<14 + 1, 1 << 20, 1 << 30}
	latencies := []time.Duration{1, time.Microsecond, 1<<24 - 1, 1 << 24, time.Second, 1<<34 - 1, 1 << 34, time.Hour}
	var bytes, wire int64
	var took time.Duration
	for range times {
		for i := range sizes {
			r.ObserveMessage(edgews.MessageObservation{
				Socket: s, Direction: edgews.Inbound, Kind: edgews.Binary, Bytes: sizes[i], WireBytes: sizes[i] + 14, Latency: latencies[i],
			})
			bytes, wire, took = bytes+int64(sizes[i]), wire+int64(sizes[i])+14, took+latencies[i]
		}
	}
	n := fmt.Sprint(times * len(sizes))
	read(t, r).has(t, map[string]string{
		"edgews_messages_total{,server,in,binary}":    n,
		"edgews_messages_total{,server,in,text}":      "0",
		"edgews_messages_total{,server,out,binary}":   "0",
		"edgews_message_size_bytes{,server,in}":       fmt.Sprintf("%s/%v", n, float64(bytes)),
		"edgews_message_wire_bytes_total{,server,in}": fmt.Sprint(float64(wire)),
		"edgews_message_handler_seconds{,server}":     fmt.Sprintf("%s/%v", n, took.Seconds()),
	})
}

func TestSockets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := metrics.New(nil)
		a, b, c := open(t, r), open(t, r), open(t, r)
		tell := func(o edgews.SocketObservation) { r.ObserveSocket(o) }
		tell(edgews.SocketObservation{Socket: a, Event: edgews.SocketSlow, Queued: 1000})
		time.Sleep(3 * time.Second)
		tell(edgews.SocketObservation{Socket: b, Event: edgews.SocketSlow, Queued: 1000})
		tell(edgews.SocketObservation{Socket: c, Event: edgews.SocketSlow, Queued: 1000})
		tell(edgews.SocketObservation{Socket: c, Event: edgews.SocketDrained})
		tell(edgews.SocketObservation{Socket: c, Event: edgews.SocketPong, RoundTrip: 20 * time.Millisecond})
		require.NoError(t, b.SendBytes(make([]byte, 500)))
		read(t, r).has(t, map[string]string{
			"edgews_slow_sockets{,server}":               "2",
			"edgews_slow_socket_oldest_seconds{,server}": "3",
			"edgews_slow_socket_queued_bytes{,server}":   fmt.Sprint(b.BufferedAmount()),
			"edgews_socket_slowdowns_total{,server}":     "3",
			"edgews_ping_round_trip_seconds{,server}":    "1/0.02",
		})
		assert.Positive(t, b.BufferedAmount())
		since := make(map[*edgews.Socket]time.Duration)
		for s, at := range r.SlowSockets() {
			since[s] = time.Since(at)
		}
		assert.Equal(t, map[*edgews.Socket]time.Duration{a: 3 * time.Second, b: 0}, since)

		tell(edgews.SocketObservation{Socket: a, Event: edgews.SocketClosed, Code: 1006, Cause: edgews.ClosedAsSlow, Lifetime: time.Minute})
		tell(edgews.SocketObservation{Socket: b, Event: edgews.SocketClosed, Code: 4242, Cause: edgews.ClosedLocally, Lifetime: time.Second})
		tell(edgews.SocketObservation{Socket: c, Event: edgews.SocketClosed, Code: 2, Cause: 99})
		r.ObserveMessage(edgews.MessageObservation{Socket: a, Direction: edgews.Inbound, Kind: edgews.Text}) // after the end: ignored
		read(t, r).has(t, map[string]string{
			"edgews_sockets_open{,server}":                     "0",
			"edgews_sockets_opened_total{,server}":             "3",
			"edgews_sockets_closed_total{,server,slow,1006}":   "1",
			"edgews_sockets_closed_total{,server,local,4xxx}":  "1",
			"edgews_sockets_closed_total{,server,other,other}": "1",
			"edgews_socket_lifetime_seconds{,server}":          "3/61",
			"edgews_slow_sockets{,server}":                     "0",
			"edgews_messages_total{,server,in,text}":           "0",
		})
	})
}

// Labels have bounds, whatever classes, namespaces and tenants there are.
func TestLabelsAreBounded(t *testing.T) {
	n := 0
	meter := edgews.NewMeter(nil)
	r := metrics.New(&metrics.Options{
		Meter: meter, MaxTenants: 2, MaxClasses: 2, MaxNamespaces: 2,
		Class: func(*edgews.Socket) string { n++; return fmt.Sprintf("class %d\xff", n) },
	})
	for i := range 5 {
		open(t, r)
		meter.Tenant(fmt.Sprint("t", i))
		r.ObserveObject(edgews.ObjectObservation{Namespace: namespace(t, fmt.Sprint("n", i), nil), Event: edgews.EventHandled})
	}
	read(t, r).has(t, map[string]string{
		"edgews_sockets_open{,class 1�}":                  "1",
		"edgews_sockets_open{,class 2�}":                  "1",
		"edgews_sockets_open{,other}":                     "3",
		"edgews_object_events_total{n1,handled,other}":    "1",
		"edgews_object_events_total{other,handled,other}": "3",
		"edgews_tenant_messages_total{t1,in}":             "0",
		"edgews_tenant_messages_total{other,in}":          "0",
		"edgews_tenant_messages_total{t2,in}":             "",
	})
}

// namespace returns a namespace of objects that ignore what they get.
func namespace(t testing.TB, name string, opts *edgews.NamespaceOptions) *edgews.Namespace {
	ns := edgews.NewNamespace(name, func(_ context.Context, st *edgews.State) (edgews.Object, error) { return object{st}, nil }, opts)
	t.Cleanup(func() { assert.NoError(t, ns.Shutdown(context.Background())) })
	return ns
}

// object keeps its sockets with AcceptWebSocket, and those of /pinned with Accept.
type object struct{ st *edgews.State }

func (o object) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s, err := edgews.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	if r.URL.Path == "/pinned" {
		_ = s.Accept()
		return
	}
	_ = o.st.AcceptWebSocket(s)
}

func (o object) WebSocketMessage(_ context.Context, s *edgews.Socket, m edgews.Message) error {
	return s.SendBytes(m.Data)
}

func TestObjects(t *testing.T) {
	r := metrics.New(nil)
	ns := namespace(t, "rooms", nil)
	failed := errors.New("failed")
	for _, o := range []edgews.ObjectObservation{
		{Event: edgews.EventConstructed, Trigger: edgews.TriggerRequest, Duration: time.Millisecond},
		{Event: edgews.EventConstructed, Trigger: edgews.TriggerAlarm, Duration: time.Millisecond, Err: failed},
		{Event: edgews.EventAlarm, Trigger: edgews.TriggerAlarm, Duration: time.Second, Late: 2 * time.Second},
		{Event: edgews.EventCommitted, Duration: time.Second, Keys: 3, Bytes: 300},
		{Event: edgews.EventCrashed, Trigger: edgews.TriggerMessage},
		{Event: edgews.EventHibernated, Duration: time.Hour},
		{Event: 99, Trigger: 99},
	} {
		o.Namespace = ns
		r.ObserveObject(o)
	}
	r.ObserveRefusal(edgews.RefusalObservation{Cause: edgews.RefusedOrigin})
	r.ObserveRefusal(edgews.RefusalObservation{Cause: 99})
	read(t, r).has(t, map[string]string{
		"edgews_object_events_total{rooms,constructed,request}": "1",
		"edgews_object_events_total{rooms,constructed,alarm}":   "1",
		"edgews_object_events_total{rooms,crashed,message}":     "1",
		"edgews_object_events_total{rooms,other,other}":         "1",
		"edgews_object_failures_total{rooms,constructed}":       "1",
		"edgews_object_failures_total{rooms,crashed}":           "1",
		"edgews_object_failures_total{rooms,alarm}":             "0",
		"edgews_object_event_seconds{rooms,constructed}":        "2/0.002",
		"edgews_object_event_seconds{rooms,alarm}":              "1/1",
		"edgews_object_awake_seconds{rooms}":                    "1/3600",
		"edgews_alarm_late_seconds{rooms}":                      "1/2",
		"edgews_commit_keys_total{rooms}":                       "3",
		"edgews_commit_bytes_total{rooms}":                      "300",
		"edgews_upgrades_refused_total{origin}":                 "1",
		"edgews_upgrades_refused_total{other}":                  "1",
		"edgews_objects{rooms,active}":                          "0",
	})
}

// An object that never sleeps is counted by what keeps it awake, with the time for which it has been.
func TestPins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := metrics.New(nil)
		ns := namespace(t, "rooms", nil)
		r.ObserveObject(edgews.ObjectObservation{Namespace: ns, Event: edgews.EventConstructed, Trigger: edgews.TriggerDo})
		release := make(chan struct{})
		for _, name := range []string{"a", "b"} {
			pin := func(ctx context.Context, o edgews.Object) error {
				o.(object).st.WaitUntil(func(context.Context) { <-release })
				return nil
			}
			require.NoError(t, ns.ByName(name).Do(t.Context(), pin))
			time.Sleep(time.Minute)
		}
		read(t, r).has(t, map[string]string{
			"edgews_objects{rooms,active}":                               "2",
			"edgews_objects_pinned{rooms,WaitUntil}":                     "2",
			"edgews_objects_pinned{rooms,event}":                         "0",
			"edgews_object_pinned_oldest_seconds{rooms,WaitUntil}":       "120",
			"edgews_object_pinned_oldest_seconds{rooms,accepted socket}": "0",
		})
		close(release)
		synctest.Wait()
		read(t, r).has(t, map[string]string{"edgews_objects{rooms,active}": "0", "edgews_objects_pinned{rooms,WaitUntil}": "0"})
		require.NoError(t, ns.Shutdown(t.Context()))
	})
}

// What is told concurrently is counted, while it is read, and no counter goes back.
func TestConcurrent(t *testing.T) {
	const sockets, each = 8, 30_000
	r := metrics.New(nil)
	var tellers sync.WaitGroup
	for range sockets {
		s := open(t, r)
		tellers.Go(func() {
			for range each {
				r.ObserveMessage(edgews.MessageObservation{Socket: s, Direction: edgews.Inbound, Kind: edgews.Text, Bytes: 1, WireBytes: 3})
				r.ObserveObject(edgews.ObjectObservation{Event: edgews.EventHandled, Trigger: edgews.TriggerMessage})
			}
			r.ObserveSocket(edgews.SocketObservation{Socket: s, Event: edgews.SocketClosed, Code: 1000, Cause: edgews.ClosedByPeer})
		})
	}
	told := make(chan struct{})
	go func() {
		tellers.Wait()
		close(told)
	}()
	last := make(map[string]float64)
	for done := false; !done; {
		select {
		case <-told:
			done = true
		default:
		}
		neverLess(t, r, last)
	}
	read(t, r).has(t, map[string]string{
		"edgews_message_size_bytes{,server,in}":          "240000/240000",
		"edgews_message_wire_bytes_total{,server,in}":    "720000",
		"edgews_messages_total{,server,in,text}":         "240000",
		"edgews_sockets_closed_total{,server,peer,1000}": "8",
		"edgews_object_events_total{,handled,message}":   "240000",
	})
}

// neverLess checks that no counter says less than the last time, and notes what it says now.
func neverLess(t *testing.T, r *metrics.Recorder, last map[string]float64) {
	t.Helper()
	check := func(key string, now float64) {
		if now < last[key] {
			t.Errorf("%s goes back from %v to %v", key, last[key], now)
		}
		last[key] = now
	}
	for s := range r.Samples() {
		key := fmt.Sprint(s.Metric.Name, s.Labels)
		switch s.Metric.Type {
		case metrics.Histogram:
			check(key, float64(s.Distribution.Count()))
			check("sum of "+key, s.Distribution.Sum)
		case metrics.Counter:
			check(key, s.Value)
		}
	}
}

func TestObservingAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	r := metrics.New(nil)
	s, ns := open(t, r), namespace(t, "rooms", nil)
	cases := map[string]func(){
		"received": func() {
			r.ObserveMessage(edgews.MessageObservation{Socket: s, Direction: edgews.Inbound, Kind: edgews.Text, Bytes: 100, Latency: time.Millisecond})
		},
		"sent": func() {
			r.ObserveMessage(edgews.MessageObservation{Socket: s, Direction: edgews.Outbound, Kind: edgews.Binary, Bytes: 100})
		},
		"pong": func() {
			r.ObserveSocket(edgews.SocketObservation{Socket: s, Event: edgews.SocketPong, RoundTrip: time.Millisecond})
		},
		"handled": func() {
			r.ObserveObject(edgews.ObjectObservation{Namespace: ns, Event: edgews.EventHandled, Duration: time.Millisecond})
		},
		"refused":  func() { r.ObserveRefusal(edgews.RefusalObservation{Cause: edgews.RefusedOrigin}) },
		"unopened": func() { r.ObserveMessage(edgews.MessageObservation{Direction: edgews.Inbound, Kind: edgews.Text}) },
	}
	for name, observe := range cases {
		t.Run(name, func(t *testing.T) { assert.Zero(t, testing.AllocsPerRun(100, observe)) })
	}
}

func BenchmarkObserveMessage(b *testing.B) {
	for _, direction := range []edgews.Direction{edgews.Inbound, edgews.Outbound} {
		b.Run("direction="+direction.String(), func(b *testing.B) {
			r := metrics.New(nil)
			var sockets []*edgews.Socket
			for range 1000 {
				sockets = append(sockets, open(b, r))
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				r.ObserveMessage(edgews.MessageObservation{
					Socket: sockets[i%len(sockets)], Direction: direction, Kind: edgews.Text, Bytes: 100, WireBytes: 104, Latency: 20 * time.Microsecond,
				})
			}
		})
	}
}

// More sockets than the Recorder finds at once are all counted, and none is after its end.
func TestManySockets(t *testing.T) {
	r := metrics.New(nil)
	var sockets []*edgews.Socket
	for range 5000 {
		sockets = append(sockets, open(t, r))
	}
	told := func() {
		for _, s := range sockets {
			r.ObserveMessage(edgews.MessageObservation{Socket: s, Direction: edgews.Inbound, Kind: edgews.Text})
		}
	}
	told()
	told()
	read(t, r).has(t, map[string]string{"edgews_messages_total{,server,in,text}": "10000"})
	for _, s := range sockets {
		r.ObserveSocket(edgews.SocketObservation{Socket: s, Event: edgews.SocketClosed, Code: 1000, Cause: edgews.ClosedByPeer})
	}
	told()
	read(t, r).has(t, map[string]string{"edgews_messages_total{,server,in,text}": "10000", "edgews_sockets_open{,server}": "0"})
}
