package edgews

import (
	"cmp"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Meter counts what sockets and objects use, in the units that price lists count: see [Usage]. Give it to
// Options.Meter, for the sockets that a handler upgrades, or to the Options of a namespace, for everything that its
// objects do. Each [Meter.Tenant] counts for one customer, and in the meter above as well.
//
// What is counted, and what is free, follows the published rules for Durable Objects:
//
//   - A connection counts once, when a peer has opened it (Upgrade, Respond), and is timed from then until the peer's
//     Close or its loss. A socket from Dial counts as traffic if its own options have a meter, never as a connection.
//     The end of a pair counts, its messages only, once an object with a meter has accepted it.
//   - Messages count as the program sees them: whole, and uncompressed. One that the program sends counts when Send has
//     taken it, and for each socket that a Broadcast reaches; one that comes for an object when the object gets it. Pings
//     and pongs of the protocol are free. Auto-responses are counted by themselves: neither as messages nor in bytes.
//   - An object is active from its first event until nothing pins it any more ([ObjectActive]): events, WaitUntil
//     functions, sockets that it has accepted with Accept or dialed. Events that overlap, and sockets that share an
//     object, count once. Time in which an object could hibernate is free, also before it does.
//   - Busy is the time inside listeners, and inside the handlers and the constructor of objects. What a program does
//     between two calls of Receive is not seen.
//
// All methods may be called from any goroutine, and on a nil *Meter, which counts nothing. A meter has no goroutine and
// needs no closing; with a ledger, call Flush at the end.
//
// Counting takes no lock that connections share and allocates nothing. A socket without a meter pays one comparison for
// it; with one, at most two readings of the clock for each message that goes to a listener.
type Meter struct {
	accounting   *accounting // one for a meter and all its tenants
	parent       *Meter      // nil: it is no tenant
	tenant       []string
	quota        atomic.Pointer[quota] // nil: none
	openCounters atomic.Int64          // how many are in tabs, with those of tenants

	mu sync.Mutex // below those of sockets and objects, above that of books

	// Guarded by mu. Without what tenants have.
	booked         Usage // since NewMeter
	withTenants    Usage // … with what tenants have
	earlier        Usage // what the ledger has besides
	saved          Usage // what of booked it has
	day            dayStart
	savedDay       dayStart // the one that the ledger has
	reserved       Usage    // admitted, and not booked yet; with what tenants have
	counters       []*usageCounter
	tenants        map[string]*Meter
	tenantsInOrder []*Meter // the tenants as they came; only appended to
}

// MeterOptions configures a meter. A nil pointer means the zero value.
type MeterOptions struct {
	// Record, if set, is told every fact that counts, each once; see [Record]. It is called from one goroutine at a time,
	// in the order of Record.Number, without any lock, and should be quick: what it has not been told yet waits in
	// memory. It may use the meter, except for Flush. A panic in it is logged.
	Record func(Record)

	// MinuteFloor is what every minute of a connection counts for at the least in Usage.MinuteBytes, in bytes; 0: minutes
	// are not counted. They begin with the connection, and each counts as soon as it has begun. It
	// costs one reading of the clock for each message.
	MinuteFloor int64

	// Interval is how often a connection that goes on, or an object that stays active, makes a record, and how often the
	// ledger is written; default 1 minute, also in place of a negative one.
	Interval time.Duration

	// Store, if set, keeps a ledger of what the meter and its tenants have used, over all runs of the program: see
	// [Meter.Total]. It is written at each Interval in which something was used, and by Flush, all tenants in one commit:
	// a program that is killed loses what was used since the last of them, and nothing is ever there twice. A commit that
	// fails is logged, and made up for by the next. It may be the Store of a namespace, and is not closed.
	Store Store

	// Ledger is the name of the ledger in Store; default "meter". It is for one meter at a time. That a program begins
	// while the one before it is still there does no harm, as long as they do not write in the same moment: then the one
	// may be written over by the other, and what it has used meanwhile is missing.
	Ledger string

	// MaxTenants bounds the tenants that the meter remembers, those of its tenants included, since each takes about 1 KB for as
	// long as the meter lives; default 100,000; negative: no bound. Beyond it new tenants
	// share one, [OverflowTenant], and the Logger is warned once. Those that the ledger names are not
	// refused. Take the name of a tenant from who has logged in, not from what a client may choose.
	MaxTenants int

	// Logger gets what goes wrong; nil means slog.Default.
	Logger *slog.Logger
}

const (
	defaultInterval   = time.Minute
	defaultMaxTenants = 100_000
)

// NewMeter returns a meter that has counted nothing.
func NewMeter(opts *MeterOptions) *Meter {
	a := &accounting{startDay: today()}
	if opts != nil {
		a.opts = *opts
	}
	a.opts.Interval = max(a.opts.Interval, 0)
	setDefault(&a.opts.Interval, defaultInterval)
	setDefault(&a.opts.Ledger, "meter")
	setDefault(&a.opts.MaxTenants, defaultMaxTenants)
	if a.opts.Store != nil {
		a.ledger = newLedger(a)
	}
	a.root = &Meter{accounting: a}
	return a.root
}

// OverflowTenant is the name of the tenant in which a meter counts what belongs to tenants beyond MeterOptions.MaxTenants. Do not
// give it to a customer.
const OverflowTenant = "(overflow)"

// Tenant returns the meter of one customer, which is made the first time and the same ever after. What it counts also
// counts in m. Tenants may have tenants. The tenant without a name is m itself.
//
// When there are MeterOptions.MaxTenants, a name that is new means the tenant [OverflowTenant] of m: all such names share
// it, and a quota that it has, and it has no tenants of its own.
func (m *Meter) Tenant(name string) *Meter {
	if m == nil || name == "" || m.isOverflow() {
		return m
	}
	if t := m.tenantNamed(name, m.accounting.opts.MaxTenants); t != nil {
		return t
	}
	m.accounting.warnOfTenants(append(slices.Clip(m.tenant), name))
	return m.tenantNamed(OverflowTenant, -1)
}

// overflow reports whether m counts for tenants beyond the bound.
func (m *Meter) isOverflow() bool { return m.parent != nil && m.name() == OverflowTenant }

// tenantNamed returns a tenant, or nil if it would be a new one and the meter has most of them; negative: any number.
func (m *Meter) tenantNamed(name string, most int) *Meter {
	m.mu.Lock()
	defer m.mu.Unlock()
	if t := m.tenants[name]; t != nil {
		return t
	}
	if name != OverflowTenant && !m.accounting.countTenant(most) {
		return nil
	}
	if m.tenants == nil {
		m.tenants = make(map[string]*Meter)
	}
	name = strings.Clone(name)
	t := &Meter{accounting: m.accounting, parent: m, tenant: append(slices.Clip(m.tenant), name)}
	m.tenants[name] = t
	m.tenantsInOrder = append(m.tenantsInOrder, t)
	return t
}

// countTenant counts one more, unless there are as many as may be.
func (a *accounting) countTenant(most int) bool {
	if n := a.tenantCount.Add(1); most >= 0 && n > int64(most) {
		a.tenantCount.Add(-1)
		return false
	}
	return true
}

// warnOfTenants logs the first name beyond the bound. No mutex may be held.
func (a *accounting) warnOfTenants(tenant []string) {
	if a.tenantLimitLogged.CompareAndSwap(false, true) {
		a.logger().Warn("edgews: too many tenants: what this and further ones use is counted in the tenant "+OverflowTenant,
			"tenant", tenant, "limit", a.opts.MaxTenants, "option", "MeterOptions.MaxTenants")
	}
}

// Usage returns what has been used since NewMeter, by m and its tenants. What is going on at the moment, a connection or an
// active interval, counts up to now; the time of a connection shows once its socket is accepted, from the beginning. A
// reading does not stop the world: it is exact for whatever was over when it began.
//
// The usage is the sum of the records: those for what goes on are made now, and Record has been told when Usage returns, unless
// it was being told something at that moment, or Usage is called from there. Then the last ones follow; see Flush.
func (m *Meter) Usage() Usage {
	if m == nil {
		return Usage{}
	}
	claimed := m.accounting.claimDelivery()
	m.bookAll(claimed)
	if claimed {
		m.accounting.deliverRecords()
	}
	return m.bookedUsage()
}

// Tenants returns an iterator over the tenants, ordered by name, and the usage of each, with that of its own tenants.
func (m *Meter) Tenants() iter.Seq2[string, Usage] {
	return func(yield func(string, Usage) bool) {
		if m == nil {
			return
		}
		byName := slices.SortedFunc(slices.Values(m.tenantList()), func(a, b *Meter) int { return cmp.Compare(a.name(), b.name()) })
		for _, t := range byName {
			if !yield(t.name(), t.Usage()) {
				return
			}
		}
	}
}

// name returns the name of a tenant.
func (m *Meter) name() string { return m.tenant[len(m.tenant)-1] }

// children returns the tenants as they are now, the oldest first; not to be changed.
func (m *Meter) tenantList() []*Meter {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.tenantsInOrder
}

// settle books everything that has been counted up to now, and makes records of it if told to.
func (m *Meter) bookAll(record bool) {
	m.mu.Lock()
	counters := slices.Clone(m.counters)
	m.mu.Unlock()
	for _, c := range counters {
		c.bookNow(record)
	}
	for _, t := range m.tenantList() {
		t.bookAll(record)
	}
}

// sum returns what has been booked.
func (m *Meter) bookedUsage() Usage {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.withTenants
}

// book adds a fact to what has been used, and to what o has, if there is one. The mutexes of sockets and objects may be
// held.
func (m *Meter) book(o *object, r Record) {
	m.mu.Lock()
	m.bookLocked(o, r.Usage)
	m.queueRecordLocked(r)
	m.mu.Unlock()
	m.bookInParents(r.Usage)
	m.accounting.scheduleFlush()
}

// bookLocked adds to what has been used. bookAbove has to follow. mu must be held.
func (m *Meter) bookLocked(o *object, u Usage) {
	m.booked, m.withTenants = m.booked.Add(u), m.withTenants.Add(u)
	if o != nil {
		o.used = o.used.Add(u)
	}
}

// bookAbove adds what has been booked to what the meters above m have. Those of which m is a tenant need not be quite in step with it:
// whoever reads them sees all that was over before.
func (m *Meter) bookInParents(u Usage) {
	for m = m.parent; m != nil; m = m.parent {
		m.mu.Lock()
		m.withTenants = m.withTenants.Add(u)
		m.mu.Unlock()
	}
}

// recordLocked has Record told of what has been booked. mu must be held.
func (m *Meter) queueRecordLocked(r Record) {
	if m.wantsRecords() {
		r.Tenant = m.tenant
		m.accounting.queueRecord(r)
	}
}

// records reports whether anybody wants records.
func (m *Meter) wantsRecords() bool { return m.accounting.opts.Record != nil }

// listLocked puts t among those that may have something to be booked. mu must be held.
func (m *Meter) addCounterLocked(c *usageCounter) {
	if c.meterIndex == 0 {
		m.counters = append(m.counters, c)
		c.meterIndex = len(m.counters)
		m.addOpen(1)
	}
}

// unlistLocked takes t out. mu must be held.
func (m *Meter) removeCounterLocked(c *usageCounter) {
	if c.meterIndex == 0 {
		return
	}
	last := len(m.counters) - 1
	m.counters[c.meterIndex-1] = m.counters[last]
	m.counters[c.meterIndex-1].meterIndex = c.meterIndex
	m.counters[last] = nil
	m.counters, c.meterIndex = m.counters[:last], 0
	m.addOpen(-1)
}

func (m *Meter) addOpen(n int64) {
	for ; m != nil; m = m.parent {
		m.openCounters.Add(n)
	}
}

// idle reports whether nothing of m is going on, and the ledger, if there is one, has everything.
func (m *Meter) isIdle() bool {
	m.mu.Lock()
	busy := len(m.counters) > 0 || m.accounting.ledger != nil && m.unsavedLocked()
	m.mu.Unlock()
	return !busy && !slices.ContainsFunc(m.tenantList(), func(t *Meter) bool { return !t.isIdle() })
}
