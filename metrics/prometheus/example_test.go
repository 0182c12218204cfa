package edgewsprometheus_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/metrics"
	edgewsprometheus "github.com/edgews/edgews/metrics/prometheus"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// A server whose metrics Prometheus can scrape.
func Example() {
	meter := edgews.NewMeter(nil)
	collector := edgewsprometheus.New(&metrics.Options{Meter: meter, Plans: []edgews.Plan{edgews.DurableObjects}})
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector)

	options := &edgews.UpgradeOptions{Options: edgews.Options{Meter: meter, Observer: collector}, AllowedOrigins: []string{"example.com"}}
	http.HandleFunc("/socket", func(w http.ResponseWriter, r *http.Request) {
		if s, err := edgews.Upgrade(w, r, options); err == nil {
			s.OnMessage(func(e edgews.MessageEvent) { e.Target.SendBytes(e.Data) })
			s.Accept()
		}
	})
	http.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))

	server := httptest.NewServer(http.DefaultServeMux)
	defer server.Close()
	http.Get(server.URL + "/socket") // no opening handshake, so it is refused
	scraped, _ := http.Get(server.URL + "/metrics")
	text, _ := io.ReadAll(scraped.Body)
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "edgews_upgrades_refused_total") && !strings.HasSuffix(line, " 0\n") {
			fmt.Print(line)
		}
	}
	// Output: edgews_upgrades_refused_total{cause="handshake"} 1
}
