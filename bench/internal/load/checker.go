package load

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// checker compares the bytes that a server sends on one connection with the expected ones.
type checker struct {
	raw      bool
	pongs    bool // pongs are the answers
	takeover bool // compressed messages may refer to earlier ones

	head    [10]byte // the beginning of an incomplete frame header
	headLen int
	left    int // remaining payload bytes of the frame
	final   bool

	control bool   // the frame is a ping
	pinged  bool   // a ping has been received
	ping    []byte // its payload

	messages int // complete messages of the batch
	offset   int // received bytes of the message; of the batch, if raw

	compressed bool
	packed     []byte // the compressed message so far
	history    []byte // plaintext of earlier compressed messages

	payload int // payload bytes received, as on the wire
}

var (
	errTooMuch = errors.New("the answer is longer than expected")
	errMasked  = errors.New("server masks its frames")
)

// begin prepares for the answers to the next batch.
func (c *checker) begin() { c.messages, c.offset = 0, 0 }

// feed checks received bytes and returns the number of messages that they complete.
func (c *checker) feed(b *Batch, p []byte, f *inflater) (int, error) {
	before := c.messages
	if c.raw {
		return c.feedRaw(b, p)
	}
	for len(p) > 0 {
		if c.messages == len(b.want) && c.headLen == 0 && !c.control && !isControl(p[0]) {
			return 0, errTooMuch
		}
		n, err := c.frame(b, p, f)
		if err != nil {
			return 0, err
		}
		p = p[n:]
	}
	return c.messages - before, nil
}

func isControl(first byte) bool { return first&0x0f >= 8 }

func (c *checker) feedRaw(b *Batch, p []byte) (int, error) {
	if len(p) > len(b.send)-c.offset {
		return 0, errTooMuch
	}
	if !bytes.Equal(p, b.send[c.offset:c.offset+len(p)]) {
		return 0, fmt.Errorf("the answer differs from what was sent, at byte %d", c.offset)
	}
	before := c.messages
	c.offset += len(p)
	c.payload += len(p)
	c.messages = c.offset / b.size()
	return c.messages - before, nil
}

// frame consumes a header, or payload, or both.
func (c *checker) frame(b *Batch, p []byte, f *inflater) (n int, err error) {
	if c.left == 0 && !c.control {
		var whole bool
		if n, whole, err = c.header(p); err != nil || !whole {
			return n, err
		}
		p = p[n:]
	}
	part := p[:min(len(p), c.left)]
	c.left -= len(part)
	if c.control {
		c.ping = append(c.ping, part...)
		c.pinged, c.control = c.left == 0, c.left > 0
		return n + len(part), nil
	}
	c.payload += len(part)
	if err := c.data(b, part); err != nil {
		return 0, err
	}
	if c.left == 0 && c.final {
		if err := c.end(b, f); err != nil {
			return 0, err
		}
	}
	return n + len(part), nil
}

// header consumes bytes of a frame's header and reports whether it is complete, as most are.
func (c *checker) header(p []byte) (n int, whole bool, err error) {
	n = copy(c.head[c.headLen:], p)
	size := headerSize(c.head[:c.headLen+n])
	if size == 0 || size > c.headLen+n {
		c.headLen += n
		return n, false, nil
	}
	n = size - c.headLen
	c.headLen = 0
	return n, true, c.open(c.head[:size])
}

func headerSize(h []byte) int {
	switch {
	case len(h) < 2:
		return 0
	case h[1]&0x7f == 126:
		return 4
	case h[1]&0x7f == 127:
		return 10
	}
	return 2
}

func (c *checker) open(h []byte) error {
	switch {
	case h[1]&maskBit != 0:
		return errMasked
	case h[0] == finBit|ping:
		c.control, c.ping, c.left = true, c.ping[:0], int(h[1])
		return nil
	case h[0] == finBit|pong && c.pongs:
	case isControl(h[0]):
		return fmt.Errorf("unexpected control frame, opcode %d", h[0]&0x0f)
	}
	if h[0]&0x0f != 0 { // continuation frames do not have the bit
		c.compressed = h[0]&rsv1Bit != 0
		c.packed = c.packed[:0]
	}
	c.final = h[0]&finBit != 0
	switch len(h) {
	case 2:
		c.left = int(h[1])
	case 4:
		c.left = int(binary.BigEndian.Uint16(h[2:]))
	default:
		c.left = int(binary.BigEndian.Uint64(h[2:]))
	}
	return nil
}

// data compares a part of a message, or stores it if it is compressed.
func (c *checker) data(b *Batch, part []byte) error {
	if c.compressed {
		c.packed = append(c.packed, part...)
		return nil
	}
	want := b.want[c.messages]
	if len(part) > len(want)-c.offset || !bytes.Equal(part, want[c.offset:c.offset+len(part)]) {
		return fmt.Errorf("message %d differs from the one that was sent, at byte %d", c.messages, c.offset)
	}
	c.offset += len(part)
	return nil
}

// end checks that the message is complete.
func (c *checker) end(b *Batch, f *inflater) error {
	want := b.want[c.messages]
	if c.compressed {
		got, err := f.inflate(c.packed, recent(c.history))
		if err != nil {
			return fmt.Errorf("message does not inflate: %w", err)
		}
		if !bytes.Equal(got, want) {
			return fmt.Errorf("message inflates to %d bytes that differ from what was sent", len(got))
		}
		if c.takeover {
			c.history = remember(c.history, got)
		}
	} else if c.offset != len(want) {
		return fmt.Errorf("message ends after %d of %d bytes", c.offset, len(want))
	}
	c.messages++
	c.offset = 0
	return nil
}
