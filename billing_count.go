package edgews

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// usageCounter counts what one connection or one object uses, until its meter books it. It is guarded by the mutex of the socket
// or the object, which a goroutine that counts holds anyway: counting is an addition, and connections share no lock for it.
type usageCounter struct {
	// Immutable.
	meter  *Meter
	object *object     // nil: it counts for no object
	socket *Socket     // nil: it counts for the object itself
	mu     *sync.Mutex // the socket's or the object's

	// Guarded by mu.
	connection    uint64        // the number of the connection; 0: it is not one
	lease         lease         // what may be counted before it is booked, if there are quotas
	quotaErr      error         // the quota that is used up; nil: none
	used          Usage         // counted, and not booked
	unrecorded    *Usage        // booked, and in no record yet; nil if the program wants no records
	recordedUntil time.Time     // the end of the last record; without one, when counting began
	countedUntil  time.Duration // while timing: up to when time has been counted, since processStart
	minuteFloor   minuteFloor   // of a connection, if MeterOptions.MinuteFloor is set
	units         messageUnits  // if MeterOptions.MessageUnit is set
	timing        bool          // time counts: the connection is open, or the object is active
	registered    bool          // the meter knows of the counter
	meterIndex    int           // 1 + the index in meter.counters; 0: it is not there. Guarded by meter.mu.

	// Atomics.
	ended     atomic.Bool  // the socket has ended: what is counted from now on is booked at once
	busy      atomic.Int64 // nanoseconds that handlers have run, and that have not been counted
	busySince atomic.Int64 // when the handler that runs began, in nanoseconds since processStart; 0: none runs
}

// newUsageCounter returns a counter for s, or for o itself if s is nil.
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

// processStart is the zero of the counters' times, which are finer than a monoMillis and reach farther.
var processStart = time.Now()

// sinceStart returns the time since processStart.
func sinceStart() time.Duration { return time.Since(processStart) }

// wallTime returns the wall-clock time of a moment that is given since processStart; 0: the zero time.
func wallTime(sinceProcessStart time.Duration) time.Time {
	if sinceProcessStart == 0 {
		return time.Time{}
	}
	return time.Now().Add(sinceProcessStart - sinceStart())
}

// countRule says how a message that is sent counts.
type countRule uint8

const (
	countAsMessage countRule = iota
	countAsAutoResponse
	countAsNothing // it has been counted before
)

// isObject reports whether c counts for an object itself, not for a socket.
func (c *usageCounter) isObject() bool { return c.socket == nil }

// registerLocked makes the counter known to its meter, because there is something to be booked, or will be. mu must be held.
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

// startConnectionLocked begins to count a connection and its time. mu must be held.
func (c *usageCounter) startConnectionLocked(byPeer bool) {
	c.connection = c.meter.accounting.lastConnection.Add(1)
	c.recordedUntil = time.Now()
	c.countedUntil, c.timing = c.recordedUntil.Sub(processStart), true
	c.minuteFloor.start(c.countedUntil)
	if byPeer {
		c.meter.book(c.object, c.newRecordLocked(FactOpened, Usage{Connections: 1}, c.recordedUntil))
	}
}

// countReceivedLocked counts received messages and n payload bytes. A piece of a message counts its bytes, and the last one
// the message. If a quota is used up, it fails the socket and returns false: the message must not be delivered, and the caller
// calls transmit after it has released the lock. mu must be held.
func (c *usageCounter) countReceivedLocked(messages, n int) (ok bool) {
	switch {
	case c == nil:
		return true
	case c.countsPlainlyLocked():
		c.used.MessagesIn += int64(messages)
		c.used.BytesIn += int64(n)
		return true
	case c.quotaErrLocked() != nil: // the message does not count: it is not delivered
		return c.failOverQuotaLocked()
	}
	c.addReceivedLocked(messages, n)
	return c.quotaErr == nil || c.failOverQuotaLocked()
}

