package edgews

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/edgews/edgews/internal/frame"
	"github.com/edgews/edgews/internal/outbox"
	"github.com/edgews/edgews/internal/park"
)

// send queues m, or returns the reason why not. Compression runs without mu. mu must not be held.
func (w *wire) send(m outgoing) error {
	if w.compresses(&m) {
		return sendResult(w.sendCompressed(m))
	}
	w.s.mu.Lock()
	return w.sendAndUnlock(&m)
}

// sendAndUnlock queues m without compressing it, and writes the outbox. mu must be held; it is released.
func (w *wire) sendAndUnlock(m *outgoing) error {
	if err := w.s.admitLocked(m); err != nil {
		w.transmitAndUnlock() // OverflowClose may have queued a Close frame
		return sendResult(err)
	}
	w.s.sendAdmittedLocked(m, m.data, false)
	w.transmitInAndUnlock(m.batch)
	return nil
}

// sendObservedAndUnlock is the rest of Socket.sendPlain for a socket with an Observer. mu must be held; it is released.
func (w *wire) sendObservedAndUnlock(kind Kind, p []byte) {
	s, o, out := w.s, w.s.observed, w.outboxLocked()
	if s.isSlowLocked(out.Size) {
		s.observeQueueLocked(out.Size)
	}
	s.counter.countWholeSentLocked(len(p))
	out.AddMessage(opcodeOf(kind), p)
	m := MessageObservation{
		Socket: s, Direction: Outbound, Kind: kind, Bytes: len(p), WireBytes: frame.Size(len(p), false), Queued: out.Payload,
	}
	direct := o.telling.beginOne()
	if !direct {
		s.observeLocked(socketEntry{direction: Outbound, kind: kind, bytes: m.Bytes, wire: m.WireBytes, queued: m.Queued})
	}
	if s.is(corked) {
		s.mu.Unlock()
	} else {
		w.transmitAndUnlock()
	}
	if direct {
		s.tellMessage(o, &m)
	} else {
		s.tell()
	}
}

// queueLocked puts the frame of p into the outbox. mu must be held.
func (w *wire) queueLocked(p outgoingPiece) {
	if p.prepared != nil && !p.compressed && !w.client {
		w.outboxLocked().AddShared(p.prepared.plain(), p.payload)
		return
	}
	h := w.header(frame.Continuation)
	h.Fin = p.last
	if p.first {
		h.Opcode, h.RSV1 = opcodeOf(p.kind), p.compressed
	}
	w.outboxLocked().Add(h, p.body, p.payload)
}

// opcodeOf returns the opcode of messages of kind k, which has the same number.
func opcodeOf(k Kind) frame.Opcode { return frame.Opcode(k) }

// closeLocked queues a Close frame. mu must be held.
func (w *wire) closeLocked(c closeFrame) {
	payload := frame.AppendClosePayload(nil, uint16(c.code), c.reason)
	w.outboxLocked().Add(w.header(frame.Close), payload, 0)
	if w.s.is(gotClose) && w.s.is(manualClose|hosted) { // the socket was half open, or its object has answered the peer's Close frame
		w.setPeerDeadlineLocked(w.s.opts.CloseTimeout)
	}
}

// pingLocked queues a ping whose payload is id. mu must be held.
func (w *wire) pingLocked(id uint64) {
	var payload [8]byte
	binary.BigEndian.PutUint64(payload[:], id)
	w.outboxLocked().AddControl(w.header(frame.Ping), payload[:])
}

// An outbox has one owner at a time: a wire, a poller, which keeps a spare one between turns, or the pool of its package. A wire gets its
// outbox from outboxLocked or takeSpareLocked and gives it up in releaseOutboxLocked.

// outboxLocked returns the wire's outbox. It takes one from the pool if the wire has none. mu must be held.
func (w *wire) outboxLocked() *outbox.Outbox {
	if w.out == nil {
		w.out = outbox.Get()
	}
	return w.out
}

// takeSpareLocked gives w the poller's spare outbox before a call of a listener, which will probably send something. w keeps it until
// flushAndUnlock at the end of the turn, so that no message of the turn needs the pool. spare points to the poller's spare outbox, see
// [park.Handler], and may be nil. mu must be held.
func (w *wire) takeSpareLocked(spare *any) {
	if w.out != nil || spare == nil {
		return
	}
	if o, ok := (*spare).(*outbox.Outbox); ok {
		*spare = nil
		o.Acquired()
		o.KeepForTurn = true
		w.out = o
	}
}

