package edgews

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edgews/edgews/internal/park"
	"github.com/edgews/edgews/internal/serial"
)

// object is what a namespace knows of one object: its sockets and settings, and its value while it is awake. Events wait in a queue; a
// goroutine that runs them exists only while there are any.
type object struct {
	ns            *Namespace
	id            ID
	autoResponses atomic.Pointer[autoResponses]
	counter       *usageCounter   // nil: no meter counts; immutable, its fields are guarded by mu
	observed      *observedObject // nil: there is nothing to be told. Guarded by mu
	used          Usage           // by the object and its sockets, as far as it is booked. Guarded by the meter's mu

	storage    atomic.Pointer[storageLease] // nil: its storage is not in use. Changed with mu held
	nameSought atomic.Bool                  // in its storage
	handling   atomic.Pointer[Socket]       // the socket whose event runs, for the log; nil: none

	mu sync.Mutex // may be locked with a socket's mu held; no I/O and no user code under it

	// Guarded by mu.
	queue           serial.Queue[queuedEvent]
	run             func() // runQueue, kept so that starting a goroutine allocates nothing; nil: not used since the object was last unloaded
	eventRunning    bool   // an event runs, or has run and the goroutine has not looked at the queue since
	forgotten       bool   // it is not in the namespace any more
	fenced          bool   // another owner has the object's storage: nothing runs here any more
	warned          bool   // the log has said that the current event takes long
	handlers        handlerSet
	contextsMade    uint8          // how many contexts were made at a time; 0: none since the object was last unloaded
	contexts        []eventContext // of the next events
	value           Object         // nil while hibernated
	state           *State         // of value, or of the construction that is under way
	registry        socketRegistry
	pinned          map[*Socket]*pinnedSocket
	backgroundFuncs map[*backgroundFunc]struct{} // WaitUntil functions that run
	evictedFuncs    int32                        // of backgroundFuncs, those that do not keep the object awake any more
	waitingCalls    int32                        // calls in the queue that a goroutine waits for
	abandonedCalls  int32                        // calls in the queue that no goroutine waits for any more
	waits           *call                        // the calls that events wait for, linked by nextWait
	eventsBegun     uint32                       // counts what has been taken from the queue
	timeout         time.Duration                // SetEventTimeout
	current         currentEvent
	inRequest       bool                   // the current event is a request
	pairs           []*Socket              // ends of pairs that this request has accepted, and whose other ends were neither accepted nor used by then
	stateSince      time.Time              // when the object got into its present ObjectState
	feeds           map[string]*feedRoster // by name
	cluster         clusterObject
	lastEvent       time.Time // when the last event ended; only with a PinTimeout
	idleTimerAt     time.Time // when idleTimerFired is due; zero: it is not
	quiet           signal    // nothing is left to do, and nothing keeps the object
}

// queuedEvent is an entry of an object's queue: a socket, of which the next message or the end is to be delivered, a call, or the end of the
// value.
type queuedEvent struct {
	socket eventSource
	call   *call
}

// eventSource is a socket of an object, an *objectSocket or a *pinnedSocket, or the end of its value, unloading.
type eventSource interface {
	// dequeuedLocked is called when the entry has left the queue. The object's mu is held.
	dequeuedLocked()
	// deliverNext delivers the event that is due first, if one is.
	deliverNext()
}

// handlerSet says which events a value handles. The object is not woken for others.
type handlerSet uint8

const (
	handlersKnown handlerSet = 1 << iota // a value has been constructed
	handlesMessages
	handlesCloses
	handlesErrors
	handlesAlarms
	handlesSuspend
)

func handlersOf(value Object) handlerSet {
	set := handlersKnown
	if _, ok := value.(MessageHandler); ok {
		set |= handlesMessages
	}
	if _, ok := value.(CloseHandler); ok {
		set |= handlesCloses
	}
	if _, ok := value.(ErrorHandler); ok {
		set |= handlesErrors
	}
	if _, ok := value.(AlarmHandler); ok {
		set |= handlesAlarms
	}
	if _, ok := value.(Suspender); ok {
		set |= handlesSuspend
	}
	return set
}

