package edgews

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// quota bounds what a meter and its tenants may use in a day.
type quota struct {
	m    *Meter
	plan Plan
	soon atomic.Bool // a look is due

	mu sync.Mutex // above those of meters

	// Guarded by mu.
	looking bool      // a goroutine finds out what has been used
	looked  time.Time // when that was last begun; zero: never
	used    Usage     // in the day, by then
	let     Usage     // what was let in and booked, ever
	seen    Usage     // what of it is in used
	over    error     // why nothing more may be used today; nil: something may
}

const (
	quotaBatch   = 100                    // so many messages on a connection, and somebody looks
	quotaSpacing = 100 * time.Millisecond // but not more often than this
	quotaStale   = time.Second            // what an upgrade may rely on
	quotaLedger  = 5 * time.Second        // how long it may wait for the ledger
)

// dayMark is what a meter and its tenants had used when a day began.
type dayMark struct {
	Day   time.Time `json:"day"` // 00:00 UTC
	Start Usage     `json:"start"`
}

func today() time.Time { return time.Now().UTC().Truncate(24 * time.Hour) }

// SetQuota bounds what m and its tenants may use in a day, which begins at 00:00 UTC, to what the plan includes: see
// [Plan.Allows] and [FreeDaily]. Tenants may have quotas of their own besides; the zero Plan removes it.
//
// When it is used up, upgrades and requests to objects are answered with 429, a Retry-After until midnight and a sentence;
// the error of Upgrade, Respond and Dial is ErrQuota, and all sockets that count are closed with 1008 (policy violation).
// What of it is used up, and whose it is, is in those errors and the Logger's. Events of objects, alarms among them,
// still run.
//
// Upgrades and requests stop at the bound; those that are on their way count. What goes over sockets that are open, in and
// out, is looked at after 100 messages on one and at each MeterOptions.Interval, so that a little more may be used. With a
// ledger, what was used earlier in the day counts when the program begins anew.
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
func (p *pass) used() {
	for m := p.m; m != nil; m = m.parent {
		if q := m.quota.Load(); q != nil {
			q.mu.Lock()
			q.let = q.let.Add(p.u)
			q.mu.Unlock()
		}
	}
	p.unused()
}

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
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	underway := m.underway.Add(u)
	if q != nil {
		if err := q.allowsLocked(underway); err != nil {
			return err
		}
	}
	m.underway = underway
	return nil
}

// allowsLocked says whether so much may be underway. mu must be held.
func (q *quota) allowsLocked(underway Usage) error {
	if q.over != nil {
		return q.over
	}
	return q.plan.Allows(q.used.Add(q.let.Sub(q.seen)).Add(underway))
}

// lookIfStale leaves it to another goroutine if one looks already and what is known is of today.
func (q *quota) lookIfStale() {
	q.mu.Lock()
	old := q.looked.UTC().Truncate(24*time.Hour) != today()
	due := old || !q.looking && time.Since(q.looked) > quotaStale
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

// look finds out what has been used today, and closes what is open if that is too much.
func (q *quota) look() {
	q.soon.Store(false)
	q.mu.Lock()
	begun, seen := time.Now(), q.let
	q.mu.Unlock()
	used := q.m.usedToday()
	q.mu.Lock()
	if begun.Before(q.looked) { // another was faster
		q.mu.Unlock()
		return
	}
	q.looked, q.used, q.seen = begun, used, seen
	was := q.over
	q.over = q.plan.Allows(used)
	over := q.over
	q.mu.Unlock()
	if over == nil || q.m.quota.Load() != q { // it may be gone by now
		return
	}
	if was == nil {
		q.m.books.logger().Warn("edgews: daily quota exceeded", "tenant", q.m.tenant, "error", over)
	}
	q.m.closeAll(over)
}

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

// usedToday returns what m and its tenants have used since the day began.
func (m *Meter) usedToday() Usage {
	ctx, cancel := context.WithTimeout(context.Background(), quotaLedger)
	defer cancel()
	if err := m.books.readLedger(ctx); err != nil {
		m.books.logger().Error("edgews: meter's ledger is not read: what was used earlier today does not count", "error", err)
	}
	m.settle(false)
	earlier := m.earlier()
	total := m.sum().Add(earlier)
	day := today()
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.day.Day.Equal(day) {
		m.day = dayMark{day, total}
		if m.books.began.Equal(day) {
			m.day.Start = earlier
		}
	}
	return total.Sub(m.day.Start)
}

// lookSoon has those look whose quota is concerned. The mutexes of sockets may be held.
func (m *Meter) lookSoon() {
	for ; m != nil; m = m.parent {
		if q := m.quota.Load(); q != nil && !q.soon.Swap(true) {
			time.AfterFunc(quotaSpacing, q.look)
		}
	}
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
		s.fail(StatusPolicyViolation, "daily quota exceeded", err)
	}
	for _, t := range m.children() {
		t.closeAll(err)
	}
}

// untilTomorrow is how long the day lasts.
func untilTomorrow() time.Duration { return time.Until(today().Add(24 * time.Hour)) }
