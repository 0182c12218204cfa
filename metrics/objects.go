package metrics

import (
	"slices"
	"sync/atomic"

	"github.com/edgews/edgews"
)

// objectSeries has what is counted for the objects of the namespaces that have one label.
type objectSeries struct {
	labels     []string            // namespace
	namespaces []*edgews.Namespace // guarded by Recorder.mu; more than one if they have the same name, or share "other"

	// Atomics.
	events           [edgews.EventHibernated + 1][edgews.TriggerBackground + 1]atomic.Uint64 // by ObjectEvent and Trigger, as within says
	failures         [edgews.EventHibernated + 1]atomic.Uint64
	times            [edgews.EventCommitted + 1]durations // of EventConstructed to EventCommitted
	awake, late      durations
	keys, keyedBytes atomic.Uint64
}

// ObserveObject counts an event of an object.
func (r *Recorder) ObserveObject(o edgews.ObjectObservation) {
	s := r.objectsOf(o.Namespace)
	event := within(o.Event, s.events[:])
	s.events[event][within(o.Trigger, s.events[0][:])].Add(1)
	if o.Err != nil || o.Event == edgews.EventCrashed {
		s.failures[event].Add(1)
	}
	switch o.Event {
	case edgews.EventHibernated:
		s.awake.observe(o.Duration)
		return
	case edgews.EventAlarm:
		s.late.observe(o.Late)
	case edgews.EventCommitted:
		s.keys.Add(uint64(max(o.Keys, 0)))
		s.keyedBytes.Add(uint64(max(o.Bytes, 0)))
	}
	if event > 0 && event < len(s.times) {
		s.times[event].observe(o.Duration)
	}
}

// objectsOf returns where the events of a namespace are counted.
func (r *Recorder) objectsOf(n *edgews.Namespace) *objectSeries {
	if s, _ := r.namespaces.Load(n); s != nil {
		return s.(*objectSeries)
	}
	name := nameOf(n)
	r.mu.Lock()
	defer r.mu.Unlock()
	if s, _ := r.namespaces.Load(n); s != nil { // another goroutine was faster
		return s.(*objectSeries)
	}
	s := r.objectsLabelledLocked(r.namespaceNames.label(name))
	if n != nil {
		s.namespaces = append(s.namespaces, n)
	}
	r.namespaces.Store(n, s)
	return s
}

// objectsLabelledLocked returns the series with a label, which it makes if there is none. mu must be held.
func (r *Recorder) objectsLabelledLocked(label string) *objectSeries {
	i := slices.IndexFunc(r.objectSeries, func(s *objectSeries) bool { return s.labels[0] == label })
	if i >= 0 {
		return r.objectSeries[i]
	}
	s := &objectSeries{labels: []string{label}, awake: newDurations(&lifetimeScale), late: newDurations(&latenessScale)}
	for event := edgews.EventConstructed; int(event) < len(s.times); event++ {
		s.times[event] = newDurations(&latencyScale)
	}
	r.objectSeries = append(r.objectSeries, s)
	return s
}
