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

	mu sync.Mutex // above those of sockets

	// Guarded by mu.
	looked time.Time // when it was last found out what has been used; zero: never
	used   Usage     // in the day, by then
	let    Usage     // what was let in since
	over   error     // why nothing more may be used today; nil: something may
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
// When it is used up, upgrades and requests to objects are answered with 429, a Retry-After and a sentence that says what
// is used up, Dial fails with ErrQuota, and all sockets that count are closed with 1008 (policy violation). Events of
// objects, alarms among them, still run.
//
// Upgrades and requests stop at the bound. What goes over sockets that are open is looked at after 100 messages on one and at
// each MeterOptions.Interval, so that a little more may be used. With a ledger, what was used earlier in the day
// counts when the program begins anew.
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

// admit lets u in, or says why not. It is for what is about to be used; no mutex may be held.
func (m *Meter) admit(u Usage) error {
	if m == nil || m.books.quotas.Load() == 0 {
		return nil
	}
	for ; m != nil; m = m.parent {
		if q := m.quota.Load(); q != nil {
			if err := q.admit(u); err != nil {
				return err
			}
		}
	}
	return nil
}

func (q *quota) admit(u Usage) error {
	q.lookIfStale()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.over != nil {
		return q.over
	}
	let := q.let.Add(u)
	if err := q.plan.Allows(q.used.Add(let)); err != nil {
		return err
	}
	q.let = let
	return nil
}

func (q *quota) lookIfStale() {
	q.mu.Lock()
	stale := time.Since(q.looked) > quotaStale || q.looked.UTC().Truncate(24*time.Hour) != today()
	q.mu.Unlock()
	if stale {
		q.look()
	}
}

// look finds out what has been used today, and closes what is open if that is too much.
func (q *quota) look() {
	q.soon.Store(false)
	used := q.m.usedToday()
	q.mu.Lock()
	q.looked, q.used, q.let = time.Now(), used, Usage{}
	was := q.over
	q.over = q.plan.Allows(used)
	over := q.over
	q.mu.Unlock()
	if over == nil {
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
