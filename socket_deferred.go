package edgews

import (
	"strings"

	"github.com/edgews/edgews/internal/buf"
)

// outgoingPiece is a message, or a piece of one, as a link gets it.
type outgoingPiece struct {
	kind        Kind
	first, last bool
	compressed  bool      // body is compressed
	prepared    *Prepared // the message that body belongs to; nil: it is not a prepared one
	body        []byte    // the link copies it, unless prepared is set
	payload     int       // bytes of payload that body stands for
}

// deferredOutput holds what a socket has sent and must not give to its link yet, in the order in which it will:
//
//   - everything, while the output gate of the socket's object is closed;
//   - the messages that follow the unfinished one of a NextWriter (RFC 6455 §5.4 forbids other messages between the fragments of one);
//   - a message that may still be replaced (SendLatest) or dropped (OverflowDropOldest), while the link has something to send, and what
//     follows such a message. It is called revocable; see socket_latest.go.
//
// A message that waits here together with revocable ones is not compressed before it is released: compression with context takeover has
// to see the messages in the order in which they are sent, and no others. Guarded by the socket's mu.
type deferredOutput struct {
	pieces  pieceList
	behind  *deferredPiece // the first of those pieces, the last ones, that follow the unfinished message of a NextWriter; nil: none does
	closing *closeFrame    // the Close after pieces; nil: none was sent
	gated   bool           // everything is deferred, until releaseOutputLocked or dropOutputLocked

	releasing bool // releaseDueLocked runs

	payload int // bytes of payload in pieces. Those of discarded pieces still count, since the peer has not got them
	size    int // the same pieces, in the bytes that they count against SendBuffer

	unsettled int                       // the number of pieces that are revocable or to be compressed: what they become on the wire is open
	latest    map[string]*deferredPiece // the piece of each key of SendLatest that may be replaced
	oldest    *deferredPiece            // the first piece that OverflowDropOldest may drop; nil: it may drop none
	droppable int                       // what the pieces that it may drop count against SendBuffer
}

// deferredPiece is an outgoingPiece that owns its body, and an element of a pieceList.
type deferredPiece struct {
	outgoingPiece
	prev, next *deferredPiece
	buf        *buf.Buffer // holds body; nil: prepared holds it
	key        string      // of SendLatest

	keyed        bool // SendLatest has sent it
	revocable    bool // it may be replaced if it is keyed, and otherwise be dropped. Then it has not been counted as sent yet
	compress     bool // body is to be compressed when it is released
	duringCommit bool // it was sent, or replaced, while the output was gated
	leaving      bool // a goroutine is compressing body, and frees buf
	removed      bool // it is not in the list any more
}

// deferredCost is the memory, in bytes, of a deferred piece besides its body: the deferredPiece, and the header of its buffer. keyCost is
// that of a key besides its bytes: an entry of deferredOutput.latest.
const (
	deferredCost = 128
	keyCost      = 64
)

// cost returns the bytes that p counts against SendBuffer.
func (p *deferredPiece) cost() int {
	n := len(p.body) + deferredCost
	if p.keyed {
		n += len(p.key) + keyCost
	}
	return n
}

// mayDrop reports whether OverflowDropOldest may drop p.
func (p *deferredPiece) mayDrop() bool { return p.revocable && !p.keyed }

// isUnsettled reports whether it is open what p becomes on the wire.
func (p *deferredPiece) isUnsettled() bool { return p.revocable || p.compress }

// free frees the body, unless a goroutine is compressing it.
func (p *deferredPiece) free() {
	if !p.leaving {
		p.buf.Free()
	}
}

// pieceList is a list of pieces, linked both ways.
type pieceList struct{ first, last *deferredPiece }

// insert puts p before next; nil: at the end.
func (l *pieceList) insert(p, next *deferredPiece) {
	p.next, p.prev = next, l.last
	if next != nil {
		p.prev, next.prev = next.prev, p
	} else {
		l.last = p
	}
	if p.prev != nil {
		p.prev.next = p
	} else {
		l.first = p
	}
}

// remove takes p out of the list. p keeps its next, for loops that remove what they visit.
func (l *pieceList) remove(p *deferredPiece) {
	if p.prev != nil {
		p.prev.next = p.next
	} else {
		l.first = p.next
	}
	if p.next != nil {
		p.next.prev = p.prev
	} else {
		l.last = p.prev
	}
}

// add puts p at the end, or before behind if a NextWriter sends it.
func (d *deferredOutput) add(p *deferredPiece, streamed bool) {
	d.payload += p.payload
	d.size += p.cost()
	if p.isUnsettled() {
		d.unsettled++
	}
	if streamed {
		d.pieces.insert(p, d.behind)
		return
	}
	d.pieces.insert(p, nil)
	d.listRevocable(p)
}

// remove takes p out. Its payload still counts.
func (d *deferredOutput) remove(p *deferredPiece) {
	d.unlistRevocable(p)
	if p.isUnsettled() {
		d.unsettled--
	}
	if d.behind == p {
		d.behind = p.next
	}
	d.pieces.remove(p)
	p.removed = true
}

