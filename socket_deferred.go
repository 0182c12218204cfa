package edgews

import (
	"slices"

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

// deferredOutput holds what a socket has sent and must not give to its link yet, in the order in which it will: everything while the
// output gate of its object is closed, and otherwise the messages that follow the unfinished one of a NextWriter (RFC 6455 §5.4 forbids
// other messages between the fragments of one). Guarded by the socket's mu.
type deferredOutput struct {
	pieces  []deferredPiece
	behind  int         // the number of pieces, the last ones, that follow the unfinished message of a NextWriter
	closing *closeFrame // the Close after pieces; nil: none was sent
	gated   bool        // everything is deferred, until releaseOutputLocked or dropOutputLocked

	payload int // bytes of payload in pieces. Those of discarded pieces still count, since the peer has not got them
	size    int // the same pieces, in the bytes that they count against SendBuffer
}

// deferredPiece is an outgoingPiece that owns its body.
type deferredPiece struct {
	outgoingPiece
	buf *buf.Buffer // holds body; nil: prepared holds it
}

// deferredCost is the memory, in bytes, of a deferred piece besides its body: the deferredPiece, and the header of its buffer.
const deferredCost = 128

// cost returns the bytes that p counts against SendBuffer.
func (p *deferredPiece) cost() int { return len(p.body) + deferredCost }

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
	s.counter.countSentLocked(m)
	if s.consumer == toObject && !m.ungated {
		s.objectSocket.holdDuringCommitLocked()
	}
	p := outgoingPiece{m.kind, m.first, m.last, compressed, m.prepared, body, len(m.data)}
	if s.isOutputHeldLocked() || s.is(streamingOut) && !m.stream {
		s.deferLocked(p, m.stream)
	} else {
		s.link.queueLocked(p)
	}
	if m.stream {
		s.setStreamingLocked(!m.last)
	}
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
		s.deferred.behind = 0
		s.releaseDueLocked()
	}
	s.notifyRoomLocked()
}

// deferLocked keeps a copy of p for later. streamed says whether a NextWriter sends it; such a piece goes before the messages that follow
// the NextWriter's. mu must be held.
func (s *Socket) deferLocked(p outgoingPiece, streamed bool) {
	d, own := s.deferredLocked(), deferredPiece{outgoingPiece: p}
	if p.prepared == nil {
		own.buf = buf.Copy(p.body)
		own.body = own.buf.B
	}
	d.payload += own.payload
	d.size += own.cost()
	if streamed {
		d.pieces = slices.Insert(d.pieces, len(d.pieces)-d.behind, own)
		return
	}
	d.pieces = append(d.pieces, own)
	if s.is(streamingOut) {
		d.behind++
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
	for i := range d.behind {
		size -= d.pieces[len(d.pieces)-1-i].cost()
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

// releaseOutputLocked sends what was deferred because of holdOutputLocked. mu must be held.
func (s *Socket) releaseOutputLocked() {
	if s.isOutputHeldLocked() {
		s.deferred.gated = false
		s.releaseDueLocked()
		s.notifyRoomLocked()
	}
}

// dropOutputLocked drops what was deferred, after a commit of the socket's object has failed. It reports whether that included a Close.
// Messages behind an unfinished one are dropped too, even if they were sent before the commit: the object's sockets are closed next, which
// cuts that message off. mu must be held.
func (s *Socket) dropOutputLocked() (closing bool) {
	if !s.isOutputHeldLocked() {
		return false
	}
	d := s.deferred
	closing = d.closing != nil
	s.discardDeferredLocked()
	d.gated, d.closing = false, nil
	return closing
}

// releaseDueLocked gives the link what need not wait any more. mu must be held.
func (s *Socket) releaseDueLocked() {
	d := s.deferred
	if d.gated {
		return
	}
	due := len(d.pieces) - d.behind
	for i := range d.pieces[:due] {
		p := &d.pieces[i]
		d.payload -= p.payload
		d.size -= p.cost()
		s.link.queueLocked(p.outgoingPiece)
		p.buf.Free()
	}
	d.pieces = slices.Delete(d.pieces, 0, due)
	if c := d.closing; c != nil {
		d.closing = nil
		s.closeLinkLocked(*c)
	}
	if d.size == 0 {
		s.deferred = nil
	}
}

// discardDeferredLocked frees what is deferred, except for a Close. The payload still counts: the peer has not got it. mu must be held.
func (s *Socket) discardDeferredLocked() {
	d := s.deferred
	if d == nil {
		return
	}
	for i := range d.pieces {
		d.pieces[i].buf.Free()
	}
	d.pieces, d.behind = nil, 0
}
