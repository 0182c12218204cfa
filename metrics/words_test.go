package metrics_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/metrics"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// named returns the values of a type that have a name.
func named[V interface {
	~uint8
	fmt.Stringer
}]() (all []V) {
	for v := V(1); !strings.Contains(v.String(), "("); v++ {
		all = append(all, v)
	}
	return all
}

// Each value that edgews has a name for is counted under that name, and the README has it.
func TestEveryValueHasItsLabel(t *testing.T) {
	r := metrics.New(nil)
	want := make(map[string]string)
	documented := make(map[string][]string)
	note := func(label, word, key string) {
		want[key] = "1"
		documented[label] = append(documented[label], word)
	}
	for _, c := range named[edgews.RefusalCause]() {
		r.ObserveRefusal(edgews.RefusalObservation{Cause: c})
		note("cause", c.String(), fmt.Sprintf("edgews_upgrades_refused_total{%v}", c))
	}
	for _, c := range named[edgews.CloseCause]() {
		r.ObserveSocket(edgews.SocketObservation{Socket: open(t, r), Event: edgews.SocketClosed, Code: 1000, Cause: c})
		note("cause", c.String(), fmt.Sprintf("edgews_sockets_closed_total{,server,%v,1000}", c))
	}
	for _, e := range named[edgews.ObjectEvent]() {
		for _, by := range named[edgews.Trigger]() {
			r.ObserveObject(edgews.ObjectObservation{Event: e, Trigger: by})
			note("trigger", by.String(), fmt.Sprintf("edgews_object_events_total{,%v,%v}", e, by))
		}
		documented["event"] = append(documented["event"], e.String())
	}
	for _, d := range named[edgews.Direction]() {
		for _, k := range []edgews.Kind{edgews.Text, edgews.Binary} {
			r.ObserveMessage(edgews.MessageObservation{Socket: open(t, r), Direction: d, Kind: k})
			note("direction", d.String(), fmt.Sprintf("edgews_messages_total{,server,%v,%v}", d, k))
			documented["kind"] = append(documented["kind"], k.String())
		}
	}
	read(t, r).has(t, want)

	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	for label, words := range documented {
		row := regexp.MustCompile("(?m)^\\| `" + label + "` \\|(.*)$").FindString(string(readme))
		for _, word := range words {
			assert.Contains(t, row, "`"+word+"`", "the row of %s", label)
		}
	}
}
