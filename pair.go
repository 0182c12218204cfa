package edgews

import (
	"math"
	"sync"
	"time"

	"github.com/edgews/edgews/internal/buf"
)

// NewPair returns two sockets that are connected in memory, like WebSocketPair: what one sends, the other
// receives. A pair has no frames and no network, and does not limit the size of a message. Only the sender checks that text
// is UTF-8. As on a network, the bytes of a received message are valid for a limited time (see [Message]). After that time a
// pair overwrites them with 0xDB, so that tests find programs that use them for too long.
//
// For messages inside a program, accept both ends. In a server, accept the server end and give the client end to [Respond],
// which replaces it by a network connection. Messages to an end that has not been accepted are kept in order, up to SendBuffer.
//
// An idle pair has no goroutine, so the garbage collector frees a pair that was not closed. All of a pair's timers and
// goroutines work inside a [testing/synctest] bubble.
func NewPair() (client, server *Socket) {
	mu, opts := new(sync.Mutex), Options{}.resolve()
	client = &Socket{mu: mu, id: newSocketID(), opts: opts, socketExtra: &socketExtra{in: new(inbox)}}
	server = &Socket{mu: mu, id: newSocketID(), opts: opts, socketExtra: &socketExtra{in: new(inbox)}}
	client.link = &memory{self: client, peer: server}
	server.link = &memory{self: server, peer: client}
	return client, server
}

// memory is the link of self, one end of a pair. It puts what self sends into peer's inbox, and delivers what is in self's inbox.
type memory struct {
	self, peer *Socket

	// Guarded by the pair's mu.
	payload    int         // bytes that self has sent and peer has not taken
	size       int         // the same messages, in the bytes that they count against SendBuffer
	closeTimer *time.Timer // bounds the wait for peer's Close; nil: self has not sent Close first

	closeDue bool // peer's Close has waited for maxPendingEnd, and is delivered although messages wait before it

	answered bool // the pair has answered a request of Stub.Connect: for meters and objects it is a connection. Immutable.
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
	if m.peer.phase >= phaseFinishing { // peer takes no more messages
		return ErrClosed
	}
	m.self.sendAdmittedLocked(&out, out.data, false)
	return nil
}

// queueLocked gives p to peer. mu must be held.
func (m *memory) queueLocked(p outgoingPiece) {
	it := item{kind: p.kind, first: p.first, last: p.last, wireSize: wireSize(p.payload), buf: buf.Copy(p.body)}
	it.buf.WipeOnFree = true
	m.payload += p.payload
	m.size += cost(p.payload)
	m.toPeerLocked(it)
}

// toPeerLocked puts it into peer's inbox. If peer takes no more messages, it is dropped, and still counts: peer has not got it. mu must be held.
func (m *memory) toPeerLocked(it item) {
	if m.peer.phase >= phaseFinishing {
		it.buf.Free()
		return
	}
	if m.autoRespondLocked(&it) {
		return
	}
	m.peer.noteMessageLocked()
	m.peer.in.push(it)
	m.peer.joinPiecesLocked()
	m.peer.queueObjectEventLocked()
	m.peer.link.startLocked()
}

// sendResult returns the error of Send for a message that was not queued because of err.
func sendResult(err error) error {
	if err == errDropped {
		return nil
	}
	return err
}

func (m *memory) closeLocked(c closeFrame) {
	if m.peer.phase >= phaseFinishing {
		return
	}
	m.peer.in.closing = &c
	m.peer.link.startLocked()
	if receiver, ok := m.peer.link.(*memory); ok && !m.peer.hasEndedLocked() && m.peer.hasUnhandledLocked() {
		time.AfterFunc(maxPendingEnd(m.self.opts), receiver.closeTimeUp)
	}
	if !m.self.hasEndedLocked() {
		m.closeTimer = time.AfterFunc(m.self.opts.CloseTimeout, m.answerTimeUp)
	}
}

// closeTimeUp delivers peer's Close although messages before it have not been taken.
func (m *memory) closeTimeUp() {
	m.self.mu.Lock()
	defer m.self.mu.Unlock()
	m.closeDue = true
	m.runLocked()
}

// answerTimeUp ends self with 1006: peer has not answered its Close within CloseTimeout.
func (m *memory) answerTimeUp() {
	m.self.mu.Lock()
	defer m.self.mu.Unlock()
	if m.self.link == m {
		m.self.noteSilentLocked()
		m.self.loseLocked(nil)
	}
}

func (m *memory) pingLocked(id uint64) {
	if m.peer.isAcceptedLocked() && !m.peer.is(sentClose|lost) {
		m.self.pongLocked(id)
	}
}

func (m *memory) endedLocked() {
	if m.closeTimer != nil {
		m.closeTimer.Stop()
	}
	if other, ok := m.peer.link.(*memory); ok && m.peer.in.closing != nil { // self, which the application could still answer, has ended
		other.closeDue = true
		other.runLocked()
	}
	m.startLocked()
	if m.self.is(lost) {
		m.peer.closeHalfOpenLocked()
	}
}

// peerLostLocked makes self CLOSED if it is half open and peer is lost, as the loss of a connection does. It is called after
// self's close event. mu must be held.
func (m *memory) peerLostLocked() {
	if m.peer.is(lost) {
		m.self.closeHalfOpenLocked()
	}
}

// closeHalfOpenLocked makes s CLOSED if it is half open: its peer is lost. mu must be held.
func (s *Socket) closeHalfOpenLocked() {
	if s.phase == phaseFinished && s.is(gotClose) && !s.is(sentClose|lost) {
		s.facts |= lost
		s.settleAllLocked()
		s.removeDrainListenersLocked()
		s.wakeAllLocked()
	}
}

