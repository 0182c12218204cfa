package edgews

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/edgews/edgews/internal/frame"
	"github.com/edgews/edgews/internal/park"
)

func (w *wire) send(m outgoing) error {
	if w.compresses(&m) {
		return sendResult(w.sendCompressed(m))
	}
	w.s.mu.Lock()
	return w.sendLocked(&m)
}

// sendLocked sends m as it is. mu must be held; it is released.
func (w *wire) sendLocked(m *outgoing) error {
	if err := w.s.admitLocked(m); err != nil {
		w.transmitLocked() // what an Overflow has queued
		return sendResult(err)
	}
	w.queueLocked(m, m.data, false)
	w.transmitLocked()
	return nil
}

// queueLocked puts a message, or a piece of one, into the outbox. body is its payload as it goes out. mu must
// be held.
func (w *wire) queueLocked(m *outgoing, body []byte, compressed bool) {
	w.s.tab.outLocked(m)
	if w.s.is(owned) && !m.ungated {
		w.s.gateLocked()
	}
	h := w.header(frame.Continuation)
	h.Fin = m.last
	if m.first {
		h.Opcode, h.RSV1 = opcodeOf(m.kind), compressed
	}
	switch {
	case m.stream:
		w.outLocked().add(h, body, len(m.data))
		w.streamingLocked(!m.last)
		if m.last {
			w.s.status &^= uncompressed
		}
	case w.s.is(streamingOut):
		w.outLocked().hold(h, body)
	case m.prepared != nil && !w.client && !compressed:
		w.outLocked().addShared(m.prepared.plain(), len(m.data))
	default:
		w.outLocked().add(h, body, len(m.data))
	}
}

// opcodeOf returns the opcode of messages of a kind: they have the same numbers.
func opcodeOf(k Kind) frame.Opcode { return frame.Opcode(k) }

// streamingLocked notes whether a NextWriter is in the middle of its message. RFC 6455 §5.4: the fragments of
// one message are not interleaved with another, so what is sent meanwhile is held. mu must be held.
func (w *wire) streamingLocked(on bool) {
	if on {
		w.s.status |= streamingOut
		return
	}
	w.s.status &^= streamingOut
	w.outLocked().release()
	w.s.roomLocked()
}

func (w *wire) closeLocked(c closeFrame) {
	payload := frame.AppendClosePayload(nil, uint16(c.code), c.reason)
	w.outLocked().add(w.header(frame.Close), payload, 0)
	if behind := w.out.behind; behind != nil {
		behind.closing = true
	}
	if w.s.is(gotClose) && w.s.is(manualClose) { // the second half of a half-open close
		w.limitLocked(w.s.opts.CloseTimeout)
	}
}

func (w *wire) pingLocked(id uint64) {
	var payload [8]byte
	binary.BigEndian.PutUint64(payload[:], id)
	w.outLocked().addControl(w.header(frame.Ping), payload[:])
}

var outboxes = sync.Pool{New: func() any { return new(outbox) }}

// outLocked returns the outbox, to send something. mu must be held.
func (w *wire) outLocked() *outbox {
	if w.out == nil {
		w.out = outboxes.Get().(*outbox)
	}
	return w.out
}

// dropOutLocked gives the outbox back if nothing is left in it. mu must be held.
func (w *wire) dropOutLocked() {
	o := w.out
	if !o.idle() {
		return
	}
	w.out = nil
	if !o.lent {
		outboxes.Put(o)
	}
}

// lendLocked lends w an outbox for the turn: shelf is where a poller keeps one, so that there is no need to look for it. mu must be
// held.
func (w *wire) lendLocked(shelf *any) {
	if w.out != nil || shelf == nil {
		return
	}
	o, ok := (*shelf).(*outbox)
	if !ok {
		o = &outbox{lent: true}
		*shelf = o
	}
	w.out = o
}

// transmit writes what is in the outbox, unless somebody does already, as far as that goes without blocking.
func (w *wire) transmit() {
	w.s.mu.Lock()
	w.transmitLocked()
}

// transmitLocked is transmit for those who hold mu; it is released. While more is about to be handled, in this batch of
// frames or of events, the write is left to the end of that.
func (w *wire) transmitLocked() {
	switch o := w.out; {
	case o == nil || w.s.is(corked) || o.deferred || !o.ready(): // nothing to do, or others will
	case w.conn.Defer():
		o.deferred = true
	default:
		w.writeLocked()
		return
	}
	w.s.mu.Unlock()
}

// Flush implements [park.Handler].
func (w *wire) Flush() {
	w.s.mu.Lock()
	w.flushLocked()
}

// flushLocked writes what has had to wait for the end of a turn, or of a batch. It reports whether nothing is left, and the outbox
// gone. mu must be held; it is released.
func (w *wire) flushLocked() (gone bool) {
	w.s.status &^= corked
	o := w.out
	if o == nil {
		w.s.mu.Unlock()
		return true
	}
	o.deferred = false
	if o.ready() {
		return w.writeLocked()
	}
	w.dropOutLocked()
	gone = w.out == nil
	w.s.mu.Unlock()
	return gone
}

// writeIfReadyLocked empties the outbox if somebody ought to. mu must be held; it is released.
func (w *wire) writeIfReadyLocked() {
	if w.out != nil && w.out.ready() {
		w.writeLocked()
		return
	}
	w.s.mu.Unlock()
}

// unblock goes on writing after the connection has said that there is room.
func (w *wire) unblock() {
	w.s.mu.Lock()
	if w.out != nil {
		w.out.blocked = false
		w.out.roomy = w.out.writing // tell whoever is about to give up
	}
	w.writeIfReadyLocked()
}

