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

// ReadyState is where a socket is in its life. The numbers are the Web API's.
type ReadyState uint8

const (
	Connecting ReadyState = iota // the opening handshake of NewWebSocket is under way
	Open                         // from creation, accepted or not, until a Close
	Closing                      // one side has said Close
	Closed                       // both have, or the connection is gone
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
	opts         *Options // replaced once, when Respond gives a pair's end a connection; shared by sockets
	link         link
	onMessage    func(MessageEvent) // the only listener, if it is for messages; otherwise all are in socketExtra.listeners
	*socketExtra                    // what a silent socket does without: a shared one until it is needed, then replaced once
	accepted     monoMillis         // when; it comes round after 50 days, and the first 10 ms of that time with it
	status       status
}

// socketExtra is what a socket that has fallen silent mostly does not have.
type socketExtra struct {
	about        *identity     // nil: there is nothing to tell
	listeners    *listeners    // nil: none but onMessage
	in           *inbox        // always there in a pair, and once a receive method has been called
	waiters      *waiters      // what others wait for
	result       *closeResult  // how the socket ends, from when that is certain
	objectSocket *objectSocket // not nil: an object has accepted the socket with AcceptWebSocket
	pinned       *pinnedSocket // not nil: the listeners run as events of an object, once the socket is accepted
	attached     *attachment   // nil: none
	counter      *usageCounter // nil, or where what the socket uses is counted
	shared       bool          // by several sockets: to be read only
}

// noExtra is shared by all sockets that have none.
var noExtra = socketExtra{shared: true}

// extraLocked returns s.socketExtra, to be changed. mu must be held.
func (s *Socket) extraLocked() *socketExtra {
	if s.shared {
		own := *s.socketExtra
		own.shared = false
		s.socketExtra = &own
	}
	return s.socketExtra
}

// describeLocked sets what the socket tells about its connection. mu must be held.
func (s *Socket) describeLocked(about identity) {
	if s.socketExtra == &noExtra {
		if common := identities.share(about); common != nil {
			s.socketExtra = common
			return
		}
	}
	own := about // or every call would allocate
	s.extraLocked().about = &own
}

// waiters are what goroutines wait for on a socket, other than messages. Guarded by the socket's mu.
type waiters struct {
	hasRoom         signal // the queue has shrunk, or the socket has ended or opened
	consumerChanged signal // a listener has been added, or a receive method called
	pings           pings
	done            chan struct{} // nil until somebody has asked for it
	cancel          func()        // stops the opening handshake, while connecting
}

// waitsLocked returns the socket's waits, to wait on. mu must be held.
func (s *Socket) waitsLocked() *waiters {
	if s.waiters == nil {
		s.extraLocked().waiters = new(waiters)
	}
	return s.waiters
}

// notifyRoomLocked wakes those who wait for room. mu must be held.
func (s *Socket) notifyRoomLocked() {
	if s.waiters != nil {
		s.waiters.hasRoom.broadcast()
	}
}

// consumerChangedLocked wakes those who wait for somebody to take interest. mu must be held.
func (s *Socket) consumerChangedLocked() {
	if s.waiters != nil {
		s.waiters.consumerChanged.broadcast()
	}
}

// pongLocked answers ping id and all before it. mu must be held.
func (s *Socket) pongLocked(id uint64) {
	if s.waiters != nil {
		s.waiters.pings.pong(min(id, s.waiters.pings.last))
	}
}

// inboxLocked returns the socket's inbox. mu must be held.
func (s *Socket) inboxLocked() *inbox {
	if s.in == nil {
		s.extraLocked().in = new(inbox)
	}
	return s.in
}

// identity is what a socket can tell about its connection.
type identity struct{ url, protocol, extensions string }

// identities are those that a server's sockets have in common.
var identities identityCache

// identityCache holds the socketExtra of sockets that have nothing but an identity: what a server agrees to is mostly the same, and would
// cost an idle connection more than the rest of it.
type identityCache struct {
	known sync.Map // by identity, *socketExtra
	count atomic.Int32
}

// maxCommonplaces bounds them, since a program may agree to protocols that it has never heard of before.
const maxCachedIdentities = 1000

// share returns what sockets with an identity share, or nil if they share nothing.
func (c *identityCache) share(i identity) *socketExtra {
	switch {
	case i == identity{}:
		return &noExtra
	case i.url != "": // that of a client
		return nil
	}
	if e, ok := c.known.Load(i); ok {
		return e.(*socketExtra)
	}
	if c.count.Load() >= maxCachedIdentities {
		return nil
	}
	about := i // or every call would allocate
	e, there := c.known.LoadOrStore(i, &socketExtra{about: &about, shared: true})
	if !there {
		c.count.Add(1)
	}
	return e.(*socketExtra)
}

