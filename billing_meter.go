package edgews

import (
	"cmp"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edgews/edgews/internal/fifo"
)

// accounting is what a meter and its tenants have in common.
type accounting struct {
	// Immutable after NewMeter.
	root     *Meter
	opts     MeterOptions
	startDay time.Time // 00:00 UTC of the day of NewMeter
	ledger   *ledger   // nil: none

	countsMore bool // besides messages and bytes, message units or minute bytes are counted

	// Atomics.
	quotaCount        atomic.Int32  // meters that have a quota
	leaseGeneration   atomic.Uint32 // leases of an earlier generation are void
	lastConnection    atomic.Uint64 // the number of the last connection
	tenantCount       atomic.Int64
	tenantLimitLogged atomic.Bool // MaxTenants has been exceeded, and the log says so
	flushScheduled    atomic.Bool // a timer will call periodicFlush
	flushing          atomic.Bool // periodicFlush runs

	mu sync.Mutex // a leaf: nothing else is locked under it

	// Guarded by mu.
	lastNumber  uint64 // the number of the last record
	undelivered fifo.Queue[Record]
	delivering  bool   // a goroutine calls MeterOptions.Record, or is about to
	delivered   signal // broadcast when undelivered has become empty
}

// logger returns the logger of the options, or the default one.
func (a *accounting) logger() *slog.Logger { return cmp.Or(a.opts.Logger, slog.Default()) }

// isOverflow reports whether m counts for the tenants beyond MeterOptions.MaxTenants.
func (m *Meter) isOverflow() bool { return m.parent != nil && m.name() == OverflowTenant }

// tenantNamed returns a tenant, which it creates if there are fewer than limit tenants (negative: no limit), or nil.
func (m *Meter) tenantNamed(name string, limit int) *Meter {
	m.mu.Lock()
	defer m.mu.Unlock()
	if t := m.tenants[name]; t != nil {
		return t
	}
	if name != OverflowTenant && !m.accounting.countTenant(limit) {
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

// countTenant counts one more tenant, unless there are limit tenants already; negative: no limit.
func (a *accounting) countTenant(limit int) bool {
	if n := a.tenantCount.Add(1); limit >= 0 && n > int64(limit) {
		a.tenantCount.Add(-1)
		return false
	}
	return true
}

// warnOfTenants logs the first name beyond MeterOptions.MaxTenants. No mutex may be held.
func (a *accounting) warnOfTenants(tenant []string) {
	if a.tenantLimitLogged.CompareAndSwap(false, true) {
		a.logger().Warn("edgews: too many tenants: what this and further ones use is counted in the tenant "+OverflowTenant,
			"tenant", tenant, "limit", a.opts.MaxTenants, "option", "MeterOptions.MaxTenants")
	}
}

// name returns the name of a tenant. m must be one.
func (m *Meter) name() string { return m.tenant[len(m.tenant)-1] }

// tenantList returns the present tenants, oldest first. The slice must not be changed.
func (m *Meter) tenantList() []*Meter {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.tenantsInOrder
}

// counterList returns a copy of the counters that have, or will have, something to be booked.
func (m *Meter) counterList() []*usageCounter {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.counters)
}

// bookAll books everything that m and its tenants have counted up to now. With record it makes records of it. No mutex may
// be held.
func (m *Meter) bookAll(record bool) {
	for _, c := range m.counterList() {
		c.bookNow(record)
	}
	for _, t := range m.tenantList() {
		t.bookAll(record)
	}
}

// bookedUsage returns what m and its tenants have booked.
func (m *Meter) bookedUsage() Usage {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.withTenants
}

// book books a fact that no counter has counted, for o too unless it is nil. The mutexes of sockets and objects may be held.
func (m *Meter) book(o *object, r Record) {
	m.mu.Lock()
	m.bookLocked(o, r.Usage)
	m.queueRecordLocked(r)
	m.mu.Unlock()
	m.bookInParents(r.Usage)
	m.accounting.scheduleFlush()
}

// bookLocked adds u to m, and to o unless it is nil. mu must be held. The caller calls bookInParents afterwards.
func (m *Meter) bookLocked(o *object, u Usage) {
	m.booked, m.withTenants = m.booked.Add(u), m.withTenants.Add(u)
	if o != nil {
		o.used = o.used.Add(u)
	}
}

// bookInParents adds what m has booked to the meters of which it is a tenant. mu must not be held: for a moment a parent has
// less than its tenants. A reader of the parent still sees everything that was over when it began.
func (m *Meter) bookInParents(u Usage) {
	for m = m.parent; m != nil; m = m.parent {
		m.mu.Lock()
		m.withTenants = m.withTenants.Add(u)
		m.mu.Unlock()
	}
}

// queueRecordLocked queues a record of what has been booked, if the program wants records. mu must be held.
func (m *Meter) queueRecordLocked(r Record) {
	if m.wantsRecords() {
		r.Tenant = m.tenant
		m.accounting.queueRecord(r)
	}
}

// wantsRecords reports whether MeterOptions.Record is set.
func (m *Meter) wantsRecords() bool { return m.accounting.opts.Record != nil }

// addCounterLocked adds c to the counters that may have something to be booked. mu must be held.
func (m *Meter) addCounterLocked(c *usageCounter) {
	if c.meterIndex == 0 {
		m.counters = append(m.counters, c)
		c.meterIndex = len(m.counters)
		m.addOpen(1)
	}
}

// removeCounterLocked removes c. mu must be held.
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

// addOpen adds n to openCounters of m and of its parents.
func (m *Meter) addOpen(n int64) {
	for ; m != nil; m = m.parent {
		m.openCounters.Add(n)
	}
}

// isIdle reports whether nothing of m and its tenants is going on, and the ledger, if there is one, is complete.
func (m *Meter) isIdle() bool {
	m.mu.Lock()
	busy := len(m.counters) > 0 || m.accounting.ledger != nil && m.unsavedLocked()
	m.mu.Unlock()
	return !busy && !slices.ContainsFunc(m.tenantList(), func(t *Meter) bool { return !t.isIdle() })
}
