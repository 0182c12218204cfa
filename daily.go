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

	// left is how much may pass until a look is due, in messages of quotaUnit. Connections take shares of it: see share.
	left atomic.Int64

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
	quotaShare   = 100     // units that a connection may count without asking again, at the most
	quotaShares  = 16      // a share is at most such a part of what is left, so that shares end where the quota does
	quotaMost    = 1 << 20 // units that are left, at the most; more are found later
	quotaNear    = quotaShares * quotaShare
	quotaSpacing = 100 * time.Millisecond // between looks that nothing waits for
	quotaStale   = time.Second            // what an upgrade may rely on while the quota is not near
	quotaLedger  = 5 * time.Second        // how long a look may wait for the ledger
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
// Upgrades and requests stop at the bound; those that are on their way count. Messages over open sockets stop at the bound as well,
// except for a few that each socket may be handling meanwhile, and for messages that are sent and not answered: a broadcast is
// not interrupted. Time is looked at every MeterOptions.Interval. What other processes use that share the Store does not
// count, except what they had written to the ledger when this one read it, once: give each process a quota of its own. With a
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
	near := q.left.Load() < quotaNear
	due := old || near || !q.looking && time.Since(q.looked) > quotaStale
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
	q.left.Store(q.plan.unitsLeft(used))
	q.mu.Unlock()
	if over == nil || q.m.quota.Load() != q { // it may be gone by now
		return
	}
	if was == nil {
		q.m.books.logger().Warn("edgews: daily quota exceeded", "tenant", q.m.tenant, "error", over)
	}
	q.m.closeAll(over)
}

// quotaUnit is how many bytes a message has that counts as one against what is left. A larger one counts as more.
const quotaUnit = 1 << 10

// unitsOf returns what messages, of so many bytes together, count as.
func unitsOf(messages, bytes int) int64 { return int64(messages + bytes/quotaUnit) }

// unitsLeft returns how many more units, in or out, the plan allows for sure, up to quotaMost.
func (p Plan) unitsLeft(u Usage) (left int64) {
	for n := int64(1); n <= quotaMost; n *= 2 {
		in := Usage{MessagesIn: n, BytesIn: n * quotaUnit}
		out := Usage{MessagesOut: n, BytesOut: n * quotaUnit}
		if p.Allows(u.Add(in)) != nil || p.Allows(u.Add(out)) != nil {
			break
		}
		left = n
	}
	return left
}

// share returns how many units a connection may count until it asks again; 0: a look is due first.
func (q *quota) share() int64 {
	left := q.left.Load()
	share := min(max(left/quotaShares, 1), quotaShare)
	if left <= 0 || q.left.Add(-share) < 0 {
		return 0
	}
	return share
}

// share returns how many units a connection may count until it asks again, as the quotas of m and those above it say; 0: a look is
// due first.
func (m *Meter) share() int64 {
	share := int64(quotaShare)
	for ; m != nil; m = m.parent {
		if q := m.quota.Load(); q != nil {
			share = min(share, q.share())
		}
	}
	return share
}

// lookNow looks at the quotas of m and those above it that have nothing left. No mutex may be held.
func (m *Meter) lookNow() {
	for ; m != nil; m = m.parent {
		if q := m.quota.Load(); q != nil && q.left.Load() <= 0 {
			q.look()
		}
	}
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
