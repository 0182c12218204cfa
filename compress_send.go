package edgews

import (
	"sync"

	"github.com/edgews/edgews/internal/buf"
	"github.com/edgews/edgews/internal/deflate"
)

// deflater compresses the messages that a socket sends. Its mutex is held from compressing a message until the message is queued, because
// the history has to follow the order on the wire. Lock order: deflater.mu > Socket.mu. It is never held during I/O.
type deflater struct {
	mu       sync.Mutex
	settings compressionSettings // with which Prepared messages are compressed for this socket
	z        deflate.Compressor
}

// compressionSettings determine the compressed form of a message that does not refer to earlier messages.
type compressionSettings struct {
	level uint8 // Compression.Level
	bits  uint8 // of the window
}

// statelessInflater inflates the messages of all peers that agreed to no context takeover: it keeps nothing between messages, so sockets
// can share it.
var statelessInflater deflate.Decompressor

// newDeflateFilters returns the filters of a connection for which p was agreed. client says which side is ours.
func newDeflateFilters(p deflate.Params, client bool, c *Compression) *filters {
	own, peer := p.Sides(client)
	together := new(struct { // one allocation for both
		f filters
		d deflater
	})
	f, out := &together.f, &together.d
	bits := min(own.WindowBits, c.WindowBits)
	out.settings = compressionSettings{uint8(c.Level), uint8(bits)}
	out.z.Init(c.Level, bits, !own.NoContextTakeover && !c.NoContextTakeover)
	f.deflater, f.inflater = out, &statelessInflater
	if !peer.NoContextTakeover {
		f.inflater = new(deflate.Decompressor)
		f.inflater.Init(peer.WindowBits, true)
	}
	return f
}

// compressesLocked reports whether m may be sent compressed. mu must be held, so Compression.Choose, a function of the user, is not
// called; compresses calls it.
func (w *wire) compressesLocked(m *outgoing) bool {
	if w.deflater == nil || m.claims {
		return false
	}
	return m.stream && !w.s.is(uncompressed) || !m.stream && len(m.data) >= w.s.opts.Compression.Threshold
}

// compresses is compressesLocked with Compression.Choose. mu must not be held.
func (w *wire) compresses(m *outgoing) bool {
	w.s.mu.Lock()
	c, may := w.s.opts.Compression, w.compressesLocked(m)
	w.s.mu.Unlock()
	if m.stream || !may {
		return may
	}
	return len(m.data) >= c.Threshold && (c.Choose == nil || c.Choose(m.kind, m.data))
}

// chooseStream decides whether the message of a NextWriter is sent compressed. Its first fragment is all that is known, and counts as if
// it were the whole message.
func (s *Socket) chooseStream(kind Kind, first []byte) {
	s.mu.Lock()
	w, wired := s.link.(*wire)
	c, may := s.opts.Compression, wired && w.deflater != nil
	s.mu.Unlock()
	chosen := may && len(first) >= c.Threshold && (c.Choose == nil || c.Choose(kind, first))
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.deferred; d != nil && d.unsettled > 0 { // they are compressed after this decision, and sent before the message
		chosen = false
	}
	if chosen {
		s.facts &^= uncompressed
	} else {
		s.facts |= uncompressed // also after a Respond in between
	}
}

// sendCompressed sends a message for which compresses is true. A message that compression does not make smaller is sent as it is.
func (w *wire) sendCompressed(m outgoing) error {
	if deferred, err := w.deferUncompressed(&m); deferred || err != nil {
		return err
	}
	d := w.deflater
	d.mu.Lock()
	defer d.mu.Unlock()
	if m.stream {
		return w.sendCompressedPartLocked(m)
	}
	body, scratch := w.compressLocked(&m)
	defer scratch.Free()

	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	if err := w.s.admitLocked(&m); err != nil {
		return err
	}
	// A message that waits behind a NextWriter's, or behind revocable ones, must not become part of the history before it is sent.
	m.compressLater = w.s.compressesLaterLocked(&m)
	if len(body) >= len(m.data) || w.s.is(streamingOut) || m.compressLater {
		w.s.sendAdmittedLocked(&m, m.data, false)
		return nil
	}
	w.s.sendAdmittedLocked(&m, body, true)
	d.z.Commit(m.data)
	return nil
}