// mayHandle reports whether the object's value handles the events of h. Before the first construction it is true, because nothing is known.
func (o *object) mayHandle(h handlerSet) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.handlers&handlersKnown == 0 || o.handlers&h != 0
}

// enqueueLocked appends e to the queue, and starts the goroutine that runs it. mu must be held.
func (o *object) enqueueLocked(e queuedEvent) {
	if !o.queue.Push(e) {
		return
	}
	if o.run == nil {
		o.run = o.runQueue
	}
	go o.run()
}

// runQueue is the goroutine that runs the queue.
func (o *object) runQueue() {
	park.GrowStack()
	serial.Run(o)
}

// RunNext is for serial.Run: it runs the first entry of the queue. If there is none it returns false, and the object has nothing to do.
func (o *object) RunNext() bool {
	o.mu.Lock()
	e, ok := o.queue.Pop()
	if !ok {
		was := o.stateLocked()
		o.eventOverLocked()
		o.checkIdleLocked(was)
		o.mu.Unlock()
		return false
	}
	o.eventsBegun++
	o.warned = false
	switch {
	case e.socket != nil:
		e.socket.dequeuedLocked()
	case !o.beginCallLocked(e.call):
		e.call = nil
	}
	o.mu.Unlock()
	if e.socket != nil {
		e.socket.deliverNext()
	} else if e.call != nil {
		defer o.endCall(e.call)
		e.call.run()
	}
	return true
}

// endCall tells the goroutine that waits for c that it has run. If nothing else waits, that goroutine finds the object in the state that the
// event has left.
func (o *object) endCall(c *call) {
	o.mu.Lock()
	if o.queue.Len() == 0 {
		was := o.stateLocked()
		o.eventOverLocked()
		o.stateChangedLocked(was)
	}
	o.mu.Unlock()
	close(c.done)
}

// currentEvent is the event that runs, or ran last.
type currentEvent struct {
	handler string
	since   time.Duration // since epoch; 0: no meter counts
}

// beginEvent notes that what runs is an event, so that the object is active, and returns the value; nil: wake constructs one. It returns false,
// and notes nothing, if the event is for the value of st alone and that has been dropped.
func (o *object) beginEvent(st *State, what string) (value Object, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if st != nil && o.state != st {
		return nil, false
	}
	was := o.stateLocked()
	o.eventRunning = true
	o.stateChangedLocked(was)
	o.current = currentEvent{what, o.counter.handlerStarted()}
	if o.fenced {
		return nil, true
	}
	return o.value, true
}

// stateLocked says what of the object is in memory. mu must be held.
func (o *object) stateLocked() ObjectState {
	switch {
	case o.eventRunning || o.isPinnedLocked():
		return ObjectActive
	case o.value != nil:
		return ObjectIdle
	}
	return ObjectHibernated
}

// stateChangedLocked notes the time if the object's state is not was any more. Intervals in which the object is active begin and end here.
// mu must be held.
func (o *object) stateChangedLocked(was ObjectState) {
	if is := o.stateLocked(); is != was {
		o.stateSince = time.Now()
		o.counter.objectStateChangedLocked(was, is, o.stateSince)
	}
}

// info describes the object. It returns false for an object that has been forgotten.
func (o *object) info() (ObjectInfo, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	until, _ := o.pinDeadlineLocked()
	return ObjectInfo{o.id, o.stateLocked(), o.stateSince, len(o.registry.all), o.pinsLocked(), until}, !o.forgotten
}

// wake returns the object's value, for an event named what. If there is none it constructs one, unless the event is for the value of st alone.
// Events run one at a time, so no two constructions are under way.
func (o *object) wake(e *eventContext, st *State, what string) (Object, error) {
	value, fresh, err := o.valueOrState(st)
	if fresh == nil {
		return value, err
	}
	o.findName(e)
	began := sinceStart()
	value, err = o.construct(e, fresh)
	o.observeConstructed(what, began, err)
	o.mu.Lock()
	aborted := o.state != fresh
	if err == nil && aborted {
		o.observeAbortedLocked(what, fresh.droppedBecause)
	}
	if err == nil && !aborted {
		o.value, o.handlers = value, handlersOf(value)
	}
	o.mu.Unlock()
	switch {
	case err == nil && aborted:
		return nil, ErrAborted
	case err != nil:
		o.ns.logger().Error("edgews: object cannot be constructed", "namespace", o.ns.name, "object", o.id.String(), "error", err)
		o.reset(fmt.Errorf("object cannot be constructed: %w", err), "object cannot be constructed")
		return nil, err
	}
	return value, nil
}

