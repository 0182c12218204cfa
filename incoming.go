package edgews

import (
	"sync"

	"github.com/edgews/edgews/internal/frame"
)

// incoming is a message that has not arrived as a whole, or cannot be delivered yet. Owned by the connection's turn.
type incoming struct {
	decoder      frame.Decoder
	kind         Kind                // of the message
	deflated     bool                // … and whether it is compressed
	streamed     bool                // … and whether pieces of it are in the inbox already
	message      *buffer             // … and what is there of it
	undelivered  *item               // a message that waits for a listener
	inflateWaits bool                // … which is complete, compressed, and has to wait
	triedSize    int64               // … and which has been found to inflate to more than so many bytes
	inflateClaim *inflateReservation // what it has to wait for; nil: the application
	unparsed     *buffer             // bytes that were read and wait behind what halted us
	pending      *pendingEnd
}

func (in *incoming) idle() bool {
	return in.message == nil && in.undelivered == nil && in.unparsed == nil && in.pending == nil && in.decoder.Idle()
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

// releaseIncoming gives w.incoming back if it is not needed.
func (w *wire) releaseIncoming() {
	if in := w.incoming; in.idle() {
		w.incoming = nil
		*in = incoming{}
		incomings.Put(in)
	}
}

// keepEarly keeps what came behind the handshake.
func (w *wire) keepEarly(p []byte, limit int64) {
	w.receiveUpTo(limit)
	w.unparsed, w.readingPaused = copyOf(p), true
}

// pauseReadingLocked stops reading until the application has done something. It returns false, for those who go on reading. mu must
// be held.
func (w *wire) pauseReadingLocked() bool {
	w.readingPaused = true
	w.s.status |= readPaused
	w.lastReceived = 0
	return false
}

// pauseReading is pauseReadingLocked for those who do not hold mu.
func (w *wire) pauseReading() bool {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	return w.pauseReadingLocked()
}

// resumeReadingLocked is told that the application has done something.
func (w *wire) resumeReadingLocked() {
	if w.s.is(readPaused) {
		w.s.status &^= readPaused
		w.conn.Wake()
	}
}

// resume deals with what has had to wait.
func (w *wire) resume() bool {
	w.readingPaused = false
	if w.incoming == nil {
		return w.hasRoom()
	}
	switch it := w.undelivered; {
	case w.pending != nil:
		return w.resumeEnd()
	case it != nil:
		w.undelivered = nil
		if !w.redeliver(*it) {
			return false
		}
	case w.inflateWaits:
		if !w.inflate() {
			return false
		}
	case w.message != nil && len(w.message.b) > inboxLimit:
		if !w.streamPiece() {
			return false
		}
	default:
		if !w.hasRoom() {
			return false
		}
	}
	rest := w.unparsed
	if rest == nil {
		return true
	}
	w.unparsed = nil
	defer rest.free()
	return w.decode(rest.b, nil)
}
