package inspect

import (
	"cmp"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/edgews/edgews"
)

// billSample is the usage at one moment.
type billSample struct {
	usage, alwaysOn edgews.Usage // alwaysOn: if objects did not hibernate
	tenants         []tenantUsage
}

type tenantUsage struct {
	name            string
	usage, alwaysOn edgews.Usage
}

func (i *Inspector) sampleBill(time.Time) *billSample {
	s := &billSample{usage: i.opts.Meter.Usage()}
	s.alwaysOn = withActive(s.usage, i.objects.on.total())
	for name, usage := range i.opts.Meter.Tenants() {
		s.tenants = append(s.tenants, tenantUsage{name, usage, withActive(usage, i.objects.on.ofTenant(name))})
	}
	return s
}

// withActive returns u for objects that were active for so long, or as long as they were.
func withActive(u edgews.Usage, active time.Duration) edgews.Usage {
	u.Active = max(u.Active, active)
	return u
}

// bill answers CallBill.
func (i *Inspector) bill(q BillQuery) (BillReport, error) {
	if i.opts.Meter == nil {
		return BillReport{}, notFound("there is no meter: inspect.Options.Meter is not set")
	}
	plan, err := i.plan(q.Plan)
	if err != nil {
		return BillReport{}, err
	}
	s, _ := i.billSamples.get()
	r := BillReport{Bill: plan.Bill(s.usage), Usage: usageItems(s.usage), Total: len(s.tenants), Tenants: []TenantCost{}}
	for _, p := range i.plans {
		cost, alwaysOn := p.Bill(s.usage).Total, p.Bill(s.alwaysOn).Total
		prices := p.UnitPrices()
		unit := prices.Bill(s.alwaysOn).Total - prices.Bill(s.usage).Total
		r.Plans = append(r.Plans, PlanCost{p.Name, dollars(cost), dollars(alwaysOn), dollars(alwaysOn - cost), dollars(unit)})
	}
	prices := plan.UnitPrices()
	costs := s.tenantCosts(prices, strings.ToLower(q.Search))
	r.Selected = len(costs)
	part, _ := page(costs, q.Offset, rowLimit(q.Limit, defaultRows))
	for _, c := range part {
		alwaysOn := prices.Bill(c.tenant.alwaysOn).Total
		r.Tenants = append(r.Tenants, TenantCost{
			Tenant: escape(c.tenant.name, maxName), Cost: dollars(c.cost), AlwaysOn: dollars(alwaysOn), Saved: dollars(alwaysOn - c.cost), Connections: c.tenant.usage.Connections,
			Messages: c.tenant.usage.MessagesIn + c.tenant.usage.MessagesOut, Active: millis(c.tenant.usage.Active),
		})
	}
	return r, nil
}

type tenantCost struct {
	tenant *tenantUsage
	cost   edgews.USD
}

// tenantCosts returns the tenants whose names contain search, the most expensive first.
func (s *billSample) tenantCosts(prices edgews.Plan, search string) []tenantCost {
	var list []tenantCost
	for k := range s.tenants {
		if t := &s.tenants[k]; search == "" || containsFold(search, t.name) {
			list = append(list, tenantCost{t, prices.Bill(t.usage).Total})
		}
	}
	slices.SortStableFunc(list, func(a, b tenantCost) int { return cmp.Compare(b.cost, a.cost) })
	return list
}

// plan returns the plan of a name; "": the first.
func (i *Inspector) plan(name string) (edgews.Plan, error) {
	if name == "" {
		return i.plans[0], nil
	}
	for _, p := range i.plans {
		if p.Name == name {
			return p, nil
		}
	}
	return edgews.Plan{}, notFound("there is no plan %q", name)
}

// usageItems returns the fields of u that are not 0.
func usageItems(u edgews.Usage) []UsageItem {
	items := []UsageItem{}
	v := reflect.ValueOf(u)
	for k := range v.NumField() {
		name, n := v.Type().Field(k).Name, v.Field(k).Int()
		switch {
		case n == 0:
		case v.Field(k).Type() == reflect.TypeFor[time.Duration]():
			items = append(items, UsageItem{name, millis(time.Duration(n))})
		default:
			items = append(items, UsageItem{name, float64(n)})
		}
	}
	return items
}

// dollars returns the exact amount, such as "0.000412".
func dollars(a edgews.USD) string {
	text, _ := a.MarshalText() // it never fails
	return string(text)
}
