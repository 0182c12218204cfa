package edgews

import (
	"sync"

	"github.com/edgews/edgews/internal/buf"
	"github.com/edgews/edgews/internal/deflate"
)

// deflater compresses what a socket sends. Its mutex is held from compressing a message until it is queued,
// because the history has to follow the order on the wire. It is taken before the socket's mu and never across
// I/O.
type deflater struct {
	mu       sync.Mutex
	settings compressionSettings // of what a prepared message is sent as
	z        deflate.Compressor
}

// compressionKind is what tells the compressed forms of one message apart, when none refers to an earlier message.
type compressionSettings struct {
	level, bits uint8 // of effort, and of the window
}

// forgetful inflates for all peers whose messages do not refer to earlier ones: without a history there is nothing to tell
// them apart.
var statelessInflater deflate.Decompressor

// newDeflation returns filters for both directions, as p says. client tells which of them is ours.
func newDeflateFilters(p deflate.Params, client bool, c *Compression) *filters {
	ours, theirs := p.ServerMaxWindowBits, p.ClientMaxWindowBits
	oursAlone, theirsAlone := p.ServerNoContextTakeover, p.ClientNoContextTakeover
	if client {
		ours, theirs, oursAlone, theirsAlone = theirs, ours, theirsAlone, oursAlone
	}
	together := new(struct { // they live and die together
		f filters
		d deflater
	})
	f, out := &together.f, &together.d
	bits := min(windowBits(ours), c.WindowBits)
	out.settings = compressionSettings{uint8(c.Level), uint8(bits)}
	out.z.Init(c.Level, bits, !oursAlone && !c.NoContextTakeover)
	f.deflater, f.inflater = out, &statelessInflater
	if !theirsAlone {
		f.inflater = new(deflate.Decompressor)
		f.inflater.Init(windowBits(theirs), true)
	}
	return f
}

// windowBits is what an unstated parameter means: RFC 7692 §7.1.2.
func windowBits(agreed int) int {
	if agreed == 0 {
		return 15
	}
	return agreed
}

// compressesLocked says whether m goes out compressed, if that makes it smaller. mu must be held; Choose, which is not ours,
// is left to send.
func (w *wire) compressesLocked(m *outgoing) bool {
	if w.deflater == nil || m.claims {
		return false
	}
	return m.stream && !w.s.is(uncompressed) || !m.stream && len(m.data) >= w.s.opts.Compression.Threshold
}

// compresses says the same with Choose.
func (w *wire) compresses(m *outgoing) bool {
	w.s.mu.Lock()
	c, may := w.s.opts.Compression, w.compressesLocked(m)
	w.s.mu.Unlock()
	if m.stream || !may {
		return may
	}
	return len(m.data) >= c.Threshold && (c.Choose == nil || c.Choose(m.kind, m.data))
}

// chooseStream decides whether the message of a NextWriter goes out compressed: by its first fragment, since no more of it is
// known, as if that were the whole.
func (s *Socket) chooseStream(kind Kind, first []byte) {
	s.mu.Lock()
	w, wired := s.link.(*wire)
	c, may := s.opts.Compression, wired && w.deflater != nil
	s.mu.Unlock()
	chosen := may && len(first) >= c.Threshold && (c.Choose == nil || c.Choose(kind, first))
	s.mu.Lock()
	defer s.mu.Unlock()
	if chosen {
		s.status &^= uncompressed
	} else {
		s.status |= uncompressed // also after a Respond in between
	}
}

// sendCompressed is send for a message that is worth compressing.
func (w *wire) sendCompressed(m outgoing) error {
	d := w.deflater
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := w.admit(&m); err != nil {
		return err
	}
	if m.stream {
		return w.sendCompressedPart(m)
	}
	body, scratch := w.compress(&m)
	defer scratch.Free()

	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	if err := w.s.admitLocked(&m); err != nil {
		return err
	}
	// What a NextWriter holds back must not become part of the history before its time.
	if len(body) >= len(m.data) || w.s.is(streamingOut) {
		w.queueLocked(&m, m.data, false)
		return nil
	}
	w.queueLocked(&m, body, true)
	d.z.Commit(m.data)
	return nil
}

// compress returns the compressed payload of m, and the buffer that holds it, if it is not the prepared one.
func (w *wire) compress(m *outgoing) ([]byte, *buf.Buffer) {
	if m.prepared != nil {
		return m.prepared.deflated(w.deflater.settings), nil
	}
	scratch := buf.Get(len(m.data)/2 + 64)
	scratch.B = w.deflater.z.AppendIn(scratch, scratch.B, m.data)
	return scratch.B, scratch
}

// sendPart sends a piece of a NextWriter's message.
func (w *wire) sendCompressedPart(m outgoing) error {
	scratch := buf.Get(len(m.data)/2 + 64)
	defer scratch.Free()
	scratch.B = w.deflater.z.AppendPart(scratch, scratch.B, m.data, m.last)
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	if err := w.s.writableLocked(); err != nil {
		return err
	}
	w.queueLocked(&m, scratch.B, true)
	return nil
}

func (w *wire) admit(m *outgoing) error {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	return w.s.admitLocked(m)
}

// limit is the largest message. A socket's options do not change any more once it has a connection.
func (w *wire) limit() int64 { return w.s.opts.MaxMessageSize }

// want returns the options in the terms of the negotiation, or nil if there is to be no compression.
func (c *Compression) want() *deflate.Want {
	if c.Disable {
		return nil
	}
	return &deflate.Want{
		NoContextTakeover:     c.NoContextTakeover,
		PeerNoContextTakeover: c.PeerNoContextTakeover,
		WindowBits:            c.WindowBits,
		PeerWindowBits:        c.PeerWindowBits,
	}
}
