package edgews

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/edgews/edgews/internal/timerheap"
)

// This file is the first to read about objects: what an object is, which handlers it may have, its namespace, and how an object
// hibernates. State (state.go) is what an object sees of itself, Stub (stub.go) is how others reach it, Storage (storage.go) is what
// it stores. The mechanism is in object.go: an object is a queue of events, each of which runs with the object's value; the value may be
// dropped between two events, and is then constructed again by the next one. Each of the files object_*.go is one part of that mechanism.

// Object is the value that a namespace's constructor returns. It answers requests, one event at a time. It may also implement
// MessageHandler, CloseHandler, ErrorHandler, AlarmHandler and Suspender. Messages and ends of sockets that it does not handle are dropped
// silently, and do not wake it.
//
// No two events of an object run at the same time, so its fields need no mutex. The events of one socket run in the order in which they
// arrived; sockets and requests alternate, one event each. An event that takes long delays its own object and nothing else: do slow work in
// State.WaitUntil, and report its result with State.Do.
//
// The listeners (OnOpen, OnMessage, OnError, OnClose, OnJSON) of a socket that the object takes in another way than with
// State.AcceptWebSocket also run as events: those of a socket that it upgrades or dials with the context of an event and accepts with
// Accept, and of one that it holds with State.Hold. What arrives for them waits while the object is busy, up to 64 KiB; then the peer has
// to wait. A handler must not wait for what only such a listener can bring, because the listener runs after the handler: for Done of a
// socket that has a close listener, or for Flush on one end of a pair of which the object has both.
//
// An event's error is logged and changes nothing. A panic is logged and drops the value, whose state cannot be trusted any more; the next
// event constructs it again, and the sockets stay, with their listeners. A panic in a listener is logged and ends its socket with 1011, as
// in other sockets; the value stays.
//
// Deviation: in Workers the events of an object interleave wherever one of them awaits something.
type Object interface{ http.Handler }

// MessageHandler gets the messages of the sockets that the object has accepted with State.AcceptWebSocket: webSocketMessage. The data of m
// are valid until it returns; Clone keeps them.
type MessageHandler interface {
	WebSocketMessage(ctx context.Context, s *Socket, m Message) error
}

// CloseHandler is called when a socket has ended, exactly once for each socket and after all its other events: webSocketClose. If the peer
// has sent a Close, the handler may still send messages and answer with a Close of its own; if it has not done so when it returns, the
// peer's Close is sent back. The socket keeps its tags and its attachment until then, and State.WebSockets still lists it: skip it where it
// must not count.
//
// Deviation: Workers do not answer for the handler, and do not call it after WebSocketError.
type CloseHandler interface {
	WebSocketClose(ctx context.Context, s *Socket, e CloseEvent) error
}

// ErrorHandler is called, before CloseHandler is, when something other than a Close has ended a socket: webSocketError.
type ErrorHandler interface {
	WebSocketError(ctx context.Context, s *Socket, err error) error
}

// Suspender gets a last call before its value is dropped, to save what only the value knows: when it is about to hibernate, when it is
// evicted (NamespaceOptions.PinTimeout), and when the namespace shuts down. Suspend is an event of the object, the last of this value, and is
// called once: the value is dropped when it has returned, whatever it returns; an error is logged, and so is a panic. Events that arrive
// meanwhile wait, and construct another value. A call of State.Do waits for its own value only, and fails with ErrAborted.
//
// The storage works in Suspend, and what it sends leaves. WaitUntil functions and sockets that would keep the object awake end after it,
// because they belong to the value. Its context ends after State.SetEventTimeout, or after 10 s if that is not set. Its time is billed like
// that of any event, and nothing else is: the object hibernates right after it.
//
// Suspend is not called when the value is dropped because of a panic, State.Abort, a commit that has failed, or another owner of the storage
// (ErrFenced), nor for a value that is left when the ctx of Shutdown ends, nor when the process ends without Shutdown. What must not be lost
// has to be stored when it changes.
//
// At Shutdown it comes after everything else: the object's sockets have ended by then. Objects may still call each other, which may
// construct values again that have been suspended: Shutdown suspends those too, up to 100 times over. Requests and calls that do not come
// from an object are refused by then.
//
// Deviation: in Workers a value that hibernates gets no such call.
type Suspender interface {
	Suspend(ctx context.Context, why SuspendReason) error
}

