package conformance_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// transcript is the result of a scenario: for each socket, client and origin, a stream of lines about its calls and events, in
// order. Lines of different streams have no order, since different goroutines (in the recordings, machines with different clocks)
// write them.
type transcript map[string][]line

// lastPhase is the phase at whose end all lines must have been recorded.
const lastPhase = 1 << 20

type line struct {
	phase  int // the step of the scenario at whose end the line must have been recorded
	text   string
	seq    int            // its index in the recording, which is an order within a lane; 0: the line was not recorded
	others map[string]int // the recorded states of other sockets at that moment
}

func (t transcript) add(stream string, phase int, format string, args ...any) {
	n := 1
	for _, lines := range t {
		n += len(lines)
	}
	text := fmt.Sprintf(format, args...)
	if strings.HasPrefix(text, "then ") { // the states after a wait were recorded together
		n = 0
	}
	t[stream] = append(t[stream], line{phase: phase, text: text, seq: n})
}

// withOthers adds to the last line of a stream the states of other sockets that were recorded with e.
func (t transcript) withOthers(stream string, e *entry) {
	for name, rs := range e.RS {
		if name == e.Target+e.Socket {
			continue
		}
		last := &t[stream][len(t[stream])-1]
		if last.others == nil {
			last.others = make(map[string]int)
		}
		last.others[name] = rs
	}
}

func (t transcript) clone() transcript {
	c := make(transcript, len(t))
	for stream, lines := range t {
		c[stream] = slices.Clone(lines)
	}
	return c
}

func (t transcript) equal(other transcript) bool {
	return maps.EqualFunc(t, other, func(a, b []line) bool {
		return slices.EqualFunc(a, b, func(a, b line) bool { return a.phase == b.phase && a.text == b.text })
	})
}

// expected returns how many lines each stream must have at the end of phase.
func (t transcript) expected(stream string, phase int) int {
	n := 0
	for _, l := range t[stream] {
		if l.phase <= phase && !optional(l.text) {
			n++
		}
	}
	return n
}

// expectsNothing reports whether no line is expected in phase, so that the replay has to wait to see that none comes.
func (t transcript) expectsNothing(phase int) bool {
	for _, lines := range t {
		if slices.ContainsFunc(lines, func(l line) bool { return l.phase == phase }) {
			return false
		}
	}
	return true
}

// optional reports whether a line may be missing, because it depends on timing in the kernel. Such lines begin with "? ".
func optional(text string) bool { return strings.HasPrefix(text, "? ") }

// outcomes are the operations, by lane, whose entries are results of the replay, and are compared with it.
var outcomes = map[string]string{
	"client": "http-response recv-frame value",
	"server": "call event get note",
	"do":     "constructor fetch-handler handler handler-end do value note call event get",
	"driver": "do-fetch-result",
	"worker": "event response",
}

// ignoredEntries are the operations, by lane, that have no counterpart in Go or repeat other entries in words.
var ignoredEntries = map[string]string{
	"server": "request",        // the handler's net/http.Request
	"do":     "set",            // binaryType
	"driver": "gc note",        // the garbage collector; whether TCP was closed, which is in the client's lane
	"worker": "note set shape", // what a scenario is about to do; binaryType; properties of event objects
}

// isOutcome reports whether an entry is not replayed.
func (e *entry) isOutcome() bool {
	lane, _, _ := strings.Cut(e.Lane, ":")
	switch {
	case e.Op == "tcp":
		return strings.HasSuffix(e.Event, "received")
	case e.Op == "server-options", e.Op == "await" && e.Lane == "worker":
		return true // the scenario's beginning
	}
	return slices.Contains(strings.Fields(outcomes[lane]+" "+ignoredEntries[lane]), e.Op)
}

// laneOf returns the lane of a stream, within which recorded lines have an order; "": none.
func (s *scenario) laneOf(stream string) string {
	switch s.group() {
	case "a":
		if fetchHandlers[s.ID] == nil {
			return "worker"
		}
	case "c":
		if stream != "origin" {
			return "worker"
		}
	case "d":
		if stream != "fetch" && !strings.HasPrefix(stream, "client") {
			return "do"
		}
	}
	return ""
}

// differences compares the expected lines with the recorded ones and returns "" if they are equal.
func (t transcript) differences(got map[string][]string) string {
	var b strings.Builder
	streams := slices.Sorted(maps.Keys(t))
	for stream := range got {
		if _, ok := t[stream]; !ok {
			streams = append(streams, stream)
		}
	}
	for _, stream := range streams {
		if !sameLines(t[stream], got[stream]) {
			fmt.Fprintf(&b, "%s:\n", stream)
			for _, l := range t[stream] {
				fmt.Fprintf(&b, "   want %s\n", l.text)
			}
			for _, text := range got[stream] {
				fmt.Fprintf(&b, "   got  %s\n", text)
			}
		}
	}
	return b.String()
}

func sameLines(want []line, got []string) bool {
	_, same := align(want, got)
	return same
}

// align returns the index in want of each line of got, and whether the lines are equal.
func align(want []line, got []string) (at []int, same bool) {
	for i, l := range want {
		if len(at) < len(got) && matches(strings.TrimPrefix(l.text, "? "), got[len(at)]) {
			at = append(at, i)
		} else if !optional(l.text) {
			return nil, false
		}
	}
	return at, len(at) == len(got)
}

