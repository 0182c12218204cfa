package edgews

import (
	"math"
	"time"
)

// minutes are those of a connection, of which each counts for the bytes that it carried, or a floor if that is more. The
// moment between two belongs to the earlier.
type minutes struct {
	until   time.Duration // when the present one ends, since epoch
	carried int64         // in the present one
	counted int64         // of the present one, so far
}

// begin is called when the connection does.
func (m *minutes) begin(at time.Duration) { m.until = at + time.Minute }

// count returns what has to be added for n bytes that are carried at that moment, on top of what time has brought.
func (m *minutes) count(n int, at time.Duration, floor int64) (added int64) {
	if begun := (at - m.until + time.Minute - 1) / time.Minute; begun > 0 {
		added = max(m.carried, floor) - m.counted + int64(begun-1)*floor // in those between nothing was carried
		m.until += begun * time.Minute
		m.carried, m.counted = 0, 0
	}
	m.carried += int64(n)
	due := max(m.carried, floor) - m.counted
	m.counted += due
	return added + due
}

// carryLocked counts bytes that a connection carries. It returns how many a quota has to count, which are more if a minute has begun that
// counts for a floor. mu must be held.
func (t *tab) carryLocked(n int) int {
	if floor := t.meter.books.opts.MinuteFloor; floor > 0 && t.running {
		added := t.minutes.count(n, sinceEpoch(), floor)
		t.used.MinuteBytes += added
		return max(n, int(min(added, math.MaxInt)))
	}
	return n
}

// carryToLocked counts the minutes up to at. mu must be held.
func (t *tab) carryToLocked(at time.Duration) {
	if floor := t.meter.books.opts.MinuteFloor; floor > 0 {
		t.used.MinuteBytes += t.minutes.count(0, at, floor)
	}
}
