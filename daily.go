package edgews

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// quota bounds what a meter and its tenants may use in a day.
//
// What has been booked is known at every moment: all of the meter, with an offset that a look finds. What connections have counted and
// not booked is bounded by leases: each may count so many messages and bytes before it books. All leases together are at
// most half of what is left, so they shrink as the end comes near, until each message is booked, and looked at.
type quota struct {
	m    *Meter
	plan Plan
	soon atomic.Bool // a look is due

	mu sync.Mutex // above those of meters

	// Guarded by mu.
	looking bool      // a goroutine finds out what has been used
	looked  time.Time // when that was last begun; zero: never
	offset  Usage     // what was used in the day of looked is all of m, and this
	over    error     // why nothing more may be used today; nil: something may
	largest lease     // since they were called in
}

const (
	maxLease      = 64              // messages that a connection counts before it books
	maxLeaseBytes = 1 << 20         // … and bytes
	quotaStale    = time.Second     // what an upgrade may rely on, of time that is used
	quotaLedger   = 5 * time.Second // how long it may wait for the ledger
)

// lease is what a connection may still count before it has to book.
type lease struct {
	messages, bytes int64
	term            uint32  // that of books for which it is good
	until           instant // … and how long
}

// dayMark is what a meter and its tenants had used when a day began.
type dayMark struct {
	Day   time.Time `json:"day"` // 00:00 UTC
	Start Usage     `json:"start"`
}

func today() time.Time { return dayOf(time.Now()) }

func dayOf(t time.Time) time.Time { return t.UTC().Truncate(24 * time.Hour) }

// SetQuota bounds what m and its tenants may use in a day, which begins at 00:00 UTC, to what the plan includes: see
// [Plan.Allows] and [FreeDaily]. Tenants may have quotas of their own besides; the zero Plan removes it.
//
// When it is used up, upgrades and requests to objects are answered with 429, a Retry-After until midnight and a sentence;
// the error of Upgrade, Respond and Dial is ErrQuota, and all sockets that count are closed with 1008 (policy violation).
// What of it is used up, and whose it is, is in those errors and the Logger's. Events of objects, alarms among them,
// still run.
//
// Upgrades and requests stop at the bound; those that are on their way count. What goes over sockets that are open, in and out, is
// looked at the more often the nearer the bound is, at last with each message. The first message beyond the bound is counted, and not
// delivered if it came in. So a little more may be used: of messages and bytes about a message for each open socket, and never more than 64 for each that the
// system has stopped while it was counting; of requests those that are on their way while messages use up what is left; of time what passes until the next look,
// which comes with traffic and upgrades after a second, and otherwise at each MeterOptions.Interval. The day is that of the system's clock. One that is set back by less than a day does not begin
// a day anew.
//
// With a ledger, what was used earlier in the day counts when the program begins anew. Several processes that share a ledger, by
// their Store, each learn at an Interval what the others have written: until then each lets in what is left as it knows it. So
// N processes may use N times what is left within an Interval, and no bound is kept at all where they do not share a ledger.
func (m *Meter) SetQuota(daily Plan) {
	if m == nil {
		return
	}
	var q *quota
	if daily != (Plan{}) {
		q = &quota{m: m, plan: daily}
	}
	was := m.quota.Swap(q)
	switch {
	case was == nil && q != nil:
		m.books.quotas.Add(1)
	case was != nil && q == nil:
		m.books.quotas.Add(-1)
	}
	if q != nil && m.open.Load() > 0 {
		q.look() // so that there are leases for the sockets that are open
	}
	m.books.term.Add(1)
	m.books.stir()
}

// pass is what admit gives for something that may be used. It counts as used until somebody says what came of it, once.
type pass struct {
	m *Meter // nil: nobody has asked
	u Usage
}

// admit lets u in, or says why not. It is for what is about to be used; no mutex may be held.
func (m *Meter) admit(u Usage) (pass, error) {
	if m == nil || m.books.quotas.Load() == 0 {
		return pass{}, nil
	}
	for at := m; at != nil; at = at.parent {
		if err := at.letIn(u); err != nil {
			m.settled(u, at)
			return pass{}, err
		}
	}
	return pass{m, u}, nil
}

// used is called when what was let in has been booked.
func (p *pass) used() { p.unused() }

