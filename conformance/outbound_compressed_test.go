package conformance_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews"
)

// TestOutboundCompression replays the scenarios of group c in which the runtime compressed its messages. NewWebSocket has no options
// and does not compress short messages; Dial does with an option.
func TestOutboundCompression(t *testing.T) {
	replayed := 0
	for _, s := range loadScenarios(t, "c") {
		var frames []string
		for i := range s.Trace {
			if e := &s.Trace[i]; e.Lane == "origin" && e.Op == "recv-frame" && e.RSV1 {
				frames = append(frames, e.describeFrame())
			}
		}
		if len(frames) == 0 || listedBecause(s.ID) != "" || s.passesThrough() {
			continue
		}
		replayed++
		t.Run(s.ID, func(t *testing.T) { replayCompressed(t, s, frames) })
	}
	require.Equal(t, 4, replayed)
}

func replayCompressed(t *testing.T, s *scenario, frames []string) {
	rec := newRecorder()
	o := newOrigin(t, s, rec, true)
	defer o.close()
	var w *edgews.Socket
	for i := range s.Trace {
		switch e := &s.Trace[i]; {
		case e.Target == "new":
			opts := &edgews.DialOptions{}
			opts.Compression = &edgews.Compression{Threshold: 1}
			var err error
			w, _, err = edgews.Dial(t.Context(), strings.Replace(e.Args[0].text(), "127.0.0.1:PORT", o.addr(), 1), opts)
			require.NoError(t, err)
			require.NoError(t, w.Accept())
		case e.Method == "send":
			require.NoError(t, w.Send(e.Args[0].text()))
		}
	}
	rec.awaitLines("origin", 1+len(frames))
	lines := rec.result()["origin"]
	assert.Equal(t, frames, lines[1:], "after the request")
	assert.NoError(t, w.Close(edgews.StatusGoingAway, ""))
}
