package edgews

import (
	"context"
	"runtime/pprof"
	"runtime/trace"
)

// eventProfile says for profiles and execution traces what a goroutine does while it runs an event of an object. The zero value says nothing.
type eventProfile struct {
	labelled bool
	region   *trace.Region
}

// beginProfile sets the labels of the goroutine, if there is an Observer, and begins a region if an execution trace is being written. The event
// is named what. The same goroutine calls end.
func (o *object) beginProfile(what string) (p eventProfile) {
	if o.isObserved() {
		pprof.SetGoroutineLabels(o.labelsOf(what))
		p.labelled = true
	}
	if trace.IsEnabled() {
		ctx := context.Background()
		p.region = trace.StartRegion(ctx, regionPrefix+what)
		trace.Log(ctx, "edgews.object", o.ns.name+"/"+o.id.String())
	}
	return p
}

// end ends what beginProfile has begun. The goroutine has no labels afterwards: it runs events of one object only, so it had none before, but
// for those that it has inherited from whatever has started it.
func (p eventProfile) end() {
	if p.region != nil {
		p.region.End()
	}
	if p.labelled {
		pprof.SetGoroutineLabels(context.Background())
	}
}

// eventLabels are the labels of one handler of one object.
type eventLabels struct {
	handler string
	ctx     context.Context
}

// labelsOf returns a context with the labels of an event that is named what. Those of the last event are kept, so that events of the same handler
// allocate nothing.
func (o *object) labelsOf(what string) context.Context {
	o.mu.Lock()
	defer o.mu.Unlock()
	observed := o.observedLocked()
	if observed.labels == nil || observed.labels.handler != what {
		labels := pprof.Labels("namespace", o.ns.name, "object", o.id.String(), "handler", what)
		observed.labels = &eventLabels{what, pprof.WithLabels(context.Background(), labels)}
	}
	return observed.labels.ctx
}
