package edgewsprometheus_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
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
	socket    *edgews.Socket // of the room /echo
	deaf      *edgews.Socket // of the server, to a client that does not read
}

// room echoes messages, except "panic", and stores them. What it stores also sets an alarm.
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
	if string(m.Data) == "panic" {
		panic("as asked")
	}
	err := o.st.Storage().Update(ctx, func(tx *edgews.Tx) error {
		return errors.Join(tx.Put("last", m.Data), tx.SetAlarm(time.Now().Add(time.Hour)))
	})
	if err != nil {
		return err
	}
	return s.SendBytes(m.Data)
}

func (o room) Alarm(context.Context) error { return nil }

// toldCluster is a cluster of two nodes that tells of itself.
type toldCluster struct{ edgews.Cluster }

func (toldCluster) Info() edgews.ClusterInfo {
	return edgews.ClusterInfo{
		Name: "shop", Node: "a", Lease: edgews.ClusterLeaseInfo{Valid: true, Left: time.Second}, Members: []edgews.ClusterMemberInfo{{ID: "a", TTL: time.Second}},
		Shards: make([]edgews.ClusterShardInfo, 4), Links: []edgews.ClusterLinkInfo{{Member: "b", Connected: true, Connections: 1}},
	}
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{meter: edgews.NewMeter(nil)}
	s.collector = edgewsprometheus.New(&metrics.Options{Cluster: toldCluster{}, Meter: s.meter, Plans: []edgews.Plan{edgews.DurableObjects2024}})
	s.rooms = edgews.NewNamespace("rooms", func(_ context.Context, st *edgews.State) (edgews.Object, error) { return room{st}, nil },
		&edgews.NamespaceOptions{Options: edgews.Options{
			Meter: s.meter.Tenant("acme"), Observer: s.collector, WriteTimeout: -1, Logger: slog.New(slog.DiscardHandler),
		}})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.rooms.ByName(r.URL.Path).ServeHTTP(w, r) }))
	s.url = "ws" + strings.TrimPrefix(server.URL, "http")
	t.Cleanup(func() {
		assert.NoError(t, s.rooms.Shutdown(context.Background()))
		server.Close()
	})
	s.socket = s.dial(t, "/echo")
	require.NoError(t, s.socket.Accept())
	require.NoError(t, s.dial(t, "/pinned").Accept())
	s.fillDeaf(t)
	return s
}

// socketOf returns the server's socket of a room. It waits for the request that has opened it, of which the client may have the answer already.
func (s *site) socketOf(t *testing.T, room string) *edgews.Socket {
	t.Helper()
	require.NoError(t, s.rooms.ByName(room).Do(t.Context(), func(context.Context, edgews.Object) error { return nil }))
	all := s.rooms.Sockets(s.rooms.IDFromName(room))
	require.Len(t, all, 1)
	return all[0]
}

// fillDeaf opens a socket that does not read, and sends it messages until it is slow.
func (s *site) fillDeaf(t *testing.T) {
	t.Helper()
	client := s.dial(t, "/deaf")
	t.Cleanup(func() { // it reads at last, so that it can be closed
		client.OnMessage(func(edgews.MessageEvent) {})
		assert.NoError(t, client.Accept())
	})
	s.deaf = s.socketOf(t, "/deaf")
	for {
		for slow := range s.collector.SlowSockets() {
			assert.Same(t, s.deaf, slow)
			return
		}
		noise := make([]byte, 64<<10) // what cannot be compressed fills the buffers of the system soonest
		rand.Read(noise)
		require.NoError(t, s.deaf.SendBytes(noise))
	}
}

func (s *site) dial(t *testing.T, path string) *edgews.Socket {
	t.Helper()
	socket, _, err := edgews.Dial(t.Context(), s.url+path, nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = socket.Close(1000, "") })
	return socket
}

