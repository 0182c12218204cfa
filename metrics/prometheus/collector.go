// Package edgewsprometheus exports what sockets, objects and meters do to Prometheus:
//
//	collector := edgewsprometheus.New(&metrics.Options{Meter: meter, Plans: []edgews.Plan{edgews.DurableObjects}})
//	prometheus.MustRegister(collector)
//	rooms := edgews.NewNamespace("rooms", newRoom, &edgews.NamespaceOptions{Options: edgews.Options{Observer: collector, Meter: meter}})
//	http.Handle("/metrics", promhttp.Handler())
//
// The table of all metrics is in the README of the package metrics. Beside this package lie dashboard.json, a dashboard for Grafana, and rules.yml,
// recording rules and alerts.
package edgewsprometheus

import (
	"github.com/edgews/edgews/metrics"
	"github.com/prometheus/client_golang/prometheus"
)

// Collector is a [prometheus.Collector], and the [edgews.Observer] whose counts it collects: see [metrics.Recorder]. Give it to sockets and namespaces
// as Options.Observer, and register it once. To add labels that are the same for all metrics, register it with [prometheus.WrapRegistererWith].
// All methods may be called from any goroutine.
type Collector struct {
	*metrics.Recorder
	descs map[string]*prometheus.Desc // by Metric.Name
}

// New returns a Collector that has counted nothing. Nil options mean the zero value. It panics where [metrics.New] does.
func New(opts *metrics.Options) *Collector {
	c := &Collector{Recorder: metrics.New(opts), descs: make(map[string]*prometheus.Desc)}
	for _, m := range metrics.Metrics() {
		c.descs[m.Name] = prometheus.NewDesc(m.Name, m.Help, m.Labels, nil)
	}
	return c
}

// Describe sends the description of every metric.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		ch <- d
	}
}

// Collect sends the value of every metric. It asks every object that is in memory: see [metrics.Recorder.Samples].
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	for s := range c.Samples() {
		ch <- c.metric(s)
	}
}

// metric returns a sample as Prometheus has it.
func (c *Collector) metric(s metrics.Sample) prometheus.Metric {
	desc := c.descs[s.Metric.Name]
	switch s.Metric.Type {
	case metrics.Histogram:
		buckets := make(map[float64]uint64, len(s.Metric.Bounds))
		cumulated := uint64(0)
		for i, bound := range s.Metric.Bounds {
			cumulated += s.Distribution.Buckets[i]
			buckets[bound] = cumulated
		}
		return prometheus.MustNewConstHistogram(desc, s.Distribution.Count(), s.Distribution.Sum, buckets, s.Labels...)
	case metrics.Counter:
		return prometheus.MustNewConstMetric(desc, prometheus.CounterValue, s.Value, s.Labels...)
	default:
		return prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, s.Value, s.Labels...)
	}
}
