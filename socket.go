package edgews

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"unicode/utf8"
	"unsafe"
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

// Socket is one end of a WebSocket: of an in-memory pair or of a network connection, which behave alike.
//
// All methods may be called from any goroutine at any time, also from listeners; what one goroutine sends stays in
// order. The exception are the methods that receive: one goroutine at a time may use them (ErrReceiving).
//
// A socket has to be accepted before it sends or delivers anything: by Accept, by AcceptHalfOpen, or by the
// first call of a receive method. It ends with exactly one close event; then Done is closed and Err says how it
// ended.
type Socket struct {
	mu *sync.Mutex // leaf-level: no I/O and no user code under it. The two ends of a pair share one.

	// Guarded by mu.
	opts         *Options // shared by sockets; replaced once, when Respond gives a pair's end a connection
	link         link
	onMessage    func(MessageEvent) // the only listener, if it is for messages; otherwise socketExtra.listeners has all
	*socketExtra                    // never nil; shared until a field has to change, then replaced by a copy once
	accepted     monoMillis         // the time of Accept; it wraps around after 50 days, and listenerGrace then begins again
	status       status
}

// socketExtra holds the state that most idle sockets do not have.
type socketExtra struct {
	about        *identity     // nil: no URL, subprotocol or extensions
	listeners    *listeners    // nil: none but onMessage
	in           *inbox        // nil until it is needed; never nil for an end of a pair
	waiters      *waiters      // nil: no goroutine has waited for the socket
	result       *closeResult  // nil until it is decided how the socket ends
	objectSocket *objectSocket // not nil: an object has accepted the socket with AcceptWebSocket
	pinned       *pinnedSocket // not nil: the listeners run as events of an object, once the socket is accepted
	attached     *attachment   // nil: none
	counter      *usageCounter // counts the socket's usage; nil: no meter
	shared       bool          // several sockets use this value, which must not be changed
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
	done            chan struct{} // nil until the first call of Done
	cancel          func()        // stops the opening handshake, while connecting
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
		s.waiters.pings.pong(min(id, s.waiters.pings.last))
	}
}

// inboxLocked returns the socket's inbox, and makes it first if there is none. mu must be held.
func (s *Socket) inboxLocked() *inbox {
	if s.in == nil {
		s.extraLocked().in = new(inbox)
	}
	return s.in
}

// identity is what URL, Protocol and Extensions return.
type identity struct{ url, protocol, extensions string }

// identities holds the identities that sockets of a server share.
var identities identityCache

// identityCache holds one socketExtra for each identity, for sockets that need no other field of it. Most connections of a server have
// the same subprotocol and extensions, and a copy for each idle connection would need more memory than the rest of the socket.
type identityCache struct {
	known sync.Map     // identity to *socketExtra
	count atomic.Int32 // entries in known
}

// maxCachedIdentities bounds the cache, since a program may agree to any subprotocol that a client offers.
const maxCachedIdentities = 1000

