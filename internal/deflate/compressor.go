package deflate

// maxHistory bounds what a Compressor of level 1 keeps, in bytes. The sender may refer to less than the window allows.
// Messages of 1 KiB come out no smaller with 4 KiB instead, those of 256 bytes 2 % smaller for 25 % more CPU,
// because the history is indexed anew for each message; and each connection holds twice the memory.
const maxHistory = 2 << 10

// tailSize is the size of 00 00 ff ff, the end of a sync flush, which does not travel (RFC 7692 §7.2.1).
const tailSize = 4

// Compressor turns our messages into compressed payloads. It is not safe for concurrent use. At rest it holds
// its history and nothing else.
type Compressor struct {
	hist     history
	level    uint8
	bits     uint8
	takeover bool
}

// Init sets the level, 0 to 9, the window that was agreed for our messages (0 bits: 15), and whether a message may
// refer to earlier ones.
func (c *Compressor) Init(level, bits int, takeover bool) {
	*c = Compressor{level: uint8(level), bits: uint8(windowBits(bits)), takeover: takeover}
}

// Append appends the compressed form of msg to dst. It does not change what later messages refer to: call
// Commit once msg is going out, so that a message that is not sent after all leaves no trace.
func (c *Compressor) Append(dst, msg []byte) []byte { return c.AppendIn(heap{}, dst, msg) }

// AppendIn is Append that has room for dst to grow. Bytes behind the result, up to its capacity, may be written to.
func (c *Compressor) AppendIn(room Room, dst, msg []byte) []byte {
	return cutTail(compress(room, dst, msg, c.hist, int(c.level), int(c.bits)))
}

// Commit says that msg went out compressed, by Append or by AppendStateless, and so is now in the peer's
// window. Messages that were sent as they are must not be committed. Commit does not retain msg.
func (c *Compressor) Commit(msg []byte) {
	if c.takeover {
		c.remember(msg)
	}
}

// Drop forgets the history. It is legal at any time: the next message just refers to nothing.
func (c *Compressor) Drop() { c.hist = nil }

// AppendPart appends the compressed form of p, a fragment of a message, to dst, and commits it. The peer can
// inflate all fragments so far (sync flush). The last fragment may be empty. Room is for dst to grow.
func (c *Compressor) AppendPart(room Room, dst, p []byte, last bool) []byte {
	if len(p) > 0 || last {
		dst = compress(room, dst, p, c.hist, int(c.level), int(c.bits))
		c.remember(p)
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

// Memory returns the bytes of history held.
func (c *Compressor) Memory() int { return cap(c.hist) }

func (c *Compressor) remember(p []byte) {
	size := 1 << c.bits
	if c.level < minFlateLevel {
		size = min(size, maxHistory)
	}
	c.hist.roll(p, size)
}

// AppendStateless appends the compressed form of msg to dst without a history, at a level and within a window of
// 2^bits: for a message that is prepared once and sent to many. A receiver with takeover needs its Commit.
func AppendStateless(dst, msg []byte, level, bits int) []byte {
	return cutTail(compress(heap{}, dst, msg, nil, level, windowBits(bits)))
}

func cutTail(flushed []byte) []byte { return flushed[:len(flushed)-tailSize] }
