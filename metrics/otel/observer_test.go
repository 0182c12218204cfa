package edgewsotel_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/edgewstest"
	"github.com/edgews/edgews/metrics"
	edgewsotel "github.com/edgews/edgews/metrics/otel"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	apitrace "go.opentelemetry.io/otel/trace"
)

var _ sdkmetric.Producer = (*edgewsotel.Observer)(nil)

// opened returns a socket that o has been told of.
func opened(o edgews.Observer) *edgews.Socket {
	s, _ := edgews.NewPair()
	o.ObserveSocket(edgews.SocketObservation{Socket: s, Event: edgews.SocketOpened})
	return s
}

// collect reads all metrics through a reader of the SDK.
func collect(t *testing.T, o *edgewsotel.Observer) map[string]metricdata.Metrics {
	t.Helper()
	reader := sdkmetric.NewManualReader(sdkmetric.WithProducer(o))
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	defer provider.Shutdown(context.Background())
	var all metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(t.Context(), &all))
	require.Len(t, all.ScopeMetrics, 1)
	byName := make(map[string]metricdata.Metrics)
	for _, m := range all.ScopeMetrics[0].Metrics {
		require.NotContains(t, byName, m.Name)
		byName[m.Name] = m
	}
	return byName
}

// toldCluster is a cluster of two nodes that tells of itself.
type toldCluster struct{ edgews.Cluster }

func (toldCluster) Info() edgews.ClusterInfo {
	return edgews.ClusterInfo{
		Name: "shop", Node: "a", Lease: edgews.ClusterLeaseInfo{Valid: true, Left: time.Second}, Members: []edgews.ClusterMemberInfo{{ID: "a", TTL: time.Second}},
		Shards: make([]edgews.ClusterShardInfo, 4), Links: []edgews.ClusterLinkInfo{{Member: "b", Connected: true, Connections: 1}},
	}
}

// Every metric of the table is exported with its name, unit and type, and no other is.
func TestMetrics(t *testing.T) {
	meter := edgews.NewMeter(nil)
	meter.Tenant("acme")
	o := edgewsotel.New(&edgewsotel.Options{Options: metrics.Options{Cluster: toldCluster{}, Meter: meter, Plans: []edgews.Plan{edgews.DurableObjects}}})
	s := opened(o)
	o.ObserveSocket(edgews.SocketObservation{Socket: s, Event: edgews.SocketClosed, Code: 1000, Cause: edgews.ClosedByPeer})
	o.ObserveObject(edgews.ObjectObservation{Event: edgews.EventHandled, Trigger: edgews.TriggerMessage})
	all := collect(t, o)
	for _, want := range metrics.Metrics() {
		got, ok := all[want.OTel]
		if !assert.True(t, ok, want.OTel) {
			continue
		}
		delete(all, want.OTel)
		assert.Equal(t, []string{want.Unit, want.Help}, []string{got.Unit, got.Description}, want.OTel)
		switch data := got.Data.(type) {
		case metricdata.Sum[float64]:
			assert.Equal(t, want.Type == metrics.Counter, data.IsMonotonic, want.OTel)
			assert.Equal(t, metricdata.CumulativeTemporality, data.Temporality)
		case metricdata.Gauge[float64]:
			assert.Equal(t, metrics.Gauge, want.Type, want.OTel)
		case metricdata.Histogram[float64]:
			assert.Equal(t, metrics.Histogram, want.Type, want.OTel)
			assert.Len(t, data.DataPoints[0].BucketCounts, len(want.Bounds)+1)
		default:
			t.Errorf("%s is a %T", want.OTel, data)
		}
	}
	assert.Empty(t, all, "these are not in the table")
}

