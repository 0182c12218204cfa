// Package metrics adds up what an [edgews.Observer] is told and what an [edgews.Meter] counts, and gives it out as metrics: counters, gauges
// and histograms with names, units and bounded labels. It knows no monitoring system. Two modules export what it has:
//
//	github.com/edgews/edgews/metrics/prometheus   a prometheus.Collector, with a Grafana dashboard, recording rules and alerts
//	github.com/edgews/edgews/metrics/otel         a producer of OpenTelemetry metrics, and spans
//
// Use this package directly for another system: [Metrics] describes every metric, and [Recorder.Samples] reads them all.
//
// # Labels
//
// Each label has few values, whatever the program and its clients do: names of namespaces, classes of sockets and tenants have bounds in
// Options, beyond which the value is "other"; plans are those of Options; all other labels are words of this package. No label has an
// object's id, a path or an address. To find the one socket or object behind a number, go on with [Recorder.SlowSockets],
// [edgews.Namespace.Explain] or the package inspect.
package metrics
