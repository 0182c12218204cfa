package edgewsprometheus_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/edgews/edgews/metrics"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// program returns the path of a program of Debian's package prometheus. Without it the test is skipped, or fails in CI.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil && os.Getenv("CI") == "true" {
		t.Fatalf("missing, and CI must have it: %s of the Debian package prometheus", name)
	}
	if err != nil {
		t.Skipf("missing: %s of the Debian package prometheus", name)
	}
	return path
}

func TestRules(t *testing.T) {
	promtool := program(t, "promtool")
	for _, args := range [][]string{{"check", "rules", "rules.yml"}, {"test", "rules", "testdata/rules_test.yml"}} {
		out, err := exec.Command(promtool, args...).CombinedOutput()
		assert.NoError(t, err, "promtool %s:\n%s", strings.Join(args, " "), out)
	}
}

// Every metric that the dashboard and the rules name is exported, and every exported metric is in one of the two.
func TestDashboardAndRulesKnowTheMetrics(t *testing.T) {
	exported := make(map[string]bool)
	for _, m := range metrics.Metrics() {
		exported[m.Name] = true
	}
	for _, file := range []string{"dashboard.json", "rules.yml"} {
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, name := range regexp.MustCompile(`\bedgews_[a-z_]+`).FindAllString(string(content), -1) {
			base := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")
			assert.Contains(t, exported, base, "%s names %s", file, name)
			exported[base] = false
		}
	}
	for name, missing := range exported {
		assert.False(t, missing, "%s is in neither", name)
	}
}

// dashboard is what the test needs of dashboard.json.
type dashboard struct {
	Templating struct {
		List []struct{ Name, Type string }
	}
	Panels []struct {
		Title   string
		Targets []struct{ Expr string }
	}
}

// mayBeEmpty are the queries that say nothing while all is well, or need a wait of many minutes.
var mayBeEmpty = regexp.MustCompile(`> 0$`)

// A Prometheus scrapes a server with traffic and evaluates the rules. Every query of the dashboard has an answer.
func TestDashboardWithPrometheus(t *testing.T) {
	path := program(t, "prometheus")
	content, err := os.ReadFile("dashboard.json")
	require.NoError(t, err)
	var board dashboard
	require.NoError(t, json.Unmarshal(content, &board))
	assert.Equal(t, "datasource", board.Templating.List[0].Type)

	site := newSite(t)
	registry := prometheus.NewRegistry()
	registry.MustRegister(site.collector)
	exporter := httptest.NewServer(promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorHandling: promhttp.HTTPErrorOnError, EnableOpenMetrics: true}))
	defer exporter.Close()
	server := startPrometheus(t, path, strings.TrimPrefix(exporter.URL, "http://"))
	for range 5 {
		site.traffic(t)
		server.awaitScrape(t)
	}
	for _, panel := range board.Panels {
		for _, target := range panel.Targets {
			expr := strings.NewReplacer("$__rate_interval", "1m", "$__range", "1m", "$job", ".*", "$instance", ".*", "$namespace", ".*").Replace(target.Expr)
			answer := server.query(t, expr)
			if !mayBeEmpty.MatchString(expr) {
				assert.NotEmpty(t, answer, "%s: %s", panel.Title, expr)
			}
		}
	}
	assert.Equal(t, "1", server.query(t, `sum(edgews_slow_sockets{namespace="rooms"})`)[0], "the socket that does not read")
	assert.Equal(t, "1", server.query(t, `sum(edgews_objects_pinned{pin="accepted socket"})`)[0], "the object that never sleeps")
	assert.NotEmpty(t, server.query(t, `edgews_cost_dollars_total > edgews_cost_hibernating_dollars_total`), "what it costs")
	assert.Empty(t, server.query(t, `prometheus_rule_evaluation_failures_total > 0`), "rules have failed")
}

// monitor is a running Prometheus.
type monitor struct{ url string }

// startPrometheus starts a Prometheus that scrapes target every second.
func startPrometheus(t *testing.T, path, target string) monitor {
	t.Helper()
	dir := t.TempDir()
	rules, err := filepath.Abs("rules.yml")
	require.NoError(t, err)
	config := fmt.Sprintf("global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}\nrule_files: [%q]\nscrape_configs:\n"+
		"  - {job_name: site, static_configs: [{targets: [%q]}]}\n"+
		"  - {job_name: self, static_configs: [{targets: [%q]}]}\n", rules, target, "ADDR")
	addr := freeAddr(t)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(strings.ReplaceAll(config, "ADDR", addr)), 0o600))
	cmd := exec.Command(path, "--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+addr, "--log.level=warn")
	cmd.Stderr = t.Output()
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	m := monitor{"http://" + addr}
	await(t, "Prometheus is ready", func() bool {
		resp, err := http.Get(m.url + "/-/ready")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return m
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// await asks again and again whether something has happened that nothing tells of.
func await(t *testing.T, what string, happened func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !happened() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("in vain: %s", what)
		}
	}
}

// awaitScrape waits until Prometheus has scraped the site once more, with what has happened until now.
func (m monitor) awaitScrape(t *testing.T) {
	t.Helper()
	before := time.Now()
	await(t, "Prometheus scrapes", func() bool {
		at := m.query(t, `max(timestamp(edgews_upgrades_refused_total)) * 1000`)
		if len(at) == 0 {
			return false
		}
		var millis float64
		_, err := fmt.Sscan(at[0], &millis)
		return err == nil && int64(millis) > before.UnixMilli()
	})
}

// query returns the values of the answer to an expression. A query that fails ends the test.
func (m monitor) query(t *testing.T, expr string) (values []string) {
	t.Helper()
	resp, err := http.Get(m.url + "/api/v1/query?query=" + url.QueryEscape(expr))
	require.NoError(t, err)
	defer resp.Body.Close()
	var answer struct {
		Status, Error string
		Data          struct {
			Result []struct{ Value [2]any }
		}
	}
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&answer))
	require.Equal(t, "success", answer.Status, "%s: %s", expr, answer.Error)
	for _, r := range answer.Data.Result {
		values = append(values, fmt.Sprint(r.Value[1]))
	}
	return values
}
