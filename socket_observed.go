package edgews

import (
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/edgews/edgews/internal/fifo"
)

// observedSocket is what a socket needs to tell an Observer what happens to it. What happens is queued under the socket's mu, in the order of
// the effects, and told without it: by the goroutine that has caused it, or by one that is telling already. A message that finds nothing
// queued, and no goroutine telling, is told of at once, without the queue: see tellingState. A socket without an Observer has none. Guarded by
// the socket's mu.
type observedSocket struct {
	// Immutable.
	observer Observer
	opened   time.Duration // since processStart
	passed   bool          // the socket stands for a connection that is passed through

	telling tellingState  // atomic
	inTurn  handledIncome // the message that the only listener of a wire has; owned by the connection's turn

	queue fifo.Queue[socketEntry]
	over  bool // the end has been queued: nothing follows

	cause    CloseCause    // why the socket ends, as far as it is known; 0: it is not
	slow     bool          // SocketSlow has been told, and SocketDrained has not since
	handling handledIncome // the message that is being handled
	sending  sentBytes     // the pieces of a NextWriter's message that have been sent
	pingSent time.Duration // when the keep-alive ping was sent that waits for its Pong, since processStart; 0: none does
}

// tellingState says who may call the Observer. A goroutine that finds it idle may begin to tell one message, with mu or without. From then on
// everything else is queued behind that message, and the goroutine tells it before it goes on. What is queued is told in the order of the
// queue, so the order is that in which goroutines have begun to tell, or have queued.
type tellingState struct{ bits atomic.Uint32 }

const (
	tellingNow    = 1 << iota // a goroutine is calling the Observer
	tellingQueued             // the queue is not empty, or a goroutine has not noticed yet that it is
	tellingOver               // SocketClosed has been told
)

// beginOne reports whether the caller may tell one message now. It then calls endOne.
func (t *tellingState) beginOne() bool { return t.bits.CompareAndSwap(0, tellingNow) }

// endOne ends what beginOne has begun. It returns false if something has been queued meanwhile, which the caller must tell.
func (t *tellingState) endOne() bool { return t.bits.CompareAndSwap(tellingNow, 0) }

// begin reports whether the caller must tell what is queued: no goroutine does.
func (t *tellingState) begin() bool { return t.bits.Or(tellingNow)&tellingNow == 0 }

func (t *tellingState) isRunning() bool { return t.bits.Load()&tellingNow != 0 }

func (t *tellingState) hasQueued() bool { return t.bits.Load()&tellingQueued != 0 }

// stopTellingLocked notes that the goroutine that has called the Observer does so no more. mu must be held.
func (o *observedSocket) stopTellingLocked() {
	switch {
	case o.queue.Len() > 0:
		o.telling.bits.Store(tellingQueued)
	case o.over:
		o.telling.bits.Store(tellingOver)
	default:
		o.telling.bits.Store(0)
	}
}

// socketEntry is what is told in one call of the Observer. What it says of the end is in the socket.
type socketEntry struct {
	event         SocketEvent // 0: a message
	direction     Direction
	kind          Kind
	dropped, auto bool
	bytes, wire   int
	queued        int
	took          time.Duration // latency of a message, round trip of a ping
}

// handledIncome is a received message that a handler has, or the caller of a receive method.
type handledIncome struct {
	kind        Kind // 0: none
	bytes, wire int
	since       time.Duration // since processStart
	until       time.Duration // when the next receive began, before the message had been read to its end; 0: it did not
}

// sentBytes is how much of a message has been sent.
type sentBytes struct{ payload, wire int }

// beginObservingLocked begins to tell the Observer of the socket's options, or of its object's namespace, what happens: the socket has been
// accepted and is open. mu must be held, and the caller calls tell.
func (s *Socket) beginObservingLocked() {
	observer := s.opts.Observer
	switch {
	case s.objectSocket != nil:
		observer = s.objectSocket.observer(observer)
	case s.pinned != nil:
		observer = s.pinned.observer(observer)
	}
	s.beginTellingLocked(observer)
}

// beginTellingLocked begins to tell observer what happens, unless it is nil or the socket is observed already. mu must be held, and the caller
// calls tell.
func (s *Socket) beginTellingLocked(observer Observer) {
	if observer == nil || s.observed != nil {
		return
	}
	s.extraLocked().observed = &observedSocket{observer: observer, opened: sinceStart()}
	s.observeLocked(socketEntry{event: SocketOpened})
}

// observeLocked queues what has happened. The socket is observed. mu must be held, and the caller calls tell.
func (s *Socket) observeLocked(e socketEntry) {
	if o := s.observed; !o.over {
		o.queue.Push(e)
		o.telling.bits.Or(tellingQueued)
	}
}