// unused is called when nothing came of it.
func (p *pass) unused() {
	p.m.settled(p.u, nil)
	p.m = nil
}

// settled takes u off what is underway with m and all above it, up to end.
func (m *Meter) settled(u Usage, end *Meter) {
	for ; m != end && m != nil; m = m.parent {
		m.mu.Lock()
		m.underway = m.underway.Sub(u)
		m.mu.Unlock()
	}
}

// letIn notes that u is underway, unless m has a quota that does not let it in.
func (m *Meter) letIn(u Usage) error {
	q := m.quota.Load()
	if q != nil {
		q.lookIfStale()
		q.mu.Lock()
		defer q.mu.Unlock()
		q.callInLocked(nil, q.shareLocked()) // u may be what is left
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	underway := m.underway.Add(u)
	if q != nil {
		if err := cmp.Or(q.over, q.plan.Allows(m.all.Add(q.offset).Add(underway))); err != nil {
			return err
		}
	}
	m.underway = underway
	return nil
}

// isOldLocked reports whether what is known is not of today. mu must be held.
func (q *quota) isOldLocked() bool {
	return q.looked.IsZero() || !dayOf(q.looked).Equal(today())
}

// lookIfStale leaves it to another goroutine if one looks already and what is known is of today.
func (q *quota) lookIfStale() {
	q.mu.Lock()
	due := q.isOldLocked() || !q.looking && time.Since(q.looked) > quotaStale
	q.looking = q.looking || due
	q.mu.Unlock()
	if !due {
		return
	}
	q.look()
	q.mu.Lock()
	q.looking = false
	q.mu.Unlock()
}

// lookSoon has another goroutine look. The mutexes of sockets may be held.
func (q *quota) lookSoon() {
	if !q.soon.Swap(true) {
		go q.look()
	}
}

// look finds out what has been used today, and closes what is open if that is too much.
func (q *quota) look() {
	q.soon.Store(false)
	begun := time.Now()
	offset := q.m.bookToday()
	q.mu.Lock()
	if begun.Before(q.looked) { // another was faster
		q.mu.Unlock()
		return
	}
	q.looked, q.offset = begun, offset
	was := q.over
	q.over = q.plan.Allows(q.usedLocked())
	over := q.over
	q.mu.Unlock()
	if over != nil {
		q.close(over, was == nil)
	}
}

// usedLocked is what has been booked today. mu must be held.
func (q *quota) usedLocked() Usage {
	q.m.mu.Lock()
	defer q.m.mu.Unlock()
	return q.m.all.Add(q.offset)
}

// close closes what is open, because too much has been used.
func (q *quota) close(over error, first bool) {
	if q.m.quota.Load() != q { // it may be gone by now
		return
	}
	if first {
		q.m.books.logger().Warn("edgews: daily quota exceeded", "tenant", q.m.tenant, "error", over)
	}
	q.m.closeAll(over)
}

// lease returns what a connection may count before it books, or why it may not go on. What it has counted has been booked. The
// mutex of its tab must be held.
func (q *quota) lease(t *tab) (lease, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.isOldLocked():
		q.lookSoon()
		return lease{}, nil
	case q.over != nil:
		return lease{}, q.over
	case time.Since(q.looked) > quotaStale:
		q.lookSoon()
	}
	l := q.shareLocked()
	if q.callInLocked(t, l) {
		l = q.shareLocked()
	}
	if l.messages == 0 || l.bytes == 0 {
		if q.over = q.plan.Allows(q.usedLocked()); q.over != nil {
			go q.close(q.over, true)
			return lease{}, q.over
		}
	}
	return l, nil
}

// shareLocked returns what each connection may count. All together are a quarter of what is left; so they are still half of it when they are
// called in. mu must be held.
func (q *quota) shareLocked() lease {
	messages, bytes := q.plan.room(q.usedLocked())
	shares := 4 * float64(max(q.m.open.Load(), 1))
	return lease{messages: int64(min(maxLease, messages/shares)), bytes: int64(min(maxLeaseBytes, bytes/shares))}
}