// releaseOutboxLocked takes the outbox from w if it is unused. The outbox becomes the poller's spare one if the poller has none, and
// otherwise returns to the pool. spare points to the poller's spare outbox and may be nil. mu must be held.
func (w *wire) releaseOutboxLocked(spare *any) {
	o := w.out
	if !o.Unused() {
		return
	}
	w.out = nil
	o.Released()
	if spare != nil && *spare == nil {
		*spare = o
		return
	}
	outbox.Put(o)
}

// transmit writes the outbox without blocking, unless another goroutine is writing it or the write is deferred.
func (w *wire) transmit() {
	w.s.mu.Lock()
	w.transmitAndUnlock()
}

// transmitAndUnlock is transmit for callers that hold mu. While the turn has more frames to handle, or the poller more events, the write is
// deferred until they have been handled. mu must be held; it is released.
func (w *wire) transmitAndUnlock() {
	switch {
	case !w.needsWriterLocked() || w.s.is(corked) || w.outboxLocked().FlushPending: // nothing to write now, or not here
	case w.conn.DeferWrite():
		w.out.FlushPending = true
	default:
		w.writeAndUnlock(nil)
		return
	}
	w.s.mu.Unlock()
}

// needsWriterLocked reports whether a goroutine has to begin to write: the outbox, or what is deferred and need not wait any more. mu must
// be held.
func (w *wire) needsWriterLocked() bool {
	if o := w.out; o != nil && (!o.Empty() || o.Writing) {
		return o.NeedsWriter()
	}
	return w.s.deferred != nil && w.s.deferred.due() != nil
}

// flushAndUnlock writes what has been deferred to the end of a turn or of a poller's events. spare is as in releaseOutboxLocked. mu must be
// held; it is released.
func (w *wire) flushAndUnlock(spare *any) {
	w.s.facts &^= corked
	needsWriter := w.needsWriterLocked()
	if w.out == nil && !needsWriter {
		w.s.mu.Unlock()
		if spare != nil && *spare == nil {
			*spare = outbox.Spare()
		}
		return
	}
	if o := w.out; o != nil {
		o.FlushPending, o.KeepForTurn = false, false
	}
	if needsWriter {
		w.writeAndUnlock(spare)
		return
	}
	w.releaseOutboxLocked(spare)
	w.s.mu.Unlock()
}

// writeIfReadyAndUnlock writes the outbox if it needs a writer. mu must be held; it is released.
func (w *wire) writeIfReadyAndUnlock() {
	if w.needsWriterLocked() {
		w.writeAndUnlock(nil)
		return
	}
	w.s.mu.Unlock()
}

// Writable implements [park.Handler]. It continues writing and does not wait for the connection's turn.
func (w *wire) Writable() {
	w.s.mu.Lock()
	if w.out != nil {
		w.out.Blocked = false
		w.out.Writable = w.out.Writing // the writing goroutine tries again
	}
	w.writeIfReadyAndUnlock()
}

// writeAndUnlock writes the outbox until it is empty or the kernel has no room. The rest is written by Writable when there is room or, on a
// connection that does not report this, by writeBlocking in a goroutine of its own. No other goroutine may be writing. mu is not locked
// during a write. spare is as in releaseOutboxLocked; only the connection's turn has one. mu must be held; it is released.
func (w *wire) writeAndUnlock(spare *any) {
	s, o := w.s, w.outboxLocked()
	o.Writing = true
	for w.refillLocked(); !o.Empty(); w.refillLocked() {
		p := o.Next()
		o.Writable = false
		s.mu.Unlock()
		var n int
		var err error
		if spare != nil {
			n, err = w.conn.TryWriteInTurn(p)
		} else {
			n, err = w.conn.TryWrite(p)
		}
		s.mu.Lock()
		s.fellLocked(o.Wrote(n))
		if n > 0 && (spare == nil || o.WriteDeadline != 0) {
			w.noteSentLocked(o.WriteDeadline != 0)
		}
		switch {
		case err == nil:
		case err != park.ErrWouldBlock:
			w.failWriteAndUnlock(err)
			return
		case o.Writable: // Writable has run since TryWrite: try again
		case !w.conn.NotifiesWritable():
			o.Trim()
			s.mu.Unlock()
			go w.writeBlocking()
			return
		default:
			w.blockAndUnlock(n)
			return
		}
	}
	w.endWriteAndUnlock(spare)
}

