package deflate

import (
	"sync"

	"github.com/klauspost/compress/flate"
)

// statelessBelow is the size in bytes of a message from which a pooled writer beats flate.StatelessDeflate.
// Measured with 2 KiB of history (time and ratio):
//
//	 256 B  stateless 10.7 µs 0.336   level 1 12.3 µs 0.342   level 5 16.5 µs 0.318
//	1024 B            15.3 µs 0.250           16.9 µs 0.249           24.4 µs 0.235
//	4096 B            30.0 µs 0.225           27.2 µs 0.221           49.3 µs 0.207
//	  64 K           277   µs 0.223          214   µs 0.211          418   µs 0.197
//
// The writers also forget the history on a message of less than 128 bytes (storeFast in flate/deflate.go), so
// that small messages come out larger than they went in. StatelessDeflate allocates once, history and message
// together, when there is a history.
const statelessBelow = 4 << 10

// deflate appends the compressed form of msg, which may refer to hist, to dst. It ends with a sync flush. No
// distance exceeds 2^bits.
func deflate(dst, msg []byte, hist history, bits int) []byte {
	window := 1 << bits
	switch {
	case len(msg) < statelessBelow && len(msg) <= window/2:
		// Together they fit the window, so no distance can exceed it.
		return stateless(dst, msg, hist.last(window-len(msg)))
	case bits == maxBits || len(hist)+len(msg) <= window:
		return encode(&writers[0], newWriter, dst, msg, hist)
	default:
		// A writer that keeps to the window. Cutting the message into pieces that fit the window
		// together with their history would do too, but takes up to ten times as long and yields
		// twice as much: 4 KiB within 8 bits 268 µs 0.715 against 37 µs 0.282.
		return encode(&writers[bits-minBits+1], func(s *sink) *flate.Writer { return newWindowWriter(s, window) }, dst, msg, hist)
	}
}

// sink appends what is written to it.
type sink struct{ buf []byte }

func (s *sink) Write(p []byte) (int, error) {
	s.buf = append(s.buf, p...)
	return len(p), nil
}

// take returns what was written and lets go of it.
func (s *sink) take() []byte {
	buf := s.buf
	s.buf = nil
	return buf
}

var sinks = sync.Pool{New: func() any { return new(sink) }}

func stateless(dst, msg, hist []byte) []byte {
	s := sinks.Get().(*sink)
	defer sinks.Put(s)
	s.buf = dst
	must(flate.StatelessDeflate(s, msg, false, hist))
	return s.take()
}

// writer is a flate.Writer between two messages: 0.8 MB for level 1, 1.1 MB within a window.
type writer struct {
	flate *flate.Writer
	out   sink

	// flate keeps a reference to its dictionary, hence a copy: the history belongs to a connection.
	dict [maxHistory]byte
}

// writers are those for any window at 0, then those that keep to a window of 8 to 14 bits.
var writers [1 + maxBits - minBits]sync.Pool

func newWriter(s *sink) *flate.Writer {
	w, err := flate.NewWriter(s, flate.BestSpeed)
	must(err)
	return w
}

func newWindowWriter(s *sink, window int) *flate.Writer {
	w, err := flate.NewWriterWindow(s, window)
	must(err)
	return w
}

func encode(pool *sync.Pool, create func(*sink) *flate.Writer, dst, msg, hist []byte) []byte {
	w, ok := pool.Get().(*writer)
	if !ok {
		w = new(writer)
		w.flate = create(&w.out)
	}
	defer pool.Put(w)
	return w.encode(dst, msg, hist)
}

func (w *writer) encode(dst, msg, hist []byte) []byte {
	w.out.buf = dst
	w.flate.ResetDict(&w.out, w.dict[:copy(w.dict[:], hist)])
	_, err := w.flate.Write(msg)
	must(err)
	must(w.flate.Flush())
	return w.out.take()
}

// must is for what fails only when the arguments are wrong: neither depends on the peer.
func must(err error) {
	if err != nil {
		panic("deflate: " + err.Error())
	}
}
