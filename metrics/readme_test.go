package metrics_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/edgews/edgews/metrics"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// row returns the row of a metric in the README.
func row(m metrics.Metric) string {
	labels := "–"
	if len(m.Labels) > 0 {
		labels = "`" + strings.Join(m.Labels, "`, `") + "`"
	}
	return fmt.Sprintf("| `%s` | `%s` | %v | `%s` | %s | %s |", m.Name, m.OTel, m.Type, m.Unit, labels, m.Help)
}

// The README has a row for each metric, in the order of the code, and no other row.
func TestReadmeHasEveryMetric(t *testing.T) {
	content, err := os.ReadFile("README.md")
	require.NoError(t, err)
	var documented, exported []string
	for line := range strings.Lines(string(content)) {
		if strings.HasPrefix(line, "| `edgews_") {
			documented = append(documented, strings.TrimSpace(line))
		}
	}
	for _, m := range metrics.Metrics() {
		exported = append(exported, row(m))
	}
	assert.Equal(t, exported, documented)
}

// Names follow the conventions: those of Prometheus end in the unit, and of counters in _total; those of OpenTelemetry have neither, and none is
// the beginning of another ("Names SHOULD NOT coincide with namespaces", semantic conventions, Naming).
func TestNames(t *testing.T) {
	units := map[string]string{"s": "_seconds", "By": "_bytes", "By.s": "_byte_seconds", "{USD}": "_dollars"}
	seen := make(map[string]bool)
	for _, m := range metrics.Metrics() {
		t.Run(m.Name, func(t *testing.T) {
			assert.Regexp(t, `^edgews_[a-z]+(_[a-z]+)*$`, m.Name)
			assert.Regexp(t, `^(websocket|edgews)(\.[a-z]+(_[a-z]+)*)+$`, m.OTel)
			assert.False(t, seen[m.Name] || seen[m.OTel], "a name occurs twice")
			seen[m.Name], seen[m.OTel] = true, true
			base, total := strings.CutSuffix(m.Name, "_total")
			assert.Equal(t, m.Type == metrics.Counter, total)
			assert.NotContains(t, m.OTel, "total")
			for _, other := range metrics.Metrics() {
				assert.False(t, strings.HasPrefix(other.OTel, m.OTel+"."), "%s is a namespace of %s", m.OTel, other.OTel)
			}
			if unit := units[m.Unit]; unit != "" {
				assert.True(t, strings.HasSuffix(base, unit), "the name should end in %s", unit)
			} else {
				assert.Regexp(t, `^\{[a-z_]+\}$`, m.Unit)
			}
			assert.Equal(t, m.Type == metrics.Histogram, len(m.Bounds) > 0)
			assert.NotEmpty(t, m.Help)
			assert.False(t, strings.HasSuffix(m.Help, "."))
			for _, l := range m.Labels {
				assert.NotContains(t, []string{"id", "object", "path", "peer", "socket", "remote"}, l, "this has no bound")
			}
		})
	}
}
