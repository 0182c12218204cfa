package edgews

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// ErrQuota: what was used is more than a plan includes ([Plan.Allows]), or would be with one more connection
// ([Meter.SetQuota]). The message names the item, its bound and the plan.
var ErrQuota = errors.New("edgews: quota exceeded")

// SetQuota bounds what m and its tenants may use in a day, which begins at 00:00 UTC, to what the plan includes: see
// [Plan.Allows] and [FreeDaily]. Tenants may have quotas of their own in addition. The zero Plan removes the quota.
//
// When the quota is used up, upgrades and requests to objects are answered with 429, a Retry-After until midnight and a
// sentence; Upgrade, Respond and Dial return ErrQuota, and all sockets that count are closed with 1008 (policy violation).
// Only those errors and the Logger say which item of whose quota is used up. Events of objects, alarms among them, still run.
//
// Upgrades and requests stop at the bound; those that have begun and are not finished count. Traffic on open sockets, in and
// out, is compared with the bound the more often the nearer the bound is, in the end with each message. The first message
// beyond the bound is counted; it is not delivered if it came in. So a little more than the bound may be used. Of messages and
// bytes it is about one message for each open socket, and never more than 64 for each socket whose goroutine the system
// has stopped while it was counting. Of requests it is those that have begun while messages use up what is left. Of time it is
// what passes until the next check: checks come with traffic and upgrades at least one second apart, and otherwise at each
// MeterOptions.Interval. The day is that of the system's clock. A clock that is set back by less than a day does not start a
// new day.
//
// With a ledger, what was used earlier in the day counts when the program restarts. When several processes share a ledger,
// through their Store, each learns once per Interval what the others have written; until then each admits what is left by
// its own knowledge. So N processes may use N times what is left within one Interval. Processes that do not share a ledger
// have no common bound.
//
// Storage is bounded as time is: what an object reads and writes counts at the next check.
func (m *Meter) SetQuota(daily Plan) {
	if m == nil {
		return
	}
	if unit := m.accounting.opts.MessageUnit; daily.MessageUnit > 0 && daily.MessageUnit != unit {
		m.accounting.logger().Warn("edgews: quota counts messages in units that the meter does not count", "plan", daily.Name,
			"unit", daily.MessageUnit, "counted", unit, "option", "MeterOptions.MessageUnit")
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
		q.refresh() // so that open sockets get leases
	}
	m.accounting.leaseGeneration.Add(1)
	m.accounting.scheduleFlush()
}

// quota bounds what a meter and its tenants may use in a day.
//
// What has been booked is known at any moment: it is Meter.withTenants plus dayOffset, which refresh finds. What connections
// have counted and not booked is bounded by leases: each connection may count so many messages and bytes before it has to
// book. All leases together are at most half of what is left. They shrink as the bound comes near, until each message is
// booked and compared with the bound.
type quota struct {
	// Immutable.
	meter *Meter
	plan  Plan

	refreshScheduled atomic.Bool // a goroutine of refreshSoon is about to call refresh

	mu sync.Mutex // above Meter.mu

	// Guarded by mu.
	refreshing   bool      // a goroutine of refreshIfStale calls refresh
	refreshedAt  time.Time // when the last refresh began; zero: never
	dayOffset    Usage     // usage of the day of refreshedAt, less Meter.withTenants
	exceeded     error     // why nothing more may be used today; nil: the quota is not used up
	largestLease lease     // the largest one granted since leases were last revoked
}

const (
	maxLeaseMessages   = 64              // messages that a connection may count before it books
	maxLeaseBytes      = 1 << 20         // bytes that a connection may count before it books
	quotaMaxAge        = time.Second     // upgrades refresh a quota whose figures of used time are older
	quotaLedgerTimeout = 5 * time.Second // how long a refresh may wait for the ledger
)

// lease is what a connection may still count before it has to book.
type lease struct {
	messages, bytes int64
	generation      uint32     // accounting.leaseGeneration when it was granted; void in any other
	expires         monoMillis // void after that
}

// dayStart is what a meter and its tenants had used, in all runs of the program, when a day began.
type dayStart struct {
	Day  time.Time `json:"day"` // 00:00 UTC
	Used Usage     `json:"start"`
}

