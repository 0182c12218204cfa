package edgews

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// tab is what one connection or one object has used and its meter has not fetched. It is guarded by a mutex that whoever
// counts holds anyway, so that counting is an addition and connections do not meet.
type usageCounter struct {
	// Immutable.
	meter  *Meter
	object *object     // nil: of no object
	socket *Socket     // nil: it is the object's own
	mu     *sync.Mutex // the socket's or the object's

	// Guarded by mu.
	connection    uint64        // the number of the connection; 0: of none
	lease         lease         // of the quotas, if there are any
	quotaErr      error         // a quota that is used up; nil: go on
	used          Usage         // counted, and not booked
	unrecorded    *Usage        // booked, and not recorded; nil if nobody wants records
	recordedUntil time.Time     // since when it is not recorded
	countedUntil  time.Duration // up to when the time that runs has been counted, since epoch
	minuteFloor   minuteFloor   // of a connection, if they count
	timing        bool          // it does run
	registered    bool          // the meter knows of it
	meterIndex    int           // in meter.tabs, from 1; 0: it is not there. Guarded by the meter's mu.

	// Atomics.
	ended     atomic.Bool  // the socket has ended: what comes late is booked at once
	busy      atomic.Int64 // what handlers have taken, in nanoseconds
	busySince atomic.Int64 // since when one runs, since epoch; 0: none does
}

func newUsageCounter(m *Meter, o *object, s *Socket) *usageCounter {
	c := &usageCounter{meter: m, object: o, socket: s, recordedUntil: time.Now()}
	if s != nil {
		c.mu = s.mu
	} else {
		c.mu = &o.mu
	}
	if m.wantsRecords() {
		c.unrecorded = new(Usage)
	}
	return c
}

// epoch is what the times of tabs count from. They have to be finer, and to reach farther, than an instant.
var processStart = time.Now()

func sinceStart() time.Duration { return time.Since(processStart) }

// counting says what a message that goes out counts as.
type countRule uint8

const (
	countAsMessage countRule = iota
	countAsAutoResponse
	countAsNothing // it has been counted
)

// payer returns who pays for a connection that is opened in ctx: the object that opens it, if it has a meter, or m.
func meterFor(ctx context.Context, m *Meter) (*Meter, *object) {
	if o, ok := ctx.Value(objectOf{}).(*object); ok && o.counter != nil {
		return o.counter.meter, o
	}
	return m, nil
}

// openTabLocked begins to count for a connection. mu must be held, or s be new.
func (s *Socket) startCounterLocked(m *Meter, o *object, byPeer bool) {
	if m == nil {
		return
	}
	c := s.counter
	if c == nil {
		c = newUsageCounter(m, o, s)
		s.extraLocked().counter = c
	}
	c.connection = c.meter.accounting.lastConnection.Add(1)
	c.recordedUntil = time.Now()
	c.countedUntil, c.timing = c.recordedUntil.Sub(processStart), true
	c.minuteFloor.start(c.countedUntil)
	if byPeer {
		c.meter.book(o, c.newRecordLocked(FactOpened, Usage{Connections: 1}, c.recordedUntil))
	}
}

// joinLocked begins to count for a socket that o accepts, if nobody counts for it yet. mu must be held.
func (s *Socket) countForObjectLocked(o *object) {
	if o.counter == nil || s.counter != nil {
		return
	}
	if w, ok := s.link.(*wire); ok {
		s.startCounterLocked(o.counter.meter, o, !w.client)
		return
	}
	s.extraLocked().counter = newUsageCounter(o.counter.meter, o, s)
	s.extra.counter.registerLocked()
}

// isObjects reports whether t is an object's own, not a socket's.
func (c *usageCounter) isObject() bool { return c.socket == nil }

// listLocked lets the meter know that there is something to be fetched, or will be. mu must be held.
func (c *usageCounter) registerLocked() {
	if c == nil || c.registered || c.ended.Load() {
		return
	}
	c.registered = true
	c.meter.mu.Lock()
	defer c.meter.mu.Unlock()
	c.meter.addCounterLocked(c)
	c.meter.accounting.scheduleFlush()
}