// share returns the socketExtra that all sockets with an identity share. It returns nil if they share none.
func (c *identityCache) share(i identity) *socketExtra {
	switch {
	case i == identity{}:
		return &noExtra
	case i.url != "": // a client's socket
		return nil
	}
	if e, ok := c.known.Load(i); ok {
		return e.(*socketExtra)
	}
	if c.count.Load() >= maxCachedIdentities {
		return nil
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
	// closeLocked queues a Close frame after everything that was sent before. mu must be held.
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
	// bufferedLocked returns the bytes of payload that the peer has not taken, and the bytes that they count against SendBuffer. mu
	// must be held.
	bufferedLocked() (payload, size int)
	// holdOutputLocked holds back everything that is sent from now on, until releaseOutputLocked or dropOutputLocked. It returns
	// false if output is already held back. mu must be held.
	holdOutputLocked() bool
	// releaseOutputLocked sends what was held back. mu must be held.
	releaseOutputLocked()
	// dropOutputLocked drops what was held back. It reports whether that included a Close. mu must be held.
	dropOutputLocked() (closing bool)
	// transmit writes queued frames, as far as that is possible without blocking. mu must not be held.
	transmit()
}

// outgoing is a message, or a piece of one, on its way out.
type outgoing struct {
	kind        Kind
	data        []byte // neither retained nor changed
	first, last bool
	stream      bool      // from NextWriter
	claims      bool      // a new NextWriter: there is nothing to send, but other messages wait from now on
	prepared    *Prepared // the message whose payload is data; nil: data is not prepared
	wait        bool      // without room, errNoRoom is returned: Overflow does not apply
	force       bool      // SendBuffer does not apply
	countAs     countRule // what a meter counts it as
	ungated     bool      // it does not wait for a commit
}

// status is a set of facts about a socket. The ready state follows from them.
type status uint32

const (
	connecting       status = 1 << iota // the opening handshake is not over
	accepted                            // events are delivered, frames may be sent
	pulling                             // messages go to the receive methods
	manualClose                         // AcceptHalfOpen: the peer's Close is answered by the application
	used                                // Respond has used this end of a pair; its methods fail with ErrUsed
	sentClose                           // a Close frame is queued or sent
	gotClose                            // the peer's Close has arrived
	lost                                // the connection is unusable
	finishing                           // the last events are being delivered
	finished                            // the last events have been delivered
	delivering                          // a goroutine is delivering events (pairs)
	streamingOut                        // a NextWriter is in the middle of its message
	closeUndelivered                    // there was no listener for the close event when it came
	owned                               // messages and events go to an object: socketExtra.objectSocket is set
	awaited                             // a warning is logged if the socket is not accepted soon
	hosted                              // listeners run as events of an object: socketExtra.pinned is set
	readPaused                          // the wire does not read until resumeReadingLocked is called
	uncompressed                        // the unfinished message of a NextWriter is sent without compression
	pinged                              // the wire's keep-alive ping has not been answered yet
	ended                               // socketExtra.result is set
	corked                              // what is sent waits for the end of the wire's turn
	openRunning                         // the open listeners run: no other event is delivered before they have returned
	endWaits                            // the wire has a pendingEnd
	readEnded                           // the peer has ended its side of the connection, and ours is still being written
)

func (s *Socket) is(f status) bool { return s.status&f != 0 }

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

func (s *Socket) accept(how status) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.is(used):
		return ErrUsed
	case s.is(owned):
		return fmt.Errorf("%w: it was given to State.AcceptWebSocket", ErrAccepted)
	case s.is(connecting):
		return fmt.Errorf("%w: a socket from NewWebSocket accepts itself", ErrAccepted)
	}
	s.acceptLocked(how)
	return nil
}

// acceptLocked accepts the socket, with manualClose if how has it. It has no effect on an accepted socket. mu must be held.
func (s *Socket) acceptLocked(how status) {
	if s.is(accepted) {
		return
	}
	s.status |= accepted | how
	s.accepted = nowMillis()
	s.stopUnacceptedTimerLocked()
	if p := s.pinned; p != nil {
		p.acceptedLocked()
	}
	s.link.startLocked()
}

// Send sends a text message. It queues the message and returns without blocking; success does not mean that
// the peer gets the message. Text must be valid UTF-8 (ErrInvalidUTF8); it may be empty.
//
// If earlier messages wait in the queue and this one would exceed SendBuffer, Overflow decides what happens: by default
// Send returns ErrBufferFull, and the message is not sent. Write waits for room instead.
//
// Send returns ErrNotAccepted before the socket is accepted, and ErrClosed once Close has been called or the
// connection has ended. A peer's Close that has been answered counts as Close.
func (s *Socket) Send(text string) error {
	if !utf8.ValidString(text) {
		return ErrInvalidUTF8
	}
	if p := bytesOf(text); !s.sendPlain(Text, p) {
		return s.send(outgoing{kind: Text, data: p, first: true, last: true})
	}
	return nil
}

// SendBytes sends a binary message. p is not retained and may be changed when SendBytes has returned. Otherwise
// SendBytes is like Send.
func (s *Socket) SendBytes(p []byte) error {
	if s.sendPlain(Binary, p) {
		return nil
	}
	return s.send(outgoing{kind: Binary, data: p, first: true, last: true})
}

