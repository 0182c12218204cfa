package deflate

import (
	"bufio"
	"fmt"
	"io"
)

// epilogue follows every payload: the 00 00 ff ff that the sender cut off (RFC 7692 §7.2.2), then an empty
// final block, with which the inflater ends cleanly.
var epilogue = [9]byte{0x00, 0x00, 0xff, 0xff, 0x01, 0x00, 0x00, 0xff, 0xff}

// source reads a payload and then the epilogue. The bufio.Reader is what the inflater has a fast path for: it
// inflates as fast as from a bytes.Reader over a copy of both (1 KiB 7.4 µs, with our own ReadByte 8.1 µs).
type source struct {
	*bufio.Reader
	parts parts
}

func newSource() *source {
	s := new(source)
	s.Reader = bufio.NewReaderSize(&s.parts, 4<<10)
	return s
}

func (s *source) load(payload []byte) {
	s.parts = parts{payload, epilogue[:]}
	s.Reset(&s.parts)
}

// unload lets go of the payload.
func (s *source) unload() { s.parts = parts{} }

// more is asked at the end of a deflate stream: does the message go on with another one?
func (s *source) more() (bool, error) {
	left := s.Buffered() + s.parts.len()
	switch {
	case left == 0:
		return false, nil
	case left == len(epilogue), left == len(epilogue)-tailSize:
		// The payload ended with a final block: whole, or an empty stored one less its 00 00 ff ff.
		return false, nil
	case left > len(epilogue):
		// RFC 7692 §7.2.3.4: behind a final block comes another block, on the next byte.
		return true, nil
	}
	return false, fmt.Errorf("%w: it ends in the middle of a final block", ErrCorrupt)
}

// parts reads two slices one after the other.
type parts [2][]byte

func (p *parts) Read(b []byte) (int, error) {
	if len(p[0]) == 0 {
		p[0], p[1] = p[1], nil
	}
	if len(p[0]) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p[0])
	p[0] = p[0][n:]
	return n, nil
}

func (p *parts) len() int { return len(p[0]) + len(p[1]) }
