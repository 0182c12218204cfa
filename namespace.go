package edgews

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"reflect"
	"sync"
	"time"
)

// Object is what a namespace's constructor returns: a value that answers requests, one event at a time. It may also
// implement MessageHandler, CloseHandler, ErrorHandler and AlarmHandler; messages and ends that it does not handle are
// dropped without a word, and without waking it.
//
// No two events of an object run at the same time, so its fields need no mutex. Events of one socket come in the order
// in which they arrived; sockets and requests take turns, one event each. An event that takes long holds up its own
// object and nothing else: slow work belongs into State.WaitUntil, and comes back with State.Do.
//
// Events are also the listeners (OnOpen, OnMessage, OnError, OnClose, OnJSON) of sockets that the object takes otherwise
// than with State.AcceptWebSocket: that it upgrades or dials with the context of an event and accepts with Accept, or
// holds with State.Hold. What arrives for them waits while the object is busy, up to 64 KiB; then the peer has to wait. A
// handler that waits for what only such a listener can bring waits in vain, since that comes after it: for Done of a
// socket that has a close listener, or for Flush on one end of a pair of which the object has both.
//
// An event's error is logged and changes nothing. A panic is logged and drops the value, whose state cannot be trusted
// any more; the next event constructs it again, and the sockets stay, with their listeners. A panic in a listener is
// logged and ends its socket with 1011, as elsewhere; the value stays.
//
// Deviation: in Workers the events of an object interleave wherever one awaits something.
type Object interface{ http.Handler }

// MessageHandler gets the messages of the sockets that the object has accepted: webSocketMessage. The data of m are
// valid until it returns; Clone keeps them.
type MessageHandler interface {
	WebSocketMessage(ctx context.Context, s *Socket, m Message) error
}

// CloseHandler is told, exactly once for each socket and after everything else, that it has ended: webSocketClose. If
// the peer has said Close it may still send and answer with a Close of its own; when it has not done so by its return,
// the peer's Close is sent back. The socket's tags and attachment are there until then, and State.WebSockets lists it: leave
// it out where it does not count any more.
//
// Deviation: Workers do not answer for the handler, and do not call it after WebSocketError.
type CloseHandler interface {
	WebSocketClose(ctx context.Context, s *Socket, e CloseEvent) error
}

// ErrorHandler is told, before CloseHandler is, that something other than a Close has ended a socket: webSocketError.
type ErrorHandler interface {
	WebSocketError(ctx context.Context, s *Socket, err error) error
}

// NamespaceOptions configures a namespace. A nil pointer means the zero value, which is recommended and safe.
type NamespaceOptions struct {
	// Options are those of sockets that objects of the namespace upgrade with nil options. Logger also gets what goes
	// wrong in objects; if it is nil, slog.Default does.
	Options

	// HibernateAfter is how long an object stays in memory without an event and with nothing that keeps it awake;
	// default 10 s, as in Workers; negative: for ever.
	HibernateAfter time.Duration

	// MaxWaiting bounds how many requests and calls of Do may wait at a time for one object that is busy; default 4096;
	// negative: no bound. Those beyond are answered with 503 and fail with ErrOverloaded. What sockets deliver does not
	// count: it waits in the sockets.
	MaxWaiting int

	// Store keeps the storage and the alarms of the objects, under the namespace's name; nil is a NewMemoryStore of its
	// own. Whoever has made a Store closes it, after Shutdown has returned nil. Only one namespace at a time can have a
	// name on a Store; Shutdown ends that.
	//
	// Alarms that are due already go off at once, so construct may be called before NewNamespace has returned.
	Store Store

	// Tenant names who pays for an object: what it uses counts in Meter.Tenant of that name, and thereby in Meter. Nil,
	// or "", is Meter itself; without Meter nothing is counted. It must be quick and always give the same answer for
	// the same ID.
	Tenant func(ID) string

	// ShutdownCode is the code with which Shutdown closes sockets; default StatusServiceRestart, 1012, which tells a client that it
	// may connect again soon. 1012 and 1013 are registered, but younger than RFC 6455, and some peers take them for a violation
	// of the protocol: Qt, libsoup and WebKitGTK, faye, nbio, Tomcat, libwebsockets. To them, set StatusGoingAway, 1001, which all
	// know; it also stands for an end without return, so clients may not connect again by themselves.
	ShutdownCode StatusCode
}

// check refuses what can never work.
func (o *NamespaceOptions) check(of string) error {
	if o.ShutdownCode != 0 && !sendable(o.ShutdownCode) {
		return fmt.Errorf("%s.ShutdownCode: %d may not be sent; use 1000 to 4999 except 1004, 1005, 1006 and 1015", of, uint16(o.ShutdownCode))
	}
	return o.Options.validate(of)
}

const defaultHibernateAfter = 10 * time.Second

