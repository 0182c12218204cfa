package edgews

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// tab is what one connection or one object has used and its meter has not fetched. It is guarded by a mutex that whoever
// counts holds anyway, so that counting is an addition and connections do not meet.
type tab struct {
	// Immutable.
	meter  *Meter
	object *object     // nil: of no object
	socket *Socket     // nil: it is the object's own
	mu     *sync.Mutex // the socket's or the object's

	// Guarded by mu.
	conn     uint64        // the number of the connection; 0: of none
	lease    lease         // of the quotas, if there are any
	barred   error         // a quota that is used up; nil: go on
	used     Usage         // counted, and not booked
	recorded *Usage        // booked, and not recorded; nil if nobody wants records
	since    time.Time     // since when it is not recorded
	from     time.Duration // up to when the time that runs has been counted, since epoch
	minutes  minutes       // of a connection, if they count
	running  bool          // it does run
	listed   bool          // the meter knows of it
	place    int           // in meter.tabs, from 1; 0: it is not there. Guarded by the meter's mu.

	// Atomics.
	over      atomic.Bool  // the socket has ended: what comes late is booked at once
	busy      atomic.Int64 // what handlers have taken, in nanoseconds
	busySince atomic.Int64 // since when one runs, since epoch; 0: none does
}

func newTab(m *Meter, o *object, s *Socket) *tab {
	t := &tab{meter: m, object: o, socket: s, since: time.Now()}
	if s != nil {
		t.mu = s.mu
	} else {
		t.mu = &o.mu
	}
	if m.records() {
		t.recorded = new(Usage)
	}
	return t
}

// epoch is what the times of tabs count from. They have to be finer, and to reach farther, than an instant.
var epoch = time.Now()

func sinceEpoch() time.Duration { return time.Since(epoch) }

// counting says what a message that goes out counts as.
type counting uint8

const (
	asMessage counting = iota
	asAutoResponse
	asNothing // it has been counted
)

// payer returns who pays for a connection that is opened in ctx: the object that opens it, if it has a meter, or m.
func payer(ctx context.Context, m *Meter) (*Meter, *object) {
	if o, ok := ctx.Value(objectOf{}).(*object); ok && o.tab != nil {
		return o.tab.meter, o
	}
	return m, nil
}

// openTabLocked begins to count for a connection. mu must be held, or s be new.
func (s *Socket) openTabLocked(m *Meter, o *object, byPeer bool) {
	if m == nil {
		return
	}
	t := s.tab
	if t == nil {
		t = newTab(m, o, s)
		s.extraLocked().tab = t
	}
	t.conn = t.meter.books.connections.Add(1)
	t.since = time.Now()
	t.from, t.running = t.since.Sub(epoch), true
	t.minutes.begin(t.from)
	if byPeer {
		t.meter.book(o, t.record(FactOpened, Usage{Connections: 1}, t.since))
	}
}

// joinLocked begins to count for a socket that o accepts, if nobody counts for it yet. mu must be held.
func (s *Socket) joinLocked(o *object) {
	if o.tab == nil || s.tab != nil {
		return
	}
	if w, ok := s.link.(*wire); ok {
		s.openTabLocked(o.tab.meter, o, !w.client)
		return
	}
	s.extraLocked().tab = newTab(o.tab.meter, o, s)
	s.extra.tab.listLocked()
}

// isObjects reports whether t is an object's own, not a socket's.
func (t *tab) isObjects() bool { return t.socket == nil }

// listLocked lets the meter know that there is something to be fetched, or will be. mu must be held.
func (t *tab) listLocked() {
	if t == nil || t.listed || t.over.Load() {
		return
	}
	t.listed = true
	t.meter.mu.Lock()
	defer t.meter.mu.Unlock()
	t.meter.listLocked(t)
	t.meter.books.stir()
}

// arrivedOnTabLocked counts a message that has arrived on the wire, except for an object's, which counts when the object gets
// it. It returns the tab, and what inLocked does. mu must be held.
func (s *Socket) arrivedOnTabLocked(n int) (t *tab, ok bool) {
	t = s.tab
	return t, t == nil || s.is(owned) || t.inLocked(1, n)
}

// inLocked counts a message that has arrived, or a piece of one. If a quota is used up it fails the socket, and returns false: the message
// is not to be delivered, and transmit has to follow. mu must be held.
func (t *tab) inLocked(messages, n int) (ok bool) {
	switch {
	case t == nil:
		return true
	case t.barredLocked() != nil: // and there is no need to count it
		return t.obeyLocked()
	}
	t.used.MessagesIn += int64(messages)
	t.used.BytesIn += int64(n)
	t.mindLocked(messages, t.carryLocked(n))
	t.lateLocked()
	return t.barred == nil || t.obeyLocked()
}

// barredLocked returns why the connection may not go on, if a quota was used up and still is. mu must be held.
func (t *tab) barredLocked() error {
	if t == nil || t.barred == nil {
		return nil
	}
	t.lease, t.barred = t.meter.lease(t)
	return t.barred
}

// obeyLocked ends the socket, because a quota is used up. It returns false. mu must be held.
func (t *tab) obeyLocked() bool {
	if t.socket != nil {
		t.socket.failLocked(StatusPolicyViolation, quotaReason, t.barred)
	}
	return false
}

// mindLocked asks the quotas, if there are any, whether the connection may go on, once it has counted what they have let it. mu must be held.
func (t *tab) mindLocked(messages, n int) {
	if t.meter.books.quotas.Load() == 0 {
		return
	}
	t.lease.messages -= int64(messages)
	t.lease.bytes -= int64(n)
	if t.lease.messages < 0 || t.lease.bytes < 0 || t.lease.term != t.meter.books.term.Load() || now().sub(t.lease.until) > 0 {
		t.bookLocked(FactTraffic, false)
		t.lease, t.barred = t.meter.lease(t)
	}
}