// valueOrState returns the value, or a new State with which one is to be constructed, or an error. With st only the value of st will do.
func (o *object) valueOrState(st *State) (Object, *State, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.fenced:
		return nil, nil, ErrFenced
	case st != nil && o.state != st:
		return nil, nil, ErrAborted
	case o.value != nil:
		return o.value, nil, nil
	}
	o.state = &State{o: o}
	return nil, o.state, nil
}

// construct calls the constructor.
func (o *object) construct(e *eventContext, st *State) (value Object, err error) {
	returned := false
	defer func() {
		if returned {
			return
		}
		cause := recover()
		err = o.handlerCrashed("constructor", cause)
		if cause == nil { // runtime.Goexit: wake does not get to see the error
			o.reset(err, "object cannot be constructed")
		}
	}()
	value, err = o.ns.construct(e, st)
	returned = true
	if err == nil && value == nil {
		err = errors.New("edgews: constructor returned neither an object nor an error")
	}
	return value, err
}

// dropValueLocked drops the value, if there is one, and cancels the contexts of the work that it has started. cause says why. mu must be
// held.
func (o *object) dropValueLocked(cause error) {
	if o.value != nil {
		o.observeDroppedLocked(cause)
	}
	if o.state != nil {
		o.state.droppedBecause = cause
		o.state.dropLocked(cause)
	}
	o.value, o.state = nil, nil
}

// reset drops the value and closes all sockets. The object gets no events of them.
func (o *object) reset(err error, reason string) { o.resetValueOf(nil, err, reason) }

// resetValueOf is reset if the value is that of st; nil: in any case. It reports whether it was.
func (o *object) resetValueOf(st *State, err error, reason string) bool {
	o.mu.Lock()
	if st != nil && st.isDroppedLocked() {
		o.mu.Unlock()
		return false
	}
	was := o.stateLocked()
	o.dropValueLocked(err)
	accepted := o.registry.all
	for _, sock := range accepted {
		sock.removed = true
	}
	o.registry = socketRegistry{last: o.registry.last}
	pinned := make([]*pinnedSocket, 0, len(o.pinned))
	for _, p := range o.pinned {
		pinned = append(pinned, p)
	}
	o.checkIdleLocked(was)
	o.mu.Unlock()
	for _, sock := range accepted {
		o.ns.topics.leave(sock)
		sock.abort(err, reason)
	}
	for _, sock := range accepted { // only now: no socket is told that the others have left
		sock.leaveFeeds()
	}
	for _, p := range pinned {
		p.fail(reason, err)
	}
	return true
}

// allSockets returns the sockets that the object has accepted and those that keep it awake.
func (o *object) allSockets() (all []*Socket) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, sock := range o.registry.all {
		all = append(all, sock.s)
	}
	for s := range o.pinned {
		all = append(all, s)
	}
	return all
}

// beginRequest notes that the current event is a request.
func (o *object) beginRequest() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.inRequest, o.pairs = true, nil
}

// notePairLocked notes that a request has accepted s, if s is an end of a pair whose other end may still be given to Respond. The mu of s
// and that of the object must be held.
func (o *object) notePairLocked(s *Socket) {
	if !o.inRequest {
		return
	}
	if m, pair := s.link.(*memory); pair && !m.answered && m.peer.phase == phaseUnaccepted {
		o.pairs = append(o.pairs, s)
	}
}

// endRequest ends the pairs that the handler has accepted one end of, if it has not given the other to Respond.
func (o *object) endRequest() {
	o.mu.Lock()
	pairs := o.pairs
	o.inRequest, o.pairs = false, nil
	o.mu.Unlock()
	for _, s := range pairs {
		if m, pair := s.currentLink().(*memory); pair && !m.answered {
			m.peer.abandon(errUnanswered)
		}
	}
}
