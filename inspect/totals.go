package inspect

import (
	"sync/atomic"

	"github.com/edgews/edgews"
)

// Bounds of the enumerations of package edgews, and of what is counted by close code. Values beyond them are counted in the last place.
const (
	causeCount   = 32
	refusalCount = 32
	maxCodes     = 64 // different close codes, since a peer may choose among thousands
)

// totals are the sums of everything observed, at one moment.
type totals struct {
	messagesIn, messagesOut, bytesIn, bytesOut, wireIn, wireOut, dropped, auto int64

	opened, closed, slow                                                       int64 // slow: sockets at the moment
	constructed, slept, crashed, handled, alarms, commits, commitBytes, failed int64
	refused                                                                    int64

	latency, roundTrip histogram
}

// messageSums are the part of the totals that messages change. There are several, so that messages of different sockets seldom wait for each
// other's cache line.
type messageSums struct {
	messagesOut, bytesIn, bytesOut, wireIn, wireOut, dropped, auto atomic.Int64

	latency atomicHistogram // of each received message, unless it is in auto

	_ [64]byte // the next one is in another cache line
}

// stripeCount is the number of messageSums, a power of two.
const stripeCount = 8

// counters are the sums of everything observed. The zero value is ready for use.
type counters struct {
	stripes [stripeCount]messageSums

	opened, closed, slow                                                       atomic.Int64
	constructed, slept, crashed, handled, alarms, commits, commitBytes, failed atomic.Int64
	refused                                                                    atomic.Int64

	roundTrip, commit, alarmLate atomicHistogram

	causes   [causeCount]atomic.Int64
	refusals [refusalCount]atomic.Int64
}

// stripe returns the messageSums of a socket.
func (c *counters) stripe(socket uint64) *messageSums { return &c.stripes[socket%stripeCount] }

// message counts m.
func (s *messageSums) message(m *edgews.MessageObservation) {
	switch {
	case m.Dropped:
		s.dropped.Add(1)
	case m.Direction == edgews.Outbound:
		s.messagesOut.Add(1)
		s.bytesOut.Add(int64(m.Bytes))
		s.wireOut.Add(int64(m.WireBytes))
	default:
		s.bytesIn.Add(int64(m.Bytes))
		s.wireIn.Add(int64(m.WireBytes))
		if m.Auto {
			s.auto.Add(1)
		} else {
			s.latency.add(m.Latency)
		}
	}
}

// totals returns the sums. What happens meanwhile may be in some of them.
func (c *counters) totals() (t totals) {
	for i := range c.stripes {
		c.stripes[i].addTo(&t)
	}
	t.messagesIn = t.latency.count() + t.auto
	t.opened, t.closed, t.slow = c.opened.Load(), c.closed.Load(), c.slow.Load()
	t.constructed, t.slept, t.crashed, t.handled = c.constructed.Load(), c.slept.Load(), c.crashed.Load(), c.handled.Load()
	t.alarms, t.commits, t.commitBytes, t.failed = c.alarms.Load(), c.commits.Load(), c.commitBytes.Load(), c.failed.Load()
	t.refused = c.refused.Load()
	c.roundTrip.addTo(&t.roundTrip)
	return t
}

// addTo adds s to t.
func (s *messageSums) addTo(t *totals) {
	t.messagesOut += s.messagesOut.Load()
	t.bytesIn += s.bytesIn.Load()
	t.bytesOut += s.bytesOut.Load()
	t.wireIn += s.wireIn.Load()
	t.wireOut += s.wireOut.Load()
	t.dropped += s.dropped.Load()
	t.auto += s.auto.Load()
	s.latency.addTo(&t.latency)
}

// messages returns the sums of messages for the protocol.
func (t *totals) messages() MessageCounts {
	return MessageCounts{
		In: t.messagesIn, Out: t.messagesOut, BytesIn: t.bytesIn, BytesOut: t.bytesOut, WireIn: t.wireIn, WireOut: t.wireOut, Dropped: t.dropped,
		Auto: t.auto,
	}
}

// nameCounts returns the counts that are not 0, by name, the greatest first.
func nameCounts(counts []atomic.Int64, name func(i int) string) []NameCount {
	list := []NameCount{}
	for i := range counts {
		if n := counts[i].Load(); n > 0 {
			list = append(list, NameCount{name(i), n})
		}
	}
	sortByCount(list, func(c NameCount) int64 { return c.Count })
	return list
}