// wroteAndUnlock goes on after a write, which began outside writeAndUnlock, has returned n and err: it writes what is in the outbox by now, waits for room or
// fails. mu must be held; it is released.
func (w *wire) wroteAndUnlock(n int, err error) {
	switch {
	case err == nil, err == park.ErrWouldBlock && w.out.Writable: // Writable has run since the write: try again
		w.writeAndUnlock(nil)
	case err == park.ErrWouldBlock:
		w.blockAndUnlock(n)
	default:
		w.failWriteAndUnlock(err)
	}
}

// refillLimit is the size of the outbox, in bytes, up to which deferred messages are added when it is about to be written. What is in the
// outbox can no longer be replaced or dropped, and a system call for fewer bytes costs as much.
const refillLimit = 16 << 10

// refillLocked moves messages that are deferred, and need not wait any more, to the outbox, which is about to be written. mu must be held;
// it is released meanwhile.
func (w *wire) refillLocked() {
	if w.s.deferred != nil { // short enough to be inlined
		w.refillDeferredLocked()
	}
}

// refillDeferredLocked is refillLocked. mu must be held; it is released meanwhile.
func (w *wire) refillDeferredLocked() {
	for w.s.deferred != nil && w.out.Size < refillLimit {
		p := w.s.deferred.due()
		switch {
		case p == nil:
			return
		case p.compress:
			w.s.mu.Unlock()
			w.compressDeferred()
			w.s.mu.Lock()
		default:
			w.s.releaseLocked(p)
		}
		w.s.forgetDeferredLocked()
	}
}

// blockAndUnlock ends writing until Writable is called. n is the number of bytes that the last write has taken; if it is not 0, WriteTimeout
// starts again. mu must be held; it is released.
func (w *wire) blockAndUnlock(n int) {
	o, timeout := w.out, w.s.opts.WriteTimeout
	o.Blocked, o.Writing = true, false
	o.Trim()
	w.s.notifyRoomLocked()
	switch {
	case timeout <= 0:
	case n > 0 || o.WriteDeadline == 0:
		o.WriteDeadline = uint32(nowMillis().after(timeout))
		w.setTimerLocked(timeout)
	default:
		left := monoMillis(o.WriteDeadline).sub(nowMillis())
		if left <= 0 {
			w.failWriteAndUnlock(writeTimeoutError(timeout))
			return
		}
		w.setTimerLocked(left)
	}
	w.s.tellAndUnlock()
}

// writeTimeoutError returns the error for a peer that has taken nothing for timeout.
func writeTimeoutError(timeout time.Duration) error {
	return fmt.Errorf("%w for %v (see Options.WriteTimeout)", ErrWriteTimeout, timeout)
}

// writeBlocking writes the outbox until it is empty. It runs in a goroutine of its own and waits for the peer as long as the peer takes
// something within each WriteTimeout.
func (w *wire) writeBlocking() {
	conn := w.conn.BlockingConn()
	w.s.mu.Lock()
	w.out.Draining = true
	if timeout := w.s.opts.WriteTimeout; timeout > 0 {
		w.setTimerLocked(timeout)
	}
	for w.refillLocked(); !w.out.Empty(); w.refillLocked() {
		if err := w.writeNextBlockingLocked(conn); err != nil {
			w.failWriteAndUnlock(err)
			return
		}
	}
	_ = conn.SetWriteDeadline(time.Time{}) // a write much later must not meet this deadline
	w.endWriteAndUnlock(nil)
}

// drainGrace is the time after the write deadline until which a blocking Write may return. Where SetWriteDeadline works, Write returns
// within it and says whether the peer has taken anything. On connections whose deadlines have no effect, the socket is given up.
const drainGrace = time.Second

// drainIsLateLocked reports whether writeBlocking is in a Write that has not returned within WriteTimeout and drainGrace, and then fails the
// outbox and ends the socket. Otherwise it sets the timer again. mu must be held.
func (w *wire) drainIsLateLocked() bool {
	o := w.out
	if o == nil || !o.Draining || o.WriteDeadline == 0 {
		return false
	}
	left := monoMillis(o.WriteDeadline).sub(nowMillis())
	switch {
	case left > 0:
	case !o.Overdue:
		o.Overdue = true
		left = drainGrace
		o.WriteDeadline = uint32(nowMillis().after(left))
	default:
		err := writeTimeoutError(w.s.opts.WriteTimeout)
		w.breakLocked(err)
		w.s.loseLocked(err)
		w.s.facts |= lost // loseLocked does not set it on a half-open socket, which has ended
		return true
	}
	w.setTimerLocked(left)
	return false
}

