package deflate

import "sync"

// compressLevel1 appends the compressed form of msg, which may refer to the end of hist, to dst. It ends with a sync flush. No
// distance exceeds 2^bits.
func compressLevel1(g Grower, dst, msg []byte, hist history, bits int) []byte {
	d := deflaters.Get().(*deflater)
	defer deflaters.Put(d)
	d.writer.open(g, dst)
	d.deflate(msg, hist.last(min(1<<bits, maxHistory)), 1<<bits)
	return d.writer.close()
}

var deflaters = sync.Pool{New: func() any { return new(deflater) }}

// deflater is the pooled state of a compression: 200 KB, of which a small message touches little.
type deflater struct {
	matcher matcher
	writer  blockWriter
	joined  [maxHistory + maxBlock]byte // a history and the first block of a message
}

func (d *deflater) deflate(msg, hist []byte, window uint32) {
	d.matcher.start(len(hist)+len(msg), window)
	rest := msg
	if len(hist) > 0 && len(msg) > 0 {
		rest = d.firstBlock(msg, hist)
	}
	for len(rest) > 0 {
		from := len(msg) - len(rest)
		block := rest[:min(len(rest), maxBlock)]
		d.writer.block(block, d.matcher.search(msg[:from+len(block)], from))
		rest = rest[len(block):]
	}
	d.matcher.finish(len(msg))
	d.writer.sync()
}

// firstBlock writes the first block of a message, which may refer to hist, and returns the rest of the message. The rest is
// farther from the history than any window is large.
func (d *deflater) firstBlock(msg, hist []byte) (rest []byte) {
	block := msg[:min(len(msg), maxBlock)]
	text := append(append(d.joined[:0], hist...), block...)
	d.matcher.index(text, len(hist))
	d.writer.block(block, d.matcher.search(text, len(hist)))
	d.matcher.base += uint32(len(hist))
	return msg[len(block):]
}
