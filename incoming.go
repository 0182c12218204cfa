package edgews

import (
	"sync"

	"github.com/edgews/edgews/internal/buf"
	"github.com/edgews/edgews/internal/frame"
)

// incoming is a message that has not arrived as a whole, or cannot be delivered yet. Owned by the connection's turn.
type incoming struct {
	decoder  frame.Decoder
	kind     Kind        // of the message
	deflated bool        // … and whether it is compressed
	streamed bool        // … and whether pieces of it are in the inbox already
	message  *buf.Buffer // … and what is there of it
	unwanted *item       // a message that waits for a listener
	packed   bool        // … which is complete, compressed, and has to wait
	tried    int64       // … and which has been found to inflate to more than so many bytes
	claim    *claim      // what it has to wait for; nil: the application
	rest     *buf.Buffer // bytes that were read and wait behind what halted us
	pending  *pendingEnd
}

func (in *incoming) idle() bool {
	return in.message == nil && in.unwanted == nil && in.rest == nil && in.pending == nil && in.decoder.Idle()
}

var incomings = sync.Pool{New: func() any { return new(incoming) }}

// isStreamed reports whether pieces of the message are in the inbox already.
func (w *wire) isStreamed() bool { return w.incoming != nil && w.streamed }

// receiveUpTo makes w.incoming ready for messages of so many bytes.
func (w *wire) receiveUpTo(limit int64) {
	if w.incoming == nil {
		w.incoming = incomings.Get().(*incoming)
		w.decoder.Init(frame.Config{Masked: !w.client, Compressed: w.inflater != nil, Limit: limit})
	}
}

// settle gives w.incoming back if it is not needed.
func (w *wire) settle() {
	if in := w.incoming; in.idle() {
		w.incoming = nil
		*in = incoming{}
		incomings.Put(in)
	}
}

// early keeps what came behind the handshake.
func (w *wire) early(p []byte, limit int64) {
	w.receiveUpTo(limit)
	w.rest, w.halted = buf.Copy(p), true
}

// haltLocked stops reading until the application has done something. It returns false, for those who go on reading. mu must
// be held.
func (w *wire) haltLocked() bool {
	w.halted = true
	w.s.status |= paused
	w.heard = 0
	return false
}

// halt is haltLocked for those who do not hold mu.
func (w *wire) halt() bool {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	return w.haltLocked()
}

// stirLocked is told that the application has done something.
func (w *wire) stirLocked() {
	if w.s.is(paused) {
		w.s.status &^= paused
		w.conn.Wake()
	}
}

// retry deals with what has had to wait.
func (w *wire) retry() bool {
	w.halted = false
	if w.incoming == nil {
		return w.hasRoom()
	}
	switch it := w.unwanted; {
	case w.pending != nil:
		return w.retryEnd()
	case it != nil:
		w.unwanted = nil
		if !w.offer(*it) {
			return false
		}
	case w.packed:
		if !w.unpack() {
			return false
		}
	case w.message != nil && len(w.message.B) > inboxLimit:
		if !w.stream() {
			return false
		}
	default:
		if !w.hasRoom() {
			return false
		}
	}
	rest := w.rest
	if rest == nil {
		return true
	}
	w.rest = nil
	defer rest.Free()
	return w.feed(rest.B, nil)
}
