package edgews

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// ReadyState is the state of a socket's connection. The numbers are those of the Web API.
type ReadyState uint8

const (
	Connecting ReadyState = iota // the opening handshake of NewWebSocket is under way
	Open                         // from creation, accepted or not, until a Close
	Closing                      // one side has sent Close
	Closed                       // both sides have sent Close, or the connection is lost
)

// String returns the Web API's name of the state, such as "OPEN".
func (r ReadyState) String() string {
	switch r {
	case Connecting:
		return "CONNECTING"
	case Open:
		return "OPEN"
	case Closing:
		return "CLOSING"
	case Closed:
		return "CLOSED"
	}
	return fmt.Sprintf("ReadyState(%d)", uint8(r))
}

// The order of the locks of this package and of internal/park. While a goroutine holds one, it may lock those that are indented below it,
// and no others.
//
//	storageLease.writeLock, ledger.sem   channels with one token, for calls of the Store
//	  feedRoster.sendLock                another one, for sending to the members of a feed; also above the mutexes below
//	    feedRoster.mu                    a leaf, also directly under writeLock
//	cycles                               while a call of an object that closes a cycle is given up; the object.mu of the others, one at a time
//	deflater.mu                          from compressing a message until it is queued
//	  Prepared.mu
//	Socket.mu                            also guards the socket's inbox, outbox and usageCounter
//	  outputGate.mu, deadline.mu
//	  object.mu                          also guards the object's usageCounter
//	    Namespace.mu, shutdownProgress.mu, timerheap.Timers.mu, topicTable.mu
//	  roster.mu
//	  quota.mu                           under Socket.mu or object.mu; other counters' mutexes only with TryLock
//	    Meter.mu                         one at a time
//	      accounting.mu
//	  park: offLoop.mu > loopMu > loop.mu > poller.mu; timers.mu, table.mu and corks.mu are leaves
//
// All others are leaves, and no mutex is held when they are locked: alarmScheduler.mu, Tx.mu, memoryStore.mu, inflateBudget.mu,
// namespaceNames, connTrace.mu, bodyPrefix.mu, connectWriter.mu, idTable.mu, muxRequests.mu and Mux.mu, and in
// park backlog.mu and waiter.mu.
//
// A goroutine that holds the mutex of a socket, or of an object, waits for that of no other one. The channels are waited for without a
// mutex. Under a mutex there is no I/O on connections, no call of a Store, no logging and no code of the user. Of park.Conn, only methods
// that neither do I/O nor call its Handler are called under Socket.mu. docs/architecture.md lists them.

// Socket is one end of a WebSocket: of an in-memory pair or of a network connection, which behave alike.
//
// All methods may be called from any goroutine at any time, also from listeners; what one goroutine sends stays in
// order. The exception are the methods that receive: one goroutine at a time may use them (ErrReceiving).
//
// A socket has to be accepted before it sends or delivers anything: by Accept, by AcceptHalfOpen, or by the
// first call of a receive method. It ends with exactly one close event; then Done is closed and Err says how it
// ended.
type Socket struct {
	mu *sync.Mutex // see the order of the locks above; the two ends of a pair share one

	// Guarded by mu.
	id           uint64   // immutable
	opened       int64    // the time of openLocked, in nanoseconds since 1970; 0: it has not been called
	opts         *Options // shared by sockets; replaced once, when Respond gives a pair's end a connection
	link         link
	onMessage    func(MessageEvent) // the only listener, if it is for messages; otherwise socketExtra.listeners has all
	*socketExtra                    // never nil; shared until a field has to change, then replaced by a copy once
	accepted     monoMillis         // the time of Accept, or later: see noteActiveLocked; it wraps around after 50 days, and listenerGrace then begins again
	phase        phase
	consumer     consumer
	facts        facts
}