func (m *memory) takenLocked(it *item) {
	if m.answered && !it.taken {
		m.self.countTakenLocked(it)
	}
	if sender, ok := m.peer.link.(*memory); ok {
		sender.creditLocked(it)
	}
}

// creditLocked subtracts it from what self has sent and peer has not taken. mu must be held.
func (m *memory) creditLocked(it *item) {
	if it.taken {
		return
	}
	it.taken = true
	m.payload -= len(it.buf.B)
	m.size -= cost(len(it.buf.B))
	m.self.fellLocked(len(it.buf.B))
	m.self.notifyRoomLocked()
}

func (m *memory) frameSize(_, payload int) int { return payload }

func (m *memory) bufferedLocked() (payload, size int) { return m.payload, m.size }

func (m *memory) resumeReadingLocked() { m.runLocked() }

// transmit does nothing: what was sent is already in peer's inbox.
func (m *memory) transmit() {}

func (m *memory) addrs() addrs { return addrs{pairAddr, pairAddr} }

func (m *memory) isParkedLocked() bool { return !m.self.is(delivering) && m.size == 0 }

// startLocked starts a goroutine that delivers the events of self, if there are any and none runs. The goroutine ends when no
// event is left. mu must be held.
func (m *memory) startLocked() {
	s := m.self
	if !s.isAcceptedLocked() {
		return
	}
	m.peer.pongLocked(math.MaxUint64)
	s.joinPiecesLocked()
	if g := s.pinnedSocketLocked(); g != nil {
		g.queueIfDueLocked()
	}
	m.runLocked()
}

// runLocked is startLocked for a caller that has added nothing to the inbox. mu must be held.
func (m *memory) runLocked() {
	s := m.self
	if !s.isAcceptedLocked() {
		return
	}
	m.peer.releaseDueLocked() // it has room if self has taken what was there
	m.peer.tellSoonLocked()
	if s.is(delivering) || m.nextLocked() == noEvent {
		return
	}
	s.facts |= delivering
	go m.deliver()
}

// pairEvent is what deliver has to do next.
type pairEvent uint8

const (
	noEvent pairEvent = iota
	nextMessage
	nextClose
	nextEnd
)

// nextLocked returns what has to be delivered next. mu must be held.
func (m *memory) nextLocked() pairEvent {
	s := m.self
	message := s.deliversDirectlyLocked() && s.in.wholeAfter(s.in.undelivered)
	switch {
	case s.phase >= phaseFinishing:
		if message && s.is(closeUndelivered) && s.result.WasClean { // its listener was added after the end, within the grace
			return nextMessage
		}
		return noEvent
	case s.hasEndedLocked():
		return nextEnd
	case message:
		return nextMessage
	case s.in.closing != nil && (m.closeDue || !s.hasUnhandledLocked()) && !s.closeAwaitsListenerLocked():
		return nextClose
	}
	return noEvent
}

// deliver delivers events until none is left. Only one goroutine runs it at a time (fact delivering).
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
		default:
			s.facts &^= delivering
			s.noteMessageLocked()
			s.deliverLateLocked()
			s.mu.Unlock()
			done = true // since mu was released, another goroutine may have begun to deliver
			return
		}
	}
}

// restartDelivery continues in another goroutine after a listener has called runtime.Goexit, as t.FailNow does.
func (m *memory) restartDelivery() {
	m.self.mu.Lock()
	defer m.self.mu.Unlock()
	m.self.facts &^= delivering
	m.startLocked()
}

// deliverMessageAndUnlock delivers the message at the front to the listeners, or keeps it if there are none. mu must be held; it is
// released.
func (m *memory) deliverMessageAndUnlock() {
	s := m.self
	onMessage := s.messageListenersLocked()
	if onMessage.empty() {
		s.keepUndeliveredLocked()
		s.mu.Unlock()
		return
	}
	it := s.takeLocked()
	s.beginHandlingLocked(it.kind, len(it.buf.B), int(it.wireSize), 0)
	o := s.observed
	s.mu.Unlock()

	err := dispatchObserved(onMessage, o, s, MessageEvent{s, Message{it.kind, it.buf.B}})
	it.buf.Free()
	if o != nil {
		s.handled(0)
	}
	if err != nil {
		s.panicked(err)
	}
}

// deliverCloseAndUnlock delivers the peer's Close and answers it. mu must be held; it is released.
//
// The answer follows the close event, so that the close events of the two ends always come in the same order.
func (m *memory) deliverCloseAndUnlock() {
	s := m.self
	answer := s.closedLocked(*s.in.closing)
	s.mu.Unlock()
	defer m.closeDelivered(answer)
	s.finish()
}

// closeDelivered is called after the close event. If answer is set, it answers the peer's Close.
func (m *memory) closeDelivered(answer bool) {
	m.self.mu.Lock()
	defer m.self.mu.Unlock()
	if answer {
		m.self.closeLinkLocked(*m.self.in.closing)
	}
	m.peerLostLocked()
}

// joinPiecesLocked joins the pieces of an incomplete message if its receiver waits for the whole message. The pieces no longer
// count against the sender's SendBuffer: otherwise a NextWriter could not finish a message that is larger. mu must be held.
func (s *Socket) joinPiecesLocked() {
	in := s.in
	if !s.isAcceptedLocked() || s.consumer == toReceivers && in.want != wantMessage || in.queue.Len() == in.undelivered || in.wholeAfter(in.undelivered) {
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
		joined.wireSize = addSizes(joined.wireSize, next.wireSize)
		next.buf.Free()
	}
	in.bytes += weight(*joined)
	in.queue.Truncate(in.undelivered + 1)
}