// arrivedOnTabLocked counts a message that has arrived on the wire, except for an object's, which counts when the object gets
// it. It returns the tab, and what inLocked does. mu must be held.
func (s *Socket) countArrivalLocked(n int) (c *usageCounter, ok bool) {
	c = s.counter
	return c, c == nil || s.is(owned) || c.countReceivedLocked(1, n)
}

// inLocked counts a message that has arrived, or a piece of one. If a quota is used up it fails the socket, and returns false: the message
// is not to be delivered, and transmit has to follow. mu must be held.
func (c *usageCounter) countReceivedLocked(messages, n int) (ok bool) {
	switch {
	case c == nil:
		return true
	case c.quotaErrLocked() != nil: // and there is no need to count it
		return c.failOverQuotaLocked()
	}
	c.used.MessagesIn += int64(messages)
	c.used.BytesIn += int64(n)
	c.addMinuteBytesLocked(n)
	c.chargeLeaseLocked(messages, n)
	c.bookIfEndedLocked()
	return c.quotaErr == nil || c.failOverQuotaLocked()
}

// barredLocked returns why the connection may not go on, if a quota was used up and still is. mu must be held.
func (c *usageCounter) quotaErrLocked() error {
	if c == nil || c.quotaErr == nil {
		return nil
	}
	c.lease, c.quotaErr = c.meter.grantLeaseLocked(c)
	return c.quotaErr
}

// obeyLocked ends the socket, because a quota is used up. It returns false. mu must be held.
func (c *usageCounter) failOverQuotaLocked() bool {
	if c.socket != nil {
		c.socket.failLocked(StatusPolicyViolation, quotaCloseReason, c.quotaErr)
	}
	return false
}

// mindLocked asks the quotas, if there are any, whether the connection may go on, once it has counted what they have let it. mu must be held.
func (c *usageCounter) chargeLeaseLocked(messages, n int) {
	if c.meter.accounting.quotaCount.Load() == 0 {
		return
	}
	c.lease.messages -= int64(messages)
	c.lease.bytes -= int64(n)
	if c.lease.messages < 0 || c.lease.bytes < 0 || c.lease.generation != c.meter.accounting.leaseGeneration.Load() {
		c.bookLocked(FactTraffic, false)
		c.lease, c.quotaErr = c.meter.grantLeaseLocked(c)
	}
}

// sentLocked counts a whole message that goes out. mu must be held.
func (c *usageCounter) countWholeSentLocked(n int) {
	if c != nil {
		c.addWholeSentLocked(n)
	}
}

func (c *usageCounter) addWholeSentLocked(n int) {
	c.used.MessagesOut++
	c.used.BytesOut += int64(n)
	c.addMinuteBytesLocked(n)
	c.chargeLeaseLocked(1, n)
	c.bookIfEndedLocked()
}

// outLocked counts a message that goes out, or a piece of one. mu must be held.
func (c *usageCounter) countSentLocked(m *outgoing) {
	switch {
	case c == nil || m.countAs == countAsNothing:
		return
	case m.countAs == countAsAutoResponse:
		c.used.AutoResponses++
		c.chargeLeaseLocked(1, 0)
	default:
		messages := 0
		if m.last {
			messages = 1
		}
		c.used.MessagesOut += int64(messages)
		c.used.BytesOut += int64(len(m.data))
		c.addMinuteBytesLocked(len(m.data))
		c.chargeLeaseLocked(messages, len(m.data))
	}
	c.bookIfEndedLocked()
}

// lateLocked books what is counted for a socket that has ended. mu must be held.
func (c *usageCounter) bookIfEndedLocked() {
	if c.ended.Load() {
		c.bookLocked(FactTraffic, true)
	}
}

// enter notes that a handler begins, and when, since epoch.
func (c *usageCounter) handlerStarted() time.Duration {
	if c == nil {
		return 0
	}
	at := sinceStart()
	c.busySince.Store(int64(at))
	return at
}

// enterAgain is enter right after a leave, which has read the clock; 0: there was none.
func (c *usageCounter) handlerStartedAgain(left time.Duration) {
	if left == 0 {
		left = sinceStart()
	}
	c.busySince.Store(int64(left))
}