// SendPrepared sends a message that was encoded once for many sockets. Otherwise it is like Send.
func (s *Socket) SendPrepared(m *Prepared) error {
	if err := m.check(); err != nil {
		return err
	}
	if s.sendEncoded(m.plain(), len(m.data)) {
		return nil
	}
	return s.send(outgoing{kind: m.kind, data: m.data, first: true, last: true, prepared: m})
}

// sendPlain is the fast path of send: a server's open connection, a message without compression, and room in the queue. In every
// other case it has no effect and returns false.
func (s *Socket) sendPlain(kind Kind, p []byte) bool {
	s.mu.Lock()
	w := s.plainWireLocked(len(p))
	if w == nil {
		s.mu.Unlock()
		return false
	}
	s.counter.countWholeSentLocked(len(p))
	w.outboxLocked().AddMessage(opcodeOf(kind), p)
	if s.is(corked) {
		s.mu.Unlock()
		return true
	}
	w.transmitAndUnlock()
	return true
}

// sendEncoded is sendPlain for the frame of a message of n bytes.
func (s *Socket) sendEncoded(encoded []byte, n int) bool {
	s.mu.Lock()
	w := s.plainWireLocked(n)
	if w == nil {
		s.mu.Unlock()
		return false
	}
	s.counter.countWholeSentLocked(n)
	w.outboxLocked().AddShared(encoded, n)
	w.transmitAndUnlock()
	return true
}

// plainWireLocked returns the connection if the fast path may queue a message of n bytes on it, or nil. It must return nil where
// admitLocked returns an error, and where the message would be compressed, masked or held back. mu must be held.
func (s *Socket) plainWireLocked(n int) *wire {
	const ordinary, extraordinary = accepted, connecting | used | owned | sentClose | lost | streamingOut
	w, ok := s.link.(*wire)
	if !ok || w.client || s.status&(ordinary|extraordinary) != ordinary ||
		s.counter != nil && s.counter.quotaErr != nil ||
		w.deflater != nil && n >= s.opts.Compression.Threshold ||
		w.out != nil && w.out.Size > 0 && w.out.Size+n > s.opts.SendBuffer {
		return nil
	}
	return w
}

func (s *Socket) send(m outgoing) error {
	for {
		s.mu.Lock()
		l := s.link
		if w, ok := l.(*wire); ok && !w.compressesLocked(&m) {
			return w.sendAndUnlock(&m)
		}
		s.mu.Unlock()
		err := l.send(m)
		l.transmit()
		if err != errMoved {
			return err
		}
	}
}

// errMoved tells send to try again: the socket has another link now.
var errMoved = errors.New("edgews: socket has another link")

func (s *Socket) currentLink() link {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.link
}

// bytesOf returns the memory of text as a slice, which must not be changed. Payloads are only read: masking works on a copy.
func bytesOf(text string) []byte { return unsafe.Slice(unsafe.StringData(text), len(text)) }

// writableLocked returns nil if a data message may be sent now, otherwise the error to return. mu must be held.
func (s *Socket) writableLocked() error {
	switch {
	case s.is(used):
		return ErrUsed
	case s.is(sentClose | lost):
		return ErrClosed
	case s.is(connecting):
		return fmt.Errorf("%w (this one is still connecting: wait for its open event, or use Write)", ErrNotAccepted)
	case !s.is(accepted):
		return ErrNotAccepted
	}
	return nil
}

// errNoRoom tells Write and NextWriter to wait.
var errNoRoom = fmt.Errorf("%w: wait", ErrBufferFull)

// errDropped tells send to return nil although the message was dropped (OverflowDrop).
var errDropped = fmt.Errorf("%w: dropped", ErrBufferFull)

