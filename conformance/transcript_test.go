package conformance_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// transcript is what a scenario leads to: for each socket, client and origin the lines of what it did and saw, in
// order. Between different streams no order is claimed: different goroutines (and, in the recordings, different
// machines' clocks) write them.
type transcript map[string][]line

// atLast is the phase in which everything has to be there.
const atLast = 1 << 20

type line struct {
	phase int // the step of the scenario at whose end the line has to be there
	text  string
}

func (t transcript) add(stream string, phase int, format string, args ...any) {
	t[stream] = append(t[stream], line{phase, fmt.Sprintf(format, args...)})
}

func (t transcript) clone() transcript {
	c := make(transcript, len(t))
	for stream, lines := range t {
		c[stream] = slices.Clone(lines)
	}
	return c
}

func (t transcript) equal(other transcript) bool {
	return maps.EqualFunc(t, other, func(a, b []line) bool { return slices.Equal(a, b) })
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

// quiet says whether nothing is expected in phase, so that silence itself is to be observed.
func (t transcript) quiet(phase int) bool {
	for _, lines := range t {
		if slices.ContainsFunc(lines, func(l line) bool { return l.phase == phase }) {
			return false
		}
	}
	return true
}

// optional lines, which begin with "? ", may be missing: they depend on what the kernel does first.
func optional(text string) bool { return strings.HasPrefix(text, "? ") }

// differences compares what was expected with what was recorded and returns "" if nothing differs.
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
	for _, l := range want {
		if len(got) > 0 && matches(strings.TrimPrefix(l.text, "? "), got[0]) {
			got = got[1:]
		} else if !optional(l.text) {
			return false
		}
	}
	return len(got) == 0
}

// matches compares a line. An ellipsis in the expectation stands for anything: the words of reasons that the
// library chooses are its own.
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
	mu      sync.Mutex
	streams map[string][]string
}

func newRecorder() *recorder { return &recorder{streams: make(map[string][]string)} }

func (r *recorder) add(stream, format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.streams[stream] = append(r.streams[stream], fmt.Sprintf(format, args...))
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
		c[stream] = slices.Clone(lines)
	}
	return c
}

const (
	patience = 15 * time.Second      // for something that has to happen on a network
	silence  = 25 * time.Millisecond // for something that must not happen
)

// await waits until everything that want expects by the end of phase has been recorded. It reports whether it has.
func (r *recorder) await(want transcript, phase int, patience time.Duration) bool {
	if want.quiet(phase) {
		time.Sleep(silence)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if r.complete(want, phase) {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
	}
}

// awaitLines waits until a stream has so many lines.
func (r *recorder) awaitLines(stream string, n int) {
	for deadline := time.Now().Add(patience); r.count(stream) < n && time.Now().Before(deadline); {
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

// anyWords lets the library choose its words where the runtime failed a connection: the reason of that Close.
func (t transcript) anyWords(s *scenario) {
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
