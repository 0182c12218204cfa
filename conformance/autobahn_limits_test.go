package conformance

import (
	"fmt"
	"strings"
	"testing"
)

// Sections 9 and 10: large messages, many frames, many small writes.

const kib, mib = 1 << 10, 1 << 20

// limits returns 9.1 to 9.6. Under the race detector they have a quarter of the size: what it looks for does not depend on it.
func limits() (cases []autobahnCase) {
	add := func(section, i int, kind func(string) rawFrame, size, fragment, chop int) {
		if raceEnabled {
			size /= 4
		}
		whole := kind(strings.Repeat("BAsd7&jh23", size/10+1)[:size])
		cases = append(cases, autobahnCase{fmt.Sprintf("9.%d.%d", section, i+1), chop, fragmented(whole, fragment), frames(whole), closedByPeer})
	}
	for text9, kind := range []func(string) rawFrame{text, binry} {
		for i, size := range []int{64 * kib, 256 * kib, 1 * mib, 4 * mib, 8 * mib, 16 * mib} {
			add(1+text9, i, kind, size, size, 0)
		}
		for i, fragment := range []int{64, 256, 1 * kib, 4 * kib, 16 * kib, 64 * kib, 256 * kib, 1 * mib, 4 * mib} {
			add(3+text9, i, kind, 4*mib, fragment, 0)
		}
		for i, chop := range []int{64, 128, 256, 512, 1 * kib, 2 * kib} {
			add(5+text9, i, kind, 1*mib, 1*mib, chop)
		}
	}
	return cases
}

// fragmented cuts a message into frames of size bytes.
func fragmented(whole rawFrame, size int) (f []rawFrame) {
	first, rest := whole.first&^fin, whole.payload
	for len(rest) > size {
		f = append(f, rawFrame{first, rest[:size]})
		first, rest = opContinuation, rest[size:]
	}
	return append(f, rawFrame{first | fin, rest})
}

// roundTrip sends a message a thousand times, each time after the echo of the one before.
type roundTrip struct {
	id    string
	frame rawFrame
}

// roundTrips returns 9.7 and 9.8.
func roundTrips() (cases []roundTrip) {
	for i, size := range []int{0, 16, 64, 256, 1024, 4096} {
		cases = append(cases,
			roundTrip{fmt.Sprintf("9.7.%d", i+1), text(stars(size))},
			roundTrip{fmt.Sprintf("9.8.%d", i+1), binry(bytesFE(size))})
	}
	return cases
}

func (c roundTrip) number() string { return c.id }

func (c roundTrip) run(t *testing.T, s subject) {
	p, socket := s.connect(t, "")
	for range 1000 {
		p.send(c.frame)
		p.expect(c.frame)
	}
	closedByPeer.play(p, socket)
}

var misc = []autobahnCase{
	{"10.1.1", 0, fragmented(text(stars(65536)), 1300), frames(text(stars(65536))), closedByPeer},
}