// admitLocked decides whether m may be queued. It returns nil, errNoRoom, errDropped or the error for the caller of Send.
// mu must be held.
func (s *Socket) admitLocked(m *outgoing) error {
	if m.wait && s.is(connecting) && !s.is(sentClose|lost) {
		return errNoRoom
	}
	if err := s.writableLocked(); err != nil {
		return err
	}
	if s.counter.quotaErrLocked() != nil {
		s.counter.failOverQuotaLocked()
		return ErrClosed
	}
	if s.is(streamingOut) && m.wait && (m.claims || m.first && !m.stream) {
		return errNoRoom
	}
	_, size := s.link.bufferedLocked()
	if size == 0 || m.force || size+len(m.data) <= s.opts.SendBuffer {
		return nil
	}
	switch {
	case m.wait:
		return errNoRoom
	case s.opts.Overflow == OverflowDrop:
		return errDropped
	case s.opts.Overflow == OverflowClose:
		s.closeSlowLocked()
	}
	return fmt.Errorf("%w: %d bytes wait, the message has %d, the limit is %d (see Options.SendBuffer and Overflow, or use Write)",
		ErrBufferFull, size, len(m.data), s.opts.SendBuffer)
}

// closeSlowLocked drops what is queued for a peer that reads too slowly, and sends a Close with 1013. mu must be held.
func (s *Socket) closeSlowLocked() {
	if w, ok := s.link.(*wire); ok && w.out != nil {
		w.out.Discard()
	}
	s.status |= sentClose
	s.link.closeLocked(closeFrame{StatusTryAgainLater, "receiver is too slow"})
	s.notifyRoomLocked()
}

// Close starts the closing handshake (RFC 6455 §7) and returns at once. What was sent before still arrives, before the Close.
// Messages that the peer sends before its own Close are still delivered. The close event follows the peer's Close, or
// comes after CloseTimeout with code 1006.
//
// code is 1000 to 4999 except 1004, 1005, 1006 and 1015; 0 sends an empty Close, which the peer sees as 1005.
// reason is UTF-8 of at most 123 bytes. Both are checked before the state of the socket. The errors are ErrInvalidClose,
// ErrInvalidUTF8, ErrUsed, ErrNotAccepted, and ErrClosed if Close was called before, the peer's Close has been answered
// or the connection is lost. On a socket that is still connecting, Close cancels the attempt: an error event
// and a close event with 1006 follow.
//
// Deviation: Workers ignore a second close(). An error tells the program that it has no effect.
func (s *Socket) Close(code StatusCode, reason string) error {
	if err := checkClose(code, reason); err != nil {
		return err
	}
	if !utf8.ValidString(reason) {
		return ErrInvalidUTF8
	}
	l, err := s.queueClose(closeFrame{code, reason})
	if err != nil {
		return err
	}
	l.transmit()
	return nil
}

func (s *Socket) queueClose(c closeFrame) (link, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.is(connecting) && !s.is(sentClose) {
		s.status |= sentClose
		s.waiters.cancel()
		return s.link, nil
	}
	if err := s.writableLocked(); err != nil {
		return nil, err
	}
	s.sendCloseLocked(c)
	return s.link, nil
}

// sendCloseLocked sends the application's Close. mu must be held.
func (s *Socket) sendCloseLocked(c closeFrame) {
	if s.is(owned) {
		s.holdOutputDuringCommitLocked()
	}
	s.status |= sentClose
	s.link.closeLocked(c)
	s.link.resumeReadingLocked()
	s.notifyRoomLocked()
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
	switch {
	case s.is(lost), s.is(sentClose) && s.is(gotClose):
		return Closed
	case s.is(sentClose | gotClose):
		return Closing
	case s.is(connecting):
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
	payload, _ := s.link.bufferedLocked()
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
		if s.is(finished) {
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
	if !s.is(finished) {
		return nil
	}
	return &s.result.CloseError
}

// debug logs msg with level Debug, if Options.Logger is set.
func (s *Socket) debug(msg string, args ...any) {
	if logger := s.options().Logger; logger != nil {
		logger.Debug(msg, args...)
	}
}

// warn logs msg and err with level Warn, if Options.Logger is set.
func (s *Socket) warn(msg string, err error) {
	if logger := s.options().Logger; logger != nil {
		logger.Warn(msg, slog.Any("error", err))
	}
}