// addReceivedLocked counts messages and n payload bytes as received. mu must be held.
func (c *usageCounter) addReceivedLocked(messages, n int) {
	c.used.MessagesIn += int64(messages)
	c.used.BytesIn += int64(n)
	if unit := c.meter.accounting.opts.MessageUnit; unit > 0 {
		c.used.MessageUnitsIn += c.units.in.add(messages > 0, n, unit)
	}
	c.chargeLeaseLocked(messages, c.addMinuteBytesLocked(n))
	c.bookIfEndedLocked()
}

// countWholeSentLocked counts a whole message of n payload bytes that is sent. mu must be held.
func (c *usageCounter) countWholeSentLocked(n int) {
	if c != nil { // short enough to be inlined into Send
		c.addWholeSentLocked(n)
	}
}

// countsPlainlyLocked reports whether a message adds to the messages and bytes and to nothing else. mu must be held.
func (c *usageCounter) countsPlainlyLocked() bool {
	a := c.meter.accounting
	return !a.countsMore && a.quotaCount.Load() == 0 && c.quotaErr == nil && !c.ended.Load()
}

// addWholeSentLocked is countWholeSentLocked. mu must be held.
func (c *usageCounter) addWholeSentLocked(n int) {
	c.used.MessagesOut++
	c.used.BytesOut += int64(n)
	if c.countsPlainlyLocked() {
		return
	}
	if unit := c.meter.accounting.opts.MessageUnit; unit > 0 {
		c.used.MessageUnitsOut += unitsOf(int64(n), unit)
	}
	c.chargeLeaseLocked(1, c.addMinuteBytesLocked(n))
	c.bookIfEndedLocked()
}

// countSentLocked counts a message that is sent, or a piece of one. mu must be held.
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
		if unit := c.meter.accounting.opts.MessageUnit; unit > 0 {
			c.used.MessageUnitsOut += c.units.sent(m, unit)
		}
		c.chargeLeaseLocked(messages, c.addMinuteBytesLocked(len(m.data)))
	}
	c.bookIfEndedLocked()
}

// countDroppedNewestLocked counts m, which OverflowDrop drops. mu must be held.
func (c *usageCounter) countDroppedNewestLocked(m *outgoing) {
	if c != nil && m.countAs == countAsMessage {
		c.used.DroppedNewest++
		c.bookIfEndedLocked()
	}
}

// countDroppedOldestLocked counts a message that OverflowDropOldest drops. mu must be held.
func (c *usageCounter) countDroppedOldestLocked() {
	if c != nil {
		c.used.DroppedOldest++
		c.bookIfEndedLocked()
	}
}

// countReplacedLocked counts a message that a later one of SendLatest has replaced. mu must be held.
func (c *usageCounter) countReplacedLocked() {
	if c != nil {
		c.used.Replaced++
		c.bookIfEndedLocked()
	}
}

// addMinuteBytesLocked counts the minute bytes of n bytes that the connection carries. It returns how many bytes a lease is charged
// for, which are more than n if a minute has begun that counts for the floor. mu must be held.
func (c *usageCounter) addMinuteBytesLocked(n int) int {
	if floor := c.meter.accounting.opts.MinuteFloor; floor > 0 && c.timing {
		added := c.minuteFloor.add(n, sinceStart(), floor)
		c.used.MinuteBytes += added
		return max(n, int(min(added, math.MaxInt)))
	}
	return n
}

// addMinutesUntilLocked counts the minutes that have begun up to at. mu must be held.
func (c *usageCounter) addMinutesUntilLocked(at time.Duration) {
	if floor := c.meter.accounting.opts.MinuteFloor; floor > 0 {
		c.used.MinuteBytes += c.minuteFloor.add(0, at, floor)
	}
}

