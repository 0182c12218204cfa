package inspect

import (
	"fmt"
	"slices"

	"github.com/edgews/edgews"
)

// ObserveSocket implements edgews.Observer.
func (i *Inspector) ObserveSocket(o edgews.SocketObservation) {
	i.wake()
	if o.Event == edgews.SocketOpened {
		i.socketOpened(o.Socket)
		return
	}
	if o.Event == edgews.SocketClosed {
		i.socketClosed(&o)
		return
	}
	r := i.sockets.get(o.Socket.ID())
	if r == nil {
		return
	}
	switch o.Event {
	case edgews.SocketSlow:
		if r.slow.CompareAndSwap(false, true) {
			i.counters.slow.Add(1)
			i.logSocket("slow", fmt.Sprintf("%d bytes wait for a slow peer", o.Queued), o.Socket)
		}
	case edgews.SocketDrained:
		if r.slow.CompareAndSwap(true, false) {
			i.counters.slow.Add(-1)
		}
	case edgews.SocketPong:
		r.pong(o.RoundTrip)
		i.counters.roundTrip.add(o.RoundTrip)
	}
}

func (i *Inspector) socketOpened(s *edgews.Socket) {
	info := s.Info()
	r := &socketRecord{socket: s, id: info.ID, sums: i.counters.stripe(info.ID), opened: unixMillis(info.Opened)}
	if n := i.namespace(info.Namespace); n != nil && info.Object != (edgews.ID{}) {
		r.object = objectKey{n, info.Object}
		i.objects.update(r.object, func(f *objectFacts) { f.sockets++ })
	}
	i.sockets.add(r)
	i.counters.opened.Add(1)
}

func (i *Inspector) socketClosed(o *edgews.SocketObservation) {
	i.counters.closed.Add(1)
	i.counters.causes[min(int(o.Cause), causeCount-1)].Add(1)
	i.codes.add(o.Code)
	if kind := kindOfCause(o.Cause); kind != "" {
		text := fmt.Sprintf("closed with %v (%v)", o.Code, o.Cause)
		if o.Err != nil {
			text = fmt.Sprintf("%v (%v)", o.Err, o.Cause)
		}
		i.logSocket(kind, text, o.Socket)
	}
	r := i.sockets.remove(o.Socket.ID())
	if r == nil {
		return
	}
	if r.slow.Swap(false) {
		i.counters.slow.Add(-1)
	}
	if r.object != (objectKey{}) {
		i.objects.update(r.object, func(f *objectFacts) { f.sockets = max(f.sockets-1, 0) })
	}
}

// kindOfCause returns the kind of log entry for a socket that has ended, or "" for none: connections are lost all the time.
func kindOfCause(c edgews.CloseCause) string {
	switch c {
	case edgews.ClosedForProtocol, edgews.ClosedForLimit:
		return "protocol"
	case edgews.ClosedAsSilent, edgews.ClosedAsSlow, edgews.ClosedAfterFailure:
		return "failure"
	}
	return ""
}

// ObserveMessage implements edgews.Observer. It allocates nothing.
func (i *Inspector) ObserveMessage(m edgews.MessageObservation) {
	i.wake()
	id := m.Socket.ID()
	r := i.sockets.find(id)
	if r == nil { // the Observer was not told that it has opened
		i.counters.stripe(id).message(&m)
		return
	}
	r.sums.message(&m)
	r.message(&m, i.clock.Load())
}

// ObserveObject implements edgews.Observer.
func (i *Inspector) ObserveObject(o edgews.ObjectObservation) {
	i.wake()
	if !slices.Contains(*i.namespaces.Load(), o.Namespace) {
		i.addNamespace(o.Namespace)
	}
	k := objectKey{o.Namespace, o.ID}
	c := &i.counters
	switch o.Event {
	case edgews.EventConstructed:
		c.constructed.Add(1)
		now := i.clock.Load()
		i.objects.update(k, func(f *objectFacts) { f.awake, f.wokenBy, f.constructed = o.Err == nil, o.Trigger, now })
	case edgews.EventHandled:
		c.handled.Add(1)
		i.objects.update(k, func(f *objectFacts) { f.handled++; f.busy += o.Duration })
	case edgews.EventAlarm:
		c.alarms.Add(1)
		c.alarmLate.add(o.Late)
		i.objects.update(k, func(f *objectFacts) { f.alarms++; f.busy += o.Duration })
	case edgews.EventCommitted:
		c.commits.Add(1)
		c.commitBytes.Add(int64(o.Bytes))
		c.commit.add(o.Duration)
		i.objects.update(k, func(f *objectFacts) { f.commits++ })
	case edgews.EventCrashed:
		c.crashed.Add(1)
		i.objects.update(k, func(f *objectFacts) { f.awake = false; f.crashes++ })
	case edgews.EventHibernated:
		c.slept.Add(1)
		i.objects.update(k, func(f *objectFacts) { f.awake = false })
	}
	i.logObject(&o)
}

// logObject logs o if something has failed.
func (i *Inspector) logObject(o *edgews.ObjectObservation) {
	kind := "error"
	switch {
	case o.Event == edgews.EventCrashed:
		kind = "crash"
	case o.Err == nil || o.Event == edgews.EventHibernated:
		return
	default:
		i.counters.failed.Add(1)
	}
	text := o.Event.String()
	if o.Trigger != 0 {
		text += " (" + o.Trigger.String() + ")"
	}
	if o.Err != nil {
		text += ": " + o.Err.Error()
	}
	i.log.add(LogEntry{Kind: kind, Text: text, Namespace: o.Namespace.Name(), Object: o.ID.String(), Name: o.ID.Name()})
}

// ObserveRefusal implements edgews.Observer.
func (i *Inspector) ObserveRefusal(o edgews.RefusalObservation) {
	i.wake()
	i.counters.refused.Add(1)
	i.counters.refusals[min(int(o.Cause), refusalCount-1)].Add(1)
	e := LogEntry{Kind: "refusal", Text: fmt.Sprintf("%d (%v): %v", o.Status, o.Cause, o.Err)}
	if o.Request != nil {
		e.Remote = o.Request.RemoteAddr
		if o.Request.URL != nil {
			e.Path = o.Request.URL.Path
		}
	}
	i.log.add(e)
}

// logSocket adds an entry about a socket to the log.
func (i *Inspector) logSocket(kind, text string, s *edgews.Socket) {
	info := s.Info()
	e := LogEntry{Kind: kind, Text: text, Socket: info.ID, Remote: info.Remote.String(), Path: info.Path, Namespace: info.Namespace}
	if info.Object != (edgews.ID{}) {
		e.Object, e.Name = info.Object.String(), info.Object.Name()
	}
	i.log.add(e)
}