// take is remove for a piece that is released, replaced or dropped: its payload no longer counts.
func (d *deferredOutput) take(p *deferredPiece) {
	d.remove(p)
	d.payload -= p.payload
	d.size -= p.cost()
}

// due returns the first piece if it need not wait for the output gate or for a NextWriter, otherwise nil.
func (d *deferredOutput) due() *deferredPiece {
	if d.gated || d.pieces.first == d.behind {
		return nil
	}
	return d.pieces.first
}

// deferredLocked returns the socket's deferredOutput, and makes it first if there is none. mu must be held.
func (s *Socket) deferredLocked() *deferredOutput {
	if s.deferred == nil {
		s.extraLocked().deferred = new(deferredOutput)
	}
	return s.deferred
}

// sendAdmittedLocked sends m, which admitLocked has admitted: it gives m to the link, or defers it. body is compressed, or m.data. mu must be held.
func (s *Socket) sendAdmittedLocked(m *outgoing, body []byte, compressed bool) {
	if m.claims {
		s.facts |= streamingOut
		return
	}
	p := outgoingPiece{m.kind, m.first, m.last, compressed, m.prepared, body, len(m.data)}
	switch {
	case s.deferred == nil && s.goesToLinkLocked(m): // the usual case
		s.counter.countSentLocked(m)
		s.link.queueLocked(p)
	case !s.replaceLocked(m):
		s.sendBehindLocked(p, m)
	}
	if m.stream {
		s.setStreamingLocked(!m.last)
	}
}

// sendBehindLocked is sendAdmittedLocked for a message, or a piece of one, that may have to wait behind others. It makes room by dropping
// the oldest ones, if Overflow says so. mu must be held.
func (s *Socket) sendBehindLocked(p outgoingPiece, m *outgoing) {
	freed := s.makeRoomLocked(m)
	now := s.goesToLinkLocked(m)
	revocable := !now && s.isRevocableLocked(m)
	if !revocable {
		s.counter.countSentLocked(m)
	}
	if now {
		s.link.queueLocked(p)
		s.forgetDeferredLocked()
	} else {
		s.deferLocked(p, m, revocable)
		s.releaseDueLocked()
	}
	if freed > 0 {
		s.fellLocked(freed - len(m.data))
		s.notifyRoomLocked()
	}
}

// beginGatedOutputLocked has the socket hold back what it sends from m on, if a commit of its object is under way. A commit may begin at any
// time, also while mu is held, so only admitLocked calls this: whether m is deferred determines whether it is compressed now, and whether it can
// be replaced. mu must be held.
func (s *Socket) beginGatedOutputLocked(m *outgoing) {
	if s.consumer == toObject && !m.ungated && !m.claims {
		s.objectSocket.holdDuringCommitLocked()
	}
}

// goesToLinkLocked reports whether m need not be deferred. mu must be held.
func (s *Socket) goesToLinkLocked(m *outgoing) bool {
	d := s.deferred
	switch {
	case d != nil && d.gated:
		return false
	case m.stream:
		return d == nil || d.pieces.first == d.behind
	case s.is(streamingOut) || d != nil && d.pieces.first != nil:
		return false
	}
	return !s.isRevocableLocked(m) || s.isDrainedLocked()
}

// isDrainedLocked reports whether the link has nothing to send. mu must be held.
func (s *Socket) isDrainedLocked() bool {
	_, size := s.link.bufferedLocked()
	return size == 0
}

// setStreamingLocked sets whether a NextWriter has begun its message and not finished it. After the end of the message, those that follow
// it are sent. mu must be held.
func (s *Socket) setStreamingLocked(on bool) {
	if on {
		s.facts |= streamingOut
		return
	}
	s.facts &^= streamingOut | uncompressed
	if s.deferred != nil {
		s.deferred.behind = nil
		s.releaseDueLocked()
	}
	s.notifyRoomLocked()
}

// deferLocked keeps a copy of p, which is m or a piece of it, for later. A piece of a NextWriter goes before the messages that follow the
// NextWriter's. mu must be held.
func (s *Socket) deferLocked(p outgoingPiece, m *outgoing, revocable bool) {
	d := s.deferredLocked()
	own := &deferredPiece{
		outgoingPiece: p, key: strings.Clone(m.key), keyed: m.latest, revocable: revocable, compress: m.compressLater, duringCommit: d.gated,
	}
	if p.prepared == nil {
		own.buf = buf.Copy(p.body)
		own.body = own.buf.B
	}
	d.add(own, m.stream)
	if s.is(streamingOut) && !m.stream && d.behind == nil {
		d.behind = own
	}
}

// closeLinkLocked sends a Close frame: behind what the output gate of the socket's object holds back, if it is closed. Otherwise the Close
// cuts off the unfinished message of a NextWriter, and the messages that follow it are discarded. mu must be held.
func (s *Socket) closeLinkLocked(c closeFrame) {
	s.facts |= sentClose
	if s.isOutputHeldLocked() {
		s.deferred.closing = &c
		return
	}
	s.releaseUncompressedLocked()
	s.discardDeferredLocked()
	s.link.closeLocked(c)
}