// NamespaceOptions configures a namespace. A nil pointer means the zero value, which is recommended and safe.
type NamespaceOptions struct {
	// Options apply to sockets that objects of the namespace upgrade with nil options. Logger also gets the errors of objects; if it is
	// nil, slog.Default gets them.
	Options

	// HibernateAfter is how long an object stays in memory without an event and with nothing that keeps it awake. The default is 10 s, as
	// in Workers; negative means for ever.
	HibernateAfter time.Duration

	// MaxWaiting bounds how many requests and calls of Do may wait for one object at a time. The default is 4096; negative means no bound.
	// Requests beyond it are answered with 503, and Do fails with ErrOverloaded. Messages do not count: they wait in their sockets.
	MaxWaiting int

	// AlarmTimeout is how long an alarm's handler may take before its context ends. The default is 15 minutes, as in Durable Objects;
	// negative means as long as it likes. State.SetEventTimeout may set less.
	AlarmTimeout time.Duration

	// PinTimeout evicts an object that nothing but pins has kept in memory for so long: that has had no event, and that WaitUntil functions
	// or sockets with listeners keep awake (ObjectInfo.Pins). Its value is dropped, after Suspend; the contexts of the WaitUntil functions
	// end with ErrAborted, and those that go on running keep the object awake no longer; accepted, outbound and held sockets close with
	// 1001, messages that have come for their listeners during Suspend are dropped, and their close listeners run. Sockets that
	// State.AcceptWebSocket took stay open. The object hibernates, and is not billed any more, as soon as no call uses its storage: a loop
	// over a Scan, or the function of an Update, which goes on keeps it awake until it ends. Messages that a listener gets are events, and
	// so are calls of State.Do; what a WaitUntil function receives from a socket itself is not.
	//
	// The default, 0, and negative values mean never. Durable Objects have 15 minutes.
	//
	// Deviation: in Durable Objects each pending operation has 15 minutes of its own, whatever happens meanwhile.
	PinTimeout time.Duration

	// Store keeps the storage and the alarms of the objects, under the namespace's name; nil means a NewMemoryStore of its own. The program
	// that has made a Store closes it, after Shutdown has returned nil. Only one namespace at a time can use a name on a Store; Shutdown
	// frees the name.
	//
	// Alarms that are due already go off at once, so construct may be called before NewNamespace has returned.
	Store Store

	// Tenant names the tenant that pays for an object: what the object uses counts in Meter.Tenant of that name, and thereby in Meter. If
	// Tenant is nil or returns "", it counts in Meter itself; without Meter nothing is counted. Tenant must be quick, and must always
	// return the same name for the same ID. ID.Name does not do for that: Tenant is called before the object's storage is read, so when an
	// alarm or a parsed ID wakes the object in another process, its name is not known yet.
	Tenant func(ID) string

	// ShutdownCode is the code with which Shutdown closes sockets. The default is StatusServiceRestart, 1012, which tells a client that it
	// may connect again soon. 1012 and 1013 are registered, but younger than RFC 6455, and some peers take them for a violation of the
	// protocol: Qt, libsoup and WebKitGTK, faye, nbio, Tomcat, libwebsockets. For those, set StatusGoingAway, 1001, which every peer knows;
	// it does not promise that the server returns, so clients may not connect again by themselves.
	ShutdownCode StatusCode

	// MaxSockets and MaxPerKey bound how many connections clients may have open to all objects of the namespace, in all and for each Key; 0 means
	// no bound. A request to upgrade beyond MaxSockets is answered with 503, and one beyond MaxPerKey with 429, both with Retry-After and
	// before the object is woken. What counts are connections that Upgrade and Respond have opened in a request to an object, those that are
	// passed through included, and requests to upgrade that are being answered. Sockets that objects dial do not count, nor do pairs without
	// a connection.
	MaxSockets, MaxPerKey int

	// Key says for whom the connection of a request counts: a user, or an address. "" means that it counts for no key, but in MaxSockets. If Key
	// is nil, it is the address of the client, without the port, in Request.RemoteAddr: behind a proxy that is the proxy's, and "" if Stub.Connect
	// got none. It is called only if MaxPerKey is set, by several goroutines at a time.
	Key func(*http.Request) string

	// MaxLifetime is how long a socket that counts in MaxSockets may be open; 0 means for ever. It is then closed with 1001 (going away) and the
	// reason "maximum lifetime reached". The time of each socket is shorter by a random 3 to 10 percent, so that clients do not connect again
	// all at once. It applies to hibernating objects too. A connection that is passed through has no limit.
	MaxLifetime time.Duration

	// IdleTimeout is how long such a socket may receive no message; 0 means for ever. It is then closed with 4408 and the reason "idle timeout".
	// It is as HubOptions.IdleTimeout; messages that an AutoResponse answers do not count.
	IdleTimeout time.Duration

	// Cluster spreads the objects over several nodes; nil: all live in this process. See the module github.com/edgews/edgews/cluster. Store is
	// then that of the cluster. Every node makes a namespace with the same name and constructor.
	Cluster Cluster
}

