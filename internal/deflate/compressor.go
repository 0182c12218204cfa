package deflate

// maxHistory is the longest history of a Compressor of level 1, in bytes. A sender may use less than the window allows. With 4 KiB,
// messages of 1 KiB get no smaller and messages of 256 bytes get 2 % smaller for 25 % more CPU, because the history is indexed
// for each message; and each connection takes twice the memory.
const maxHistory = 2 << 10

// tailSize is the size of 00 00 ff ff, the end of a sync flush, which is not sent (RFC 7692 §7.2.1).
const tailSize = 4

// Compressor compresses the messages of this side. It is not safe for concurrent use. Between calls it keeps only its history.
type Compressor struct {
	hist     history
	level    uint8
	bits     uint8
	takeover bool
}

// Init sets the level, 0 to 9, the negotiated window of this side's messages as its base-2 logarithm (0 means 15), and whether a
// message may refer to earlier ones.
func (c *Compressor) Init(level, bits int, takeover bool) {
	*c = Compressor{level: uint8(level), bits: uint8(windowBits(bits)), takeover: takeover}
}

// Append appends the compressed form of msg to dst. It does not change the history: call Commit when msg is sent. A message that
// is not sent must not be committed.
func (c *Compressor) Append(dst, msg []byte) []byte { return c.AppendIn(heapGrower{}, dst, msg) }

// AppendIn is Append with a Grower for dst. It may write to the bytes between the length and the capacity of the result.
func (c *Compressor) AppendIn(g Grower, dst, msg []byte) []byte {
	return cutTail(compress(g, dst, msg, c.hist, int(c.level), int(c.bits)))
}

// Commit adds msg to the history: it was sent as Append or AppendStateless has compressed it, and is now in the peer's window.
// Messages that were sent uncompressed must not be committed. Commit does not retain msg.
func (c *Compressor) Commit(msg []byte) {
	if c.takeover {
		c.addToHistory(msg)
	}
}

// Drop drops the history. It is allowed at any time: the next message then refers to no earlier one.
func (c *Compressor) Drop() { c.hist = nil }

// AppendPart appends the compressed form of p, a fragment of a message, to dst, and commits it. It ends with a sync flush, so that the
// peer can inflate all fragments so far. The last fragment may be empty. g grows dst.
func (c *Compressor) AppendPart(g Grower, dst, p []byte, last bool) []byte {
	if len(p) > 0 || last {
		dst = compress(g, dst, p, c.hist, int(c.level), int(c.bits))
		c.addToHistory(p)
	}
	if !last {
		return dst
	}
	// Without takeover the fragments of one message still refer to each other (RFC 7692 §7.1.1).
	if !c.takeover {
		c.Drop()
	}
	return cutTail(dst)
}

// Memory returns the memory of the history in bytes.
func (c *Compressor) Memory() int { return cap(c.hist) }

func (c *Compressor) addToHistory(p []byte) {
	size := 1 << c.bits
	if c.level < minFlateLevel {
		size = min(size, maxHistory)
	}
	c.hist.add(p, size)
}

// AppendStateless appends the compressed form of msg to dst without a history, at a level and with a window of 2^bits. It is for a
// message that is compressed once and sent on many connections; each Compressor with takeover needs a Commit of it.
func AppendStateless(dst, msg []byte, level, bits int) []byte {
	return cutTail(compress(heapGrower{}, dst, msg, nil, level, windowBits(bits)))
}

func cutTail(flushed []byte) []byte { return flushed[:len(flushed)-tailSize] }