// today returns 00:00 UTC of the present day.
func today() time.Time { return dayOf(time.Now()) }

// dayOf returns 00:00 UTC of the day of t.
func dayOf(t time.Time) time.Time { return t.UTC().Truncate(wholeDay) }

// untilTomorrow returns how long the present day still lasts.
func untilTomorrow() time.Duration { return time.Until(today().Add(wholeDay)) }

// isNewDay reports whether a quota starts afresh on day, after it had last started on was. A clock that is set back across
// midnight does not grant a second quota for the day; a clock that was far ahead, and is set right, starts the day again.
func isNewDay(was, day time.Time) bool {
	return day.After(was) || day.Before(was.Add(-wholeDay))
}

// quotaPass is the permission of a quota for something that is about to be used. Until it is released, its usage is reserved:
// it counts as used.
type quotaPass struct {
	meter *Meter // nil: nothing is reserved, or it has been released
	usage Usage
}

// admit reserves u, which is about to be used, with the quotas of m and its parents, or returns why it is refused. No mutex may
// be held.
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

// release ends the reservation: the usage has been booked, or there will be none. Further calls do nothing.
func (p *quotaPass) release() {
	p.meter.unreserve(p.usage, nil)
	p.meter = nil
}

// unreserve takes u off what is reserved with m and its parents, up to but not including end.
func (m *Meter) unreserve(u Usage, end *Meter) {
	for ; m != end && m != nil; m = m.parent {
		m.mu.Lock()
		m.reserved = m.reserved.Sub(u)
		m.mu.Unlock()
	}
}

