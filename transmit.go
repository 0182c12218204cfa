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
	if m.claims {
		w.s.status |= streamingOut
		return
	}
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
	if w.s.is(gotClose) && w.s.is(manualClose|hosted) { // the second half of a half-open close, or one that waited for an object
		w.limitLocked(w.s.opts.CloseTimeout)
	}
}

func (w *wire) pingLocked(id uint64) {
	var payload [8]byte
	binary.BigEndian.PutUint64(payload[:], id)
	w.outLocked().addControl(w.header(frame.Ping), payload[:])
}

var outboxes = sync.Pool{New: func() any { return newOutbox() }}

// An outbox has one owner: a wire, a poller, which keeps a spare one, or the pool. It is moved from one to the other and never
// shared. A wire gets it here, and loses it in dropOutLocked.

// outLocked returns the outbox, to send something. mu must be held.
func (w *wire) outLocked() *outbox {
	if w.out == nil {
		w.out = pooledOutbox()
	}
	return w.out
}

// pooledOutbox is not inlined so that outLocked can be.
//
//go:noinline
func pooledOutbox() *outbox {
	o := outboxes.Get().(*outbox)
	o.taken()
	return o
}

// borrowLocked gives w the spare outbox before a listener is called that will probably send something. It stays until flushLocked, at
// the end of the turn, so that none has to be looked for. spare may be nil. mu must be held.
func (w *wire) borrowLocked(spare *any) {
	if w.out != nil || spare == nil {
		return
	}
	if o, ok := (*spare).(*outbox); ok {
		*spare = nil
		o.taken()
		o.borrowed = true
		w.out = o
	}
}

// dropOutLocked takes the outbox away from w if nothing is left in it. It becomes the spare one if there is none, or else goes to the
// pool. spare may be nil. mu must be held.
func (w *wire) dropOutLocked(spare *any) {
	o := w.out
	if !o.idle() {
		return
	}
	w.out = nil
	o.dropped()
	if spare != nil && *spare == nil {
		*spare = o
		return
	}
	outboxes.Put(o)
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
	case w.conn.DeferWrite():
		o.deferred = true
	default:
		w.writeLocked(nil)
		return
	}
	w.s.mu.Unlock()
}

// Flush implements [park.Handler].
func (w *wire) Flush() {
	w.s.mu.Lock()
	w.flushLocked(nil)
}

// flushLocked writes what has had to wait for the end of a turn, or of a batch. spare is as in dropOutLocked. mu must be held; it is
// released.
func (w *wire) flushLocked(spare *any) {
	w.s.status &^= corked
	o := w.out
	if o == nil {
		w.s.mu.Unlock()
		if spare != nil && *spare == nil {
			*spare = outboxes.Get()
		}
		return
	}
	o.deferred, o.borrowed = false, false
	if o.ready() {
		w.writeLocked(spare)
		return
	}
	w.dropOutLocked(spare)
	w.s.mu.Unlock()
}

// writeIfReadyLocked empties the outbox if somebody ought to. mu must be held; it is released.
func (w *wire) writeIfReadyLocked() {
	if w.out != nil && w.out.ready() {
		w.writeLocked(nil)
		return
	}
	w.s.mu.Unlock()
}

// Writable implements [park.Handler]. It goes on writing, whatever the connection's turn does meanwhile.
func (w *wire) Writable() {
	w.s.mu.Lock()
	if w.out != nil {
		w.out.blocked = false
		w.out.roomy = w.out.writing // tell whoever is about to give up
	}
	w.writeIfReadyLocked()
}

