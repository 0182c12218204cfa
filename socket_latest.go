package edgews

import (
	"fmt"
	"unicode/utf8"

	"github.com/edgews/edgews/internal/buf"
)

// A message is revocable while it waits in the socket's deferredOutput and may still be replaced by SendLatest or dropped by
// OverflowDropOldest. It is settled, and from then on a message like any other, when it is released to the link or when nothing can be sent
// any more. It counts as sent only then: what was replaced or dropped has never been sent.

// SendLatest sends the latest value of key, for readers that need no other: prices, positions, states. It is like Send, but if the
// previous message of the same key still waits in the queue, data replaces it there. So a slow reader gets the newest value of each key, the
// queue holds at most one message for each key, and the last value always arrives. Any string is a key, also ""; the peer does not see it.
//
// Messages of one key arrive in the order in which they were sent, some of them left out. The new value takes the place of the old
// one, ahead of messages that were sent between the two. A message that the link has taken is no longer replaced: at most 16 KiB of
// messages, or one larger one, beyond what the operating system keeps; on a pair, one message. Such messages wait uncompressed, and are
// compressed when they are sent. With each of them the queue holds 192 bytes and the key, which count against SendBuffer.
//
// A message that replaces another is always taken, whatever their sizes. The first message of a key is subject to SendBuffer, and Overflow
// applies, except that OverflowDrop, and OverflowDropOldest where dropping other messages makes no room, return ErrBufferFull: SendLatest
// loses nothing silently. Messages of SendLatest are not dropped for others.
//
// In a meter, a message of SendLatest counts as sent when it can no longer be replaced; see [Usage.Replaced]. data is not retained. Text
// must be UTF-8 (ErrInvalidUTF8). The other errors are those of Send.
func (s *Socket) SendLatest(key string, kind Kind, data []byte) error {
	switch {
	case kind != Text && kind != Binary:
		return fmt.Errorf("edgews: cannot send a message of kind %d; use Text or Binary", kind)
	case kind == Text && !utf8.Valid(data):
		return ErrInvalidUTF8
	}
	return s.send(outgoing{kind: kind, data: data, first: true, last: true, latest: true, key: key})
}

// isRevocableLocked reports whether m may be replaced or dropped while it waits. What a sender has waited for room for is not dropped. mu
// must be held.
func (s *Socket) isRevocableLocked(m *outgoing) bool {
	return m.latest || s.opts.Overflow == OverflowDropOldest && m.isPlain()
}

// isPlain reports whether m is a message of Send or a method like it, to which Overflow applies.
func (m *outgoing) isPlain() bool {
	return !(m.latest || m.wait || m.stream || m.force) && m.countAs == countAsMessage
}

// listRevocable makes p, which is the last piece, known as one that may be replaced or dropped, if it is.
func (d *deferredOutput) listRevocable(p *deferredPiece) {
	switch {
	case !p.revocable:
	case p.keyed:
		if d.latest == nil {
			d.latest = make(map[string]*deferredPiece)
		}
		d.latest[p.key] = p
	default:
		d.droppable += p.cost()
		if d.oldest == nil {
			d.oldest = p
		}
	}
}

// unlistRevocable is the reverse of listRevocable.
func (d *deferredOutput) unlistRevocable(p *deferredPiece) {
	switch {
	case !p.revocable:
	case p.keyed:
		delete(d.latest, p.key)
	default:
		d.droppable -= p.cost()
		for d.oldest == p || d.oldest != nil && !d.oldest.mayDrop() {
			d.oldest = d.oldest.next
		}
	}
}

// settleLocked makes p a message like any other, which counts as sent. mu must be held.
func (s *Socket) settleLocked(p *deferredPiece) {
	if !p.revocable {
		return
	}
	d := s.deferred
	d.unlistRevocable(p)
	p.revocable = false
	if !p.compress {
		d.unsettled--
	}
	s.counter.countWholeSentLocked(p.payload)
}

