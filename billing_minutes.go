package edgews

import "time"

// minuteFloor computes Usage.MinuteBytes of one connection: each minute counts the bytes that it carried, or the floor if
// that is more. The moment between two minutes belongs to the earlier one.
type minuteFloor struct {
	minuteEnd time.Duration // when the present minute ends, since processStart
	bytes     int64         // carried in the present minute
	counted   int64         // of the present minute, so far
}

// start begins the first minute.
func (f *minuteFloor) start(at time.Duration) { f.minuteEnd = at + time.Minute }

// add returns how much MinuteBytes grows by n bytes that are carried at that moment, and by the minutes that have begun since the
// last call.
func (f *minuteFloor) add(n int, at time.Duration, floor int64) (added int64) {
	if begun := (at - f.minuteEnd + time.Minute - 1) / time.Minute; begun > 0 {
		added = max(f.bytes, floor) - f.counted + int64(begun-1)*floor // the minutes between carried nothing
		f.minuteEnd += begun * time.Minute
		f.bytes, f.counted = 0, 0
	}
	f.bytes += int64(n)
	due := max(f.bytes, floor) - f.counted
	f.counted += due
	return added + due
}