// writeLocked empties the outbox. What the kernel does not take waits for the connection to say that there is room, or is left to a
// goroutine that lives until the outbox is empty. spare is as in dropOutLocked. mu must be held; it is released.
func (w *wire) writeLocked(spare *any) {
	o := w.out
	o.writing = true
	for !o.empty() {
		p := o.next()
		o.roomy = false
		w.s.mu.Unlock()
		n, err := w.conn.TryWrite(p)
		w.s.mu.Lock()
		o.wrote(n)
		if n > 0 {
			w.sentLocked(o.takenBy != 0)
		}
		switch {
		case err == nil:
		case err != park.ErrWouldBlock:
			w.failWriteLocked(err)
			return
		case o.roomy: // again
		case !w.conn.NotifiesWritable():
			o.trim()
			w.s.mu.Unlock()
			go w.drain()
			return
		default:
			w.blockLocked(n)
			return
		}
	}
	w.idleLocked(spare)
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
	conn := w.conn.BlockingConn()
	w.s.mu.Lock()
	w.out.draining = true
	if timeout := w.s.opts.WriteTimeout; timeout > 0 {
		w.armLocked(timeout)
	}
	for !w.out.empty() {
		if err := w.writeNextLocked(conn); err != nil {
			w.failWriteLocked(err)
			return
		}
	}
	_ = conn.SetWriteDeadline(time.Time{}) // or it would fail a write of much later
	w.idleLocked(nil)
}

// drainGrace is how much later than its deadline a write is given up that has not returned. The deadlines of some connections do
// nothing; where they work, Write has returned by then and has told whether there was progress.
const drainGrace = time.Second

// drainIsLateLocked reports whether drain is in a write that has taken too long, and gives the socket up then. Otherwise it has the timer
// look again. mu must be held.
func (w *wire) drainIsLateLocked() bool {
	o := w.out
	if o == nil || !o.draining || o.takenBy == 0 {
		return false
	}
	left := o.takenBy.sub(now())
	switch {
	case left > 0:
	case !o.overdue:
		o.overdue = true
		left = drainGrace
		o.takenBy = now().after(left)
	default:
		err := lateError(w.s.opts.WriteTimeout)
		o.fail(err)
		w.s.loseLocked(err)
		w.s.status |= lost // also if it has ended already, half open
		return true
	}
	w.armLocked(left)
	return false
}

// writeChunk is how much is written under one deadline. It is small, because a TLS connection that misses its deadline
// is lost even if it was making progress, and a connection without deadlines does not tell its progress before.
const writeChunk = 16 << 10

// waitedWrite is from when on a write counts as one that had to wait for the peer to make room.
const waitedWrite = 2 * time.Millisecond

// writeNextLocked writes what is next. mu must be held; it is released meanwhile.
func (w *wire) writeNextLocked(conn net.Conn) error {
	timeout := w.s.opts.WriteTimeout
	for p := w.out.next(); len(p) > 0; p = w.out.front.rest() {
		if w.out.overdue = false; timeout > 0 {
			w.out.takenBy = now().after(timeout)
		}
		w.s.mu.Unlock()
		if timeout > 0 {
			_ = conn.SetWriteDeadline(time.Now().Add(timeout)) // if that does not work, tick ends the write
		}
		began := now()
		n, err := conn.Write(p[:min(len(p), writeChunk)])
		waited := now().sub(began) >= waitedWrite
		w.s.mu.Lock()
		w.out.wrote(n)
		if n > 0 {
			w.sentLocked(waited)
		}
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
	w.out.writing, w.out.draining = false, false
	w.out.fail(err)
	switch late := errors.Is(err, ErrWriteTimeout); {
	case late && w.s.fate == nil:
		w.s.loseLocked(err)
	case late: // it has ended already: tick cuts the connection, which may be half open
		w.s.status |= lost
		w.armLocked(0)
	default:
		w.s.status |= lost
		w.limitLocked(lastWords)
	}
	w.idleLocked(nil)
}

// lastWords is how long a connection that cannot be written any more may still be read.
const lastWords = time.Second

// idleLocked ends a turn of writing. spare is as in dropOutLocked. mu must be held; it is released.
func (w *wire) idleLocked(spare *any) {
	w.out.writing, w.out.draining = false, false
	w.out.takenBy = 0
	w.dropOutLocked(spare)
	w.s.roomLocked()
	if w.closeLeftLocked() {
		w.saidCloseLocked()
	} else {
		w.s.mu.Unlock()
	}
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
		w.dropOutLocked(nil)
	}
}

func (w *wire) dropHeldLocked() (closing bool) {
	if !w.gatedLocked() {
		return false
	}
	closing = w.out.dropHeld()
	w.dropOutLocked(nil)
	return closing
}
