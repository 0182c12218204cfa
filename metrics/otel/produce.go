package edgewsotel

import (
	"time"

	"github.com/edgews/edgews/metrics"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// appendSample returns data with one more point; nil: none yet.
func appendSample(data metricdata.Aggregation, s metrics.Sample, from, now time.Time) metricdata.Aggregation {
	switch s.Metric.Type {
	case metrics.Histogram:
		h, _ := data.(metricdata.Histogram[float64])
		h.Temporality = metricdata.CumulativeTemporality
		h.DataPoints = append(h.DataPoints, metricdata.HistogramDataPoint[float64]{
			Attributes: attributes(s), StartTime: from, Time: now,
			Count: s.Distribution.Count(), Sum: s.Distribution.Sum, Bounds: s.Metric.Bounds, BucketCounts: s.Distribution.Buckets,
		})
		return h
	case metrics.Gauge:
		g, _ := data.(metricdata.Gauge[float64])
		g.DataPoints = append(g.DataPoints, metricdata.DataPoint[float64]{Attributes: attributes(s), Time: now, Value: s.Value})
		return g
	default:
		sum, _ := data.(metricdata.Sum[float64])
		sum.Temporality, sum.IsMonotonic = metricdata.CumulativeTemporality, s.Metric.Type == metrics.Counter
		sum.DataPoints = append(sum.DataPoints, metricdata.DataPoint[float64]{
			Attributes: attributes(s), StartTime: from, Time: now, Value: s.Value,
		})
		return sum
	}
}

// attributes returns the labels of a sample. Empty ones are left out.
func attributes(s metrics.Sample) attribute.Set {
	var all []attribute.KeyValue
	for i, name := range s.Metric.Labels {
		if s.Labels[i] != "" {
			all = append(all, attribute.String("edgews."+name, s.Labels[i]))
		}
	}
	return attribute.NewSet(all...)
}
