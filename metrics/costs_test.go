package metrics_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/edgewstest"
	"github.com/edgews/edgews/metrics"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A day of two sockets, one of which keeps its object awake.
func TestCosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		meter := edgews.NewMeter(nil)
		plan := edgews.DurableObjects2024
		r := metrics.New(&metrics.Options{Meter: meter, Plans: []edgews.Plan{plan}})
		ns := namespace(t, "rooms", &edgews.NamespaceOptions{Options: edgews.Options{Meter: meter.Tenant("acme")}})
		srv := edgewstest.New(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ns.ByName(r.URL.Path).ServeHTTP(w, r)
		}))
		for _, path := range []string{"/pinned", "/hibernating"} {
			require.NoError(t, srv.Dial(path, nil).Accept())
		}
		time.Sleep(24 * time.Hour)
		all := read(t, r)
		all.has(t, map[string]string{
			"edgews_usage_connections_total{}":                         "2",
			"edgews_usage_seconds_total{active}":                       "86400",
			"edgews_usage_seconds_total{connected}":                    "172800",
			"edgews_usage_seconds_total{busy}":                         "0",
			"edgews_tenant_seconds_total{acme,active}":                 "86400",
			"edgews_tenant_messages_total{acme,in}":                    "0",
			"edgews_bill_dollars{" + plan.Name + "}":                   "5",
			"edgews_cost_dollars_total{" + plan.Name + "}":             "0.1382403", // 86,400 s of 0.128 GB, and two connections
			"edgews_cost_hibernating_dollars_total{" + plan.Name + "}": "3e-07",
			"edgews_tenant_cost_dollars_total{acme," + plan.Name + "}": "0.1382403",
		})
	})
}

// Times that have more than 292 years of sockets in them go on.
func TestCostsDoNotWrapAround(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		meter := edgews.NewMeter(&edgews.MeterOptions{Interval: 24 * time.Hour})
		plan := edgews.Plan{Name: "time", ConnectedTime: edgews.Rate{Price: edgews.Dollar, Per: 3600}}
		r := metrics.New(&metrics.Options{Meter: meter, Plans: []edgews.Plan{plan}})
		srv := edgewstest.New(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s, err := edgews.Upgrade(w, r, &edgews.UpgradeOptions{Options: edgews.Options{Meter: meter, KeepAlive: -1}})
			if assert.NoError(t, err) {
				assert.NoError(t, s.Accept())
			}
		}))
		const sockets, years = 10, 40
		for range sockets {
			require.NoError(t, srv.Dial("/", &edgews.DialOptions{Options: edgews.Options{KeepAlive: -1}}).Accept())
		}
		for range years / 5 {
			time.Sleep(5 * 365 * 24 * time.Hour)
			read(t, r)
		}
		assert.Negative(t, meter.Usage().Connected, "the test needs more time")
		read(t, r).has(t, map[string]string{
			"edgews_usage_seconds_total{connected}": "1.26144e+10",
			"edgews_cost_dollars_total{time}":       "3.504e+06",
		})
	})
}

func TestPlansNeedNames(t *testing.T) {
	assert.Panics(t, func() { metrics.New(&metrics.Options{Plans: []edgews.Plan{{}}}) })
	assert.Panics(t, func() {
		metrics.New(&metrics.Options{Plans: []edgews.Plan{edgews.DurableObjects, edgews.DurableObjects}})
	})
}
