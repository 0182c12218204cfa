package edgews

import "time"

// minutes are those of a connection, of which each counts for the bytes that it carried, or a floor if that is more. The
// moment between two belongs to the earlier.
type minuteFloor struct {
	minuteEnd time.Duration // when the present one ends, since epoch
	bytes     int64         // in the present one
	counted   int64         // of the present one, so far
}

// begin is called when the connection does.
func (m *minuteFloor) start(at time.Duration) { m.minuteEnd = at + time.Minute }

// count returns what has to be added for n bytes that are carried at that moment, on top of what time has brought.
func (m *minuteFloor) add(n int, at time.Duration, floor int64) (added int64) {
	if begun := (at - m.minuteEnd + time.Minute - 1) / time.Minute; begun > 0 {
		added = max(m.bytes, floor) - m.counted + int64(begun-1)*floor // in those between nothing was carried
		m.minuteEnd += begun * time.Minute
		m.bytes, m.counted = 0, 0
	}
	m.bytes += int64(n)
	due := max(m.bytes, floor) - m.counted
	m.counted += due
	return added + due
}

// carryLocked counts bytes that a connection carries. mu must be held.
func (c *usageCounter) addMinuteBytesLocked(n int) {
	if floor := c.meter.accounting.opts.MinuteFloor; floor > 0 && c.timing {
		c.used.MinuteBytes += c.minuteFloor.add(n, sinceStart(), floor)
	}
}

// carryToLocked counts the minutes up to at. mu must be held.
func (c *usageCounter) addMinutesUntilLocked(at time.Duration) {
	if floor := c.meter.accounting.opts.MinuteFloor; floor > 0 {
		c.used.MinuteBytes += c.minuteFloor.add(0, at, floor)
	}
}