// limits returns the limits on the sockets that requests to objects open.
func (o *NamespaceOptions) limits() limits {
	return limits{maxSockets: o.MaxSockets, maxPerKey: o.MaxPerKey, key: o.Key, maxLifetime: o.MaxLifetime, idleTimeout: o.IdleTimeout}
}

// check refuses options that can never work. of is what the error calls the options.
func (o *NamespaceOptions) check(of string) error {
	if o.ShutdownCode != 0 && !sendable(o.ShutdownCode) {
		return fmt.Errorf("%s.ShutdownCode: %d may not be sent; use 1000 to 4999 except 1004, 1005, 1006 and 1015", of, uint16(o.ShutdownCode))
	}
	l := o.limits()
	return cmp.Or(l.validate(of), o.Options.validate(of))
}

const defaultHibernateAfter = 10 * time.Second

// Namespace is a set of objects of one kind. At most one object exists for each ID. All methods may be called from any goroutine.
type Namespace struct {
	// Immutable after NewNamespace.
	name              string
	construct         func(context.Context, *State) (Object, error)
	opts              NamespaceOptions
	eventsContext     context.Context // parent of every event's context; cancelled when Shutdown cuts
	cancelEvents      context.CancelCauseFunc
	backgroundContext context.Context // parent of the contexts of WaitUntil; cancelled when Shutdown has closed the sockets
	cancelBackground  context.CancelCauseFunc
	releaseContext    context.Context // of commits when storage is released; cancelled when Shutdown does not wait for them any more
	cancelRelease     context.CancelCauseFunc
	nameRegistered    bool    // in namespaceNames
	detach            func()  // from the cluster; nil: there is none
	roster            *roster // the sockets that requests have opened; nil: there are no limits for them

	idleTimers timerheap.Timers[*object] // when to look whether an object may hibernate or be forgotten
	shutdown   shutdownProgress
	alarms     alarmScheduler
	topics     topicTable

	mu       sync.Mutex // a leaf, also under an object's mu
	objects  map[ID]*object
	dueFeeds []ID // restored objects whose feeds have something to send
}

// NewNamespace returns a namespace. It calls construct to make an object's value when an event comes and no value is in memory. The context
// of construct ends with the event; its State lasts as long as the value. construct may use State.WebSockets, because sockets outlive
// values. If construct fails, the event fails, all sockets of the object close with 1011, and the next event calls it again.
//
// NewNamespace panics if the name is empty, if construct is nil, if an option can never work, and if another namespace of that name uses
// the same Store and has not been shut down: each would run the same objects without knowing of the other.
func NewNamespace(name string, construct func(context.Context, *State) (Object, error), opts *NamespaceOptions) *Namespace {
	switch {
	case name == "":
		panic("edgews: NewNamespace: the name is empty; IDs and storage belong to a namespace by its name")
	case construct == nil:
		panic(fmt.Sprintf("edgews: NewNamespace: the constructor of %q is nil, so it could not have any objects", name))
	}
	n := &Namespace{name: name, construct: construct, objects: make(map[ID]*object)}
	if opts != nil {
		n.opts = *opts
	}
	if err := n.opts.check("NamespaceOptions"); err != nil {
		panic("edgews: NewNamespace: " + err.Error())
	}
	meter := n.opts.Meter
	n.opts.Options = *n.opts.resolve()
	n.opts.Meter = meter
	setDefault(&n.opts.HibernateAfter, defaultHibernateAfter)
	setDefault(&n.opts.MaxWaiting, defaultMaxWaiting)
	setDefault(&n.opts.AlarmTimeout, defaultAlarmTimeout)
	setDefault(&n.opts.ShutdownCode, StatusServiceRestart)
	n.eventsContext, n.cancelEvents = context.WithCancelCause(context.Background())
	n.backgroundContext, n.cancelBackground = context.WithCancelCause(n.eventsContext)
	n.releaseContext, n.cancelRelease = context.WithCancelCause(context.Background())
	n.idleTimers.Fire = func(at time.Time, o *object) { o.idleTimerFired(at) }
	n.alarms.n = n
	n.topics.cluster, n.topics.namespace = n.opts.Cluster, name
	if l := n.opts.limits(); !l.unlimited() {
		n.roster = newRoster(l, n.opts.ShutdownCode)
	}
	switch {
	case n.opts.Store != nil:
	case n.opts.Cluster != nil:
		n.opts.Store = n.opts.Cluster.Store()
	default:
		n.opts.Store = NewMemoryStore()
		return n
	}
	n.registerName()
	if n.opts.Cluster != nil {
		n.attach()
	}
	n.alarms.schedule(time.Now()) // the Store may know alarms of objects that get no other event
	return n
}

