package edgews

import (
	"math"
	"sync"
	"time"

	"github.com/edgews/edgews/internal/buf"
)

// NewPair returns two sockets that are connected in memory, as WebSocketPair does: what one sends, the other
// receives. There are no frames and no network in between, and no limit on a message's size; text is not
// checked twice. As on a network, the bytes of a received message are valid for a limited time (see [Message]): a pair then
// overwrites them with 0xDB, so that a test finds a program that uses them for longer.
//
// Accept both ends to talk locally, or accept the server end and give the client end to [Respond], which puts the
// network in its place. Messages sent to an end that is not accepted are kept in order, up to SendBuffer.
//
// An idle pair has no goroutine, so it may be dropped without closing it. Everything about a pair works inside a
// [testing/synctest] bubble.
func NewPair() (client, server *Socket) {
	mu, opts := new(sync.Mutex), Options{}.resolve()
	client = &Socket{mu: mu, opts: opts, socketExtra: &socketExtra{in: new(inbox)}}
	server = &Socket{mu: mu, opts: opts, socketExtra: &socketExtra{in: new(inbox)}}
	client.link = &memory{self: client, peer: server}
	server.link = &memory{self: server, peer: client}
	return client, server
}

// memory is the link of a pair's end: it puts what self sends into peer's inbox and delivers what is in self's.
type memory struct {
	self, peer *Socket

	// Guarded by the pair's mu.
	payload     int         // sent by self and not taken by peer
	size        int         // the same, as it counts against SendBuffer
	afterStream []item      // sent while a NextWriter is in the middle of its message
	gated       *gatedItems // nil: what is sent goes straight to peer
	closeTimer  *time.Timer // bounds the wait for peer's Close

	closeDue bool // peer's Close has waited for long enough, see pendingEnd

	lateListeners    []*listener[CloseEvent] // close listeners that were added after the event, in the turn of Accept
	lateListenersDue bool                    // that turn is over: they get it now
}

func (m *memory) send(out outgoing) error {
	m.self.mu.Lock()
	defer m.self.mu.Unlock()
	if m.self.link != link(m) {
		return errMoved
	}
	if err := m.self.admitLocked(&out); err != nil {
		return sendResult(err)
	}
	if m.peer.is(finishing) { // nobody will ever take it
		return ErrClosed
	}
	m.queueLocked(&out)
	return nil
}

// sendLocked puts a message that has been admitted on its way. mu must be held.
func (m *memory) queueLocked(out *outgoing) {
	if out.claims {
		m.self.status |= streamingOut
		return
	}
	m.self.counter.countSentLocked(out)
	if m.self.is(owned) && !out.ungated {
		m.self.holdOutputDuringCommitLocked()
	}
	it := item{kind: out.kind, first: out.first, last: out.last, buf: buf.Copy(out.data)}
	it.buf.WipeOnFree = true
	m.payload += len(out.data)
	m.size += cost(len(out.data))
	if out.stream {
		m.setStreamingLocked(!out.last)
	} else if m.self.is(streamingOut) {
		m.afterStream = append(m.afterStream, it)
		return
	}
	m.queueItemLocked(it)
}

// setStreamingLocked notes whether self is in the middle of a NextWriter's message. mu must be held.
func (m *memory) setStreamingLocked(on bool) {
	if on {
		m.self.status |= streamingOut
	} else {
		m.self.status &^= streamingOut | uncompressed
	}
}

func (m *memory) queueItemLocked(it item) {
	if m.gated != nil {
		m.gated.items = append(m.gated.items, it)
	} else {
		m.toPeerLocked(it)
	}
	if it.last && !m.self.is(streamingOut) && len(m.afterStream) > 0 {
		held := m.afterStream
		m.afterStream = nil
		for _, it := range held {
			m.queueItemLocked(it)
		}
	}
}

// toPeerLocked gives it to peer. mu must be held.
func (m *memory) toPeerLocked(it item) {
	if m.peer.is(finishing) {
		m.creditLocked(&it)
		it.buf.Free()
		return
	}
	if m.autoRespondLocked(&it) {
		return
	}
	m.peer.in.push(it)
	m.peer.joinPiecesLocked()
	m.peer.queueObjectEventLocked()
	m.peer.link.startLocked()
}

// gatedItems is what a gate holds back, until which nothing more goes to peer.
type gatedItems struct {
	items   []item
	closing *closeFrame // behind them; nil: no Close was sent
}

func (m *memory) holdOutputLocked() bool {
	if m.gated != nil {
		return false
	}
	m.gated = new(gatedItems)
	return true
}

func (m *memory) releaseOutputLocked() {
	g := m.gated
	if g == nil {
		return
	}
	m.gated = nil
	for _, it := range g.items {
		m.toPeerLocked(it)
	}
	if g.closing != nil {
		m.closeLocked(*g.closing)
	}
}