// settleAllLocked settles everything that is deferred: nothing can be sent any more. mu must be held.
func (s *Socket) settleAllLocked() {
	if s.deferred == nil {
		return
	}
	for p := s.deferred.pieces.first; p != nil; p = p.next {
		s.settleLocked(p)
	}
}

// replaceableLocked returns the queued message that m would replace, or nil. mu must be held.
func (s *Socket) replaceableLocked(m *outgoing) *deferredPiece {
	if !m.latest || s.deferred == nil {
		return nil
	}
	return s.deferred.latest[m.key]
}

// replaceLocked replaces the queued message of m's key by m. It returns false if there is none. mu must be held.
func (s *Socket) replaceLocked(m *outgoing) bool {
	p := s.replaceableLocked(m)
	if p == nil {
		return false
	}
	d, kind, n := s.deferred, p.kind, p.payload
	fell := p.payload - len(m.data)
	d.payload -= p.payload
	d.size -= p.cost()
	p.overwrite(m.data)
	p.kind, p.payload, p.compress, p.duringCommit = m.kind, len(m.data), m.compressLater, d.gated
	d.payload += p.payload
	d.size += p.cost()
	s.counter.countReplacedLocked()
	s.observeDroppedLocked(kind, n)
	if fell > 0 {
		s.fellLocked(fell)
		s.notifyRoomLocked()
	}
	return true
}

// overwrite makes data the body, in the same buffer if it has about that size.
func (p *deferredPiece) overwrite(data []byte) {
	if room := cap(p.buf.B); len(data) > room || room > 2*max(len(data), 16) {
		p.buf.Free()
		p.buf = buf.Get(len(data))
	}
	p.buf.B = append(p.buf.B[:0], data...)
	p.body = p.buf.B
}

// overflowsLocked says what happens to m, for which there is no room, because size bytes wait: nil if it is taken all the same, otherwise
// what admitLocked returns. mu must be held.
func (s *Socket) overflowsLocked(m *outgoing, size int) error {
	switch {
	case m.wait:
		return errNoRoom
	case s.replaceableLocked(m) != nil, s.dropsOldestForLocked(m, size):
		return nil
	case m.latest && s.opts.Overflow == OverflowDrop:
	case s.opts.Overflow == OverflowDrop:
		s.counter.countDroppedNewestLocked(m)
		s.observeDroppedLocked(m.kind, len(m.data))
		if m.counted {
			return ErrBufferFull
		}
		return errDropped
	case s.opts.Overflow == OverflowClose:
		s.closeSlowLocked()
	}
	return fmt.Errorf("%w: %d bytes wait, the message has %d, the limit is %d (see Options.SendBuffer and Overflow, or use Write)",
		ErrBufferFull, size, len(m.data), s.opts.SendBuffer)
}

// dropsOldestForLocked reports whether m is taken because older messages are dropped. A message of Send always is, also if what remains
// exceeds SendBuffer, because it can be dropped for the next one. A message of SendLatest stays, so it has to fit. mu must be held.
func (s *Socket) dropsOldestForLocked(m *outgoing, size int) bool {
	if s.opts.Overflow != OverflowDropOldest {
		return false
	}
	if m.latest && s.deferred != nil {
		rest := size - s.deferred.droppable
		return rest == 0 || rest+len(m.data) <= s.opts.SendBuffer
	}
	return m.isPlain()
}

// makeRoomLocked drops the oldest messages until m fits, if Overflow says so. It returns the bytes of payload that it has dropped. mu must be
// held.
func (s *Socket) makeRoomLocked(m *outgoing) (freed int) {
	d := s.deferred
	if d == nil || s.opts.Overflow != OverflowDropOldest || !m.latest && !m.isPlain() {
		return 0
	}
	for d.oldest != nil {
		if _, size := s.bufferedLocked(); size+len(m.data) <= s.opts.SendBuffer {
			break
		}
		p := d.oldest
		d.take(p)
		p.free()
		freed += p.payload
		s.counter.countDroppedOldestLocked()
		s.observeDroppedLocked(p.kind, p.payload)
	}
	return freed
}
