package server

import (
	"net"
	"sync/atomic"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/metrics"
)

// serveEdgewsObserved is serveEdgews with an Observer and a meter: what it costs to see what a server does.
func serveEdgewsObserved(l net.Listener, c Config) error {
	opts := edgewsOptions(c)
	opts.Observer, opts.Meter = new(countingObserver), edgews.NewMeter(nil)
	return serveHTTP(l, edgewsHandlerWith(c, opts))
}

// serveEdgewsMetrics is serveEdgews with a meter and the Observer that counts for Prometheus and OpenTelemetry.
func serveEdgewsMetrics(l net.Listener, c Config) error {
	opts := edgewsOptions(c)
	opts.Meter = edgews.NewMeter(nil)
	opts.Observer = metrics.New(&metrics.Options{Meter: opts.Meter, Plans: []edgews.Plan{edgews.DurableObjects}})
	return serveHTTP(l, edgewsHandlerWith(c, opts))
}

// countingObserver counts messages, their bytes and the time of handlers.
type countingObserver struct {
	edgews.NopObserver
	messages, bytes, nanoseconds atomic.Int64
}

func (o *countingObserver) ObserveMessage(m edgews.MessageObservation) {
	o.messages.Add(1)
	o.bytes.Add(int64(m.Bytes))
	o.nanoseconds.Add(int64(m.Latency))
}
