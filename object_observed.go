package edgews

import (
	"context"
	"errors"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/edgews/edgews/internal/fifo"
)

// observer returns own, the Observer of the socket's options, or that of the namespace.
func (sock *objectSocket) observer(own Observer) Observer { return sock.o.ns.observerOr(own) }

// observer returns own, the Observer of the socket's options, or that of the namespace.
func (p *pinnedSocket) observer(own Observer) Observer { return p.o.ns.observerOr(own) }

// observerIn returns own, or the Observer of the namespace whose object's event ctx belongs to.
func observerIn(ctx context.Context, own Observer) Observer {
	if o, ok := ctx.Value(objectContextKey{}).(*object); ok {
		return o.ns.observerOr(own)
	}
	return own
}

func (n *Namespace) observerOr(own Observer) Observer {
	if own != nil {
		return own
	}
	return n.opts.Options.Observer
}

// tellRefusal tells the Observer of the namespace that r was refused with status, if r is a request to upgrade.
func (n *Namespace) tellRefusal(r *http.Request, status int, err error) {
	if observer := n.opts.Options.Observer; observer != nil && IsUpgrade(r) {
		n.opts.Options.tellRefused(RefusalObservation{Request: r, Status: status, Cause: refusalCause(err), Err: err})
	}
}

// observedObject is what an object needs to tell the namespace's Observer what happens to it, as a socket does: see observedSocket. Guarded by the
// object's mu.
type observedObject struct {
	queue   fifo.Queue[ObjectObservation]
	telling bool          // a goroutine is calling the Observer
	value   time.Duration // when the value was constructed, since processStart
	labels  *eventLabels  // of the last event; nil while there is no value
}

// isObserved reports whether there is an Observer.
func (o *object) isObserved() bool { return o.ns.opts.Options.Observer != nil }

// observedLocked returns what there is to be told, and makes it first. mu must be held.
func (o *object) observedLocked() *observedObject {
	if o.observed == nil {
		o.observed = new(observedObject)
	}
	return o.observed
}

// observe tells of e. No mutex may be held.
func (o *object) observe(e ObjectObservation) {
	o.mu.Lock()
	o.queueObservationLocked(e)
	o.mu.Unlock()
	o.tell()
}

// observeSoonLocked has another goroutine tell of e. mu must be held.
func (o *object) observeSoonLocked(e ObjectObservation) {
	o.queueObservationLocked(e)
	if !o.observed.telling {
		go o.tell()
	}
}

// queueObservationLocked queues e. mu must be held, and the caller calls tell.
func (o *object) queueObservationLocked(e ObjectObservation) {
	e.Namespace, e.ID = o.ns, o.id
	o.observedLocked().queue.Push(e)
}

// tell calls the Observer with everything that is queued, unless a goroutine is doing that. No mutex may be held.
func (o *object) tell() {
	o.mu.Lock()
	if o.observed.telling {
		o.mu.Unlock()
		return
	}
	o.observed.telling = true
	o.mu.Unlock()
	for !o.tellAll() {
	}
}

// tellAll calls the Observer until nothing is queued. It returns false if the Observer has panicked. If the Observer has called
// runtime.Goexit, another goroutine goes on.
func (o *object) tellAll() (done bool) {
	defer func() {
		if !done {
			o.observerFailed(recover())
		}
	}()
	for {
		o.mu.Lock()
		if o.observed.queue.Len() == 0 {
			o.observed.telling = false
			o.mu.Unlock()
			return true
		}
		e := o.observed.queue.Pop()
		o.mu.Unlock()
		o.ns.opts.Options.Observer.ObserveObject(e)
	}
}