// orderDifferences compares the order of lines within a lane, and the recorded states of other sockets.
func (t transcript) orderDifferences(s *scenario, got map[string][]string, rec *recorder) string {
	type place struct {
		line
		stream string
		seen   seen
	}
	lanes := make(map[string][]place)
	var b strings.Builder
	for stream, lines := range t {
		at, same := align(lines, got[stream])
		all := rec.seen(stream)
		if !same || len(all) != len(at) {
			continue // reported already, or not comparable line by line
		}
		for i, j := range at {
			p := place{lines[j], stream, all[i]}
			if lane := s.laneOf(stream); lane != "" && p.seq > 0 && !betweenSockets[s.ID] {
				lanes[lane] = append(lanes[lane], p)
			}
			for name, rs := range p.seen.others {
				if want, recorded := p.others[name]; recorded && want != rs && !slices.Contains(otherStates[s.ID], fmt.Sprintf("%s %d not %d", name, rs, want)) {
					fmt.Fprintf(&b, "%s: %s: want %s in state %d, got %d\n", stream, p.text, name, want, rs)
				}
			}
		}
	}
	for lane, places := range lanes {
		slices.SortFunc(places, func(a, b place) int { return a.seq - b.seq })
		for i := range places[1:] {
			if before, after := places[i], places[i+1]; before.seen.at > after.seen.at {
				fmt.Fprintf(&b, "lane %s: %s: %s\n   has to come before %s: %s\n", lane, before.stream, before.text, after.stream, after.text)
			}
		}
	}
	return b.String()
}

// matches compares a line. An ellipsis in want matches any text, for example a close reason that the library chooses.
func matches(want, got string) bool {
	parts := strings.Split(want, "…")
	if len(parts) == 1 {
		return want == got
	}
	if !strings.HasPrefix(got, parts[0]) {
		return false
	}
	got = got[len(parts[0]):]
	for _, part := range parts[1 : len(parts)-1] {
		i := strings.Index(got, part)
		if i < 0 {
			return false
		}
		got = got[i+len(part):]
	}
	return strings.HasSuffix(got, parts[len(parts)-1])
}

// recorder collects the transcript of a replay.
type recorder struct {
	// turn is held during what was one turn of JavaScript's event loop: the worker's calls between two waits, or an event's listener with
	// its calls. So a call and the line about it are one step, and an event whose time comes during a turn is recorded after it. Nobody
	// waits for events with turn held. No listener runs on the goroutine that holds it: a listener is never called inside a call.
	turn sync.Mutex

	mu      sync.Mutex
	lines   int
	streams map[string][]seen
}

// seen is a recorded line.
type seen struct {
	text   string
	at     int            // its index among all lines
	others map[string]int // the states of other sockets at that moment
}

func newRecorder() *recorder { return &recorder{streams: make(map[string][]seen)} }

func (r *recorder) add(stream, format string, args ...any) {
	r.addWith(nil, stream, format, args...)
}

func (r *recorder) addWith(others map[string]int, stream, format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines++
	r.streams[stream] = append(r.streams[stream], seen{fmt.Sprintf(format, args...), r.lines, others})
}

// seen returns the lines of a stream.
func (r *recorder) seen(stream string) []seen {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.streams[stream])
}

func (r *recorder) count(stream string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.streams[stream])
}

// result returns what has been recorded so far.
func (r *recorder) result() map[string][]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := make(map[string][]string, len(r.streams))
	for stream, lines := range r.streams {
		for _, l := range lines {
			c[stream] = append(c[stream], l.text)
		}
	}
	return c
}

const (
	waitTimeout = time.Minute           // for something that must happen on a network
	quietTime   = 25 * time.Millisecond // for something that must not happen
	// quietEnd is the time at the end in which no further line may come.
	quietEnd = 150 * time.Millisecond
)

// await waits until everything that want expects by the end of phase has been recorded. It reports whether it has.
func (r *recorder) await(want transcript, phase int, timeout time.Duration) bool {
	if want.expectsNothing(phase) {
		time.Sleep(quietTime)
	}
	for deadline := time.Now().Add(timeout); ; time.Sleep(time.Millisecond) {
		if r.complete(want, phase) {
			if phase == lastPhase {
				time.Sleep(quietEnd)
			}
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
	}
}

// awaitLines waits until a stream has n lines.
func (r *recorder) awaitLines(stream string, n int) {
	for deadline := time.Now().Add(waitTimeout); r.count(stream) < n && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
}

func (r *recorder) complete(want transcript, phase int) bool {
	for stream := range want {
		if r.count(stream) < want.expected(stream, phase) {
			return false
		}
	}
	return true
}

// ignoreReasons accepts any reason in a Close with which the runtime failed a connection.
func (t transcript) ignoreReasons(s *scenario) {
	for i := range s.Trace {
		_, words, found := strings.Cut(s.Trace[i].Message, "protocolError.description = ")
		if !found {
			continue
		}
		for _, lines := range t {
			for j, l := range lines {
				if start, rest, ok := strings.Cut(l.text, ` "`+words[:min(len(words), 20)]); ok {
					_, end, _ := strings.Cut(rest, `"`)
					lines[j].text = start + ` "…"` + end
				}
			}
		}
	}
}