// writeChunk is the number of bytes that are written with one deadline. It is small for two reasons: a TLS connection that misses a
// deadline cannot be used again even if part of the bytes was sent, and without deadlines no progress is visible until Write returns.
const writeChunk = 16 << 10

// waitedWrite is the duration from which a Write counts as one that has waited for the peer to make room.
const waitedWrite = 2 * time.Millisecond

// writeNextBlockingLocked writes the next bundle of the outbox. mu must be held; it is released meanwhile.
func (w *wire) writeNextBlockingLocked(conn net.Conn) error {
	timeout := w.s.opts.WriteTimeout
	for p := w.out.Next(); len(p) > 0; p = w.out.Front() {
		if w.out.Overdue = false; timeout > 0 {
			w.out.WriteDeadline = uint32(nowMillis().after(timeout))
		}
		w.s.mu.Unlock()
		if timeout > 0 {
			_ = conn.SetWriteDeadline(time.Now().Add(timeout)) // if that fails, checkTimers ends the write
		}
		began := nowMillis()
		n, err := conn.Write(p[:min(len(p), writeChunk)])
		waited := nowMillis().sub(began) >= waitedWrite
		w.s.mu.Lock()
		w.s.fellLocked(w.out.Wrote(n))
		if n > 0 {
			w.noteSentLocked(waited)
		}
		w.s.notifyRoomLocked()
		switch late := errors.Is(err, os.ErrDeadlineExceeded); {
		case late && n > 0: // the peer is slow; a TLS connection fails at the next Write
		case late:
			return writeTimeoutError(timeout)
		case err != nil:
			return err
		}
	}
	return nil
}

// failWriteAndUnlock fails the outbox with err. If the peer has taken nothing for WriteTimeout, the socket ends now. After any other error,
// received bytes may still have to be read, perhaps with the peer's Close frame: reading continues for readAfterWriteError at most, and
// ReadEnded then ends the socket with err. mu must be held; it is released.
func (w *wire) failWriteAndUnlock(err error) {
	w.out.Writing, w.out.Draining = false, false
	w.breakLocked(err)
	switch late := errors.Is(err, ErrWriteTimeout); {
	case late && !w.s.hasEndedLocked():
		w.s.loseLocked(err)
	case late: // the socket has ended, and may be half open: checkTimers shuts the connection down
		w.s.facts |= lost
		w.setTimerLocked(0)
	default:
		w.s.facts |= lost
		w.setPeerDeadlineLocked(readAfterWriteError)
	}
	w.endWriteAndUnlock(nil)
}

// readAfterWriteError is the time for which a connection may still be read after a write has failed.
const readAfterWriteError = time.Second

// endWriteAndUnlock ends the writing that writeAndUnlock has begun. spare is as in releaseOutboxLocked. mu must be held; it is released.
func (w *wire) endWriteAndUnlock(spare *any) {
	s, o := w.s, w.out
	o.Writing, o.Draining, o.WriteDeadline = false, false, 0
	w.releaseOutboxLocked(spare)
	s.notifyRoomLocked()
	switch {
	case w.closeSentLocked():
		w.closeSentAndUnlock()
	case s.observed != nil: // tellAndUnlock is too long to be inlined
		s.tellQueuedAndUnlock()
	default:
		s.mu.Unlock()
	}
}

// closeSentAndUnlock continues the closing handshake after our Close frame has been written: it sets the peer's deadline, or closes our side
// of the connection if the peer's Close frame has arrived. mu must be held; it is released.
func (w *wire) closeSentAndUnlock() {
	s := w.s
	over := s.is(gotClose | lost)
	if _, limited := w.peerTimeLeftLocked(); !limited && !s.hasEndedLocked() {
		// CloseTimeout starts here, so that a slow reader has time for the data before the Close frame.
		w.setPeerDeadlineLocked(s.opts.CloseTimeout)
	}
	s.tellAndUnlock()
	if over {
		w.closeWriteSide()
	}
}

// closeSentLocked reports whether our Close frame has been queued and is not held back by an output gate. mu must be held.
func (w *wire) closeSentLocked() bool { return w.s.is(sentClose) && !w.s.isCloseHeldLocked() }

// flushedLocked reports whether everything has been written, and nothing is held back by an output gate. mu must be held.
func (w *wire) flushedLocked() bool {
	return (w.out == nil || w.out.Flushed()) && !w.s.isOutputHeldLocked()
}
