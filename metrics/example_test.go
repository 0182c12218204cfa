package metrics_test

import (
	"fmt"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/metrics"
)

// A program can read the metrics without a monitoring system.
func ExampleRecorder_Samples() {
	recorder := metrics.New(nil)
	recorder.ObserveRefusal(edgews.RefusalObservation{Cause: edgews.RefusedOrigin}) // as Options.Observer is told
	for s := range recorder.Samples() {
		if s.Value > 0 {
			fmt.Println(s.Metric.Name, s.Labels, s.Value)
		}
	}
	// Output: edgews_upgrades_refused_total [origin] 1
}

// Classes tell apart what reads slowly: here the sockets of a subprotocol.
func ExampleOptions() {
	recorder := metrics.New(&metrics.Options{Class: func(s *edgews.Socket) string { return s.Protocol() }})
	options := edgews.Options{Observer: recorder}
	fmt.Println(options.Observer == edgews.Observer(recorder))
	// Output: true
}

// The metrics say that sockets are slow; SlowSockets says which.
func ExampleRecorder_SlowSockets() {
	recorder := metrics.New(nil)
	for s, since := range recorder.SlowSockets() {
		info := s.Info()
		fmt.Println(info.Remote, info.Namespace, info.Buffered, "bytes since", since)
	}
	fmt.Println("no more")
	// Output: no more
}