func (m *memory) dropOutputLocked() (closing bool) {
	g := m.gated
	if g == nil {
		return false
	}
	m.gated = nil
	for _, it := range g.items {
		m.creditLocked(&it)
		it.buf.Free()
	}
	return g.closing != nil
}

// sendResult is what Send returns for a message that was not queued.
func sendResult(err error) error {
	if err == errDropped {
		return nil
	}
	return err
}

func (m *memory) closeLocked(c closeFrame) {
	switch {
	case m.peer.is(finishing):
		return
	case m.gated != nil:
		m.gated.closing = &c
		return
	}
	m.peer.in.closing = &c
	m.peer.link.startLocked()
	if receiver, ok := m.peer.link.(*memory); ok && !m.peer.is(ended) && m.peer.hasUnhandledLocked() {
		time.AfterFunc(maxPendingEnd(m.self.opts), receiver.closeTimeUp)
	}
	if !m.self.is(ended) {
		m.closeTimer = time.AfterFunc(m.self.opts.CloseTimeout, m.answerTimeUp)
	}
}

// closeTimeUp delivers peer's Close although self has not asked for more.
func (m *memory) closeTimeUp() {
	m.self.mu.Lock()
	defer m.self.mu.Unlock()
	m.closeDue = true
	m.runLocked()
}

// finishReadAfterPanic ends a socket whose peer has not answered its Close.
func (m *memory) answerTimeUp() {
	m.self.mu.Lock()
	defer m.self.mu.Unlock()
	if m.self.link == m {
		m.self.loseLocked(nil)
	}
}

func (m *memory) pingLocked(id uint64) {
	if m.peer.is(accepted) && !m.peer.is(sentClose|lost) {
		m.self.pongLocked(id)
	}
}

func (m *memory) endedLocked() {
	if m.closeTimer != nil {
		m.closeTimer.Stop()
	}
	if other, ok := m.peer.link.(*memory); ok && m.peer.in.closing != nil { // there is nobody left to be answered
		other.closeDue = true
		other.runLocked()
	}
	m.startLocked()
	if m.self.is(lost) {
		m.peer.closeHalfOpenLocked()
	}
}

// peerLostLocked makes self CLOSED if it is half open and peer is gone, as the end of a connection does. That comes after the close
// event. mu must be held.
func (m *memory) peerLostLocked() {
	if m.peer.is(lost) {
		m.self.closeHalfOpenLocked()
	}
}

// closeHalfOpenLocked makes a half-open socket CLOSED whose peer is gone. mu must be held.
func (s *Socket) closeHalfOpenLocked() {
	if s.is(finished) && s.is(gotClose) && !s.is(sentClose|lost) {
		s.status |= lost
		s.wakeAllLocked()
	}
}

func (m *memory) takenLocked(it *item) {
	if sender, ok := m.peer.link.(*memory); ok {
		sender.creditLocked(it)
	}
}

// creditLocked takes it off what self has sent and peer has not taken. mu must be held.
func (m *memory) creditLocked(it *item) {
	if it.taken {
		return
	}
	it.taken = true
	m.payload -= len(it.buf.B)
	m.size -= cost(len(it.buf.B))
	m.self.notifyRoomLocked()
}

func (m *memory) bufferedLocked() (payload, size int) { return m.payload, m.size }

func (m *memory) resumeReadingLocked() {
	if m.self.in.closing != nil {
		m.runLocked()
	}
}

// transmit has nothing to do: what was sent is in the peer's inbox already.
func (m *memory) transmit() {}

// startLocked lets a goroutine deliver what is there. It ends when nothing more is.
func (m *memory) startLocked() {
	s := m.self
	if !s.is(accepted) {
		return
	}
	m.peer.pongLocked(math.MaxUint64)
	s.joinPiecesLocked()
	if g := s.pinnedSocketLocked(); g != nil {
		g.queueIfDueLocked()
	}
	m.runLocked()
}

// runLocked is startLocked for when nothing new has come.
func (m *memory) runLocked() {
	s := m.self
	if !s.is(accepted) || s.is(delivering) || m.nextLocked() == noEvent {
		return
	}
	s.status |= delivering
	go m.deliver()
}

// pairEvent is the kind of event that is next to be delivered.
type pairEvent uint8

const (
	noEvent pairEvent = iota
	nextMessage
	nextClose
	nextEnd
	nextLateClose
)

// nextLocked says what is to be delivered next. mu must be held.
func (m *memory) nextLocked() pairEvent {
	s := m.self
	message := !s.is(pulling|hosted) && s.in.wholeAfter(s.in.undelivered)
	switch {
	case s.is(finishing):
		return m.nextLateLocked(message)
	case s.is(ended):
		return nextEnd
	case message:
		return nextMessage
	case s.in.closing != nil && (m.closeDue || !s.hasUnhandledLocked()):
		return nextClose
	}
	return noEvent
}

