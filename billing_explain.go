package edgews

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"
)

// Explanation says whether an object is billed at this moment, and why.
type Explanation struct {
	ObjectInfo
	Reasons []Reason // what keeps it active, the oldest first; none if it is not active, which is free

	// Used is what the object and its sockets have used since the object came into memory; zero without a meter.
	Used Usage

	// Cost is the price of Used by the plan, without its base fee and included amounts. Hibernated is what the price would
	// be if the object were active only while a handler runs.
	Cost, Hibernated USD
}

// Reason is one thing that keeps an object active.
type Reason struct {
	Pin    string    // as in ObjectInfo.Pins
	Since  time.Time // zero if unknown: for storage, and for an event without a meter
	By     string    // the running handler, the line that called WaitUntil, or the dialed URL without its password; "": nothing is known
	Socket *Socket   // nil: the reason is not a socket
}

// Explain returns an iterator over the objects in memory, as Objects does, with what keeps each active and what that costs,
// the most expensive first. Where Cost is far beyond Hibernated, the first of Reasons says what to change: most often
// a socket that was accepted with Accept and could be given to State.AcceptWebSocket.
func (n *Namespace) Explain(p Plan) iter.Seq[Explanation] {
	return func(yield func(Explanation) bool) {
		p := p.UnitPrices()
		var all []Explanation
		for _, o := range n.allObjects() {
			if e, ok := o.explain(p); ok {
				all = append(all, e)
			}
		}
		slices.SortStableFunc(all, func(a, b Explanation) int { return cmp.Compare(b.Cost, a.Cost) })
		for _, e := range all {
			if !yield(e) {
				return
			}
		}
	}
}

// String returns the explanation in a few lines for people, without a final newline.
func (e Explanation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s is %s, and ", e.ID, e.State)
	if e.State != ObjectActive {
		b.WriteString("free")
	} else {
		fmt.Fprintf(&b, "billed for %v", time.Since(e.Since).Round(time.Millisecond))
	}
	if e.Used != (Usage{}) {
		fmt.Fprintf(&b, "; so far %s, hibernating %s", e.Cost.exact(), e.Hibernated.exact())
	}
	if !e.PinnedUntil.IsZero() {
		fmt.Fprintf(&b, "; evicted in %v unless an event comes", time.Until(e.PinnedUntil).Round(time.Millisecond))
	}
	for _, r := range e.Reasons {
		fmt.Fprintf(&b, "\n  %s", r)
	}
	return b.String()
}

// String returns the reason in one line.
func (r Reason) String() string {
	s := r.Pin
	if r.By != "" {
		s += " (" + r.By + ")"
	}
	if !r.Since.IsZero() {
		s += fmt.Sprintf(" for %v", time.Since(r.Since).Round(time.Millisecond))
	}
	return s
}

// UnitPrices returns the plan with nothing but its prices: no base fee, no included amounts, no rounding. What parts of a usage cost by these
// prices can be added up.
func (p Plan) UnitPrices() Plan {
	p.Base = 0
	for _, r := range p.rates() {
		r.Included, r.RoundUp = 0, 0
	}
	return p
}
