package deflate

import (
	"sync"

	"github.com/klauspost/compress/flate"
)

// minFlateLevel is the lowest level that uses klauspost/compress. Lower levels use compressLevel1.
const minFlateLevel = 2

// flateLevels maps levels to those of klauspost/compress. Its level 9 makes messages about as small as zlib's level 6. Its levels
// below 7 are not used: they encode the dictionary for each message, which takes longer than level 7 and leaves the message
// larger, and without a dictionary they gain nothing over level 1.
var flateLevels = [...]uint8{2: 7, 3: 7, 4: 7, 5: 8, 6: 9, 7: 9, 8: 9, 9: 9}

// minWindowMessage is the size in bytes of the smallest message for a writer with a window. Such a writer ignores the dictionary for
// smaller messages.
const minWindowMessage = 128

// compress appends the compressed form of msg, which may refer to hist, to dst. It ends with a sync flush. No
// distance exceeds 2^bits.
func compress(g Grower, dst, msg []byte, hist history, level, bits int) []byte {
	if level < minFlateLevel {
		return compressLevel1(g, dst, msg, hist, bits)
	}
	window := 1 << bits
	// Only a writer with a window limits the distances. Another writer can be used with a smaller window if the message and the
	// dictionary fit into that window together. For a message of up to a quarter of the window this leaves most of the history.
	windowed := window < maxWindow && len(msg) > window/4
	switch {
	case len(msg) == 0 || windowed && len(msg) < minWindowMessage:
		return compressLevel1(g, dst, msg, hist, bits)
	case windowed:
		return windowWriters[bits].message(g, dst, msg, hist.last(window))
	case window < maxWindow:
		hist = hist.last(window - len(msg))
	}
	return levelWriters[flateLevels[level]].message(g, dst, msg, hist)
}

// Writers by level of klauspost/compress, and writers with a window by its bits.
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
func (pool flateWriters) message(g Grower, dst, msg []byte, hist history) []byte {
	w := pool.Get().(*flateWriter)
	defer pool.Put(w)
	w.out = output{g, dst}
	w.ResetDict(&w.out, hist)
	// Writing to an output never fails.
	_, _ = w.Write(msg)
	_ = w.Flush()
	dst = w.out.p
	w.out = output{}
	return dst
}

// flateWriter is the pooled state of a compression with a higher level: 1.0 to 1.4 MB. In the pool it still refers to the history
// that it was used with last.
type flateWriter struct {
	*flate.Writer
	out output
}

func newFlateWriter(w *flate.Writer, err error) *flateWriter {
	if err != nil {
		panic(err) // the constant level or window is invalid
	}
	return &flateWriter{Writer: w}
}

// output is the destination of a flateWriter.
type output struct {
	grower Grower
	p      []byte
}

func (o *output) Write(p []byte) (int, error) {
	if len(p) > cap(o.p)-len(o.p) {
		o.p = o.grower.Grow(o.p, max(len(p), cap(o.p)/4, minGrowth)) // each write has about 200 bytes
	}
	o.p = append(o.p, p...)
	return len(p), nil
}