// chargeLeaseLocked takes messages and n bytes off the lease, if there are quotas. When the lease is used up or revoked, it books
// what has been counted and asks for another one. mu must be held.
func (c *usageCounter) chargeLeaseLocked(messages, n int) {
	if c.meter.accounting.quotaCount.Load() == 0 {
		return
	}
	c.lease.messages -= int64(messages)
	c.lease.bytes -= int64(n)
	if c.lease.messages < 0 || c.lease.bytes < 0 || c.lease.generation != c.meter.accounting.leaseGeneration.Load() ||
		nowMillis().sub(c.lease.expires) > 0 {
		c.bookLocked(FactTraffic, false)
		c.lease, c.quotaErr = c.meter.grantLeaseLocked(c)
	}
}

// quotaErrLocked returns why the connection may not go on, if a quota was used up and still is. mu must be held.
func (c *usageCounter) quotaErrLocked() error {
	if c == nil || c.quotaErr == nil {
		return nil
	}
	c.lease, c.quotaErr = c.meter.grantLeaseLocked(c)
	return c.quotaErr
}

// failOverQuotaLocked fails the socket because a quota is used up, and returns false. mu must be held.
func (c *usageCounter) failOverQuotaLocked() bool {
	if c.socket != nil {
		c.socket.failLocked(StatusPolicyViolation, quotaCloseReason, c.quotaErr)
	}
	return false
}

// handlerStarted notes that a handler starts to run. It returns when, since processStart; 0 on a nil counter.
func (c *usageCounter) handlerStarted() time.Duration {
	if c == nil {
		return 0
	}
	at := sinceStart()
	c.busySince.Store(int64(at))
	return at
}

// handlerStartedAt is handlerStarted for a caller that has read the clock: at is now, since processStart.
func (c *usageCounter) handlerStartedAt(at time.Duration) {
	if c != nil {
		c.busySince.Store(int64(at))
	}
}

// handlerReturned notes that the handler has returned. It returns when, since processStart; 0 on a nil counter. No mutex may be
// held.
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

// addBusy counts a handler that has run for d, perhaps at the same time as others. No mutex may be held.
func (c *usageCounter) addBusy(d time.Duration) {
	if c == nil {
		return
	}
	c.busy.Add(int64(d))
	if c.ended.Load() {
		c.bookNow(true)
	}
}

// takeBusy returns how long handlers have run since the last call, up to at for one that still runs.
func (c *usageCounter) takeBusy(at time.Duration) time.Duration {
	began := c.busySince.Load()
	if began != 0 && began < int64(at) && c.busySince.CompareAndSwap(began, int64(at)) {
		c.busy.Add(int64(at) - began)
	}
	return time.Duration(c.busy.Swap(0))
}

// socketEndedLocked books the last usage of a socket whose close result is certain. mu must be held.
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

// objectStateChangedLocked starts or ends an active interval of the object, whose state has changed at that time. mu must be
// held.
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

// objectForgottenLocked books the last usage of an object that its namespace forgets. mu must be held.
func (c *usageCounter) objectForgottenLocked() {
	if c != nil && c.registered {
		c.bookLocked(FactActive, true)
	}
}

// addElapsedLocked counts the time up to at, while timing. mu must be held.
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

// intervalFact is the fact of a record of what goes on.
func (c *usageCounter) intervalFact() Fact {
	if c.isObject() {
		return FactActive
	}
	return FactTraffic
}

// bookNow books everything up to now, and with record makes a record of it. mu must not be held.
func (c *usageCounter) bookNow(record bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bookLocked(c.intervalFact(), record)
}

// bookIfEndedLocked books what is counted for a socket that has ended: sent by a half-open one, or by late handlers. mu must be
// held.
func (c *usageCounter) bookIfEndedLocked() {
	if c.ended.Load() {
		c.bookLocked(FactTraffic, true)
	}
}

// bookLocked books everything up to now. With record it makes a record of what is in none yet, of fact f. mu must be held.
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

// newRecordLocked returns a record of what was used between recordedUntil and at. mu must be held.
func (c *usageCounter) newRecordLocked(f Fact, u Usage, at time.Time) Record {
	r := Record{Fact: f, Connection: c.connection, From: c.recordedUntil, To: at, Usage: u}
	if c.object != nil {
		r.Namespace, r.Object = c.object.ns.name, c.object.id
	}
	return r
}