// Namespace is a set of objects of one kind, each of which lives at most once. All methods may be called from any
// goroutine.
type Namespace struct {
	name      string
	construct func(context.Context, *State) (Object, error)
	opts      NamespaceOptions
	ctx       context.Context // of every event; cancelled when Shutdown cuts
	cut       context.CancelCauseFunc
	working   context.Context // of all that WaitUntil runs; cancelled when Shutdown has closed the sockets
	tell      context.CancelCauseFunc
	claimed   bool // its name, on its Store
	clock     clock
	closing   shutdown
	alarms    alarms

	mu      sync.Mutex // below every other
	objects map[ID]*object
}

// NewNamespace returns a namespace. construct makes an object's value when the first event comes and none is in memory;
// its context ends with the event, its State does not. It may use State.WebSockets, since sockets outlive values. If it
// fails the event fails, all sockets of the object close with 1011, and the next event tries again.
//
// NewNamespace panics if the name is empty, if construct is nil, if an option can never work, and if there is a namespace of
// that name on the same Store already that has not been shut down: their objects would be the same and not know of each other.
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
	n.ctx, n.cut = context.WithCancelCause(context.Background())
	n.working, n.tell = context.WithCancelCause(n.ctx)
	setDefault(&n.opts.ShutdownCode, StatusServiceRestart)
	n.alarms.n = n
	if n.opts.Store == nil {
		n.opts.Store = NewMemoryStore()
		return n
	}
	n.claimName()
	n.alarms.arm(time.Now()) // of the objects that nobody will ask for
	return n
}

// Get returns the stub through which an object is reached. The object need not exist; nothing is constructed yet. With an
// ID of another namespace, or the zero ID, there is none: such a stub answers every request with 500, and says why.
func (n *Namespace) Get(id ID) *Stub { return &Stub{n, id, n.checkID(id)} }

// claims are the names of namespaces on Stores that programs have made. A Store of a type that cannot be compared is not
// among them.
var claims struct {
	mu    sync.Mutex // a leaf
	names map[nameClaim]struct{}
}

type nameClaim struct {
	store Store
	name  string
}

// claimName claims the name of n on its Store.
func (n *Namespace) claimName() {
	if !reflect.ValueOf(n.opts.Store).Comparable() {
		return
	}
	claims.mu.Lock()
	defer claims.mu.Unlock()
	c := nameClaim{n.opts.Store, n.name}
	if _, taken := claims.names[c]; taken {
		panic(fmt.Sprintf("edgews: NewNamespace: there is a namespace %q on this Store already; use that one, or shut it down first", n.name))
	}
	if claims.names == nil {
		claims.names = make(map[nameClaim]struct{})
	}
	claims.names[c] = struct{}{}
	n.claimed = true
}

// freeName lets another namespace have the name.
func (n *Namespace) freeName() {
	if !n.claimed {
		return
	}
	claims.mu.Lock()
	defer claims.mu.Unlock()
	delete(claims.names, nameClaim{n.opts.Store, n.name})
}

// known returns the object with that ID, if there is one in memory.
func (n *Namespace) known(id ID) *object {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.objects[id]
}

// checkID returns ErrInvalidID for an ID of another namespace, and for the zero ID.
func (n *Namespace) checkID(id ID) error {
	if n.known(id) != nil {
		return nil
	}
	return n.verifyID(id)
}

// object returns the object with that ID, which is made if need be.
func (n *Namespace) object(id ID) *object {
	if o := n.known(id); o != nil {
		return o
	}
	payer := n.payer(id)
	n.mu.Lock()
	defer n.mu.Unlock()
	if o := n.objects[id]; o != nil {
		return o
	}
	o := &object{ns: n, id: id, since: time.Now()}
	if payer != nil {
		o.tab = newTab(payer, o, nil)
	}
	n.objects[id] = o
	return o
}

// payer returns the meter that counts what an object uses, or nil.
func (n *Namespace) payer(id ID) *Meter {
	if n.opts.Meter == nil || n.opts.Tenant == nil {
		return n.opts.Meter
	}
	return n.opts.Meter.Tenant(n.opts.Tenant(id))
}

// all returns the objects as they are now.
func (n *Namespace) all() []*object {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := make([]*object, 0, len(n.objects))
	for _, o := range n.objects {
		all = append(all, o)
	}
	return all
}

// logger is where errors in objects go even when nothing else is logged.
func (n *Namespace) logger() *slog.Logger {
	if n.opts.Logger != nil {
		return n.opts.Logger
	}
	return slog.Default()
}

// ObjectState says what of an object is in memory.
type ObjectState uint8

const (
	ObjectHibernated ObjectState = iota // only its sockets
	ObjectIdle                          // its value too; it will hibernate
	ObjectActive                        // and something keeps it there
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
	Since   time.Time // when it got into State
	Sockets int       // accepted with AcceptWebSocket
	Pins    []string  // what keeps it awake: "event", "WaitUntil", "storage", "accepted socket", "outbound socket", "held socket"
}

// Objects returns an iterator over the objects that are in memory, in no order: those with a value, those with sockets,
// and those that had either a minute ago.
func (n *Namespace) Objects() iter.Seq[ObjectInfo] {
	return func(yield func(ObjectInfo) bool) {
		for _, o := range n.all() {
			if info, ok := o.info(); ok && !yield(info) {
				return
			}
		}
	}
}
