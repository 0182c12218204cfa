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
	meter            *Meter
	plan             Plan
	refreshScheduled atomic.Bool // a look is due

	mu sync.Mutex // above those of meters

	// Guarded by mu.
	refreshing   bool      // a goroutine finds out what has been used
	refreshedAt  time.Time // when that was last begun; zero: never
	dayOffset    Usage     // what was used in the day of looked is all of m, and this
	exceeded     error     // why nothing more may be used today; nil: something may
	largestLease lease     // since they were called in
}

const (
	maxLeaseMessages   = 64              // messages that a connection counts before it books
	maxLeaseBytes      = 1 << 20         // … and bytes
	quotaMaxAge        = time.Second     // what an upgrade may rely on, of time that is used
	quotaLedgerTimeout = 5 * time.Second // how long it may wait for the ledger
)

// lease is what a connection may still count before it has to book.
type lease struct {
	messages, bytes int64
	generation      uint32 // that of books for which it is good
}

// dayMark is what a meter and its tenants had used when a day began.
type dayStart struct {
	Day  time.Time `json:"day"` // 00:00 UTC
	Used Usage     `json:"start"`
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
// system has stopped while it was counting; of time what passes until the next look, which comes with traffic and upgrades after a second, and otherwise at each
// MeterOptions.Interval. The day is that of the system's clock. One that is set back by less than a day does not begin
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
		q = &quota{meter: m, plan: daily}
	}
	was := m.quota.Swap(q)
	switch {
	case was == nil && q != nil:
		m.accounting.quotaCount.Add(1)
	case was != nil && q == nil:
		m.accounting.quotaCount.Add(-1)
	}
	if q != nil && m.openCounters.Load() > 0 {
		q.refresh() // so that there are leases for the sockets that are open
	}
	m.accounting.leaseGeneration.Add(1)
	m.accounting.scheduleFlush()
}

// pass is what admit gives for something that may be used. It counts as used until somebody says what came of it, once.
type quotaPass struct {
	meter *Meter // nil: nobody has asked
	usage Usage
}

// admit lets u in, or says why not. It is for what is about to be used; no mutex may be held.
func (m *Meter) admit(u Usage) (quotaPass, error) {
	if m == nil || m.accounting.quotaCount.Load() == 0 {
		return quotaPass{}, nil
	}
	for at := m; at != nil; at = at.parent {
		if err := at.reserve(u); err != nil {
			m.unreserve(u, at)
			return quotaPass{}, err
		}
	}
	return quotaPass{m, u}, nil
}

// used is called when what was let in has been booked.
func (p *quotaPass) used() { p.unused() }

// unused is called when nothing came of it.
func (p *quotaPass) unused() {
	p.meter.unreserve(p.usage, nil)
	p.meter = nil
}

// settled takes u off what is underway with m and all above it, up to end.
func (m *Meter) unreserve(u Usage, end *Meter) {
	for ; m != end && m != nil; m = m.parent {
		m.mu.Lock()
		m.reserved = m.reserved.Sub(u)
		m.mu.Unlock()
	}
}