// Get returns the stub of the object with that ID. The object need not exist, and Get constructs nothing. There is no object for the zero
// ID or for an ID of another namespace: the stub of such an ID answers every request with 500 and an explanation.
func (n *Namespace) Get(id ID) *Stub { return &Stub{n, id, n.checkID(id)} }

// ByName returns the stub of the object with that name: Get of IDFromName.
func (n *Namespace) ByName(name string) *Stub { return n.Get(n.IDFromName(name)) }

// ObjectState says what of an object is in memory.
type ObjectState uint8

const (
	ObjectHibernated ObjectState = iota // its sockets and settings only
	ObjectIdle                          // its value too; the object will hibernate
	ObjectActive                        // its value too, and something keeps it there
)

// String returns "hibernated", "idle" or "active".
func (s ObjectState) String() string {
	switch s {
	case ObjectHibernated:
		return "hibernated"
	case ObjectIdle:
		return "idle"
	case ObjectActive:
		return "active"
	}
	return fmt.Sprintf("ObjectState(%d)", uint8(s))
}

// ObjectInfo describes an object at one moment.
type ObjectInfo struct {
	ID      ID
	State   ObjectState
	Since   time.Time // when the object got into State
	Sockets int       // accepted with AcceptWebSocket
	Pins    []string  // what keeps it awake: "event", "WaitUntil", "storage", "accepted socket", "outbound socket", "held socket"

	// PinnedUntil is when NamespaceOptions.PinTimeout evicts the object, unless an event comes first. It is zero if nothing but events
	// keeps the object awake, while an event runs, and without a PinTimeout.
	PinnedUntil time.Time
}

// Objects returns an iterator over the objects that are in memory, in no order: those that have a value or sockets, and those that had
// either within about the last minute.
func (n *Namespace) Objects() iter.Seq[ObjectInfo] {
	return func(yield func(ObjectInfo) bool) {
		for _, o := range n.allObjects() {
			if info, ok := o.info(); ok && !yield(info) {
				return
			}
		}
	}
}

// ErrPinned: something keeps the object awake; the message says what.
var ErrPinned = errors.New("edgews: object cannot hibernate now")

// Hibernate drops the value of an object now, after its Suspend, as HibernateAfter would do later: for tests and operators. It first waits
// until the events that are waiting now have run, or until ctx ends. It fails with ErrPinned if something else keeps the object awake, with
// ErrReentrant in an event of that object, and with ErrInvalidID for an ID of another namespace. It does nothing to an object that is not
// awake.
func (n *Namespace) Hibernate(ctx context.Context, id ID) error {
	o := n.lookup(id)
	switch {
	case o == nil:
		return n.checkID(id)
	case ctx.Value(eventContextKey{o}) != nil:
		return o.reentrantError(ctx, "Hibernate")
	}
	var pinned error
	_, err := o.runQueued(ctx, "Hibernate", func() { pinned = o.hibernateNow() })
	if err != nil {
		return err
	}
	return pinned
}

// hibernateNow hibernates, unless something keeps the object awake. The object's queue runs it, so no event is running.
func (o *object) hibernateNow() error {
	suspends, err := o.hibernateUnlessSuspender()
	if suspends {
		o.unload(SuspendHibernation)
	}
	return err
}

// hibernateUnlessSuspender hibernates, unless something other than an event keeps the object awake or the value is a Suspender.
func (o *object) hibernateUnlessSuspender() (suspends bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	defer o.stateChangedLocked(o.stateLocked())
	o.eventOverLocked()
	switch {
	case o.isPinnedLocked():
		return false, fmt.Errorf("%w: it has %s", ErrPinned, strings.Join(o.pinsLocked(), ", "))
	case o.isSuspenderLocked():
		return true, nil
	}
	o.unloadLocked()
	return false, nil
}

// hibernateLocked drops the value of an object that has nothing to do. mu must be held.
func (o *object) hibernateLocked() {
	was := o.stateLocked()
	o.unloadLocked()
	o.checkIdleLocked(was)
}

// errHibernated is why the contexts of WaitUntil end when their value is dropped because of hibernation.
var errHibernated = errors.New("object is not in memory any more")

// unloadLocked drops the value, and the memory that only events need. No event may be running. mu must be held.
func (o *object) unloadLocked() {
	o.dropValueLocked(errHibernated)
	o.queue.Shrink()
	o.run, o.contexts, o.contextsMade = nil, nil, 0
}
