package metrics_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/edgewstest"
	"github.com/edgews/edgews/metrics"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Clients choose paths, object names, subprotocols, headers and close reasons, and here also tenants. None becomes a label, except tenants, of
// which there are few; and the second thousand clients adds no sample.
func TestHostileClientsAddNoLabels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		meter := edgews.NewMeter(nil)
		r := metrics.New(&metrics.Options{Meter: meter, Plans: []edgews.Plan{edgews.DurableObjects}})
		ns := namespace(t, "rooms", &edgews.NamespaceOptions{
			Options: edgews.Options{Observer: r, Meter: meter}, Tenant: func(id edgews.ID) string { return id.Name() },
		})
		srv := edgewstest.New(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { ns.ByName(r.URL.Path).ServeHTTP(w, r) }))
		attack := func(i int) {
			evil := fmt.Sprintf("evil-%d\"} 1\n# HELP %s\x00\xff", i, strings.Repeat("x", i%100))
			s := srv.Dial("/"+url.PathEscape(evil), &edgews.DialOptions{Protocols: []string{fmt.Sprint("evil-", i)}})
			require.NoError(t, s.Accept())
			require.NoError(t, s.Send("evil message"))
			require.NoError(t, s.Close(edgews.StatusCode(3000+2*i%2000), "evil reason"))
			<-s.Done()
		}
		for i := range 1000 {
			attack(i)
		}
		synctest.Wait()
		before := read(t, r)
		tenants := make(map[string]bool)
		for s := range r.Samples() {
			for i, label := range s.Labels {
				if s.Metric.Labels[i] == "tenant" {
					tenants[label] = true
					continue
				}
				assert.NotContains(t, label, "evil", s.Metric.Name)
			}
		}
		assert.Len(t, tenants, 21, "20 and other")
		for i := range 1000 {
			attack(1000 + i)
		}
		synctest.Wait()
		after := read(t, r)
		assert.Len(t, after, len(before), "more clients, no more samples")
		after.has(t, map[string]string{
			"edgews_sockets_opened_total{rooms,server}":           "2000",
			"edgews_sockets_closed_total{rooms,server,peer,3xxx}": "1000",
			"edgews_sockets_closed_total{rooms,server,peer,4xxx}": "1000",
		})
	})
}

// Names that are too long are cut, and those that are the same then share a label.
func TestLongLabelsAreCut(t *testing.T) {
	meter := edgews.NewMeter(nil)
	r := metrics.New(&metrics.Options{Meter: meter})
	meter.Tenant(strings.Repeat("é", 1<<20))
	meter.Tenant(strings.Repeat("é", 1<<20) + "!")
	read(t, r).has(t, map[string]string{"edgews_tenant_messages_total{" + strings.Repeat("é", 64) + ",in}": "0"})
}