// letIn notes that u is underway, unless m has a quota that does not let it in.
func (m *Meter) reserve(u Usage) error {
	q := m.quota.Load()
	if q != nil {
		q.refreshIfStale()
		q.mu.Lock()
		defer q.mu.Unlock()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	underway := m.reserved.Add(u)
	if q != nil {
		if err := cmp.Or(q.exceeded, q.plan.Allows(m.withTenants.Add(q.dayOffset).Add(underway))); err != nil {
			return err
		}
	}
	m.reserved = underway
	return nil
}

// isOldLocked reports whether what is known is not of today. mu must be held.
func (q *quota) isOfEarlierDayLocked() bool {
	return q.refreshedAt.IsZero() || !dayOf(q.refreshedAt).Equal(today())
}

// lookIfStale leaves it to another goroutine if one looks already and what is known is of today.
func (q *quota) refreshIfStale() {
	q.mu.Lock()
	due := q.isOfEarlierDayLocked() || !q.refreshing && time.Since(q.refreshedAt) > quotaMaxAge
	q.refreshing = q.refreshing || due
	q.mu.Unlock()
	if !due {
		return
	}
	q.refresh()
	q.mu.Lock()
	q.refreshing = false
	q.mu.Unlock()
}

// lookSoon has another goroutine look. The mutexes of sockets may be held.
func (q *quota) refreshSoon() {
	if !q.refreshScheduled.Swap(true) {
		go q.refresh()
	}
}

// look finds out what has been used today, and closes what is open if that is too much.
func (q *quota) refresh() {
	q.refreshScheduled.Store(false)
	begun := time.Now()
	offset := q.meter.bookToday()
	q.mu.Lock()
	if begun.Before(q.refreshedAt) { // another was faster
		q.mu.Unlock()
		return
	}
	q.refreshedAt, q.dayOffset = begun, offset
	was := q.exceeded
	q.exceeded = q.plan.Allows(q.usedTodayLocked())
	over := q.exceeded
	q.mu.Unlock()
	if over != nil {
		q.closeSockets(over, was == nil)
	}
}

// usedLocked is what has been booked today. mu must be held.
func (q *quota) usedTodayLocked() Usage {
	q.meter.mu.Lock()
	defer q.meter.mu.Unlock()
	return q.meter.withTenants.Add(q.dayOffset)
}

// close closes what is open, because too much has been used.
func (q *quota) closeSockets(over error, first bool) {
	if q.meter.quota.Load() != q { // it may be gone by now
		return
	}
	if first {
		q.meter.accounting.logger().Warn("edgews: daily quota exceeded", "tenant", q.meter.tenant, "error", over)
	}
	q.meter.closeSockets(over)
}

// lease returns what a connection may count before it books, or why it may not go on. What it has counted has been booked. The
// mutex of its tab must be held.
func (q *quota) grantLeaseLocked(c *usageCounter) (lease, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.isOfEarlierDayLocked():
		q.refreshSoon()
		return lease{}, nil
	case q.exceeded != nil:
		return lease{}, q.exceeded
	case time.Since(q.refreshedAt) > quotaMaxAge:
		q.refreshSoon()
	}
	l := q.leaseSizeLocked()
	if q.revokeLeasesLocked(c, l) {
		l = q.leaseSizeLocked()
	}
	if l.messages == 0 || l.bytes == 0 {
		if q.exceeded = q.plan.Allows(q.usedTodayLocked()); q.exceeded != nil {
			go q.closeSockets(q.exceeded, true)
			return lease{}, q.exceeded
		}
	}
	return l, nil
}

// shareLocked returns what each connection may count. All together are a quarter of what is left; so they are still half of it when they are
// called in. mu must be held.
func (q *quota) leaseSizeLocked() lease {
	messages, bytes := q.plan.room(q.usedTodayLocked())
	shares := 4 * float64(max(q.meter.openCounters.Load(), 1))
	return lease{messages: int64(min(maxLeaseMessages, messages/shares)), bytes: int64(min(maxLeaseBytes, bytes/shares))}
}

// callInLocked ends all leases when they have become half as large, since those from before may be more than is left, and has what has been
// counted booked, except on t, where it is. It returns whether it has. mu must be held.
func (q *quota) revokeLeasesLocked(c *usageCounter, l lease) bool {
	was := q.largestLease
	if l.messages >= was.messages/2+was.messages%2 && l.bytes >= was.bytes/2+was.bytes%2 {
		q.largestLease = lease{messages: max(was.messages, l.messages), bytes: max(was.bytes, l.bytes)}
		return false
	}
	q.meter.accounting.leaseGeneration.Add(1)
	if q.meter.bookOthersLocked(c) { // otherwise again with the next message
		q.largestLease = l
	}
	return true
}

// quotaReason is what the peers of sockets are told.
const quotaCloseReason = "daily quota exceeded"