// link carries what a socket sends to the other side: to memory or to a wire.
type link interface {
	// start begins to deliver what arrives, after the socket has been accepted. mu is held.
	startLocked()
	// send queues m, or says why not. It never blocks. mu is not held.
	send(m outgoing) error
	// closeLocked queues a Close frame behind everything sent before. mu is held.
	closeLocked(c closeFrame)
	// pingLocked sends a Ping frame. mu is held.
	pingLocked(id uint64)
	// failLocked: fate has been set; whoever delivers events has to notice. mu is held.
	endedLocked()
	// takenLocked: it no longer counts as the sender's. mu is held.
	takenLocked(it *item)
	// resumeReadingLocked: somebody listens, receives or has taken something, for which what arrives may have waited. mu is
	// held.
	resumeReadingLocked()
	// bufferedLocked returns the payload that the peer has not taken, and what that counts for against
	// SendBuffer. mu is held.
	bufferedLocked() (payload, size int)
	// holdOutputLocked holds back what is sent from now on, until releaseOutputLocked or dropOutputLocked. It returns false if it does
	// so already. mu is held.
	holdOutputLocked() bool
	releaseOutputLocked()
	// dropOutputLocked says whether a Close was among it.
	dropOutputLocked() (closing bool)
	// transmit gets queued frames moving. It never blocks. mu is not held.
	transmit()
}

// outgoing is a message, or a piece of one, on its way out.
type outgoing struct {
	kind        Kind
	data        []byte // not retained, not changed
	first, last bool
	stream      bool      // from NextWriter
	claims      bool      // … which has only been made: nothing is sent, but other messages wait from now on
	prepared    *Prepared // nil, or what data is the payload of
	wait        bool      // no room is errNoRoom, whatever Overflow says
	force       bool      // there is always room
	countAs     countRule // what a meter counts it as
	ungated     bool      // it need not wait for a commit
}

// status holds the facts from which the ready state follows.
type status uint32

const (
	connecting       status = 1 << iota // the opening handshake is not over
	accepted                            // events are delivered, frames may be sent
	pulling                             // messages go to the receive methods
	manualClose                         // AcceptHalfOpen: the peer's Close is answered by the application
	used                                // Respond took this end; it is nobody's any more
	sentClose                           // a Close frame is queued or sent
	gotClose                            // the peer's Close has arrived
	lost                                // the connection is unusable
	finishing                           // the last events are being delivered
	finished                            // they have been
	delivering                          // a goroutine is delivering events (pairs)
	streamingOut                        // a NextWriter is in the middle of its message
	closeUndelivered                    // there was no listener for the close event when it came
	owned                               // messages and events go to an object: socketExtra.objectSocket is set
	awaited                             // a warning is logged if the socket is not accepted soon
	hosted                              // listeners run as events of an object: socketExtra.pinned is set
	readPaused                          // the wire is halted, and resumeReadingLocked has not been called since
	uncompressed                        // the message of a NextWriter, which is not finished, goes out as it is
	pinged                              // the wire's keep-alive ping is not answered yet
	ended                               // fate is set
	corked                              // what is sent waits for the end of the wire's turn
	openRunning                         // the open listeners run: nothing else is delivered before they have returned
	endWaits                            // the wire has a pendingEnd
	readEnded                           // the wire has been hung up on, and is still being written
)

func (s *Socket) is(f status) bool { return s.status&f != 0 }

// options returns the options in force.
func (s *Socket) options() *Options {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opts
}

// Accept starts the delivery of messages and events to the listeners and lets the socket send. What the peer
// sent before is kept and delivered now, in order. A second call is a no-op. It returns ErrUsed for a socket
// that was given to Respond, and ErrAccepted for one that an object has accepted ([State.AcceptWebSocket]) or that
// NewWebSocket is still connecting, since that one accepts itself.
//
// The peer's Close is answered automatically, with its own code and reason; see AcceptHalfOpen.
func (s *Socket) Accept() error { return s.accept(0) }

// AcceptHalfOpen is Accept, except that the peer's Close is not answered: after the close event the
// socket is half open, may go on sending, and must be closed by the application with Close: within CloseTimeout, if the
// peer has ended its side of the connection behind its Close. If the peer fails or is cut meanwhile, the socket is Closed, without
// another event. As with accept({allowHalfOpen: true}) in Workers, the first call of either decides. For a socket that an
// object accepts with State.AcceptWebSocket there is no such mode; see there.
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

// acceptLocked does nothing for a socket that is accepted already. mu must be held.
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

// Send sends a text message. It queues the message and returns; it never blocks and says nothing about whether
// the peer will get it. Text must be valid UTF-8 (ErrInvalidUTF8); it may be empty.
//
// While earlier messages wait in the queue, a message that would take it beyond SendBuffer is treated as
// Overflow says: by default Send returns ErrBufferFull, and the message is not sent. Write waits for room
// instead.
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

// SendBytes sends a binary message. p is not retained and may be changed when SendBytes returns. Everything
// else is as with Send.
func (s *Socket) SendBytes(p []byte) error {
	if s.sendPlain(Binary, p) {
		return nil
	}
	return s.send(outgoing{kind: Binary, data: p, first: true, last: true})
}