// deferUncompressed returns why m is not admitted. It sends a message that has to wait and is compressed when it is released. For every
// other one it returns false.
func (w *wire) deferUncompressed(m *outgoing) (deferred bool, err error) {
	s := w.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.admitLocked(m); err != nil || m.stream {
		return false, err
	}
	if m.compressLater = s.compressesLaterLocked(m); m.compressLater {
		s.sendAdmittedLocked(m, m.data, false)
	}
	return m.compressLater, nil
}

// compressesLaterLocked reports whether m would be deferred, and be revocable or follow messages that are not compressed yet. Then it is
// compressed when it is released. mu must be held.
func (s *Socket) compressesLaterLocked(m *outgoing) bool {
	if d := s.deferred; d != nil && d.unsettled > 0 {
		return true
	}
	return s.isRevocableLocked(m) && !s.goesToLinkLocked(m)
}

// compressDeferred compresses the first deferred piece that is due, if it is to be compressed, and moves it to the outbox. Only the
// goroutine that writes calls it. mu must not be held.
func (w *wire) compressDeferred() {
	w.deflater.mu.Lock()
	defer w.deflater.mu.Unlock()
	p := w.beginCompressing()
	if p == nil {
		return
	}
	body, scratch := w.compressLocked(&outgoing{data: p.body, prepared: p.prepared})
	w.releaseCompressed(p, body)
	p.buf.Free()
	scratch.Free()
}

// beginCompressing returns the piece for compressDeferred, which can neither be replaced nor dropped any more, or nil if there is none.
func (w *wire) beginCompressing() *deferredPiece {
	s := w.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.deferred == nil {
		return nil
	}
	p := s.deferred.due()
	if p == nil || !p.compress {
		return nil
	}
	s.settleLocked(p)
	p.leaving = true
	return p
}

// releaseCompressed moves p to the outbox, in the form of body if that is smaller. It has no effect if p has left uncompressed meanwhile,
// before a Close, or has been discarded. deflater.mu must be held.
func (w *wire) releaseCompressed(p *deferredPiece, body []byte) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	if p.removed {
		return
	}
	as := p.outgoingPiece
	if len(body) < len(p.body) {
		as.body, as.compressed = body, true
		w.deflater.z.Commit(p.body)
	}
	w.s.releaseAsLocked(p, as)
}

// compressLocked returns the compressed payload of m and the buffer that holds it, which is nil for a Prepared message. deflater.mu must be
// held.
func (w *wire) compressLocked(m *outgoing) ([]byte, *buf.Buffer) {
	if m.prepared != nil {
		return m.prepared.deflated(w.deflater.settings), nil
	}
	scratch := buf.Get(len(m.data)/2 + 64)
	scratch.B = w.deflater.z.AppendIn(scratch, scratch.B, m.data)
	return scratch.B, scratch
}

// sendCompressedPartLocked sends a piece of a NextWriter's message. deflater.mu must be held.
func (w *wire) sendCompressedPartLocked(m outgoing) error {
	scratch := buf.Get(len(m.data)/2 + 64)
	defer scratch.Free()
	scratch.B = w.deflater.z.AppendPart(scratch, scratch.B, m.data, m.last)
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	if err := w.s.writableLocked(); err != nil {
		return err
	}
	w.s.sendAdmittedLocked(&m, scratch.B, true)
	return nil
}

// limit returns the largest message that is received, in bytes. It needs no lock: the options of a socket do not change once it has a
// connection.
func (w *wire) limit() int64 { return w.s.opts.MaxMessageSize }