// quotaDetail is what a client is told. Whose quota it is, and what of it, is for the logs.
const quotaExceededText = "the daily quota of this service is used up: it begins anew at 00:00 UTC"

// tooMany answers a request that a quota does not let in.
func answerQuotaExceeded(w http.ResponseWriter) {
	setRetryAfter(w.Header())
	http.Error(w, quotaExceededText, http.StatusTooManyRequests)
}

// tellTomorrow says when a quota will let more in.
func setRetryAfter(h http.Header) {
	h.Set("Retry-After", strconv.Itoa(int((untilTomorrow()+time.Second-1)/time.Second)))
}

// bookToday books everything up to now, and returns what m and its tenants have used since the day began, less all.
func (m *Meter) bookToday() (offset Usage) {
	ctx, cancel := context.WithTimeout(context.Background(), quotaLedgerTimeout)
	defer cancel()
	if err := m.accounting.readLedger(ctx); err != nil {
		m.accounting.logger().Error("edgews: meter's ledger is not read: what was used earlier today does not count", "error", err)
	}
	m.bookAll(false)
	earlier := m.earlierUsage()
	day := today()
	m.mu.Lock()
	defer m.mu.Unlock()
	if isNewDay(m.day.Day, day) {
		m.day = dayStart{day, m.withTenants.Add(earlier)}
		if m.accounting.startDay.Equal(day) {
			m.day.Used = earlier
		}
	}
	return earlier.Sub(m.day.Used)
}

// isNewDay reports whether a day has begun after was. When the clock is set back across midnight, that is no reason to let in as
// much again; when it had been far ahead, it is.
func isNewDay(was, day time.Time) bool {
	return day.After(was) || day.Before(was.Add(-24*time.Hour))
}

// lease returns the least that the quotas of m and of those above it let a connection count, or why it may not go on. The
// mutex of its tab must be held.
func (m *Meter) grantLeaseLocked(c *usageCounter) (lease, error) {
	l := lease{maxLeaseMessages, maxLeaseBytes, m.accounting.leaseGeneration.Load()}
	for ; m != nil; m = m.parent {
		if q := m.quota.Load(); q != nil {
			own, err := q.grantLeaseLocked(c)
			if err != nil {
				return lease{}, err
			}
			l.messages, l.bytes = min(l.messages, own.messages), min(l.bytes, own.bytes)
		}
	}
	return l, nil
}

// bookOthers books what m and its tenants have counted on other tabs than own, the mutex of which must be held. So it cannot wait for those
// that are counting at this moment: it returns whether there were none.
func (m *Meter) bookOthersLocked(except *usageCounter) (all bool) {
	all = true
	m.mu.Lock()
	counters := slices.Clone(m.counters)
	m.mu.Unlock()
	for _, c := range counters {
		switch {
		case c.mu == except.mu:
		case c.mu.TryLock():
			fact := FactTraffic
			if c.isObject() {
				fact = FactActive
			}
			c.bookLocked(fact, false)
			c.mu.Unlock()
		default:
			all = false
		}
	}
	for _, t := range m.tenantList() {
		all = t.bookOthersLocked(except) && all
	}
	return all
}

// lookAll has all quotas of m and its tenants looked at.
func (m *Meter) refreshQuotas() {
	if q := m.quota.Load(); q != nil {
		q.refresh()
	}
	for _, t := range m.tenantList() {
		t.refreshQuotas()
	}
}

// closeAll closes the sockets for which m and its tenants pay.
func (m *Meter) closeSockets(err error) {
	m.mu.Lock()
	var sockets []*Socket
	for _, c := range m.counters {
		if c.socket != nil {
			sockets = append(sockets, c.socket)
		}
	}
	m.mu.Unlock()
	for _, s := range sockets {
		s.fail(StatusPolicyViolation, quotaCloseReason, err)
	}
	for _, t := range m.tenantList() {
		t.closeSockets(err)
	}
}

// untilTomorrow is how long the day lasts.
func untilTomorrow() time.Duration { return time.Until(today().Add(24 * time.Hour)) }