// socketExtra holds the state that most idle sockets do not have.
type socketExtra struct {
	about        *identity       // nil: no URL, subprotocol, extensions or rosters
	listeners    *listeners      // nil: none but onMessage
	counter      *usageCounter   // counts the socket's usage; nil: no meter
	observed     *observedSocket // nil: there is no Observer, or the socket has not been accepted. Beside counter and deferred: every Send looks at it
	deferred     *deferredOutput // nil: nothing waits above the link. Beside counter: every Send looks at both
	in           *inbox          // nil until it is needed; never nil for an end of a pair
	waiters      *waiters        // nil: no goroutine has waited for the socket
	result       *closeResult    // nil until it is decided how the socket ends
	objectSocket *objectSocket   // not nil: an object has accepted the socket with AcceptWebSocket
	pinned       *pinnedSocket   // not nil: the listeners run as events of an object, once the socket is accepted
	attached     *attachment     // nil: none
	keptAddrs    *addrs          // nil: the link knows the addresses of the connection
	shared       bool            // several sockets use this value, which must not be changed
}

// noExtra is the socketExtra of all sockets that have no such state.
var noExtra = socketExtra{shared: true}

// extraLocked returns s.socketExtra for changes. It replaces a shared one by a copy first. mu must be held.
func (s *Socket) extraLocked() *socketExtra {
	if s.shared {
		own := *s.socketExtra
		own.shared = false
		s.socketExtra = &own
	}
	return s.socketExtra
}

// describeLocked sets the identity of the socket's connection. mu must be held.
func (s *Socket) describeLocked(about identity) {
	about.rosters = s.rostersLocked()
	if s.socketExtra == &noExtra {
		if common := identities.share(about); common != nil {
			s.socketExtra = common
			return
		}
	}
	own := about // a copy: &about would allocate in every call
	s.extraLocked().about = &own
}

// waiters holds the conditions, other than messages, that goroutines wait for on a socket. Guarded by the socket's mu.
type waiters struct {
	hasRoom         signal // the queue has shrunk, or the socket has ended or opened
	consumerChanged signal // a listener has been added, or a receive method called
	pings           pings
	drain           *drainListeners         // nil: OnDrain has not been called
	done            chan struct{}           // nil until the first call of Done
	context         context.Context         // nil until the first call of Context
	endContext      context.CancelCauseFunc // of context
	cancel          func()                  // stops the opening handshake, while connecting
}

// waitersLocked returns the socket's waiters, and makes them first if there are none. mu must be held.
func (s *Socket) waitersLocked() *waiters {
	if s.waiters == nil {
		s.extraLocked().waiters = new(waiters)
	}
	return s.waiters
}

// notifyRoomLocked wakes the goroutines that wait for room in the queue. mu must be held.
func (s *Socket) notifyRoomLocked() {
	if s.waiters != nil {
		s.waiters.hasRoom.broadcast()
	}
}

// consumerChangedLocked wakes the goroutines that wait for a listener or a receive method. mu must be held.
func (s *Socket) consumerChangedLocked() {
	if s.waiters != nil {
		s.waiters.consumerChanged.broadcast()
	}
}

// pongLocked completes the calls of Ping up to ping id: its Pong has arrived. mu must be held.
func (s *Socket) pongLocked(id uint64) {
	if s.waiters != nil {
		s.waiters.pings.pongLocked(s, min(id, s.waiters.pings.last))
	}
}

// inboxLocked returns the socket's inbox, and makes it first if there is none. mu must be held.
func (s *Socket) inboxLocked() *inbox {
	if s.in == nil {
		s.extraLocked().in = new(inbox)
	}
	return s.in
}

// identity is what URL, Protocol and Extensions return, what a request was for, and which rosters list the socket.
type identity struct {
	url, protocol, extensions string
	where                     string      // host and path of the request that was upgraded; "": there was none
	rosters                   *rosterList // nil: none
}

// identities holds the identities that sockets of a server share.
var identities identityCache

// identityCache holds one socketExtra for each identity, for sockets that need no other field of it. Most connections of a server have
// the same path, subprotocol and extensions, and a copy for each idle connection would need more memory than the rest of the socket.
type identityCache struct {
	known sync.Map     // identity to *socketExtra
	count atomic.Int32 // entries in known
}

