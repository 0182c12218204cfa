package edgews

import "github.com/edgews/edgews/internal/park"

// transmitInAndUnlock is transmitAndUnlock, except that it leaves the write to b, which may be nil, if b takes it. mu must be held; it is
// released.
func (w *wire) transmitInAndUnlock(b *park.Batch) {
	switch {
	case !w.needsWriterLocked() || w.s.is(corked) || w.outboxLocked().FlushPending: // nothing to write now, or not here
	case w.conn.DeferWrite():
		w.out.FlushPending = true
	case b == nil || !w.addToBatchLocked(b):
		w.writeAndUnlock(nil)
		return
	}
	w.s.mu.Unlock()
}

// Flush implements [park.Handler].
func (w *wire) Flush(b *park.Batch) {
	w.s.mu.Lock()
	switch {
	case b == nil:
	case w.s.observed != nil: // the Observer may block, and the batch must not wait for it
		w.s.mu.Unlock()
		b.Write()
		w.s.mu.Lock()
	case w.out != nil && w.out.NeedsWriter() && w.addToBatchLocked(b):
		w.s.facts &^= corked
		w.out.FlushPending, w.out.KeepForTurn = false, false
		w.s.mu.Unlock()
		return
	}
	w.flushAndUnlock(nil)
}

// addToBatchLocked begins to write the outbox, as part of b, unless it returns false. From then on Writing is set, so that other goroutines only
// add frames, until Wrote is called. mu must be held.
func (w *wire) addToBatchLocked(b *park.Batch) bool {
	o := w.out
	if w.s.deferred != nil || !b.Add(&w.conn, w, o.Next()) {
		return false
	}
	o.Writing, o.Writable = true, false
	return true
}

// Wrote implements [park.BatchWriter]. It is the end of the write that addToBatchLocked has begun: it calls no
// Observer, since the sockets of those are not written in batches.
func (w *wire) Wrote(n int, err error, now uint32) {
	w.s.mu.Lock()
	o := w.out
	w.s.fellLocked(o.Wrote(n))
	if n > 0 {
		w.notedSentLocked(monoMillis(now), o.WriteDeadline != 0)
	}
	w.wroteAndUnlock(n, err)
}
