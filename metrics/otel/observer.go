// Package edgewsotel exports what sockets, objects and meters do to OpenTelemetry: metrics, a span for each connection, and spans for some of the
// messages.
//
//	observer := edgewsotel.New(nil)
//	reader := metric.NewPeriodicReader(exporter, metric.WithProducer(observer))
//	provider := metric.NewMeterProvider(metric.WithReader(reader))
//	options := edgews.Options{Observer: observer}
//
// The table of all metrics is in the README of the package metrics.
package edgewsotel

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/metrics"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/trace"
)

// scope is the name of the instrumentation scope.
const scope = "github.com/edgews/edgews/metrics/otel"

// Options configures an Observer. A nil pointer means the zero value.
type Options struct {
	metrics.Options

	// TracerProvider makes the spans; nil means otel.GetTracerProvider, which makes none unless the program has set one.
	TracerProvider trace.TracerProvider

	// MessageSpanEvery is how many messages, of all sockets together, have one span: 1000 gives every thousandth message one. 0 or less: none
	// has. Only messages of sockets whose own span is sampled have spans.
	MessageSpanEvery int
}

// Observer is an [edgews.Observer] that counts, as [metrics.Recorder] says, and makes spans. Give it to sockets and namespaces as Options.Observer.
//
// As a producer of metrics (see [Observer.Produce]) it is given to the readers of a MeterProvider. It has no instruments of its own, because
// recording into the histograms of the SDK costs each message five times what the Recorder does; so views of the provider do not apply. Temporality
// is cumulative.
//
// All methods may be called from any goroutine.
type Observer struct {
	*metrics.Recorder
	tracer trace.Tracer
	every  uint64

	seen  atomic.Uint64 // messages
	spans sync.Map      // *edgews.Socket → context.Context, with the span of the connection, if that is sampled
}

var _ edgews.Observer = (*Observer)(nil)

// New returns an Observer that has counted nothing. It panics where [metrics.New] does.
func New(opts *Options) *Observer {
	if opts == nil {
		opts = new(Options)
	}
	provider := opts.TracerProvider
	if provider == nil {
		provider = otel.GetTracerProvider()
	}
	return &Observer{
		Recorder: metrics.New(&opts.Options),
		tracer:   provider.Tracer(scope),
		every:    uint64(max(opts.MessageSpanEvery, 0)),
	}
}

// Produce returns all metrics: it is the method of a metric.Producer of the SDK, for metric.WithProducer. It asks every object that is in memory: see
// [metrics.Recorder.Samples].
func (o *Observer) Produce(ctx context.Context) ([]metricdata.ScopeMetrics, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	now := time.Now()
	var all []metricdata.Metrics
	var last *metrics.Metric
	for s := range o.Samples() {
		if s.Metric != last {
			last = s.Metric
			all = append(all, metricdata.Metrics{Name: s.Metric.OTel, Description: s.Metric.Help, Unit: s.Metric.Unit})
		}
		m := &all[len(all)-1]
		m.Data = appendSample(m.Data, s, o.Started(), now)
	}
	return []metricdata.ScopeMetrics{{Scope: instrumentation.Scope{Name: scope}, Metrics: all}}, nil
}