// bufferedLocked returns the bytes of payload that the peer has not taken, and the bytes that they count against SendBuffer. mu must be held.
func (s *Socket) bufferedLocked() (payload, size int) {
	payload, size = s.link.bufferedLocked()
	if d := s.deferred; d != nil {
		payload += d.payload
		size += d.size
	}
	return payload, size
}

// waitsOnlyForStreamLocked reports whether all that waits, size in all, follows the unfinished message of a NextWriter, which has to go on
// then. mu must be held.
func (s *Socket) waitsOnlyForStreamLocked(size int) bool {
	d := s.deferred
	if d == nil {
		return false
	}
	for p := d.behind; p != nil; p = p.next {
		size -= p.cost()
	}
	return size == 0
}

// isOutputHeldLocked reports whether everything that is sent waits for the output gate of the socket's object. mu must be held.
func (s *Socket) isOutputHeldLocked() bool { return s.deferred != nil && s.deferred.gated }

// isCloseHeldLocked reports whether a Close is among what waits for the output gate. mu must be held.
func (s *Socket) isCloseHeldLocked() bool { return s.deferred != nil && s.deferred.closing != nil }

// holdOutputLocked defers everything that is sent from now on, until releaseOutputLocked or dropOutputLocked. It returns false if that is
// so already. mu must be held.
func (s *Socket) holdOutputLocked() bool {
	if s.isOutputHeldLocked() {
		return false
	}
	s.deferredLocked().gated = true
	return true
}

// releaseOutputLocked sends what was deferred because of holdOutputLocked. The caller calls the link's transmit. mu must be held.
func (s *Socket) releaseOutputLocked() {
	if !s.isOutputHeldLocked() {
		return
	}
	d := s.deferred
	for p := d.pieces.first; p != nil; p = p.next {
		p.duringCommit = false
	}
	d.gated = false
	if c := d.closing; c != nil {
		d.closing = nil
		s.closeLinkLocked(*c)
	} else {
		s.releaseDueLocked()
	}
	s.notifyRoomLocked()
}

// dropOutputLocked drops what was deferred since holdOutputLocked, after a commit of the socket's object has failed. It reports whether that
// included a Close. The object's sockets are closed next. mu must be held.
func (s *Socket) dropOutputLocked() (closing bool) {
	if !s.isOutputHeldLocked() {
		return false
	}
	d := s.deferred
	for p := d.pieces.first; p != nil; p = p.next {
		if p.duringCommit {
			s.discardLocked(p)
		}
	}
	closing = d.closing != nil
	d.gated, d.closing = false, nil
	s.releaseDueLocked()
	return closing
}

// releaseDueLocked gives the link what need not wait any more. What has to be compressed before is released by the link when it transmits.
// mu must be held.
func (s *Socket) releaseDueLocked() {
	d := s.deferred
	if d == nil || d.releasing {
		return
	}
	d.releasing = true // a pair's other end may take, at once, what it is given
	for p := d.due(); p != nil && !p.compress && (!p.revocable || s.isDrainedLocked()); p = d.due() {
		s.releaseLocked(p)
	}
	d.releasing = false
	s.forgetDeferredLocked()
}

// releaseUncompressedLocked gives the link everything that is due, before a Close. mu must be held.
func (s *Socket) releaseUncompressedLocked() {
	d := s.deferred
	if d == nil {
		return
	}
	d.releasing = true
	for p := d.due(); p != nil; p = d.due() {
		s.releaseLocked(p)
	}
	d.releasing = false
}

// releaseLocked gives p to the link as it is. mu must be held.
func (s *Socket) releaseLocked(p *deferredPiece) {
	s.releaseAsLocked(p, p.outgoingPiece)
	p.free()
}

// releaseAsLocked gives p to the link in the form of as, which may be compressed. mu must be held.
func (s *Socket) releaseAsLocked(p *deferredPiece, as outgoingPiece) {
	s.settleLocked(p)
	s.deferred.take(p)
	s.link.queueLocked(as)
}

// forgetDeferredLocked frees the deferredOutput if there is nothing in it. mu must be held.
func (s *Socket) forgetDeferredLocked() {
	if d := s.deferred; d != nil && d.size == 0 && !d.gated && !d.releasing {
		s.deferred = nil
	}
}

// discardDeferredLocked frees what is deferred, except for a Close. The payload still counts: the peer has not got it. mu must be held.
func (s *Socket) discardDeferredLocked() {
	if s.deferred == nil {
		return
	}
	for p := s.deferred.pieces.first; p != nil; p = p.next {
		s.discardLocked(p)
	}
}

// discardLocked frees p. Its payload still counts. mu must be held.
func (s *Socket) discardLocked(p *deferredPiece) {
	s.settleLocked(p)
	s.deferred.remove(p)
	p.free()
}
