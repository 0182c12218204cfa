package edgewsotel_test

import (
	"context"
	"fmt"

	"github.com/edgews/edgews"
	edgewsotel "github.com/edgews/edgews/metrics/otel"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// A program gives the Observer to its reader, here one that is read by hand, and to its sockets.
func Example() {
	observer := edgewsotel.New(nil)
	reader := metric.NewManualReader(metric.WithProducer(observer))
	provider := metric.NewMeterProvider(metric.WithReader(reader))
	defer provider.Shutdown(context.Background())

	observer.ObserveRefusal(edgews.RefusalObservation{Status: 403, Cause: edgews.RefusedOrigin}) // as Options.Observer is told

	var all metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &all); err != nil {
		fmt.Println(err)
	}
	for _, m := range all.ScopeMetrics[0].Metrics {
		for _, p := range m.Data.(metricdata.Sum[float64]).DataPoints {
			if cause, _ := p.Attributes.Value("edgews.cause"); p.Value > 0 {
				fmt.Println(m.Name, cause.AsString(), p.Value)
			}
		}
	}
	// Output: websocket.upgrade.refused origin 1
}
