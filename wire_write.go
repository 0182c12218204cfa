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
	return w.sendAndUnlock(&m)
}

// sendLocked sends m as it is. mu must be held; it is released.
func (w *wire) sendAndUnlock(m *outgoing) error {
	if err := w.s.admitLocked(m); err != nil {
		w.transmitAndUnlock() // what an Overflow has queued
		return sendResult(err)
	}
	w.queueLocked(m, m.data, false)
	w.transmitAndUnlock()
	return nil
}

// queueLocked puts a message, or a piece of one, into the outbox. body is its payload as it goes out. mu must
// be held.
func (w *wire) queueLocked(m *outgoing, body []byte, compressed bool) {
	if m.claims {
		w.s.status |= streamingOut
		return
	}
	w.s.counter.countSentLocked(m)
	if w.s.is(owned) && !m.ungated {
		w.s.holdOutputDuringCommitLocked()
	}
	h := w.header(frame.Continuation)
	h.Fin = m.last
	if m.first {
		h.Opcode, h.RSV1 = opcodeOf(m.kind), compressed
	}
	switch {
	case m.stream:
		w.outboxLocked().add(h, body, len(m.data))
		w.streamingLocked(!m.last)
		if m.last {
			w.s.status &^= uncompressed
		}
	case w.s.is(streamingOut):
		w.outboxLocked().addAfterStream(h, body)
	case m.prepared != nil && !w.client && !compressed:
		w.outboxLocked().addShared(m.prepared.plain(), len(m.data))
	default:
		w.outboxLocked().add(h, body, len(m.data))
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
	w.outboxLocked().releaseAfterStream()
	w.s.notifyRoomLocked()
}

func (w *wire) closeLocked(c closeFrame) {
	payload := frame.AppendClosePayload(nil, uint16(c.code), c.reason)
	w.outboxLocked().add(w.header(frame.Close), payload, 0)
	if behind := w.out.gated; behind != nil {
		behind.closing = true
	}
	if w.s.is(gotClose) && w.s.is(manualClose|hosted) { // the second half of a half-open close, or one that waited for an object
		w.setPeerDeadlineLocked(w.s.opts.CloseTimeout)
	}
}

func (w *wire) pingLocked(id uint64) {
	var payload [8]byte
	binary.BigEndian.PutUint64(payload[:], id)
	w.outboxLocked().addControl(w.header(frame.Ping), payload[:])
}

var outboxes = sync.Pool{New: func() any { return newOutbox() }}

// An outbox has one owner: a wire, a poller, which keeps a spare one, or the pool. It is moved from one to the other and never
// shared. A wire gets it here, and loses it in releaseOutboxLocked.

// outboxLocked returns the outbox, to send something. mu must be held.
func (w *wire) outboxLocked() *outbox {
	if w.out == nil {
		w.out = pooledOutbox()
	}
	return w.out
}

// pooledOutbox is not inlined so that outboxLocked can be.
//
//go:noinline
func pooledOutbox() *outbox {
	o := outboxes.Get().(*outbox)
	o.acquired()
	return o
}

// takeSpareLocked gives w the spare outbox before a listener is called that will probably send something. It stays until flushAndUnlock, at
// the end of the turn, so that none has to be looked for. spare may be nil. mu must be held.
func (w *wire) takeSpareLocked(spare *any) {
	if w.out != nil || spare == nil {
		return
	}
	if o, ok := (*spare).(*outbox); ok {
		*spare = nil
		o.acquired()
		o.keepForTurn = true
		w.out = o
	}
}

// releaseOutboxLocked takes the outbox away from w if nothing is left in it. It becomes the spare one if there is none, or else goes to the
// pool. spare may be nil. mu must be held.
func (w *wire) releaseOutboxLocked(spare *any) {
	o := w.out
	if !o.unused() {
		return
	}
	w.out = nil
	o.released()
	if spare != nil && *spare == nil {
		*spare = o
		return
	}
	outboxes.Put(o)
}

// transmit writes what is in the outbox, unless somebody does already, as far as that goes without blocking.
func (w *wire) transmit() {
	w.s.mu.Lock()
	w.transmitAndUnlock()
}

// transmitAndUnlock is transmit for those who hold mu; it is released. While more is about to be handled, in this batch of
// frames or of events, the write is left to the end of that.
func (w *wire) transmitAndUnlock() {
	switch o := w.out; {
	case o == nil || w.s.is(corked) || o.flushPending || !o.needsWriter(): // nothing to do, or others will
	case w.conn.DeferWrite():
		o.flushPending = true
	default:
		w.writeAndUnlock(nil)
		return
	}
	w.s.mu.Unlock()
}

// Flush implements [park.Handler].
func (w *wire) Flush() {
	w.s.mu.Lock()
	w.flushAndUnlock(nil)
}

// flushAndUnlock writes what has had to wait for the end of a turn, or of a batch. spare is as in releaseOutboxLocked. mu must be held; it is
// released.
func (w *wire) flushAndUnlock(spare *any) {
	w.s.status &^= corked
	o := w.out
	if o == nil {
		w.s.mu.Unlock()
		if spare != nil && *spare == nil {
			*spare = outboxes.Get()
		}
		return
	}
	o.flushPending, o.keepForTurn = false, false
	if o.needsWriter() {
		w.writeAndUnlock(spare)
		return
	}
	w.releaseOutboxLocked(spare)
	w.s.mu.Unlock()
}

// writeIfReadyAndUnlock empties the outbox if somebody ought to. mu must be held; it is released.
func (w *wire) writeIfReadyAndUnlock() {
	if w.out != nil && w.out.needsWriter() {
		w.writeAndUnlock(nil)
		return
	}
	w.s.mu.Unlock()
}

// Writable implements [park.Handler]. It goes on writing, whatever the connection's turn does meanwhile.
func (w *wire) Writable() {
	w.s.mu.Lock()
	if w.out != nil {
		w.out.blocked = false
		w.out.writable = w.out.writing // tell whoever is about to give up
	}
	w.writeIfReadyAndUnlock()
}

// writeAndUnlock empties the outbox. What the kernel does not take waits for the connection to say that there is room, or is left to a
// goroutine that lives until the outbox is empty. spare is as in releaseOutboxLocked. mu must be held; it is released.
func (w *wire) writeAndUnlock(spare *any) {
	o := w.out
	o.writing = true
	for !o.empty() {
		p := o.next()
		o.writable = false
		w.s.mu.Unlock()
		n, err := w.conn.TryWrite(p)
		w.s.mu.Lock()
		o.wrote(n)
		if n > 0 && (spare == nil || o.writeDeadline != 0) {
			w.noteSentLocked(o.writeDeadline != 0)
		}
		switch {
		case err == nil:
		case err != park.ErrWouldBlock:
			w.failWriteAndUnlock(err)
			return
		case o.writable: // again
		case !w.conn.NotifiesWritable():
			o.trim()
			w.s.mu.Unlock()
			go w.writeBlocking()
			return
		default:
			w.blockAndUnlock(n)
			return
		}
	}
	w.endWriteAndUnlock(spare)
}

// blockAndUnlock leaves what is in front until the connection says that there is room. n bytes have just been taken. mu must be held;
// it is released.
func (w *wire) blockAndUnlock(n int) {
	o, timeout := w.out, w.s.opts.WriteTimeout
	o.blocked, o.writing = true, false
	o.trim()
	w.s.notifyRoomLocked()
	switch {
	case timeout <= 0:
	case n > 0 || o.writeDeadline == 0:
		o.writeDeadline = nowMillis().after(timeout)
		w.setTimerLocked(timeout)
	default:
		left := o.writeDeadline.sub(nowMillis())
		if left <= 0 {
			w.failWriteAndUnlock(lateError(timeout))
			return
		}
		w.setTimerLocked(left)
	}
	w.s.mu.Unlock()
}

func lateError(timeout time.Duration) error {
	return fmt.Errorf("%w for %v (see Options.WriteTimeout)", ErrWriteTimeout, timeout)
}

// writeBlocking writes what is in front and everything after it, waiting for the peer as long as it makes progress.
func (w *wire) writeBlocking() {
	conn := w.conn.BlockingConn()
	w.s.mu.Lock()
	w.out.draining = true
	if timeout := w.s.opts.WriteTimeout; timeout > 0 {
		w.setTimerLocked(timeout)
	}
	for !w.out.empty() {
		if err := w.writeNextBlockingLocked(conn); err != nil {
			w.failWriteAndUnlock(err)
			return
		}
	}
	_ = conn.SetWriteDeadline(time.Time{}) // or it would fail a write of much later
	w.endWriteAndUnlock(nil)
}

// drainGrace is how much later than its deadline a write is given up that has not returned. The deadlines of some connections do
// nothing; where they work, Write has returned by then and has told whether there was progress.
const drainGrace = time.Second

// drainIsLateLocked reports whether drain is in a write that has taken too long, and gives the socket up then. Otherwise it has the timer
// look again. mu must be held.
func (w *wire) drainIsLateLocked() bool {
	o := w.out
	if o == nil || !o.draining || o.writeDeadline == 0 {
		return false
	}
	left := o.writeDeadline.sub(nowMillis())
	switch {
	case left > 0:
	case !o.overdue:
		o.overdue = true
		left = drainGrace
		o.writeDeadline = nowMillis().after(left)
	default:
		err := lateError(w.s.opts.WriteTimeout)
		o.fail(err)
		w.s.loseLocked(err)
		w.s.status |= lost // also if it has ended already, half open
		return true
	}
	w.setTimerLocked(left)
	return false
}

// writeChunk is how much is written under one deadline. It is small, because a TLS connection that misses its deadline
// is lost even if it was making progress, and a connection without deadlines does not tell its progress before.
const writeChunk = 16 << 10

// waitedWrite is from when on a write counts as one that had to wait for the peer to make room.
const waitedWrite = 2 * time.Millisecond

// writeNextBlockingLocked writes what is next. mu must be held; it is released meanwhile.
func (w *wire) writeNextBlockingLocked(conn net.Conn) error {
	timeout := w.s.opts.WriteTimeout
	for p := w.out.next(); len(p) > 0; p = w.out.front.unwritten() {
		if w.out.overdue = false; timeout > 0 {
			w.out.writeDeadline = nowMillis().after(timeout)
		}
		w.s.mu.Unlock()
		if timeout > 0 {
			_ = conn.SetWriteDeadline(time.Now().Add(timeout)) // if that does not work, tick ends the write
		}
		began := nowMillis()
		n, err := conn.Write(p[:min(len(p), writeChunk)])
		waited := nowMillis().sub(began) >= waitedWrite
		w.s.mu.Lock()
		w.out.wrote(n)
		if n > 0 {
			w.noteSentLocked(waited)
		}
		w.s.notifyRoomLocked()
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

// failWriteAndUnlock gives the outbox up. A peer that takes nothing has lost its socket. A connection that is broken
// may still hold the peer's last words, perhaps its Close: reading goes on to the end, which then tells the
// error. mu must be held; it is released.
func (w *wire) failWriteAndUnlock(err error) {
	w.out.writing, w.out.draining = false, false
	w.out.fail(err)
	switch late := errors.Is(err, ErrWriteTimeout); {
	case late && !w.s.is(ended):
		w.s.loseLocked(err)
	case late: // it has ended already: tick cuts the connection, which may be half open
		w.s.status |= lost
		w.setTimerLocked(0)
	default:
		w.s.status |= lost
		w.setPeerDeadlineLocked(readAfterWriteError)
	}
	w.endWriteAndUnlock(nil)
}

// readAfterWriteError is how long a connection that cannot be written any more may still be read.
const readAfterWriteError = time.Second

// endWriteAndUnlock ends a turn of writing. spare is as in releaseOutboxLocked. mu must be held; it is released.
func (w *wire) endWriteAndUnlock(spare *any) {
	w.out.writing, w.out.draining = false, false
	w.out.writeDeadline = 0
	w.releaseOutboxLocked(spare)
	w.s.notifyRoomLocked()
	if w.closeSentLocked() {
		w.closeSentAndUnlock()
	} else {
		w.s.mu.Unlock()
	}
}

// closeSentAndUnlock goes on after our Close has left. mu must be held; it is released.
func (w *wire) closeSentAndUnlock() {
	s := w.s
	over := s.is(gotClose | lost)
	if _, limited := w.peerTimeLeftLocked(); !limited && !s.is(ended) {
		// Only now: a slow reader gets the time it needs for what is before it.
		w.setPeerDeadlineLocked(s.opts.CloseTimeout)
	}
	s.mu.Unlock()
	if over {
		w.closeWriteSide()
	}
}

// closeSentLocked says whether our Close is on its way, and not held back by a gate. mu must be held.
func (w *wire) closeSentLocked() bool {
	return w.s.is(sentClose) && !(w.gatedLocked() && w.out.gated.closing)
}

func (w *wire) gatedLocked() bool { return w.out != nil && w.out.gated != nil }

func (w *wire) holdOutputLocked() bool {
	if w.gatedLocked() {
		return false
	}
	w.outboxLocked().gated = new(gatedFrames)
	return true
}

func (w *wire) releaseOutputLocked() {
	if w.gatedLocked() {
		w.out.releaseGated()
		w.releaseOutboxLocked(nil)
	}
}

func (w *wire) dropOutputLocked() (closing bool) {
	if !w.gatedLocked() {
		return false
	}
	closing = w.out.dropGated()
	w.releaseOutboxLocked(nil)
	return closing
}
