package edgewsprometheus_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/edgews/edgews"
	edgewsprometheus "github.com/edgews/edgews/metrics/prometheus"

	"github.com/edgews/edgews/metrics"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// site is a server with rooms: /pinned accepts its socket with Accept, so its room never sleeps.
type site struct {
	collector *edgewsprometheus.Collector
	meter     *edgews.Meter
	rooms     *edgews.Namespace
	url       string
	socket    *edgews.Socket // of the room /hibernating
	closed    float64        // sockets of the room /short
}

// room echoes messages.
type room struct{ st *edgews.State }

func (o room) ServeHTTP(w http.ResponseWriter, r *http.Request) {
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

func (o room) WebSocketMessage(ctx context.Context, s *edgews.Socket, m edgews.Message) error {
	if err := o.st.Storage().Put(ctx, "last", m.Data); err != nil {
		return err
	}
	return s.SendBytes(m.Data)
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{meter: edgews.NewMeter(nil)}
	s.collector = edgewsprometheus.New(&metrics.Options{Meter: s.meter, Plans: []edgews.Plan{edgews.DurableObjects2024}})
	s.rooms = edgews.NewNamespace("rooms", func(_ context.Context, st *edgews.State) (edgews.Object, error) { return room{st}, nil },
		&edgews.NamespaceOptions{Options: edgews.Options{
			Meter: s.meter.Tenant("acme"), Observer: s.collector, WriteTimeout: -1,
		}})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.rooms.ByName(r.URL.Path).ServeHTTP(w, r) }))
	s.url = "ws" + strings.TrimPrefix(server.URL, "http")
	t.Cleanup(func() {
		assert.NoError(t, s.rooms.Shutdown(context.Background()))
		server.Close()
	})
	s.socket = s.dial(t, "/hibernating")
	require.NoError(t, s.socket.Accept())
	require.NoError(t, s.dial(t, "/pinned").Accept())
	s.fillDeaf(t)
	return s
}

// socketsOf returns the sockets of a room. It waits for the request that has opened them, of which the client may have the answer already.
func (s *site) socketsOf(t *testing.T, room string) []*edgews.Socket {
	t.Helper()
	require.NoError(t, s.rooms.ByName(room).Do(t.Context(), func(context.Context, edgews.Object) error { return nil }))
	return s.rooms.Sockets(s.rooms.IDFromName(room))
}

// fillDeaf opens a socket that does not read, and sends it messages until it is slow.
func (s *site) fillDeaf(t *testing.T) {
	t.Helper()
	client := s.dial(t, "/deaf")
	t.Cleanup(func() { // it reads at last, so that it can be closed
		client.OnMessage(func(edgews.MessageEvent) {})
		assert.NoError(t, client.Accept())
	})
	deaf := s.socketsOf(t, "/deaf")
	require.Len(t, deaf, 1)
	for {
		for slow := range s.collector.SlowSockets() {
			assert.Same(t, deaf[0], slow)
			return
		}
		noise := make([]byte, 64<<10) // what cannot be compressed fills the buffers of the system soonest
		rand.Read(noise)
		require.NoError(t, deaf[0].SendBytes(noise))
	}
}

func (s *site) dial(t *testing.T, path string) *edgews.Socket {
	t.Helper()
	socket, _, err := edgews.Dial(t.Context(), s.url+path, nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = socket.Close(1000, "") })
	return socket
}

// traffic makes some of everything.
func (s *site) traffic(t *testing.T) {
	t.Helper()
	for i := range 10 {
		require.NoError(t, s.socket.Send(fmt.Sprint("message ", i)))
		_, err := s.socket.Receive(t.Context())
		require.NoError(t, err)
	}
	short := s.dial(t, "/short")
	require.NoError(t, short.Accept())
	require.NoError(t, short.Close(1000, ""))
	<-short.Done()
	s.closed++
	await(t, "the collector knows of the end of the socket", func() bool { return s.value("edgews_sockets_closed_total") == s.closed })
	s.tellRareEvents()
}

