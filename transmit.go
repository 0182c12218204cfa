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
		w.plain = w.plain && !m.last
	case w.s.is(streamingOut):
		w.outLocked().hold(h, body)
	case m.prepared != nil && !w.client && !compressed:
		w.outLocked().addShared(m.prepared.plain(), len(m.data))
	default:
		w.outLocked().add(h, body, len(m.data))
	}
}

func opcodeOf(k Kind) frame.Opcode {
	if k == Text {
		return frame.Text
	}
	return frame.Binary
}

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
	w.out.gatedClose = w.out.gated
	if w.s.is(gotClose) && w.s.is(manualClose) { // the second half of a half-open close
		w.limitLocked(w.s.opts.CloseTimeout)
	}
}

func (w *wire) pingLocked(id uint64) {
	w.outLocked().addControl(w.header(frame.Ping), binary.BigEndian.AppendUint64(nil, id))
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
	if o := w.out; o.idle() {
		w.out = nil
		outboxes.Put(o)
	}
}

// transmit writes what is in the outbox, unless somebody does already, as far as that goes without blocking.
func (w *wire) transmit() {
	w.s.mu.Lock()
	w.transmitLocked()
}

// transmitLocked is transmit for those who hold mu; it is released. While more is about to be handled, in this batch of
// frames or of events, the write is left to the end of that.
func (w *wire) transmitLocked() {
	switch {
	case !w.out.ready() || w.out.deferred: // somebody else writes, or there is nothing
	case w.conn.Defer():
		w.out.deferred = true
	default:
		w.writeLocked()
		return
	}
	w.s.mu.Unlock()
}

// Flush implements [park.Handler].
func (w *wire) Flush() {
	w.s.mu.Lock()
	if w.out != nil {
		w.out.deferred = false
	}
	w.writeIfReadyLocked()
}

// writeIfReadyLocked empties the outbox if somebody ought to. mu must be held; it is released.
func (w *wire) writeIfReadyLocked() {
	if w.out.ready() {
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

// writeLocked empties the outbox. mu must be held; it is released. What the kernel does not take waits for the connection to say
// that there is room, or is left to a goroutine that lives until the outbox is empty.
func (w *wire) writeLocked() {
	o := w.out
	o.writing = true
	for {
		b, ok := o.next()
		if !ok {
			w.idleLocked()
			return
		}
		o.roomy = false
		w.s.mu.Unlock()
		n, err := w.conn.TryWrite(b.rest())
		w.s.mu.Lock()
		o.wrote(&b, n)
		switch {
		case err == nil:
			w.writtenLocked(b)
		case err != park.ErrWouldBlock:
			w.s.mu.Unlock()
			w.writeFailed(b, err)
			return
		case o.roomy:
			o.front = b
		case !w.conn.Waits():
			w.s.mu.Unlock()
			go w.drain(b)
			return
		default:
			w.blockLocked(b, n)
			return
		}
	}
}

// blockLocked leaves b until the connection says that there is room. mu must be held; it is released.
func (w *wire) blockLocked(b batch, n int) {
	o, timeout := w.out, w.s.opts.WriteTimeout
	o.front, o.blocked, o.writing = b, true, false
	w.s.roomLocked()
	switch {
	case timeout <= 0:
	case n > 0 || o.takenBy.IsZero():
		o.takenBy = time.Now().Add(timeout)
		w.armLocked(timeout)
	case time.Now().Before(o.takenBy):
		w.armLocked(time.Until(o.takenBy))
	default:
		b, _ := o.next()
		o.writing = true
		w.s.mu.Unlock()
		w.writeFailed(b, fmt.Errorf("%w for %v (see Options.WriteTimeout)", ErrWriteTimeout, timeout))
		return
	}
	w.s.mu.Unlock()
}

// drain writes b and everything after it, waiting for the peer as long as it makes progress.
func (w *wire) drain(b batch) {
	conn := w.conn.Blocking()
	for {
		if err := w.writeAll(conn, &b); err != nil {
			w.writeFailed(b, err)
			return
		}
		w.s.mu.Lock()
		w.writtenLocked(b)
		next, ok := w.out.next()
		if !ok {
			conn.SetWriteDeadline(time.Time{}) // or it would fail a write of much later
			w.idleLocked()
			return
		}
		w.s.mu.Unlock()
		b = next
	}
}

// writeChunk is how much is written under one deadline. It is small, because a TLS connection that misses its deadline
// is lost even if it was making progress.
const writeChunk = 16 << 10

func (w *wire) writeAll(conn net.Conn, b *batch) error {
	timeout := w.s.options().WriteTimeout
	for len(b.rest()) > 0 {
		if timeout > 0 {
			conn.SetWriteDeadline(time.Now().Add(timeout))
		}
		n, err := conn.Write(b.rest()[:min(len(b.rest()), writeChunk)])
		w.s.mu.Lock()
		w.out.wrote(b, n)
		w.s.roomLocked()
		w.s.mu.Unlock()
		switch late := errors.Is(err, os.ErrDeadlineExceeded); {
		case late && n > 0: // slow, not dead; a TLS connection does not survive this, and says so next time
		case late:
			return fmt.Errorf("%w for %v (see Options.WriteTimeout)", ErrWriteTimeout, timeout)
		case err != nil:
			return err
		}
	}
	return nil
}

// writtenLocked deals with a batch that has gone out. mu must be held.
func (w *wire) writtenLocked(b batch) {
	b.buf.free()
	w.s.roomLocked()
}

// writeFailed gives the outbox up. A peer that takes nothing has lost its socket. A connection that is broken
// may still hold the peer's last words, perhaps its Close: reading goes on to the end, which then tells the
// error.
func (w *wire) writeFailed(b batch, err error) {
	w.s.mu.Lock()
	b.buf.free()
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

// idleLocked ends a turn of writing. mu must be held; it is released.
func (w *wire) idleLocked() {
	w.out.writing = false
	w.out.takenBy = time.Time{}
	w.dropOutLocked()
	s := w.s
	s.roomLocked()
	said := w.saidCloseLocked()
	over := said && s.is(gotClose|lost)
	if said && s.fate == nil && w.closeBy == 0 {
		// Only now has the Close left: a slow reader gets the time it needs for what is before it.
		w.limitLocked(s.opts.CloseTimeout)
	}
	s.mu.Unlock()
	if over {
		w.shut()
	}
}

// saidCloseLocked says whether our Close is on its way, and not held back by a gate. mu must be held.
func (w *wire) saidCloseLocked() bool {
	return w.s.is(sentClose) && !(w.out != nil && w.out.gatedClose)
}

func (w *wire) gatedLocked() bool { return w.out != nil && w.out.gated }

func (w *wire) holdLocked() bool {
	o := w.outLocked()
	first := !o.gated
	o.gated = true
	return first
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
	closing = w.out.dropGated()
	w.dropOutLocked()
	return closing
}

// shut tells the peer that nothing more will come. Where that cannot be said it cuts the connection.
func (w *wire) shut() { w.conn.CloseWrite() }
