package conformance_test

import (
	"fmt"
	"slices"
	"strings"
)

// objectQuirks has the quirks of scenarios of group d with clients.
var objectQuirks = map[string]objectQuirk{
	"d-net-early-frames": {early: []string{"early"}},
	"d-net-order-100":    {burst: 100},

	// Handlers that were overtaken in the recording wait until they are overtaken here.
	"d-ping-while-blocked":      {awaitedLines: map[string]int{"client": 3}},
	"d-auto-during-handler":     {awaitedLines: map[string]int{"client": 2}},
	"d-auto-other-socket-busy":  {awaitedLines: map[string]int{"client:2": 2}},
	"d-auto-order":              {awaitedLines: map[string]int{"client": 3}},
	"d-conc-timer":              {awaitedLines: map[string]int{"object": 5}},
	"d-conc-fin-during-handler": {lost: true},

	"d-auto-timestamp":            {second: map[string]int{"client:2": 8}},
	"d-client-rst-pending-send":   {doesNotRead: true, awaitedLines: map[string]int{"object": 5}, options: unbounded},
	"d-handler-missing-close":     {empty: true},
	"d-handler-missing-close-fin": {empty: true},
	"d-handler-missing-error":     {empty: true},
	"d-server-close-no-reply":     {options: shortCloseTimeout},
}

// burst sends consecutive numbers as texts in one segment, and waits for the echoes.
func (p *objectPlayer) burst() {
	n := p.quirk.burst
	p.quirk.burst = 0
	var frames []byte
	for _, text := range numbers(n) {
		frames = append(frames, maskedText(text)...)
	}
	p.clients["client"].conn.Write(frames)
	p.rec.awaitLines("client", 1+n)
}

// fold replaces the lines of a burst by the recorded summary.
func (q objectQuirk) fold(got map[string][]string) map[string][]string {
	if q.burst == 0 {
		return got
	}
	var echoes []string
	got["client"] = slices.DeleteFunc(got["client"], func(l string) bool {
		text, echo := strings.CutPrefix(l, "recv text ")
		if echo {
			echoes = append(echoes, strings.Trim(text, `"`))
		}
		return echo
	})
	got["object"] = slices.DeleteFunc(got["object"], func(l string) bool { return strings.HasPrefix(l, "c1: ") })
	got["client"] = append(got["client"], fmt.Sprintf("echoes received: %d", len(echoes)),
		fmt.Sprintf("in order: %v", slices.Equal(echoes, numbers(q.burst))))
	return got
}