// sentLocked counts a whole message that goes out. mu must be held.
func (t *tab) sentLocked(n int) {
	if t != nil {
		t.sent(n)
	}
}

func (t *tab) sent(n int) {
	t.used.MessagesOut++
	t.used.BytesOut += int64(n)
	t.mindLocked(1, t.carryLocked(n))
	t.lateLocked()
}

// outLocked counts a message that goes out, or a piece of one. mu must be held.
func (t *tab) outLocked(m *outgoing) {
	switch {
	case t == nil || m.as == asNothing:
		return
	case m.as == asAutoResponse:
		t.used.AutoResponses++
		t.mindLocked(1, 0)
	default:
		messages := 0
		if m.last {
			messages = 1
		}
		t.used.MessagesOut += int64(messages)
		t.used.BytesOut += int64(len(m.data))
		t.mindLocked(messages, t.carryLocked(len(m.data)))
	}
	t.lateLocked()
}

// lateLocked books what is counted for a socket that has ended. mu must be held.
func (t *tab) lateLocked() {
	if t.over.Load() {
		t.bookLocked(FactTraffic, true)
	}
}

// enter notes that a handler begins, and when, since epoch.
func (t *tab) enter() time.Duration {
	if t == nil {
		return 0
	}
	at := sinceEpoch()
	t.busySince.Store(int64(at))
	return at
}

// enterAgain is enter right after a leave, which has read the clock; 0: there was none.
func (t *tab) enterAgain(left time.Duration) {
	if left == 0 {
		left = sinceEpoch()
	}
	t.busySince.Store(int64(left))
}

// leave notes that it has returned, and when, since epoch.
func (t *tab) leave() time.Duration {
	if t == nil {
		return 0
	}
	end := int64(sinceEpoch())
	if began := t.busySince.Swap(0); began != 0 && began < end {
		t.busy.Add(end - began)
	}
	if t.over.Load() {
		t.settle(true)
	}
	return time.Duration(end)
}

// takeBusy returns what handlers have taken since the last call. One that runs counts up to at.
func (t *tab) takeBusy(at time.Duration) time.Duration {
	began := t.busySince.Load()
	if began != 0 && began < int64(at) && t.busySince.CompareAndSwap(began, int64(at)) {
		t.busy.Add(int64(at) - began)
	}
	return time.Duration(t.busy.Swap(0))
}

// endLocked is told that the socket's fate is sealed. mu must be held.
func (t *tab) endLocked() {
	if t == nil || t.over.Swap(true) {
		return
	}
	fact := FactClosed
	if t.conn == 0 {
		fact = FactTraffic
	}
	t.bookLocked(fact, true)
	t.running = false
}

// turnedLocked is told that the object's state has changed at that time. mu must be held.
func (t *tab) turnedLocked(was, is ObjectState, at time.Time) {
	switch {
	case t == nil:
	case is == ObjectActive:
		t.from, t.running = at.Sub(epoch), true
		if t.recorded != nil && *t.recorded == (Usage{}) {
			t.since = at
		}
		t.listLocked()
	case was == ObjectActive:
		t.runLocked(at.Sub(epoch))
		t.running = false
		if t.recorded != nil {
			t.bookLocked(FactActive, true)
		}
	}
}

// runLocked counts the time that runs. mu must be held.
func (t *tab) runLocked(at time.Duration) {
	switch d := at - t.from; {
	case !t.running:
		return
	case t.isObjects():
		t.used.Active += d
	default:
		t.used.Connected += d
		t.carryToLocked(at)
	}
	t.from = at
}

// settle books what there is up to now, and makes a record of it if told to.
func (t *tab) settle(record bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fact := FactTraffic
	if t.isObjects() {
		fact = FactActive
	}
	t.bookLocked(fact, record)
}

// bookLocked books everything up to now. mu must be held.
func (t *tab) bookLocked(f Fact, record bool) {
	at := time.Now()
	t.runLocked(at.Sub(epoch))
	t.used.Busy += t.takeBusy(at.Sub(epoch))
	m, u := t.meter, t.used
	defer m.bookAbove(u)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bookLocked(t.object, u)
	if t.recorded != nil {
		*t.recorded = t.recorded.Add(t.used)
		if record && (*t.recorded != Usage{} || f == FactClosed) {
			m.recordLocked(t.record(f, *t.recorded, at))
			*t.recorded, t.since = Usage{}, at
		}
	}
	t.used = Usage{}
	if t.over.Load() || t.isObjects() && !t.running && (t.recorded == nil || record) {
		m.unlistLocked(t)
		t.listed = false
	}
}

// record returns a record up to at. mu must be held.
func (t *tab) record(f Fact, u Usage, at time.Time) Record {
	r := Record{Fact: f, Connection: t.conn, From: t.since, To: at, Usage: u}
	if t.object != nil {
		r.Namespace, r.Object = t.object.ns.name, t.object.id
	}
	return r
}

// account books a fact of the object's that takes no time.
func (o *object) account(f Fact, u Usage) {
	if o.tab == nil {
		return
	}
	now := time.Now()
	o.tab.meter.book(o, Record{Fact: f, Namespace: o.ns.name, Object: o.id, From: now, To: now, Usage: u})
}

// forgetLocked books the last of an object that nobody will know any more. mu must be held.
func (t *tab) forgetLocked() {
	if t != nil && t.listed {
		t.bookLocked(FactActive, true)
	}
}