// tellRareEvents tells the collector of what a short test cannot wait for.
func (s *site) tellRareEvents() {
	for _, o := range []edgews.ObjectObservation{
		{Event: edgews.EventConstructed, Trigger: edgews.TriggerAlarm, Duration: time.Millisecond},
		{Event: edgews.EventCommitted, Keys: 1, Bytes: 10, Duration: time.Millisecond},
		{Event: edgews.EventAlarm, Trigger: edgews.TriggerAlarm, Duration: time.Millisecond, Late: time.Second},
		{Event: edgews.EventCrashed, Trigger: edgews.TriggerMessage},
		{Event: edgews.EventHibernated, Duration: time.Minute},
	} {
		o.Namespace = s.rooms
		s.collector.ObserveObject(o)
	}
	for _, socket := range s.rooms.Sockets(s.rooms.IDFromName("/hibernating")) {
		s.collector.ObserveSocket(edgews.SocketObservation{Socket: socket, Event: edgews.SocketPong, RoundTrip: time.Millisecond})
		s.collector.ObserveMessage(edgews.MessageObservation{Socket: socket, Direction: edgews.Outbound, Kind: edgews.Text, Dropped: true})
	}
}

func TestCollector(t *testing.T) {
	s := newSite(t)
	s.traffic(t)
	registry := prometheus.NewPedanticRegistry()
	require.NoError(t, registry.Register(s.collector))
	problems, err := testutil.GatherAndLint(registry)
	require.NoError(t, err)
	assert.Empty(t, problems)

	families, err := registry.Gather()
	require.NoError(t, err)
	types := map[metrics.Type]string{metrics.Counter: "COUNTER", metrics.UpDownCounter: "GAUGE", metrics.Gauge: "GAUGE", metrics.Histogram: "HISTOGRAM"}
	got, want := make(map[string]string), make(map[string]string)
	for _, f := range families {
		got[f.GetName()] = f.GetType().String() + " " + f.GetHelp()
	}
	for _, m := range metrics.Metrics() {
		want[m.Name] = types[m.Type] + " " + m.Help
	}
	assert.Equal(t, want, got, "every metric of the table is exported, and no other")
}

func TestHistogram(t *testing.T) {
	c := edgewsprometheus.New(nil)
	for _, late := range []time.Duration{time.Millisecond, time.Second, 2 * time.Hour} {
		c.ObserveObject(edgews.ObjectObservation{Event: edgews.EventAlarm, Trigger: edgews.TriggerAlarm, Late: late})
	}
	assert.NoError(t, testutil.CollectAndCompare(c, strings.NewReader(`
# HELP edgews_alarm_late_seconds How long after their time alarms have fired
# TYPE edgews_alarm_late_seconds histogram
edgews_alarm_late_seconds_bucket{namespace="",le="0.001"} 1
edgews_alarm_late_seconds_bucket{namespace="",le="0.01"} 1
edgews_alarm_late_seconds_bucket{namespace="",le="0.1"} 1
edgews_alarm_late_seconds_bucket{namespace="",le="1"} 2
edgews_alarm_late_seconds_bucket{namespace="",le="10"} 2
edgews_alarm_late_seconds_bucket{namespace="",le="60"} 2
edgews_alarm_late_seconds_bucket{namespace="",le="600"} 2
edgews_alarm_late_seconds_bucket{namespace="",le="3600"} 2
edgews_alarm_late_seconds_bucket{namespace="",le="+Inf"} 3
edgews_alarm_late_seconds_sum{namespace=""} 7201.001
edgews_alarm_late_seconds_count{namespace=""} 3
`), "edgews_alarm_late_seconds"))
}

// value returns the sum of a metric.
func (s *site) value(name string) (sum float64) {
	for sample := range s.collector.Samples() {
		if sample.Metric.Name == name {
			sum += sample.Value
		}
	}
	return sum
}