// SendPrepared sends a message that was encoded once for many sockets. Everything else is as with Send.
func (s *Socket) SendPrepared(m *Prepared) error {
	if err := m.check(); err != nil {
		return err
	}
	if s.sendEncoded(m.plain(), len(m.data)) {
		return nil
	}
	return s.send(outgoing{kind: m.kind, data: m.data, first: true, last: true, prepared: m})
}

// sendPlain is send for what is nearly always the case: a message that a server's open connection takes at once, as it is. It
// returns false, and has done nothing, if anything at all is out of the ordinary.
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

// plainWireLocked returns the connection if a message of n bytes can be queued on it without more ado, or nil. It must not say
// yes where admitLocked says no, or where a message goes out other than as it is. mu must be held.
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

// errMoved tells send that the socket has got another link meanwhile.
var errMoved = errors.New("edgews: socket has another link")

func (s *Socket) currentLink() link {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.link
}

// bytesOf views text as bytes that nobody writes to: payloads are only read, masking works on the copy.
func bytesOf(text string) []byte { return unsafe.Slice(unsafe.StringData(text), len(text)) }

// writableLocked says whether a data message may be sent now. mu must be held.
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

// errDropped tells send that the message has been dealt with by not sending it.
var errDropped = fmt.Errorf("%w: dropped", ErrBufferFull)

// admitLocked says whether a message of n bytes may be queued: nil, errNoRoom, errDropped or the error to return.
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

// closeSlowLocked gives up a peer that does not read. mu must be held.
func (s *Socket) closeSlowLocked() {
	if w, ok := s.link.(*wire); ok && w.out != nil {
		w.out.Discard()
	}
	s.status |= sentClose
	s.link.closeLocked(closeFrame{StatusTryAgainLater, "receiver is too slow"})
	s.notifyRoomLocked()
}

// Close starts the closing handshake and returns at once. What was sent before still arrives before the Close;
// messages that the peer sends until its own Close are still delivered; the close event follows that Close, or
// comes after CloseTimeout with code 1006.
//
// code is 1000 to 4999 except 1004, 1005, 1006 and 1015; 0 sends an empty Close, which the peer sees as 1005.
// The reason is UTF-8 of at most 123 bytes. Both are checked first, then the socket: ErrInvalidClose,
// ErrInvalidUTF8, ErrNotAccepted, and ErrClosed if Close was called before, the peer's Close has been answered
// or the connection is gone. On a socket that is still connecting, Close gives the attempt up: error event,
// then close event 1006.
//
// Deviation: Workers ignore a second close() silently.
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

// ReadyState returns where the socket is in its life. An end of a pair and a socket from Upgrade or Dial are
// Open from the start, accepted or not. In the close event it is Closed already, or Closing after
// AcceptHalfOpen and in an object's WebSocketClose, where the peer's Close is still to be answered.
//
// It tells what has taken effect. The peer's Close does so after the messages that came before it, see [Socket.Receive]; a
// connection that is lost is Closed at once, although messages may still wait for a receive method or for their object.
//
// Deviation: after a loss without Close, Workers say OPEN in an object's close event, CLOSING in webSocketClose, and CLOSING
// for ever after.
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

// URL returns the URL as it was given to NewWebSocket or Dial, with a password if it has one, and "" for every other socket.
// Errors, logs and Explain show it without.
func (s *Socket) URL() string { return s.identity().url }

// Protocol returns the subprotocol that was agreed, or "".
func (s *Socket) Protocol() string { return s.identity().protocol }

// Extensions returns the extensions that were agreed as the header says them, for example
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

// BufferedAmount returns how many bytes of payload Send has accepted and the peer's side has not taken: the
// operating system on a network connection, the other end's listener or receiver on a pair.
func (s *Socket) BufferedAmount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	payload, _ := s.link.bufferedLocked()
	return payload
}

// Done returns a channel that is closed after the close event has been delivered. It is never closed for a
// socket that nobody accepts. The close listener of a socket that belongs to an object is an event of that object: one
// that waits for Done within an event waits for ever.
func (s *Socket) Done() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.waitsLocked()
	if w.done == nil {
		w.done = make(chan struct{})
		if s.is(finished) {
			close(w.done)
		}
	}
	return w.done
}

// Err returns nil until Done is closed, then the *CloseError that says how the socket ended, also when it ended
// well.
func (s *Socket) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.is(finished) {
		return nil
	}
	return &s.result.CloseError
}

// log returns the logger, or nil when nothing is to be logged.
func (s *Socket) debug(msg string, args ...any) {
	if logger := s.options().Logger; logger != nil {
		logger.Debug(msg, args...)
	}
}

func (s *Socket) warn(msg string, err error) {
	if logger := s.options().Logger; logger != nil {
		logger.Warn(msg, slog.Any("error", err))
	}
}