// observerFailed logs the panic of an Observer; nil: it has called runtime.Goexit.
func (o *object) observerFailed(cause any) {
	if cause != nil {
		o.ns.logger().Error("edgews: observer panicked", "namespace", o.ns.name, "object", o.id.String(), "panic", cause, "stack", string(debug.Stack()))
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.observed.telling = false
	go o.tell()
}

// observeConstructed tells that the constructor, which was called at began for an event named what, has returned err.
func (o *object) observeConstructed(what string, began time.Duration, err error) {
	if !o.isObserved() {
		return
	}
	now := sinceStart()
	o.mu.Lock()
	o.observedLocked().value = now
	o.mu.Unlock()
	o.observe(ObjectObservation{Event: EventConstructed, Trigger: triggerOf(what), Duration: now - began, Err: err})
}

// observeHandled tells that a handler has returned, which began at that time; 0: none has run.
func (o *object) observeHandled(what string, began time.Duration, err error) {
	if trigger := triggerOf(what); began != 0 && trigger != 0 && trigger != TriggerAlarm {
		o.observe(ObjectObservation{Event: EventHandled, Trigger: trigger, Duration: sinceStart() - began, Err: err})
	}
}

// observeAlarm tells that the Alarm handler has returned, for an alarm that was set to at; it began then. A zero began: it has not run.
func (o *object) observeAlarm(at, began time.Time, err error) {
	if !o.isObserved() || began.IsZero() {
		return
	}
	o.observe(ObjectObservation{Event: EventAlarm, Trigger: TriggerAlarm, Duration: time.Since(began), Late: max(began.Sub(at), 0), Err: err})
}

// observeDroppedLocked tells that the value is dropped because of cause. The value must not be nil. mu must be held.
func (o *object) observeDroppedLocked(cause error) {
	if !o.isObserved() {
		return
	}
	o.observedLocked().labels = nil
	e := ObjectObservation{Event: EventCrashed, Trigger: TriggerBackground, Err: cause}
	switch {
	case isUnloading(cause):
		e = ObjectObservation{Event: EventHibernated, Duration: sinceStart() - o.observedLocked().value}
	case o.eventRunning:
		e.Trigger = triggerOf(o.current.handler)
	}
	o.observeSoonLocked(e)
}

// observeAbortedLocked tells that the value was dropped because of cause before its constructor, called for an event named what, has
// returned. mu must be held.
func (o *object) observeAbortedLocked(what string, cause error) {
	if !o.isObserved() {
		return
	}
	e := ObjectObservation{Event: EventCrashed, Trigger: triggerOf(what), Err: cause}
	if isUnloading(cause) {
		e = ObjectObservation{Event: EventHibernated}
	}
	o.observeSoonLocked(e)
}

// isUnloading reports whether a value that is dropped because of cause is not needed, rather than faulty.
func isUnloading(cause error) bool {
	return errors.Is(cause, errHibernated) || errors.Is(cause, errEvicted) || errors.Is(cause, ErrShutdown)
}

// observeCommit tells of a commit of b, which began at that time and has ended with err.
func (o *object) observeCommit(b *Batch, began time.Duration, err error) {
	if !o.isObserved() {
		return
	}
	e := ObjectObservation{Event: EventCommitted, Duration: sinceStart() - began, Err: err}
	count := func(key string, value int) {
		if key >= firstUnreserved {
			e.Keys++
			e.Bytes += len(key) + value
		}
	}
	for _, key := range b.Deletes {
		count(key, 0)
	}
	for _, put := range b.Puts {
		count(put.Key, len(put.Value))
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.observeSoonLocked(e)
}

// triggerOf returns what an event is whose name in logs is what; 0: nothing of which an Observer is told.
func triggerOf(what string) Trigger {
	switch what {
	case "ServeHTTP":
		return TriggerRequest
	case "WebSocketMessage", "OnMessage":
		return TriggerMessage
	case "WebSocketClose", "OnClose":
		return TriggerClose
	case "WebSocketError":
		return TriggerError
	case alarmEvent:
		return TriggerAlarm
	case "Do":
		return TriggerDo
	case suspendEvent:
		return TriggerOperator
	}
	if strings.HasPrefix(what, "Call(") {
		return TriggerCall
	}
	return 0
}
