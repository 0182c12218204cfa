package deflate

import (
	"sync"

	"github.com/klauspost/compress/flate"
)

// minFlateLevel is the lowest level of klauspost/compress. Below it is the package's own compressor.
const minFlateLevel = 2

// flateLevels are klauspost/compress's levels for ours. Its 9 makes messages about as small as zlib's 6 does. Its levels below 7
// are missing: they encode the dictionary anew for each message, which takes longer than what its 7 does and leaves the
// message larger; and without a dictionary they gain nothing over level 1.
var flateLevels = [...]uint8{2: 7, 3: 7, 4: 7, 5: 8, 6: 9, 7: 9, 8: 9, 9: 9}

// minWindowMessage is the size in bytes from which a message profits from a writer with a window: such a writer ignores
// the dictionary for smaller ones.
const minWindowMessage = 128

// compress appends the compressed form of msg, which may refer to hist, to dst. It ends with a sync flush. No
// distance exceeds 2^bits.
func compress(room Room, dst, msg []byte, hist history, level, bits int) []byte {
	if level < minFlateLevel {
		return deflate(room, dst, msg, hist, bits)
	}
	window := 1 << bits
	// Only a writer with a window bounds the distances. The other ones are used with a smaller window if the message and
	// the part of the history that it may refer to fit in it together. That leaves them most of the history.
	windowed := window < maxWindow && len(msg) > window/4
	switch {
	case len(msg) == 0 || windowed && len(msg) < minWindowMessage:
		return deflate(room, dst, msg, hist, bits)
	case windowed:
		return windowWriters[bits].message(room, dst, msg, hist.last(window))
	case window < maxWindow:
		hist = hist.last(window - len(msg))
	}
	return levelWriters[flateLevels[level]].message(room, dst, msg, hist)
}

// The writers of each of klauspost/compress's levels, and those with a window of so many bits.
var (
	levelWriters  = [...]flateWriters{7: newFlateWriters(7), 8: newFlateWriters(8), 9: newFlateWriters(9)}
	windowWriters = newWindowWriters()
)

// flateWriters are pooled writers of one kind.
type flateWriters struct{ *sync.Pool }

func newFlateWriters(level int) flateWriters {
	return flateWriters{&sync.Pool{New: func() any {
		w, err := flate.NewWriter(nil, level)
		return newFlateWriter(w, err)
	}}}
}

func newWindowWriters() (all [MaxWindowBits]flateWriters) {
	for bits := MinWindowBits; bits < MaxWindowBits; bits++ {
		all[bits] = flateWriters{&sync.Pool{New: func() any {
			w, err := flate.NewWriterWindow(nil, 1<<bits)
			return newFlateWriter(w, err)
		}}}
	}
	return all
}

// message appends the compressed form of msg, which may refer to hist, to dst.
func (pool flateWriters) message(room Room, dst, msg []byte, hist history) []byte {
	w := pool.Get().(*flateWriter)
	defer pool.Put(w)
	w.out = output{room, dst}
	w.ResetDict(&w.out, hist)
	// An output takes everything.
	_, _ = w.Write(msg)
	_ = w.Flush()
	dst = w.out.p
	w.out = output{}
	return dst
}

// flateWriter is what a Compressor of a higher level borrows for one message: 1.0 to 1.4 MB. In the pool it refers to the
// history of the message that it was used for last, until the next one or until it is collected.
type flateWriter struct {
	*flate.Writer
	out output
}

func newFlateWriter(w *flate.Writer, err error) *flateWriter {
	if err != nil {
		panic(err) // there is no such level or window
	}
	return &flateWriter{Writer: w}
}

// output is where a flateWriter writes.
type output struct {
	room Room
	p    []byte
}

func (o *output) Write(p []byte) (int, error) {
	if len(p) > cap(o.p)-len(o.p) {
		o.p = o.room.Grow(o.p, max(len(p), cap(o.p)/4, minRoom)) // what comes are some 200 bytes at a time
	}
	o.p = append(o.p, p...)
	return len(p), nil
}