// maxCachedIdentities bounds the cache, since clients choose paths, and a program may agree to any subprotocol that a client offers. A cache
// that is full begins anew, so that it has the identities that are in use.
const maxCachedIdentities = 1000

// share returns the socketExtra that all sockets with an identity share. It returns nil if they share none.
func (c *identityCache) share(i identity) *socketExtra {
	switch {
	case i == identity{}:
		return &noExtra
	case i.url != "", i.rosters != nil: // a client's socket, or one of a roster, which has a cache of its own
		return nil
	}
	if e, ok := c.known.Load(i); ok {
		return e.(*socketExtra)
	}
	if c.count.Load() >= maxCachedIdentities {
		c.known.Clear()
		c.count.Store(0)
	}
	about := i // a copy: &i would allocate in every call
	e, there := c.known.LoadOrStore(i, &socketExtra{about: &about, shared: true})
	if !there {
		c.count.Add(1)
	}
	return e.(*socketExtra)
}

// link connects a socket with the other side: memory for a pair, wire for a connection, connectingLink until NewWebSocket has one.
type link interface {
	// startLocked starts the delivery of what arrives. The socket has been accepted. mu must be held.
	startLocked()
	// send queues m, or returns why it does not. It never blocks. mu must not be held.
	send(m outgoing) error
	// queueLocked queues a message or a piece of one. mu must be held.
	queueLocked(p outgoingPiece)
	// closeLocked queues a Close frame after everything that was queued before. mu must be held.
	closeLocked(c closeFrame)
	// pingLocked queues a Ping frame. mu must be held.
	pingLocked(id uint64)
	// endedLocked is called when s.result has been set. It has the last events delivered. mu must be held.
	endedLocked()
	// takenLocked is called when the receiver has taken it. It no longer counts against the sender's SendBuffer. mu must be held.
	takenLocked(it *item)
	// resumeReadingLocked is called when what arrives may have waited for it: a listener has been added, a receive method has been
	// called, or a message has been taken. mu must be held.
	resumeReadingLocked()
	// bufferedLocked returns the bytes of queued payload that the peer has not taken, and the bytes that they count against SendBuffer. mu
	// must be held.
	bufferedLocked() (payload, size int)
	// transmit writes queued frames, as far as that is possible without blocking. mu must not be held.
	transmit()
	// frameSize returns the bytes of a frame, with its header, whose body has that many bytes and stands for that many of payload; on a pair, of
	// the payload.
	frameSize(body, payload int) int
	// addrs returns the addresses of both ends, none of them nil. mu must not be held.
	addrs() addrs
	// isParkedLocked reports whether neither a goroutine nor a buffer belongs to the link. It may be false while another goroutine asks.
	// mu must be held.
	isParkedLocked() bool
}

// phase is how far a socket has come. The phases follow each other in this order, but some are left out: only a socket of NewWebSocket
// is connecting, and phaseUsed follows phaseUnaccepted.
type phase uint8

const (
	phaseUnaccepted phase = iota // nothing is delivered or sent yet. It may be certain already how the socket ends
	phaseConnecting              // the opening handshake of NewWebSocket is not over
	phaseOpen                    // events are delivered, frames may be sent
	phaseEnded                   // it is certain how the socket ends: socketExtra.result is set. Half open, it may still send
	phaseFinishing               // the last events are being delivered
	phaseFinished                // the last events have been delivered
	phaseUsed                    // Respond has used this end of a pair; its methods fail with ErrUsed
)

// openLocked begins phaseOpen, or phaseEnded if it is certain already how the socket ends. mu must be held.
func (s *Socket) openLocked() {
	s.phase = phaseOpen
	s.opened = time.Now().UnixNano()
	if s.hasEndedLocked() {
		s.phase = phaseEnded
	}
}

