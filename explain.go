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
	Reasons []Reason // why it is active, the oldest first; none if it is not, which is free

	// Used is what the object and its sockets have used since it is in memory; zero without a meter.
	Used Usage

	// Cost is what that costs by the plan, as if nothing were included in its price, and Hibernated what it would cost if
	// the object were active only while a handler runs.
	Cost, Hibernated USD
}

// Reason is one thing that keeps an object active.
type Reason struct {
	Pin    string    // as in ObjectInfo.Pins
	Since  time.Time // zero if that is not known: of storage, and of an event without a meter
	By     string    // the handler that runs, the line that called WaitUntil, the URL that was dialed, without its password; "" if there is no more to say
	Socket *Socket   // nil: it is no socket
}

// Explain returns an iterator over the objects that are in memory, as Objects does, with what keeps each active and what
// that costs: the dearest first. Where Cost is far beyond Hibernated, the first of Reasons says what to change: most often
// a socket that was taken with Accept and could be given to State.AcceptWebSocket.
func (n *Namespace) Explain(p Plan) iter.Seq[Explanation] {
	return func(yield func(Explanation) bool) {
		p := p.unit()
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

// String returns the explanation in a few lines for people, without a newline at its end.
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
	for _, r := range e.Reasons {
		fmt.Fprintf(&b, "\n  %s", r)
	}
	return b.String()
}

// String returns the reason in a line.
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

// unit returns the plan without what it has beside prices: every unit costs what one costs.
func (p Plan) unit() Plan {
	p.Base = 0
	for _, r := range []*Rate{
		&p.Requests, &p.Duration, &p.CPU, &p.ConnectedTime, &p.Connections, &p.Messages, &p.MessagesIn, &p.MessagesOut,
		&p.Bytes, &p.BytesIn, &p.BytesOut, &p.MinuteBytes,
	} {
		r.Included, r.RoundUp = 0, 0
	}
	return p
}

func (o *object) explain(p Plan) (e Explanation, ok bool) {
	if e.ObjectInfo, ok = o.info(); !ok {
		return e, false
	}
	e.Reasons = o.reasons()
	if o.tab == nil {
		return e, true
	}
	e.Used = o.usedSoFar()
	asleep := e.Used
	asleep.Active = min(asleep.Active, asleep.Busy)
	e.Cost, e.Hibernated = p.Bill(e.Used).Total, p.Bill(asleep).Total
	return e, true
}

// usedSoFar returns what the object and its sockets have used.
func (o *object) usedSoFar() Usage {
	o.tab.settle(false)
	for _, s := range o.allSockets() {
		s.mu.Lock()
		if t := s.tab; t != nil && t.object == o {
			t.bookLocked(FactTraffic, false)
		}
		s.mu.Unlock()
	}
	o.tab.meter.mu.Lock()
	defer o.tab.meter.mu.Unlock()
	return o.used
}

// reasons returns what keeps the object active, the oldest first.
func (o *object) reasons() []Reason {
	reasons := o.ownReasons()
	for s, g := range o.pinnedSockets() {
		reasons = append(reasons, Reason{Pin: pinNames[g.kind], Since: g.acceptedAt, By: maskPassword(s.URL()), Socket: s})
	}
	slices.SortFunc(reasons, func(a, b Reason) int { return a.Since.Compare(b.Since) })
	return reasons
}

// ownReasons are those that are no sockets.
func (o *object) ownReasons() (reasons []Reason) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.eventRunning {
		reasons = append(reasons, Reason{Pin: "event", Since: wall(o.current.since), By: o.current.handler})
	}
	for w := range o.backgroundFuncs {
		reasons = append(reasons, Reason{Pin: "WaitUntil", Since: w.since, By: w.caller()})
	}
	if o.isStorageInUseLocked() {
		reasons = append(reasons, Reason{Pin: "storage"})
	}
	return reasons
}

// wall is the time that was so long since epoch. 0 is not known.
func wall(sinceThen time.Duration) time.Time {
	if sinceThen == 0 {
		return time.Time{}
	}
	return time.Now().Add(sinceThen - sinceEpoch())
}
