package edgews

import (
	"slices"
	"time"
)

// bookFact books a fact of the object that takes no time.
func (o *object) bookFact(f Fact, u Usage) {
	if o.counter == nil {
		return
	}
	now := time.Now()
	o.counter.meter.book(o, Record{Fact: f, Namespace: o.ns.name, Object: o.id, From: now, To: now, Usage: u})
}

// bookStored books what the object has stored since a time in milliseconds since 1970.
func (o *object) bookStored(since int64, now time.Time, byteHours int64) {
	o.counter.meter.book(o, Record{
		Fact: FactStored, Namespace: o.ns.name, Object: o.id, From: time.UnixMilli(since), To: now, Usage: Usage{StoredByteHours: byteHours},
	})
}

// usedSoFar returns what the object and its sockets have used since it is in memory. The object must have a counter; no mutex may
// be held.
func (o *object) usedSoFar() Usage {
	o.counter.bookNow(false)
	for _, s := range o.allSockets() {
		s.mu.Lock()
		if c := s.counter; c != nil && c.object == o {
			c.bookLocked(FactTraffic, false)
		}
		s.mu.Unlock()
	}
	o.counter.meter.mu.Lock()
	defer o.counter.meter.mu.Unlock()
	return o.used
}

// explain returns the explanation of the object by the prices of p, or false if the object is not in memory.
func (o *object) explain(p Plan) (e Explanation, ok bool) {
	if e.ObjectInfo, ok = o.info(); !ok {
		return e, false
	}
	e.Reasons = o.reasons()
	if o.counter == nil {
		return e, true
	}
	e.Used = o.usedSoFar()
	hibernated := e.Used
	hibernated.Active = min(hibernated.Active, hibernated.Busy)
	e.Cost, e.Hibernated = p.Bill(e.Used).Total, p.Bill(hibernated).Total
	return e, true
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

// ownReasons returns the reasons that are not sockets.
func (o *object) ownReasons() (reasons []Reason) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.eventRunning {
		reasons = append(reasons, Reason{Pin: "event", Since: wallTime(o.current.since), By: o.current.handler})
	}
	for f := range o.backgroundFuncs {
		if f.evicted { // it costs nothing any more
			continue
		}
		reasons = append(reasons, Reason{Pin: "WaitUntil", Since: f.since, By: f.caller()})
	}
	if o.isStorageInUseLocked() {
		reasons = append(reasons, Reason{Pin: "storage"})
	}
	return reasons
}
