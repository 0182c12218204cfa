package cluster_test

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/inspect"
	"github.com/edgews/edgews/metrics"
)

// TestInspectorAndMetricsShowTheCluster: both find the cluster of a namespace, with a node's ID that a browser would run.
func TestInspectorAndMetricsShowTheCluster(t *testing.T) {
	const evil = "<img src=x onerror=alert(1)>"
	sites := startSites(t, "a", evil)
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		for _, s := range sites {
			assert.Equal(c, shards, states(s.Info())["ready"]+states(s.Info())["remote"])
			assert.Positive(c, states(s.Info())["ready"])
		}
	}, 30*time.Second, 10*time.Millisecond)
	a := sites[0]
	ask(t, a.dial(t, "lobby", "x"), "x") // when the answer comes, the edge has counted the socket

	inspector := inspect.New(&inspect.Options{Logger: slog.New(slog.DiscardHandler)})
	inspector.AddNamespaces(a.rooms)
	server := httptest.NewServer(inspector.Handler())
	t.Cleanup(func() {
		server.Close()
		assert.NoError(t, inspector.Shutdown(context.Background()))
	})
	var mux edgews.Mux
	page, _, err := edgews.Dial(t.Context(), "ws"+strings.TrimPrefix(server.URL, "http")+"/socket", nil)
	require.NoError(t, err)
	page.OnMessage(func(e edgews.MessageEvent) { _ = mux.Dispatch(t.Context(), page, e.Message) })
	require.NoError(t, page.Accept())
	report, err := edgews.Request[any, inspect.ClusterReport](t.Context(), &mux, page, inspect.CallCluster, nil)
	require.NoError(t, err)
	require.Len(t, report.Clusters, 1)
	v := report.Clusters[0]
	assert.Equal(t, []string{"rooms"}, v.Namespaces)
	assert.Equal(t, []string{evil, "a"}, v.Shards.Owners)
	assert.Equal(t, shards, len(v.Shards.Epoch))
	assert.NotEmpty(t, v.Links)

	values := make(map[string]float64)
	for s := range metrics.New(&metrics.Options{Cluster: a.rooms.Cluster()}).Samples() {
		values[s.Metric.Name+"{"+strings.Join(s.Labels, ",")+"}"] = s.Value
	}
	assert.EqualValues(t, 2, values["edgews_cluster_members{edgews,alive}"])
	assert.EqualValues(t, shards, values["edgews_cluster_member_shards{edgews,a}"]+values["edgews_cluster_member_shards{edgews,"+evil+"}"])
	assert.EqualValues(t, 1, values["edgews_cluster_sockets{edgews,a,edge}"]+values["edgews_cluster_sockets{edgews,"+evil+",edge}"])
}