func TestValues(t *testing.T) {
	o := edgewsotel.New(nil)
	s := opened(o)
	for range 3 {
		o.ObserveMessage(edgews.MessageObservation{Socket: s, Direction: edgews.Inbound, Kind: edgews.Text, Bytes: 100, Latency: 2 * time.Millisecond})
	}
	all := collect(t, o)
	of := func(pairs ...attribute.KeyValue) attribute.Set {
		return attribute.NewSet(append(pairs, attribute.String("edgews.class", "server"))...)
	}
	points := all["websocket.messages"].Data.(metricdata.Sum[float64]).DataPoints
	assert.Equal(t, of(attribute.String("edgews.direction", "in"), attribute.String("edgews.kind", "text")), points[0].Attributes)
	assert.Equal(t, 3.0, points[0].Value)
	assert.Equal(t, o.Started(), points[0].StartTime)
	latency := all["websocket.message.handler.duration"].Data.(metricdata.Histogram[float64]).DataPoints[0]
	assert.Equal(t, of(), latency.Attributes)
	assert.Equal(t, uint64(3), latency.Count)
	assert.InDelta(t, 0.006, latency.Sum, 1e-9)
	assert.Equal(t, uint64(3), latency.BucketCounts[7], "between 1 ms and 2.5 ms")
}

func TestProduceEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := edgewsotel.New(nil).Produce(ctx)
	assert.ErrorIs(t, err, context.Canceled)
}

// tracing returns an Observer with spans for every message, and what it has made.
func tracing(every int) (*edgewsotel.Observer, *tracetest.SpanRecorder, apitrace.Tracer) {
	spans := tracetest.NewSpanRecorder()
	provider := trace.NewTracerProvider(trace.WithSpanProcessor(spans))
	return edgewsotel.New(&edgewsotel.Options{TracerProvider: provider, MessageSpanEvery: every}), spans, provider.Tracer("http")
}

// values returns the attributes of a span.
func values(s trace.ReadOnlySpan) map[string]any {
	all := make(map[string]any)
	for _, a := range s.Attributes() {
		all[string(a.Key)] = a.Value.AsInterface()
	}
	return all
}

// The span of a connection has a link to the span of its request, and outlives it.
func TestConnectionSpan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, spans, tracer := tracing(0)
		var request apitrace.SpanContext
		srv := edgewstest.New(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx, span := tracer.Start(r.Context(), "GET /room")
			defer span.End()
			request = span.SpanContext()
			r = r.WithContext(ctx)
			s, err := edgews.Upgrade(w, r, &edgews.UpgradeOptions{Options: edgews.Options{Observer: o.Request(r)}})
			if assert.NoError(t, err) {
				assert.NoError(t, s.Accept())
			}
		}))
		client := srv.Dial("/room?secret", nil)
		require.NoError(t, client.Accept())
		time.Sleep(time.Minute)
		require.NoError(t, client.Close(4001, "enough"))
		<-client.Done()
		synctest.Wait()

		ended := spans.Ended()
		require.Len(t, ended, 2)
		assert.Equal(t, request, ended[0].SpanContext())
		span := ended[1]
		assert.Equal(t, "websocket", span.Name())
		assert.Equal(t, apitrace.SpanKindServer, span.SpanKind())
		require.Len(t, span.Links(), 1)
		assert.Equal(t, request, span.Links()[0].SpanContext)
		assert.False(t, span.Parent().IsValid())
		assert.NotEqual(t, request.TraceID(), span.SpanContext().TraceID())
		assert.Equal(t, time.Minute, span.EndTime().Sub(span.StartTime()))
		all := values(span)
		assert.Equal(t, []any{"/room", int64(4001), "enough", "peer"},
			[]any{all["url.path"], all["websocket.close.code"], all["websocket.close.reason"], all["edgews.cause"]})
		assert.Equal(t, codes.Unset, span.Status().Code)
	})
}

func TestFailedConnectionSpan(t *testing.T) {
	o, spans, _ := tracing(0)
	s := opened(o)
	o.ObserveSocket(edgews.SocketObservation{Socket: s, Event: edgews.SocketSlow, Queued: 10})
	o.ObserveSocket(edgews.SocketObservation{Socket: s, Event: edgews.SocketClosed, Code: 1006, Cause: edgews.ClosedAsLost, Err: errors.New("reset")})
	require.Len(t, spans.Ended(), 1)
	span := spans.Ended()[0]
	assert.Empty(t, span.Links())
	assert.Equal(t, trace.Status{Code: codes.Error, Description: "lost"}, span.Status())
	assert.Equal(t, "lost", values(span)["error.type"])
	var events []string
	for _, e := range span.Events() {
		events = append(events, e.Name)
	}
	assert.Equal(t, []string{"slow", "exception"}, events)
}

