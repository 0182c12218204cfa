package metrics

import (
	"fmt"
	"sync"
	"time"

	"github.com/edgews/edgews"
)

// money turns the usage of a meter into counters and costs.
type money struct {
	meter *edgews.Meter
	plans []pricing

	mu sync.Mutex // held while the meter is read, so that counters never go back

	// Guarded by mu.
	total   account
	tenants map[string]*account // by label
	names   words
}

// pricing is a plan, and the same plan with nothing but its prices.
type pricing struct{ plan, units edgews.Plan }

// account is the usage of a meter or a tenant in parts, because the times of one Usage wrap around after 292 years, which ten thousand sockets
// reach in eleven days. Differences stay right.
type account struct {
	since             edgews.Usage // what the parts before had; the present part is what was used since
	seconds           [len(spans)]float64
	costs, hibernated []float64 // by plan
}

// longPart is the time, summed over sockets or objects, after which a new part begins. It leaves 92 years until the next reading.
const longPart = 200 * 365 * 24 * time.Hour

// spans are the values of the label span.
var spans = [...]string{"active", "busy", "connected"}

// newMoney returns the money of a meter. It panics if a plan has no name, or two have the same.
func newMoney(opts *Options) *money {
	m := &money{meter: opts.Meter, tenants: make(map[string]*account)}
	m.names.limit = orDefault(opts.MaxTenants, defaultMaxTenants)
	seen := make(map[string]bool)
	for _, p := range opts.Plans {
		if p.Name == "" || seen[p.Name] {
			panic(fmt.Sprintf("edgews: metrics: each plan needs a name of its own, and %q is not one", p.Name))
		}
		seen[p.Name] = true
		m.plans = append(m.plans, pricing{p, p.UnitPrices()})
	}
	return m
}

// readMeter adds the samples of the meter and its tenants.
func (m *money) readMeter(add adder) {
	if m.meter == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	byTenant := make(map[string]edgews.Usage)
	for name, usage := range m.meter.Tenants() {
		label := m.tenantLabel(name)
		byTenant[label] = byTenant[label].Add(usage)
	}
	usage := m.meter.Usage()
	addUsage(add, usage)
	m.addTotal(add, usage)
	for label, usage := range byTenant {
		if m.tenants[label] == nil {
			m.tenants[label] = &account{}
		}
		m.addTenant(add, label, usage)
	}
}

// tenantLabel returns the label of a tenant. mu must be held.
func (m *money) tenantLabel(name string) string {
	if name == edgews.OverflowTenant {
		return other
	}
	return m.names.label(name)
}

// addUsage adds what needs no parts: whole numbers.
func addUsage(add adder, u edgews.Usage) {
	add.number(usedConnections, float64(u.Connections))
	add.number(usedRequests, float64(u.HTTPRequests))
	add.number(usedMessages, float64(u.MessagesIn), "in")
	add.number(usedMessages, float64(u.MessagesOut), "out")
	add.number(usedBytes, float64(u.BytesIn), "in")
	add.number(usedBytes, float64(u.BytesOut), "out")
	add.number(usedRows, float64(u.RowsRead), "read")
	add.number(usedRows, float64(u.RowsWritten), "write")
	add.number(usedStorage, float64(u.StoredByteHours)*time.Hour.Seconds())
}

func (m *money) addTotal(add adder, u edgews.Usage) {
	now := m.total.at(u, m.plans)
	for i, span := range spans {
		add.number(usedTime, now.seconds[i], span)
	}
	for i, p := range m.plans {
		add.number(cost, now.costs[i], p.plan.Name)
		add.number(costHibernating, now.hibernated[i], p.plan.Name)
		add.number(bill, dollars(p.plan.Bill(u).Total), p.plan.Name)
	}
}

func (m *money) addTenant(add adder, label string, u edgews.Usage) {
	now := m.tenants[label].at(u, m.plans)
	add.number(tenantMessages, float64(u.MessagesIn), label, "in")
	add.number(tenantMessages, float64(u.MessagesOut), label, "out")
	for i, span := range spans {
		add.number(tenantTime, now.seconds[i], label, span)
	}
	for i, p := range m.plans {
		add.number(tenantCost, now.costs[i], label, p.plan.Name)
	}
}

// at returns the sums of all parts when the usage is u, and begins a new part if the present one is long.
func (a *account) at(u edgews.Usage, plans []pricing) account {
	part := u.Sub(a.since)
	now := account{since: u, costs: make([]float64, len(plans)), hibernated: make([]float64, len(plans))}
	for i, d := range [...]time.Duration{part.Active, part.Busy, part.Connected} {
		now.seconds[i] = a.seconds[i] + d.Seconds()
	}
	hibernated := part
	hibernated.Active = min(part.Active, part.Busy)
	for i, p := range plans {
		now.costs[i], now.hibernated[i] = dollars(p.units.Bill(part).Total), dollars(p.units.Bill(hibernated).Total)
		if a.costs != nil {
			now.costs[i], now.hibernated[i] = now.costs[i]+a.costs[i], now.hibernated[i]+a.hibernated[i]
		}
	}
	if max(part.Active, part.Busy, part.Connected) > longPart {
		*a = now
	}
	return now
}

func dollars(a edgews.USD) float64 { return float64(a) / float64(edgews.Dollar) }