// isAcceptedLocked reports whether the socket has been accepted. mu must be held.
func (s *Socket) isAcceptedLocked() bool {
	return s.phase >= phaseConnecting && s.phase <= phaseFinished
}

// hasEndedLocked reports whether it is certain how the socket ends. mu must be held.
func (s *Socket) hasEndedLocked() bool { return s.result != nil }

// consumer is what gets the messages of a socket.
type consumer uint8

const (
	toListeners consumer = iota // and all other events too
	toReceivers                 // the receive methods; other events go to listeners
	toObject                    // and all other events too: socketExtra.objectSocket is set
)

// deliversDirectlyLocked reports whether messages go to listeners that are called as soon as the messages arrive, and not as events of an
// object. mu must be held.
func (s *Socket) deliversDirectlyLocked() bool { return s.consumer == toListeners && !s.is(hosted) }

// facts is a set of facts about a socket.
type facts uint16

const (
	hosted      facts = 1 << iota // listeners run as events of an object: socketExtra.pinned is set
	openRunning                   // the open listeners run: no other event is delivered before they have returned

	// The closing handshake.
	manualClose      // AcceptHalfOpen: the peer's Close is answered by the application
	sentClose        // a Close frame is queued or sent
	gotClose         // the peer's Close has arrived
	lost             // the connection is unusable
	endWaits         // the wire has a pendingEnd
	readEnded        // the peer has ended its side of the connection, and ours is still being written
	closeUndelivered // the close event has found no listener: those get it that are added within the listener grace

	// Sending.
	streamingOut // a NextWriter is in the middle of its message
	uncompressed // the unfinished message of a NextWriter is sent without compression
	corked       // what is sent waits for the end of the wire's turn

	// Receiving.
	readPaused // the wire does not read until resumeReadingLocked is called
	pinged     // the wire's keep-alive ping has not been answered yet
	delivering // a goroutine is delivering events (pairs)
	graceTimed // a timer calls graceOver
)

// is reports whether one of the facts f is true.
func (s *Socket) is(f facts) bool { return s.facts&f != 0 }

// options returns the options in force.
func (s *Socket) options() *Options {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opts
}

// Accept starts the delivery of messages and events to the listeners, and allows the socket to send. What the peer
// has sent before is delivered now, in order. A second call has no effect. Accept returns ErrUsed for a socket
// that was given to Respond. It returns ErrAccepted for a socket that an object has accepted ([State.AcceptWebSocket]), and for
// one that NewWebSocket is still connecting, which accepts itself.
//
// The peer's Close is answered automatically, with its own code and reason; see AcceptHalfOpen.
func (s *Socket) Accept() error { return s.accept(0) }

// AcceptHalfOpen is Accept, except that the peer's Close is not answered. After the close event the socket is half open: it may
// continue to send, and the application must call Close, within CloseTimeout if the peer has ended its side of the connection
// after its Close. If the connection is lost meanwhile, the socket becomes Closed without another event. As with
// accept({allowHalfOpen: true}) in Workers, the first call of Accept or AcceptHalfOpen decides. State.AcceptWebSocket has
// no such mode; see there.
func (s *Socket) AcceptHalfOpen() error { return s.accept(manualClose) }

func (s *Socket) accept(how facts) error {
	s.mu.Lock()
	defer s.tellAndUnlock()
	switch {
	case s.phase == phaseUsed:
		return ErrUsed
	case s.consumer == toObject:
		return fmt.Errorf("%w: it was given to State.AcceptWebSocket", ErrAccepted)
	case s.phase == phaseConnecting:
		return fmt.Errorf("%w: a socket from NewWebSocket accepts itself", ErrAccepted)
	}
	s.acceptLocked(how)
	return nil
}

// acceptLocked accepts the socket, with manualClose if how has it. It has no effect on an accepted socket. mu must be held, and the caller
// calls tell.
func (s *Socket) acceptLocked(how facts) {
	if s.isAcceptedLocked() {
		return
	}
	s.openLocked()
	s.facts |= how
	s.accepted = nowMillis()
	s.stopUnacceptedTimerLocked()
	s.beginObservingLocked()
	if p := s.pinned; p != nil {
		p.acceptedLocked()
	}
	s.link.startLocked()
}

