package edgewsotel

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/edgews/edgews"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// requestObserver is the Observer of the socket that answers a request.
type requestObserver struct {
	*Observer
	request trace.SpanContext
}

// Request returns an Observer for the options of the socket that answers r. It is o, except that the socket's span has a link to the span of r, such
// as that of otelhttp:
//
//	edgews.Upgrade(w, r, &edgews.UpgradeOptions{Options: edgews.Options{Observer: observer.Request(r)}})
//
// The socket's span is the root of a trace of its own, because it goes on for long after that of the request has ended.
func (o *Observer) Request(r *http.Request) edgews.Observer {
	return &requestObserver{o, trace.SpanContextFromContext(r.Context())}
}

// ObserveSocket counts the event, and begins or ends the socket's span.
func (o *requestObserver) ObserveSocket(e edgews.SocketObservation) { o.observeSocket(e, o.request) }

// ObserveSocket counts the event, and begins or ends the socket's span.
func (o *Observer) ObserveSocket(e edgews.SocketObservation) { o.observeSocket(e, trace.SpanContext{}) }

func (o *Observer) observeSocket(e edgews.SocketObservation, request trace.SpanContext) {
	o.Recorder.ObserveSocket(e)
	switch e.Event {
	case edgews.SocketOpened:
		o.beginSpan(e.Socket, request)
	case edgews.SocketSlow:
		if span := o.spanOf(e.Socket); span != nil {
			span.AddEvent("slow", trace.WithAttributes(attribute.Int("edgews.queued", e.Queued)))
		}
	case edgews.SocketDrained:
		if span := o.spanOf(e.Socket); span != nil {
			span.AddEvent("drained")
		}
	case edgews.SocketClosed:
		o.endSpan(e)
	}
}

// beginSpan begins the span of a socket. It is kept if it is sampled.
func (o *Observer) beginSpan(s *edgews.Socket, request trace.SpanContext) {
	kind, info := trace.SpanKindServer, s.Info()
	if info.Client {
		kind = trace.SpanKindClient
	}
	opts := []trace.SpanStartOption{trace.WithNewRoot(), trace.WithSpanKind(kind), trace.WithAttributes(describe(info)...)}
	if request.IsValid() {
		opts = append(opts, trace.WithLinks(trace.Link{SpanContext: request}))
	}
	ctx, span := o.tracer.Start(context.Background(), "websocket", opts...)
	if span.IsRecording() {
		o.spans.Store(s, ctx)
	}
}

// describe returns the attributes of a socket. Those of a span need no bounds.
func describe(info edgews.SocketInfo) []attribute.KeyValue {
	all := []attribute.KeyValue{attribute.String("network.protocol.name", "websocket"), attribute.Int64("edgews.socket.id", int64(info.ID))}
	add := func(key, value string) {
		if value != "" {
			all = append(all, attribute.String(key, strings.ToValidUTF8(value, "\uFFFD"))) // exporters refuse what is not UTF-8
		}
	}
	addHostPort := func(of, hostPort string) {
		host, port, err := net.SplitHostPort(hostPort)
		if err != nil {
			add(of+".address", hostPort) // a Unix socket, a pair, or a host on its default port
			return
		}
		add(of+".address", host)
		if n, err := strconv.ParseUint(port, 10, 16); err == nil {
			all = append(all, attribute.Int(of+".port", int(n)))
		}
	}
	if info.Remote != nil {
		addHostPort("network.peer", info.Remote.String())
	}
	addHostPort("server", info.Host)
	add("url.path", info.Path)
	add("websocket.subprotocol", info.Protocol)
	add("websocket.extensions", info.Extensions)
	add("edgews.namespace", info.Namespace)
	if info.Namespace != "" {
		add("edgews.object.id", info.Object.String())
	}
	return all
}

// endSpan ends the span of a socket.
func (o *Observer) endSpan(e edgews.SocketObservation) {
	span := o.spanOf(e.Socket)
	if span == nil {
		return
	}
	o.spans.Delete(e.Socket)
	span.SetAttributes(
		attribute.Int("websocket.close.code", int(e.Code)), attribute.String("websocket.close.reason", e.Reason),
		attribute.String("edgews.cause", e.Cause.String()),
	)
	if e.Err != nil {
		span.RecordError(e.Err)
		span.SetStatus(codes.Error, e.Cause.String())
		span.SetAttributes(attribute.String("error.type", e.Cause.String()))
	}
	span.End()
}

// spanOf returns the span of a socket, or nil if it has none that is sampled.
func (o *Observer) spanOf(s *edgews.Socket) trace.Span {
	if ctx, _ := o.spans.Load(s); ctx != nil {
		return trace.SpanFromContext(ctx.(context.Context))
	}
	return nil
}

// ObserveMessage counts the message, and gives one of MessageSpanEvery a span. The span of a received message lasts as long as its handler, that of a
// sent one begins and ends when it is queued.
func (o *Observer) ObserveMessage(e edgews.MessageObservation) {
	o.Recorder.ObserveMessage(e)
	if o.every == 0 || o.seen.Add(1)%o.every != 0 {
		return
	}
	connection, _ := o.spans.Load(e.Socket)
	if connection == nil {
		return
	}
	name, kind := "websocket receive", trace.SpanKindConsumer
	if e.Direction == edgews.Outbound {
		name, kind = "websocket send", trace.SpanKindProducer
	}
	now := time.Now()
	_, span := o.tracer.Start(connection.(context.Context), name, trace.WithSpanKind(kind), trace.WithTimestamp(now.Add(-e.Latency)),
		trace.WithAttributes(
			attribute.String("edgews.kind", e.Kind.String()), attribute.Int("websocket.message.size", e.Bytes),
			attribute.Bool("edgews.dropped", e.Dropped), attribute.Bool("edgews.auto", e.Auto),
		))
	span.End(trace.WithTimestamp(now))
}