// traffic makes some of everything of which the collector is told.
func (s *site) traffic(t *testing.T) {
	t.Helper()
	for i := range 10 {
		s.ask(t, fmt.Sprint("message ", i))
	}
	_, err := s.socketOf(t, "/echo").Ping(t.Context())
	require.NoError(t, err)
	for range 2 {
		require.NoError(t, s.deaf.SendLatest("price", edgews.Text, []byte("7"))) // the second replaces the first
	}
	id := s.rooms.IDFromName("/echo")
	require.NoError(t, s.rooms.Hibernate(t.Context(), id))
	require.NoError(t, s.rooms.RunAlarm(t.Context(), id))
	s.refuse(t)

	ended := s.value("edgews_sockets_closed_total")
	s.close(t)
	s.crash(t)
	await(t, "the collector knows of the end of both sockets", func() bool { return s.value("edgews_sockets_closed_total") == ended+2 })
	await(t, "the collector knows of the crash", func() bool { return s.value("edgews_object_events_total", "crashed") > 0 })
	await(t, "the collector knows that the object has hibernated", func() bool { return s.value("edgews_object_events_total", "hibernated") > 0 })
}

// ask sends a message and waits for its echo.
func (s *site) ask(t *testing.T, text string) {
	t.Helper()
	require.NoError(t, s.socket.Send(text))
	_, err := s.socket.Receive(t.Context())
	require.NoError(t, err)
}

// refuse has an upgrade refused: a page of another site asks for it.
func (s *site) refuse(t *testing.T) {
	t.Helper()
	_, _, err := edgews.Dial(t.Context(), s.url+"/echo", &edgews.DialOptions{Header: http.Header{"Origin": {"https://evil.example"}}})
	var refused *edgews.HandshakeError
	require.ErrorAs(t, err, &refused)
}

// close opens a socket, and closes it as agreed.
func (s *site) close(t *testing.T) {
	t.Helper()
	socket := s.dial(t, "/short")
	require.NoError(t, socket.Accept())
	require.NoError(t, socket.Close(1000, ""))
	<-socket.Done()
}

// crash opens a socket, and has its object panic.
func (s *site) crash(t *testing.T) {
	t.Helper()
	socket := s.dial(t, "/crash")
	require.NoError(t, socket.Accept())
	require.NoError(t, socket.Send("panic"))
	require.NoError(t, socket.Close(1000, "")) // the socket survives its object's value
	<-socket.Done()
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

// value returns the sum of a metric, of all samples that have a label among words, or of all samples if there are none.
func (s *site) value(name string, words ...string) (sum float64) {
	for sample := range s.collector.Samples() {
		matches := len(words) == 0 || slices.ContainsFunc(sample.Labels, func(l string) bool { return slices.Contains(words, l) })
		if sample.Metric.Name == name && matches {
			sum += sample.Value
		}
	}
	return sum
}

// What the site does is in the metrics as often as it has happened: an alarm is one event, not also a handled one.
func TestEventsAreCountedOnce(t *testing.T) {
	s := newSite(t)
	s.traffic(t)
	events := func() map[string]float64 {
		got := make(map[string]float64)
		for sample := range s.collector.Samples() {
			if sample.Metric.Name == "edgews_object_events_total" {
				got[strings.Join(sample.Labels, " ")] = sample.Value
			}
		}
		return got
	}
	await(t, "all commits are told of", func() bool { return events()["rooms committed other"] >= 11 }) // that of the end of the alarm is another
	got := events()
	for key, n := range map[string]float64{
		"rooms alarm alarm": 1, "rooms handled alarm": 0, "rooms constructed alarm": 1, "rooms hibernated other": 1, "rooms crashed message": 1,
		"rooms handled message": 11, "rooms constructed request": 5, "rooms committed other": 11,
	} {
		assert.Equal(t, n, got[key], key)
	}
	for name, n := range map[string]float64{
		"edgews_messages_dropped_total": 1, "edgews_upgrades_refused_total": 1, "edgews_commit_keys_total": 10, "edgews_socket_slowdowns_total": 1,
	} {
		assert.Equal(t, n, s.value(name), name)
	}
}