// observeSoonLocked is observeLocked for callers that cannot call tell: another goroutine does. mu must be held.
func (s *Socket) observeSoonLocked(e socketEntry) {
	if s.observed == nil || s.observed.over {
		return
	}
	s.observeLocked(e)
	s.tellSoonLocked()
}

// tellSoonLocked has another goroutine call tell, if that is necessary. mu must be held.
func (s *Socket) tellSoonLocked() {
	if o := s.observed; o != nil && o.queue.Len() > 0 && !o.telling.isRunning() {
		go s.tell()
	}
}

// tell calls the Observer with everything that is queued, unless a goroutine is doing that. No mutex may be held.
func (s *Socket) tell() {
	s.mu.Lock()
	s.tellAndUnlock()
}

// tellAndUnlock is tell for callers that hold mu. mu must be held; it is released.
func (s *Socket) tellAndUnlock() {
	if s.observed != nil {
		s.tellQueuedAndUnlock()
		return
	}
	s.mu.Unlock()
}

// tellLocked is tell for callers that go on. mu must be held; it is released meanwhile.
func (s *Socket) tellLocked() {
	if s.observed != nil {
		defer s.mu.Lock() // also if the Observer calls runtime.Goexit
		s.tellQueuedAndUnlock()
	}
}

// tellQueuedAndUnlock is tellAndUnlock for an observed socket. mu must be held; it is released.
func (s *Socket) tellQueuedAndUnlock() {
	o := s.observed
	if !o.telling.hasQueued() || o.queue.Len() == 0 || !o.telling.begin() {
		s.mu.Unlock()
		return
	}
	s.mu.Unlock()
	s.tellRest(o)
}

// tellRest calls the Observer until nothing is queued. The caller has begun to tell. No mutex may be held.
func (s *Socket) tellRest(o *observedSocket) {
	for !s.tellAll(o) {
	}
}

// tellMessage tells m, for which beginOne has returned true, and what is queued meanwhile. A panic of the Observer is logged. If it calls
// runtime.Goexit, another goroutine tells what is queued. No mutex may be held.
func (s *Socket) tellMessage(o *observedSocket, m *MessageObservation) {
	returned := false
	defer func() {
		if !returned {
			s.messageFailed(o, recover())
		}
	}()
	o.observer.ObserveMessage(*m)
	returned = true
	if !o.telling.endOne() {
		s.tellRest(o)
	}
}

// messageFailed is the rest of tellMessage when the Observer has panicked with cause, or called runtime.Goexit.
func (s *Socket) messageFailed(o *observedSocket, cause any) {
	s.observerFailed(cause)
	if cause != nil {
		s.tellRest(o)
	}
}

// tellAll calls the Observer until nothing is queued. It returns false if the Observer has panicked. If the Observer has called
// runtime.Goexit, another goroutine goes on.
func (s *Socket) tellAll(o *observedSocket) (done bool) {
	defer func() {
		if !done {
			s.observerFailed(recover())
		}
	}()
	for {
		s.mu.Lock()
		if o.queue.Len() == 0 {
			o.stopTellingLocked()
			s.mu.Unlock()
			return true
		}
		e := o.queue.Pop()
		s.mu.Unlock()
		s.tellOne(o, &e)
	}
}