// reserve adds u to what is reserved with m, unless m has a quota that refuses it.
func (m *Meter) reserve(u Usage) error {
	q := m.quota.Load()
	if q != nil {
		q.refreshIfStale()
		q.mu.Lock()
		defer q.mu.Unlock()
		q.revokeLeasesLocked(nil, q.leaseSizeLocked()) // u may be what is left
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	reserved := m.reserved.Add(u)
	if q != nil {
		if err := cmp.Or(q.exceeded, q.plan.Allows(m.withTenants.Add(q.dayOffset).Add(reserved))); err != nil {
			return err
		}
	}
	m.reserved = reserved
	return nil
}

// isOfEarlierDayLocked reports whether the quota has not been refreshed today. mu must be held.
func (q *quota) isOfEarlierDayLocked() bool {
	return q.refreshedAt.IsZero() || !dayOf(q.refreshedAt).Equal(today())
}

// refreshIfStale refreshes the quota if it has not been refreshed today, or if its figures are older than quotaMaxAge and no
// other goroutine refreshes them already. No mutex may be held.
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

// refreshSoon has another goroutine call refresh. Any mutex may be held.
func (q *quota) refreshSoon() {
	if !q.refreshScheduled.Swap(true) {
		go q.refresh()
	}
}

// refresh finds out what has been used today, and closes the open sockets if that exceeds the plan. No mutex may be held.
func (q *quota) refresh() {
	q.refreshScheduled.Store(false)
	began := time.Now()
	offset := q.meter.bookToday()
	q.mu.Lock()
	if began.Before(q.refreshedAt) { // another goroutine has stored newer figures
		q.mu.Unlock()
		return
	}
	q.refreshedAt, q.dayOffset = began, offset
	was := q.exceeded
	q.exceeded = q.plan.Allows(q.usedTodayLocked())
	exceeded := q.exceeded
	q.mu.Unlock()
	if exceeded != nil {
		q.closeSockets(exceeded, was == nil)
	}
}

// usedTodayLocked returns what has been booked today. mu must be held.
func (q *quota) usedTodayLocked() Usage { return q.meter.bookedUsage().Add(q.dayOffset) }

// closeSockets closes the sockets that count in the quota's meter, unless the quota has been replaced or removed meanwhile. With
// first it logs why. No mutex may be held.
func (q *quota) closeSockets(exceeded error, first bool) {
	if q.meter.quota.Load() != q {
		return
	}
	if first {
		q.meter.accounting.logger().Warn("edgews: daily quota exceeded", "tenant", q.meter.tenant, "error", exceeded)
	}
	q.meter.closeSockets(exceeded)
}

// grantLeaseLocked returns how much c may count before it books, or why it may not go on. c's mutex must be held, and c must have
// booked what it has counted.
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

// leaseSizeLocked returns how much each connection may count. All leases together are a quarter of what is left when they are
// granted, so they are at most half of what is left when they are revoked. mu must be held.
func (q *quota) leaseSizeLocked() lease {
	messages, bytes := q.plan.room(q.usedTodayLocked())
	shares := 4 * float64(max(q.meter.openCounters.Load(), 1))
	return lease{messages: int64(min(maxLeaseMessages, messages/shares)), bytes: int64(min(maxLeaseBytes, bytes/shares))}
}

// revokeLeasesLocked revokes all leases if l is less than half of the largest one granted, since the larger ones may together
// exceed what is left. It then has everything booked that counters other than c have counted, and returns true. c may be nil: then
// everything is booked. mu and c's mutex must be held.
func (q *quota) revokeLeasesLocked(c *usageCounter, l lease) bool {
	was := q.largestLease
	if l.messages >= was.messages/2+was.messages%2 && l.bytes >= was.bytes/2+was.bytes%2 {
		q.largestLease = lease{messages: max(was.messages, l.messages), bytes: max(was.bytes, l.bytes)}
		return false
	}
	q.meter.accounting.leaseGeneration.Add(1)
	if q.meter.bookOthersLocked(c) { // otherwise the next message revokes again
		q.largestLease = l
	}
	return true
}

// grantLeaseLocked returns the smallest of the leases that the quotas of m and its parents grant to c, or why c may not go on.
// c's mutex must be held.
func (m *Meter) grantLeaseLocked(c *usageCounter) (lease, error) {
	l := lease{maxLeaseMessages, maxLeaseBytes, m.accounting.leaseGeneration.Load(), nowMillis().after(quotaMaxAge)}
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

// bookOthersLocked books what counters of m and its tenants have counted, except for those under the mutex of c, which must be
// held, unless c is nil. It skips counters whose mutex is locked by another goroutine, since waiting for them could deadlock, and returns false if
// there were any.
func (m *Meter) bookOthersLocked(c *usageCounter) (all bool) {
	all = true
	for _, other := range m.counterList() {
		switch {
		case c != nil && other.mu == c.mu:
		case other.mu.TryLock():
			other.bookLocked(other.intervalFact(), false)
			other.mu.Unlock()
		default:
			all = false
		}
	}
	for _, t := range m.tenantList() {
		all = t.bookOthersLocked(c) && all
	}
	return all
}

// bookToday books everything up to now, and returns what m and its tenants have used since the day began, less
// m.withTenants. No mutex may be held.
func (m *Meter) bookToday() (offset Usage) {
	ctx, cancel := context.WithTimeout(context.Background(), quotaLedgerTimeout)
	defer cancel()
	if err := m.accounting.loadLedger(ctx); err != nil {
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

// refreshQuotas refreshes all quotas of m and its tenants. No mutex may be held.
func (m *Meter) refreshQuotas() {
	if q := m.quota.Load(); q != nil {
		q.refresh()
	}
	for _, t := range m.tenantList() {
		t.refreshQuotas()
	}
}

// closeSockets closes the sockets that count in m and its tenants. No mutex may be held.
func (m *Meter) closeSockets(err error) {
	for _, c := range m.counterList() {
		if c.socket != nil {
			c.socket.fail(StatusPolicyViolation, quotaCloseReason, err)
		}
	}
	for _, t := range m.tenantList() {
		t.closeSockets(err)
	}
}

// quotaCloseReason is the reason in the Close that peers receive.
const quotaCloseReason = "daily quota exceeded"

// quotaExceededText is the answer that clients receive. Which item of whose quota is used up is only in errors and logs.
const quotaExceededText = "the daily quota of this service is used up: it begins anew at 00:00 UTC"

// answerQuotaExceeded answers a request that a quota refuses.
func answerQuotaExceeded(w http.ResponseWriter) {
	setRetryAfter(w.Header())
	http.Error(w, quotaExceededText, http.StatusTooManyRequests)
}

// setRetryAfter sets Retry-After to the seconds until quotas start afresh.
func setRetryAfter(h http.Header) {
	h.Set("Retry-After", strconv.Itoa(int((untilTomorrow()+time.Second-1)/time.Second)))
}
