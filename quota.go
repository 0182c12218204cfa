package edgews

import (
	"errors"
	"fmt"
)

// ErrQuota: what was used is more than a plan includes ([Plan.Allows]), or would be with one connection more
// ([Meter.SetQuota]). The message names the item, its bound and the plan.
var ErrQuota = errors.New("edgews: quota exceeded")

// FreeDaily is what Durable Objects may use in a day on the free plan; it has no prices. Days begin at 00:00 UTC. It is
// made for [Plan.Allows].
//
// Source: Cloudflare's Durable Objects pricing page, 2026.
var FreeDaily = Plan{
	Name:               "Durable Objects, free, a day",
	Requests:           Rate{Included: 100_000},
	MessagesPerRequest: 20,
	Duration:           Rate{Included: 13_000},
	Memory:             128,
}

// Allows uses the plan as a quota. It returns nil as long as u, all that was used in the period, is within what the plan
// includes, and otherwise an error that is [ErrQuota] and names the first item that is not. Items without a rate have no
// bound. To ask whether one more connection may be opened, ask for u.Add(Usage{Connections: 1}).
func (p Plan) Allows(u Usage) error {
	for _, c := range p.charges(usageCountsOf(u)) {
		if c.over().Sign() > 0 {
			line := c.line()
			return fmt.Errorf("%w: %s: %d of %d %s, plan %q", ErrQuota, line.Item, line.Quantity, line.Included, line.Unit, p.Name)
		}
	}
	return nil
}