// writeLocked empties the outbox. It reports whether it is gone. mu must be held; it is released. What the kernel does not take waits
// for the connection to say that there is room, or is left to a goroutine that lives until the outbox is empty.
func (w *wire) writeLocked() (gone bool) {
	o := w.out
	o.writing = true
	for !o.empty() {
		p := o.next()
		o.roomy = false
		w.s.mu.Unlock()
		n, err := w.conn.TryWrite(p)
		w.s.mu.Lock()
		o.wrote(n)
		switch {
		case err == nil:
		case err != park.ErrWouldBlock:
			w.failWriteLocked(err)
			return false
		case o.roomy: // again
		case !w.conn.Waits():
			o.trim()
			w.s.mu.Unlock()
			go w.drain()
			return false
		default:
			w.blockLocked(n)
			return false
		}
	}
	return w.idleLocked()
}

// blockLocked leaves what is in front until the connection says that there is room. n bytes have just been taken. mu must be held;
// it is released.
func (w *wire) blockLocked(n int) {
	o, timeout := w.out, w.s.opts.WriteTimeout
	o.blocked, o.writing = true, false
	o.trim()
	w.s.roomLocked()
	switch {
	case timeout <= 0:
	case n > 0 || o.takenBy == 0:
		o.takenBy = now().after(timeout)
		w.armLocked(timeout)
	default:
		left := o.takenBy.sub(now())
		if left <= 0 {
			w.failWriteLocked(lateError(timeout))
			return
		}
		w.armLocked(left)
	}
	w.s.mu.Unlock()
}

func lateError(timeout time.Duration) error {
	return fmt.Errorf("%w for %v (see Options.WriteTimeout)", ErrWriteTimeout, timeout)
}

// drain writes what is in front and everything after it, waiting for the peer as long as it makes progress.
func (w *wire) drain() {
	conn := w.conn.Blocking()
	w.s.mu.Lock()
	for !w.out.empty() {
		if err := w.writeNextLocked(conn); err != nil {
			w.failWriteLocked(err)
			return
		}
	}
	conn.SetWriteDeadline(time.Time{}) // or it would fail a write of much later
	w.idleLocked()
}

// writeChunk is how much is written under one deadline. It is small, because a TLS connection that misses its deadline
// is lost even if it was making progress.
const writeChunk = 16 << 10

// writeNextLocked writes what is next. mu must be held; it is released meanwhile.
func (w *wire) writeNextLocked(conn net.Conn) error {
	timeout := w.s.opts.WriteTimeout
	for p := w.out.next(); len(p) > 0; p = w.out.front.rest() {
		w.s.mu.Unlock()
		if timeout > 0 {
			conn.SetWriteDeadline(time.Now().Add(timeout))
		}
		n, err := conn.Write(p[:min(len(p), writeChunk)])
		w.s.mu.Lock()
		w.out.wrote(n)
		w.s.roomLocked()
		switch late := errors.Is(err, os.ErrDeadlineExceeded); {
		case late && n > 0: // slow, not dead; a TLS connection does not survive this, and says so next time
		case late:
			return lateError(timeout)
		case err != nil:
			return err
		}
	}
	return nil
}

// failWriteLocked gives the outbox up. A peer that takes nothing has lost its socket. A connection that is broken
// may still hold the peer's last words, perhaps its Close: reading goes on to the end, which then tells the
// error. mu must be held; it is released.
func (w *wire) failWriteLocked(err error) {
	w.out.writing = false
	w.out.fail(err)
	if errors.Is(err, ErrWriteTimeout) {
		w.s.loseLocked(err)
	} else {
		w.s.status |= lost
		w.limitLocked(lastWords)
	}
	w.idleLocked()
}

// lastWords is how long a connection that cannot be written any more may still be read.
const lastWords = time.Second

// idleLocked ends a turn of writing. It reports whether the outbox is gone. mu must be held; it is released.
func (w *wire) idleLocked() (gone bool) {
	w.out.writing = false
	w.out.takenBy = 0
	w.dropOutLocked()
	gone = w.out == nil
	w.s.roomLocked()
	if w.closeLeftLocked() {
		w.saidCloseLocked()
	} else {
		w.s.mu.Unlock()
	}
	return gone
}

// saidCloseLocked goes on after our Close has left. mu must be held; it is released.
func (w *wire) saidCloseLocked() {
	s := w.s
	over := s.is(gotClose | lost)
	if _, limited := w.closeInLocked(); !limited && s.fate == nil {
		// Only now: a slow reader gets the time it needs for what is before it.
		w.limitLocked(s.opts.CloseTimeout)
	}
	s.mu.Unlock()
	if over {
		w.shut()
	}
}

// closeLeftLocked says whether our Close is on its way, and not held back by a gate. mu must be held.
func (w *wire) closeLeftLocked() bool {
	return w.s.is(sentClose) && !(w.gatedLocked() && w.out.behind.closing)
}

func (w *wire) gatedLocked() bool { return w.out != nil && w.out.behind != nil }

func (w *wire) holdLocked() bool {
	if w.gatedLocked() {
		return false
	}
	w.outLocked().behind = new(gatedFrames)
	return true
}

func (w *wire) letGoLocked() {
	if w.gatedLocked() {
		w.out.letGo()
		w.dropOutLocked()
	}
}

func (w *wire) dropHeldLocked() (closing bool) {
	if !w.gatedLocked() {
		return false
	}
	closing = w.out.dropHeld()
	w.dropOutLocked()
	return closing
}