// observerFailed logs the panic of an Observer; nil: it has called runtime.Goexit.
func (s *Socket) observerFailed(cause any) {
	if cause != nil {
		s.panicLogger().Error("edgews: observer panicked", "panic", cause, "stack", string(debug.Stack()), s.logAttr())
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.observed.stopTellingLocked()
	s.tellSoonLocked()
}

// tellOne calls the Observer. No mutex may be held.
func (s *Socket) tellOne(o *observedSocket, e *socketEntry) {
	if e.event == 0 {
		o.observer.ObserveMessage(MessageObservation{
			Socket: s, Direction: e.direction, Kind: e.kind, Bytes: e.bytes, WireBytes: e.wire, Latency: e.took, Queued: e.queued,
			Dropped: e.dropped, Auto: e.auto,
		})
		return
	}
	told := SocketObservation{Socket: s, Event: e.event, PassThrough: o.passed, Queued: e.queued, RoundTrip: e.took}
	if e.event == SocketClosed {
		told.RoundTrip, told.Lifetime = 0, e.took
		s.mu.Lock()
		told.Code, told.Reason, told.WasClean, told.Err, told.Cause = s.result.Code, s.result.Reason, s.result.WasClean, s.result.err, o.cause
		s.mu.Unlock()
	}
	o.observer.ObserveSocket(told)
}

// tellClosed tells that the close event has been delivered. No mutex may be held.
func (s *Socket) tellClosed() {
	s.mu.Lock()
	if o := s.observed; o != nil && !o.over {
		now := sinceStart()
		s.observeUntakenLocked(now)
		s.observeHandledLocked(now)
		s.observeLocked(socketEntry{event: SocketClosed, took: now - o.opened})
		o.over = true
	}
	s.tellAndUnlock()
}

// observeUntakenLocked queues the messages that wait for a receive method when the socket ends. They may still be taken, but SocketClosed is told
// last. mu must be held, and the caller calls tell.
func (s *Socket) observeUntakenLocked(now time.Duration) {
	if s.consumer != toReceivers || s.in == nil {
		return
	}
	h, whole := &s.observed.handling, true
	for _, it := range s.in.queue.Items() {
		if it.first {
			s.observeHandledLocked(now)
			*h = handledIncome{kind: it.kind, since: now}
		}
		h.bytes += len(it.buf.B)
		h.wire += int(it.wireSize)
		whole = it.last
	}
	if !whole { // the end has cut it off
		*h = handledIncome{}
	}
}

// beginHandlingLocked notes that a handler gets a message now; at is now, since processStart, or 0. mu must be held.
func (s *Socket) beginHandlingLocked(kind Kind, bytes, wire int, at time.Duration) {
	if s.observed != nil { // short enough to be inlined
		s.observed.beginHandling(kind, bytes, wire, at)
	}
}

func (o *observedSocket) beginHandling(kind Kind, bytes, wire int, at time.Duration) {
	if at == 0 {
		at = sinceStart()
	}
	o.handling = handledIncome{kind: kind, bytes: bytes, wire: wire, since: at}
}

// observeHandledLocked queues the message that has been handled until at, if there is one. mu must be held, and the caller calls tell.
func (s *Socket) observeHandledLocked(at time.Duration) {
	h := s.observed.handling
	if h.kind == 0 {
		return
	}
	if h.until != 0 {
		at = h.until
	}
	s.observed.handling = handledIncome{}
	s.observeLocked(socketEntry{direction: Inbound, kind: h.kind, bytes: h.bytes, wire: h.wire, took: at - h.since})
}

// beginTurnMessage notes that the only listener of a wire gets a message at that time, in the connection's turn.
func (o *observedSocket) beginTurnMessage(kind Kind, bytes, wire int, at time.Duration) {
	o.inTurn = handledIncome{kind: kind, bytes: bytes, wire: wire, since: at}
}

// endTurnMessage tells of the message of beginTurnMessage: the listener has returned at that time, or has panicked. No mutex may be held.
func (s *Socket) endTurnMessage(o *observedSocket, at time.Duration) {
	h := &o.inTurn
	if !o.telling.beginOne() {
		s.mu.Lock()
		s.observeLocked(socketEntry{direction: Inbound, kind: h.kind, bytes: h.bytes, wire: h.wire, took: at - h.since})
		h.kind = 0
		s.tellQueuedAndUnlock()
		return
	}
	m := MessageObservation{Socket: s, Direction: Inbound, Kind: h.kind, Bytes: h.bytes, WireBytes: h.wire, Latency: at - h.since}
	h.kind = 0
	s.tellMessage(o, &m)
}

// endFailedTurnMessage is endTurnMessage after a listener has panicked, if it had a message. It is called in the connection's turn. No mutex may
// be held.
func (s *Socket) endFailedTurnMessage() {
	s.mu.Lock()
	o := s.observed
	s.mu.Unlock()
	if o != nil && o.inTurn.kind != 0 {
		s.endTurnMessage(o, sinceStart())
	}
}

// handled tells of a message whose handler has returned; at is when, since processStart, or 0. The socket is observed. No mutex may be held.
func (s *Socket) handled(at time.Duration) {
	if at == 0 {
		at = sinceStart()
	}
	s.mu.Lock()
	s.observeHandledLocked(at)
	s.tellQueuedAndUnlock()
}

// tellReceivedLocked tells of the message that the last receive method has returned: the next one begins. If the message has not been read to
// its end, that is told when its rest has been dropped. mu must be held; it is released meanwhile.
func (s *Socket) tellReceivedLocked() {
	if o := s.observed; o != nil {
		if s.in.messageBegun {
			o.handling.until = sinceStart()
		} else {
			s.observeHandledLocked(sinceStart())
		}
		s.tellLocked()
	}
}

// noteTakenLocked notes that a receive method takes it, a message or a piece of one. mu must be held.
func (s *Socket) noteTakenLocked(it *item) {
	if s.observed != nil && s.in.receiving { // short enough to be inlined
		s.observeTakenLocked(it)
	}
}

// observeTakenLocked is noteTakenLocked for an observed socket. mu must be held.
func (s *Socket) observeTakenLocked(it *item) {
	h := &s.observed.handling
	if it.first {
		s.observeHandledLocked(sinceStart())
		*h = handledIncome{kind: it.kind, since: sinceStart()}
	}
	h.bytes += len(it.buf.B)
	h.wire += int(it.wireSize)
	if it.last && h.until != 0 {
		s.observeHandledLocked(h.until)
		s.tellSoonLocked()
	}
}

// observeAnsweredLocked queues a message that gets an auto-response. mu must be held, and the caller calls tell.
func (s *Socket) observeAnsweredLocked(kind Kind, bytes, wire int) {
	if s.observed != nil {
		s.observeLocked(socketEntry{direction: Inbound, kind: kind, bytes: bytes, wire: wire, auto: true})
	}
}

// observeSentLocked notes that the link has got p. mu must be held, and the caller calls tell.
func (s *Socket) observeSentLocked(p *outgoingPiece) {
	o := s.observed
	if o == nil {
		return
	}
	o.sending.payload += p.payload
	o.sending.wire += s.link.frameSize(len(p.body), p.payload)
	if !p.last {
		return
	}
	queued, _ := s.bufferedLocked()
	s.observeLocked(socketEntry{
		direction: Outbound, kind: p.kind, bytes: o.sending.payload, wire: o.sending.wire, queued: queued, auto: p.auto,
	})
	o.sending = sentBytes{}
}

// observeDroppedLocked notes that a message of n bytes is not sent. mu must be held, and the caller calls tell.
func (s *Socket) observeDroppedLocked(kind Kind, n int) {
	if s.observed == nil {
		return
	}
	queued, _ := s.bufferedLocked()
	s.observeLocked(socketEntry{direction: Outbound, kind: kind, bytes: n, queued: queued, dropped: true})
}

// observeDiscardedLocked notes that p, which was deferred, is not sent, because the socket closes or its object has failed. mu must be held.
func (s *Socket) observeDiscardedLocked(p *deferredPiece) {
	if s.observed == nil {
		return
	}
	if p.last && p.first { // of a NextWriter's message, a part has been sent
		s.observeDroppedLocked(p.kind, p.payload)
		s.tellSoonLocked()
	}
}

// observeQueueLocked notes that a message to send has found size bytes waiting. mu must be held, and the caller calls tell.
func (s *Socket) observeQueueLocked(size int) {
	if s.observed != nil && s.isSlowLocked(size) && !s.observed.slow {
		s.observed.slow = true
		queued, _ := s.bufferedLocked()
		s.observeLocked(socketEntry{event: SocketSlow, queued: queued})
	}
}

// isSlowLocked reports whether size bytes that wait are at least half of SendBuffer. mu must be held.
func (s *Socket) isSlowLocked(size int) bool { return size > 0 && size >= s.opts.SendBuffer/2 }

// observeDrainLocked notes that BufferedAmount is amount now. mu must be held.
func (s *Socket) observeDrainLocked(amount int) {
	if o := s.observed; o != nil && o.slow && amount == 0 {
		o.slow = false
		s.observeSoonLocked(socketEntry{event: SocketDrained})
	}
}

// observePongLocked notes that a ping has been answered after rtt. mu must be held.
func (s *Socket) observePongLocked(rtt time.Duration) {
	s.observeSoonLocked(socketEntry{event: SocketPong, took: rtt})
}

// noteKeepAlivePingLocked notes that a keep-alive ping is sent. mu must be held.
func (s *Socket) noteKeepAlivePingLocked() {
	if o := s.observed; o != nil && o.pingSent == 0 {
		o.pingSent = sinceStart()
	}
}

// observeKeepAlivePongLocked notes the Pong for a keep-alive ping. mu must be held.
func (s *Socket) observeKeepAlivePongLocked() {
	if o := s.observed; o != nil && o.pingSent != 0 {
		s.observePongLocked(sinceStart() - o.pingSent)
		o.pingSent = 0
	}
}

// noteCauseLocked notes why the socket is about to end, unless something else came first. mu must be held.
func (s *Socket) noteCauseLocked(c CloseCause) {
	if o := s.observed; o != nil && o.cause == 0 {
		o.cause = c
	}
}

// noteReplacedLocked notes that the last events report s.result, which ended the socket's object, instead of how the socket itself has ended.
// mu must be held.
func (s *Socket) noteReplacedLocked() {
	if o := s.observed; o != nil {
		o.cause = s.result.cause()
	}
}

// noteSilentLocked notes that the peer has not answered a Close within CloseTimeout. mu must be held.
func (s *Socket) noteSilentLocked() {
	if o := s.observed; o != nil && (o.cause == 0 || o.cause == ClosedLocally) {
		o.cause = ClosedAsSilent
	}
}

// noteResultLocked notes why the socket ends, if that is not known yet. mu must be held.
func (s *Socket) noteResultLocked() {
	if o := s.observed; o != nil && o.cause == 0 {
		o.cause = s.result.cause()
	}
}
