package deflate

import (
	"fmt"
	"io"
)

// epilogue follows every payload: the 00 00 ff ff that the sender cut off (RFC 7692 §7.2.2), then an empty
// final block, with which the inflater ends cleanly.
const epilogue = "\x00\x00\xff\xff" + "\x01\x00\x00\xff\xff"

// source reads a payload and then the epilogue. It is an io.ByteReader, so that the inflater reads no byte too
// many and more can tell where it stopped.
type source struct {
	current, next []byte
}

var epilogueBytes = []byte(epilogue)

func (s *source) load(payload []byte) { *s = source{payload, epilogueBytes} }

// unload lets go of the payload.
func (s *source) unload() { *s = source{} }

func (s *source) ReadByte() (byte, error) {
	if len(s.current) == 0 && !s.advance() {
		return 0, io.EOF
	}
	b := s.current[0]
	s.current = s.current[1:]
	return b, nil
}

func (s *source) Read(p []byte) (int, error) {
	if len(s.current) == 0 && !s.advance() {
		return 0, io.EOF
	}
	n := copy(p, s.current)
	s.current = s.current[n:]
	return n, nil
}

func (s *source) advance() (ok bool) {
	s.current, s.next = s.next, nil
	return len(s.current) > 0
}

// more is asked at the end of a deflate stream: does the message go on with another one?
func (s *source) more() (bool, error) {
	switch left := len(s.current) + len(s.next); {
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
