package edgews

import "github.com/edgews/edgews/internal/frame"

// directWriteFrom is the size in bytes from which a message is written from the memory of the caller of Send or Write, if nothing waits before
// it. Smaller ones are copied to the outbox, where several share a system call, which costs as much as copying about this many bytes.
const directWriteFrom = 16 << 10

// mayWriteDirectlyLocked reports whether writeDirectlyAndUnlock may be called. mu must be held.
func (w *wire) mayWriteDirectlyLocked() bool {
	o := w.outboxLocked()
	return o.Empty() && !o.Writing && !o.Broken && w.conn.OnLoop()
}

// writeDirectlyAndUnlock writes a whole message of a server without copying it. What the kernel has no room for goes to the front of the outbox.
// mu is not locked during the write: meanwhile other goroutines may add frames to the outbox. mu must be held; it is released.
func (w *wire) writeDirectlyAndUnlock(kind Kind, p []byte) {
	s, o := w.s, w.out
	var room [frame.MaxHeader]byte
	header := room[:frame.PutHeader(&room, opcodeOf(kind), len(p))]
	o.BeginDirect(len(p), len(header)+len(p))
	o.Writable = false
	s.mu.Unlock()
	n, err := w.conn.TryWriteGathered(header, p)
	s.mu.Lock()
	s.fellLocked(o.EndDirect(header, p, n))
	if n > 0 {
		w.noteSentLocked(false)
	}
	w.wroteAndUnlock(n, err)
}