// ReadyState returns the state of the socket. An end of a pair and a socket from Upgrade or Dial are
// Open from the start, accepted or not. In the close event the socket is already Closed. It is Closing there after
// AcceptHalfOpen and in an object's WebSocketClose, where the peer's Close has not been answered yet.
//
// The peer's Close changes the state when all messages before it have been delivered; see [Socket.Receive]. The loss of the
// connection changes it to Closed at once, although messages may still wait for a receive method or for an object.
//
// Deviation: after a loss without Close, Workers report OPEN in an object's close event, and CLOSING from webSocketClose on,
// for ever. The connection is closed, and so is the socket here.
func (s *Socket) ReadyState() ReadyState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.readyStateLocked()
}

// readyStateLocked is ReadyState. mu must be held.
func (s *Socket) readyStateLocked() ReadyState {
	switch {
	case s.is(lost), s.is(sentClose) && s.is(gotClose):
		return Closed
	case s.is(sentClose | gotClose):
		return Closing
	case s.phase == phaseConnecting:
		return Connecting
	}
	return Open
}

// URL returns the URL as it was given to NewWebSocket or Dial, including a password, and "" for every other socket.
// Errors, logs and Explain show it without the password.
func (s *Socket) URL() string { return s.identity().url }

// Protocol returns the agreed subprotocol, or "".
func (s *Socket) Protocol() string { return s.identity().protocol }

// Extensions returns the agreed extensions in the syntax of the header, for example
// "permessage-deflate; client_max_window_bits=12", or "".
func (s *Socket) Extensions() string { return s.identity().extensions }

func (s *Socket) identity() identity {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.about == nil {
		return identity{}
	}
	return *s.about
}

// BufferedAmount returns the number of bytes of payload that Send has queued and that have not been taken yet: on a network
// connection by the operating system, on a pair by a listener or receive method of the other end.
func (s *Socket) BufferedAmount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	payload, _ := s.bufferedLocked()
	return payload
}

// Done returns a channel that is closed after the close event has been delivered. The channel of a socket that is never accepted is
// never closed. The close listener of a socket that belongs to an object is an event of that object: an event of the
// object that waits for Done waits for ever.
func (s *Socket) Done() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.waitersLocked()
	if w.done == nil {
		w.done = make(chan struct{})
		if s.phase == phaseFinished {
			close(w.done)
		}
	}
	return w.done
}

// Err returns nil until Done is closed, and then the *CloseError that tells how the socket ended, also after a clean
// close.
func (s *Socket) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase != phaseFinished {
		return nil
	}
	return &s.result.CloseError
}

// Context returns a context that ends after the close event, when Done is closed. [context.Cause] then returns Err. It is for work that
// makes no sense without the socket, such as calls for its user, and like Done it never ends if the socket is never accepted. It has no
// values and no deadline.
func (s *Socket) Context() context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.waitersLocked()
	if w.context == nil {
		w.context, w.endContext = context.WithCancelCause(context.Background())
		if s.phase == phaseFinished {
			w.endContext(&s.result.CloseError)
		}
	}
	return w.context
}

// debug logs msg with level Debug, if Options.Logger is set.
func (s *Socket) debug(msg string, args ...any) { s.log(slog.LevelDebug, msg, args...) }

// warn logs msg and err with level Warn, if Options.Logger is set.
func (s *Socket) warn(msg string, err error) { s.log(slog.LevelWarn, msg, "error", err) }

// log logs msg and the socket's group of attributes, if Options.Logger is set.
func (s *Socket) log(level slog.Level, msg string, args ...any) {
	ctx := context.Background()
	if logger := s.options().Logger; logger != nil && logger.Enabled(ctx, level) {
		logger.Log(ctx, level, msg, append(args, s.logAttr())...)
	}
}