// leave notes that it has returned, and when, since epoch.
func (c *usageCounter) handlerReturned() time.Duration {
	if c == nil {
		return 0
	}
	end := int64(sinceStart())
	if began := c.busySince.Swap(0); began != 0 && began < end {
		c.busy.Add(end - began)
	}
	if c.ended.Load() {
		c.bookNow(true)
	}
	return time.Duration(end)
}

// takeBusy returns what handlers have taken since the last call. One that runs counts up to at.
func (c *usageCounter) takeBusy(at time.Duration) time.Duration {
	began := c.busySince.Load()
	if began != 0 && began < int64(at) && c.busySince.CompareAndSwap(began, int64(at)) {
		c.busy.Add(int64(at) - began)
	}
	return time.Duration(c.busy.Swap(0))
}

// endLocked is told that the socket's fate is sealed. mu must be held.
func (c *usageCounter) socketEndedLocked() {
	if c == nil || c.ended.Swap(true) {
		return
	}
	fact := FactClosed
	if c.connection == 0 {
		fact = FactTraffic
	}
	c.bookLocked(fact, true)
	c.timing = false
}

// turnedLocked is told that the object's state has changed at that time. mu must be held.
func (c *usageCounter) objectStateChangedLocked(was, is ObjectState, at time.Time) {
	switch {
	case c == nil:
	case is == ObjectActive:
		c.countedUntil, c.timing = at.Sub(processStart), true
		if c.unrecorded != nil && *c.unrecorded == (Usage{}) {
			c.recordedUntil = at
		}
		c.registerLocked()
	case was == ObjectActive:
		c.addElapsedLocked(at.Sub(processStart))
		c.timing = false
		if c.unrecorded != nil {
			c.bookLocked(FactActive, true)
		}
	}
}

// runLocked counts the time that runs. mu must be held.
func (c *usageCounter) addElapsedLocked(at time.Duration) {
	switch d := at - c.countedUntil; {
	case !c.timing:
		return
	case c.isObject():
		c.used.Active += d
	default:
		c.used.Connected += d
		c.addMinutesUntilLocked(at)
	}
	c.countedUntil = at
}

// settle books what there is up to now, and makes a record of it if told to.
func (c *usageCounter) bookNow(record bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fact := FactTraffic
	if c.isObject() {
		fact = FactActive
	}
	c.bookLocked(fact, record)
}

// bookLocked books everything up to now. mu must be held.
func (c *usageCounter) bookLocked(f Fact, record bool) {
	at := time.Now()
	c.addElapsedLocked(at.Sub(processStart))
	c.used.Busy += c.takeBusy(at.Sub(processStart))
	m, u := c.meter, c.used
	defer m.bookInParents(u)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bookLocked(c.object, u)
	if c.unrecorded != nil {
		*c.unrecorded = c.unrecorded.Add(c.used)
		if record && (*c.unrecorded != Usage{} || f == FactClosed) {
			m.queueRecordLocked(c.newRecordLocked(f, *c.unrecorded, at))
			*c.unrecorded, c.recordedUntil = Usage{}, at
		}
	}
	c.used = Usage{}
	if c.ended.Load() || c.isObject() && !c.timing && (c.unrecorded == nil || record) {
		m.removeCounterLocked(c)
		c.registered = false
	}
}

// record returns a record up to at. mu must be held.
func (c *usageCounter) newRecordLocked(f Fact, u Usage, at time.Time) Record {
	r := Record{Fact: f, Connection: c.connection, From: c.recordedUntil, To: at, Usage: u}
	if c.object != nil {
		r.Namespace, r.Object = c.object.ns.name, c.object.id
	}
	return r
}

// account books a fact of the object's that takes no time.
func (o *object) bookFact(f Fact, u Usage) {
	if o.counter == nil {
		return
	}
	now := time.Now()
	o.counter.meter.book(o, Record{Fact: f, Namespace: o.ns.name, Object: o.id, From: now, To: now, Usage: u})
}

// forgetLocked books the last of an object that nobody will know any more. mu must be held.
func (c *usageCounter) objectForgottenLocked() {
	if c != nil && c.registered {
		c.bookLocked(FactActive, true)
	}
}