// callInLocked ends all leases when they have become half as large, since those from before may be more than is left, and has what has been
// counted booked, except on t, where it is; nil: on all. It returns whether it has. mu must be held.
func (q *quota) callInLocked(t *tab, l lease) bool {
	was := q.largest
	if l.messages >= was.messages/2+was.messages%2 && l.bytes >= was.bytes/2+was.bytes%2 {
		q.largest = lease{messages: max(was.messages, l.messages), bytes: max(was.bytes, l.bytes)}
		return false
	}
	q.m.books.term.Add(1)
	if q.m.bookOthers(t) { // otherwise again with the next message
		q.largest = l
	}
	return true
}

// quotaReason is what the peers of sockets are told.
const quotaReason = "daily quota exceeded"

// quotaDetail is what a client is told. Whose quota it is, and what of it, is for the logs.
const quotaDetail = "the daily quota of this service is used up: it begins anew at 00:00 UTC"

// tooMany answers a request that a quota does not let in.
func tooMany(w http.ResponseWriter) {
	tellTomorrow(w.Header())
	http.Error(w, quotaDetail, http.StatusTooManyRequests)
}

// tellTomorrow says when a quota will let more in.
func tellTomorrow(h http.Header) {
	h.Set("Retry-After", strconv.Itoa(int((untilTomorrow()+time.Second-1)/time.Second)))
}

// bookToday books everything up to now, and returns what m and its tenants have used since the day began, less all.
func (m *Meter) bookToday() (offset Usage) {
	ctx, cancel := context.WithTimeout(context.Background(), quotaLedger)
	defer cancel()
	if err := m.books.readLedger(ctx); err != nil {
		m.books.logger().Error("edgews: meter's ledger is not read: what was used earlier today does not count", "error", err)
	}
	m.settle(false)
	earlier := m.earlier()
	day := today()
	m.mu.Lock()
	defer m.mu.Unlock()
	if isNewDay(m.day.Day, day) {
		m.day = dayMark{day, m.all.Add(earlier)}
		if m.books.began.Equal(day) {
			m.day.Start = earlier
		}
	}
	return earlier.Sub(m.day.Start)
}

// isNewDay reports whether a day has begun after was. When the clock is set back across midnight, that is no reason to let in as
// much again; when it had been far ahead, it is.
func isNewDay(was, day time.Time) bool {
	return day.After(was) || day.Before(was.Add(-24*time.Hour))
}

// lease returns the least that the quotas of m and of those above it let a connection count, or why it may not go on. The
// mutex of its tab must be held.
func (m *Meter) lease(t *tab) (lease, error) {
	l := lease{maxLease, maxLeaseBytes, m.books.term.Load(), now().after(quotaStale)}
	for ; m != nil; m = m.parent {
		if q := m.quota.Load(); q != nil {
			own, err := q.lease(t)
			if err != nil {
				return lease{}, err
			}
			l.messages, l.bytes = min(l.messages, own.messages), min(l.bytes, own.bytes)
		}
	}
	return l, nil
}

// bookOthers books what m and its tenants have counted on other tabs than own, the mutex of which must be held, unless it is nil. So it cannot
// wait for those that are counting at this moment: it returns whether there were none.
func (m *Meter) bookOthers(own *tab) (all bool) {
	all = true
	m.mu.Lock()
	tabs := slices.Clone(m.tabs)
	m.mu.Unlock()
	for _, t := range tabs {
		switch {
		case own != nil && t.mu == own.mu:
		case t.mu.TryLock():
			fact := FactTraffic
			if t.isObjects() {
				fact = FactActive
			}
			t.bookLocked(fact, false)
			t.mu.Unlock()
		default:
			all = false
		}
	}
	for _, t := range m.children() {
		all = t.bookOthers(own) && all
	}
	return all
}

// lookAll has all quotas of m and its tenants looked at.
func (m *Meter) lookAll() {
	if q := m.quota.Load(); q != nil {
		q.look()
	}
	for _, t := range m.children() {
		t.lookAll()
	}
}

// closeAll closes the sockets for which m and its tenants pay.
func (m *Meter) closeAll(err error) {
	m.mu.Lock()
	var sockets []*Socket
	for _, t := range m.tabs {
		if t.socket != nil {
			sockets = append(sockets, t.socket)
		}
	}
	m.mu.Unlock()
	for _, s := range sockets {
		s.fail(StatusPolicyViolation, quotaReason, err)
	}
	for _, t := range m.children() {
		t.closeAll(err)
	}
}

// untilTomorrow is how long the day lasts.
func untilTomorrow() time.Duration { return time.Until(today().Add(24 * time.Hour)) }