func TestMessageSpans(t *testing.T) {
	o, spans, _ := tracing(3)
	s := opened(o)
	for i := range 6 {
		direction := edgews.Inbound
		if i == 5 {
			direction = edgews.Outbound
		}
		o.ObserveMessage(edgews.MessageObservation{Socket: s, Direction: direction, Kind: edgews.Text, Bytes: i, Latency: time.Second})
	}
	ended := spans.Ended()
	require.Len(t, ended, 2)
	connection := spans.Started()[0].SpanContext()
	assert.Equal(t, []string{"websocket receive", "websocket send"}, []string{ended[0].Name(), ended[1].Name()})
	for i, span := range ended {
		assert.Equal(t, connection.SpanID(), span.Parent().SpanID())
		assert.Equal(t, connection.TraceID(), span.SpanContext().TraceID())
		assert.Equal(t, int64(3*i+2), values(span)["websocket.message.size"])
	}
	assert.Equal(t, time.Second, ended[0].EndTime().Sub(ended[0].StartTime()))
}

// Of the messages of a real server, every third has a span, in the trace of its connection. Addresses and ports are apart, as the semantic
// conventions have them.
func TestSpansOfAServer(t *testing.T) {
	o, spans, _ := tracing(3)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := edgews.Upgrade(w, r, &edgews.UpgradeOptions{Options: edgews.Options{Observer: o.Request(r)}})
		if assert.NoError(t, err) {
			s.OnMessage(func(e edgews.MessageEvent) { assert.NoError(t, s.SendBytes(e.Data)) })
			assert.NoError(t, s.Accept())
		}
	}))
	defer server.Close()
	client, _, err := edgews.Dial(t.Context(), server.URL+"/a/%ff?secret", nil)
	require.NoError(t, err)
	for range 9 {
		require.NoError(t, client.Write(t.Context(), edgews.Text, []byte("hello")))
		_, err := client.Receive(t.Context())
		require.NoError(t, err)
	}
	require.NoError(t, client.Close(1000, "bye"))
	<-client.Done()
	require.Eventually(t, func() bool { return len(spans.Ended()) == 7 }, time.Minute, time.Millisecond, "6 of 18 messages, and the connection")
	ended := spans.Ended()
	connection := ended[6]
	for _, message := range ended[:6] {
		assert.Equal(t, connection.SpanContext().SpanID(), message.Parent().SpanID())
		assert.Equal(t, int64(5), values(message)["websocket.message.size"])
	}
	local, all := client.LocalAddr().(*net.TCPAddr), values(connection)
	assert.Equal(t, "127.0.0.1", all["network.peer.address"])
	assert.Equal(t, int64(local.Port), all["network.peer.port"])
	assert.Equal(t, "127.0.0.1", all["server.address"])
	assert.Equal(t, int64(client.RemoteAddr().(*net.TCPAddr).Port), all["server.port"])
	assert.True(t, utf8.ValidString(all["url.path"].(string)))
	for key, value := range all {
		assert.NotContains(t, fmt.Sprint(value), "secret", key)
	}
}

// Without a provider, and where the connection is not sampled, messages have no spans.
func TestNoSpans(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	never := trace.NewTracerProvider(trace.WithSpanProcessor(spans), trace.WithSampler(trace.NeverSample()))
	for _, provider := range []apitrace.TracerProvider{nil, never} {
		o := edgewsotel.New(&edgewsotel.Options{TracerProvider: provider, MessageSpanEvery: 1})
		s := opened(o)
		message := func() {
			o.ObserveMessage(edgews.MessageObservation{Socket: s, Direction: edgews.Inbound, Kind: edgews.Text, Bytes: 1})
		}
		if !raceEnabled {
			assert.Zero(t, testing.AllocsPerRun(100, message))
		}
		message()
		o.ObserveSocket(edgews.SocketObservation{Socket: s, Event: edgews.SocketClosed, Code: 1000})
	}
	assert.Empty(t, spans.Ended())
}