// nextLateLocked is nextLocked for a socket that ended before its program had added its listeners. mu must be held.
func (m *memory) nextLateLocked(message bool) pairEvent {
	switch s := m.self; {
	case !s.is(finished) || !s.is(closeUndelivered):
		return noEvent
	case message && s.result.WasClean:
		return nextMessage
	case m.lateListenersDue && len(m.lateListeners) > 0:
		return nextLateClose
	}
	return noEvent
}

// callLateListeners has the close event delivered to those who were late.
func (m *memory) callLateListeners() {
	m.self.mu.Lock()
	defer m.self.mu.Unlock()
	m.lateListenersDue = true
	m.startLocked()
}

// deliverLateCloseAndUnlock delivers the close event to those who were late. mu must be held; it is released.
func (m *memory) deliverLateCloseAndUnlock() {
	s, late := m.self, m.lateListeners
	m.lateListeners = nil
	s.mu.Unlock()
	for _, l := range late {
		l.call(s, CloseEvent{s, s.result.Code, s.result.Reason, s.result.WasClean})
	}
}

// deliver runs until there is nothing to deliver. Only one does at a time: status delivering.
func (m *memory) deliver() {
	done := false
	defer func() {
		if !done {
			m.restartDelivery()
		}
	}()
	s := m.self
	for {
		s.mu.Lock()
		switch m.nextLocked() {
		case nextMessage:
			m.deliverMessageAndUnlock()
		case nextClose:
			m.deliverCloseAndUnlock()
		case nextEnd:
			s.mu.Unlock()
			s.finish()
		case nextLateClose:
			m.deliverLateCloseAndUnlock()
		default:
			s.status &^= delivering
			if g := s.pinnedSocketLocked(); g != nil {
				g.queueIfDueLocked()
			}
			s.mu.Unlock()
			done = true // another goroutine may be delivering already
			return
		}
	}
}

// finishRead delivers in another goroutine after a listener has called runtime.Goexit, as failing tests do.
func (m *memory) restartDelivery() {
	m.self.mu.Lock()
	defer m.self.mu.Unlock()
	m.self.status &^= delivering
	m.startLocked()
}

// deliverMessageAndUnlock takes the message at the front. mu must be held; it is released.
func (m *memory) deliverMessageAndUnlock() {
	s := m.self
	onMessage := s.messageListenersLocked()
	if onMessage.empty() {
		m.keepUndeliveredLocked()
		s.mu.Unlock()
		return
	}
	it := s.takeLocked()
	s.mu.Unlock()

	err := onMessage.dispatch(s, MessageEvent{s, Message{it.kind, it.buf.B}})
	it.buf.Free()
	if err != nil {
		s.panicked(err)
	}
}

// keepUndeliveredLocked keeps a message that no listener wants for a receive method that may still be called, within
// bounds. To the sender it is taken. mu must be held.
func (m *memory) keepUndeliveredLocked() {
	in := m.self.in
	for last := false; !last; in.undelivered++ {
		it := &in.queue.Items()[in.undelivered]
		last = it.last
		m.takenLocked(it)
	}
	for in.bytes > inboxLimit && in.undelivered > 0 && m.self.graceLeftLocked() < 0 {
		for last := false; !last; {
			it := in.pop()
			last = it.last
			it.buf.Free()
		}
	}
}

// deliverCloseAndUnlock delivers the peer's Close and answers it. mu must be held; it is released.
//
// The answer follows the close event, so that the two ends of a pair always see their events in the same order.
func (m *memory) deliverCloseAndUnlock() {
	s := m.self
	answer := s.closedLocked(*s.in.closing)
	s.mu.Unlock()
	defer m.closeDelivered(answer)
	s.finish()
}

// closeDelivered goes on after the close event.
func (m *memory) closeDelivered(answer bool) {
	m.self.mu.Lock()
	defer m.self.mu.Unlock()
	if answer {
		m.closeLocked(*m.self.in.closing)
	}
	m.peerLostLocked()
}

// joinPiecesLocked takes the pieces of a message that is not complete from the sender, when somebody waits for
// the whole of it, and joins them. Otherwise a message larger than SendBuffer would never be. mu must be held.
func (s *Socket) joinPiecesLocked() {
	in := s.in
	if !s.is(accepted) || s.is(pulling) && !s.is(owned) && in.want != wantMessage || in.queue.Len() == in.undelivered || in.wholeAfter(in.undelivered) {
		return
	}
	pieces := in.queue.Items()[in.undelivered:]
	joined := &pieces[0]
	s.link.takenLocked(joined)
	in.bytes -= weight(*joined)
	for i := range pieces[1:] {
		next := &pieces[1+i]
		s.link.takenLocked(next)
		in.bytes -= weight(*next)
		joined.buf = joined.buf.Reserve(len(next.buf.B))
		joined.buf.B = append(joined.buf.B, next.buf.B...)
		next.buf.Free()
	}
	in.bytes += weight(*joined)
	in.queue.Truncate(in.undelivered + 1)
}
