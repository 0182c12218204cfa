package edgewstest

import (
	"encoding/binary"
	"fmt"
	"io"
	"strings"

	"github.com/edgews/edgews"
)

// Frame is one frame as a [Peer] sends or receives it (RFC 6455 §5.2). It need not be valid.
type Frame struct {
	Fin     bool  // the last frame of a message
	RSV     uint8 // the reserved bits: 4 is RSV1, which marks a compressed message, 2 is RSV2, 1 is RSV3
	Opcode  uint8 // 0 continuation, 1 text, 2 binary, 8 Close, 9 ping, 10 pong; at most 15
	Payload string

	// WrongMask says that the frame is masked, or not, against the rule for the side that sends it: a client's frame has no mask, or a
	// server's has one (§5.1).
	WrongMask bool

	// Length replaces the length that is sent: the 7 bits, and then the extended length if there is one. nil is the correct length in the
	// fewest bytes. It is never set in a frame that was received.
	Length []byte
}

// The opcodes of RFC 6455 §11.8.
const (
	opContinuation = 0
	opText         = 1
	opBinary       = 2
	opClose        = 8
	opPing         = 9
	opPong         = 10
)

// TextFrame returns a text message in one frame.
func TextFrame(text string) Frame { return Frame{Fin: true, Opcode: opText, Payload: text} }

// BinaryFrame returns a binary message in one frame.
func BinaryFrame(data string) Frame { return Frame{Fin: true, Opcode: opBinary, Payload: data} }

// ContinuationFrame returns the last fragment of a message.
func ContinuationFrame(data string) Frame { return Frame{Fin: true, Payload: data} }

// PingFrame returns a ping.
func PingFrame(data string) Frame { return Frame{Fin: true, Opcode: opPing, Payload: data} }

// PongFrame returns a pong.
func PongFrame(data string) Frame { return Frame{Fin: true, Opcode: opPong, Payload: data} }

// CloseFrame returns a Close. With code 0 it is empty, and reason is not used. A code that must not be sent, and a reason that is too long,
// are sent all the same.
func CloseFrame(code edgews.StatusCode, reason string) Frame {
	f := Frame{Fin: true, Opcode: opClose}
	if code != 0 {
		f.Payload = string(binary.BigEndian.AppendUint16(nil, uint16(code))) + reason
	}
	return f
}

// More returns f with Fin unset: as a fragment that others follow.
func (f Frame) More() Frame {
	f.Fin = false
	return f
}

// WithWrongMask returns f with WrongMask set.
func (f Frame) WithWrongMask() Frame {
	f.WrongMask = true
	return f
}

// String describes the frame, in the words of [Recorder]:
//
//	text "hello"
//	text "hel", more follows
//	continuation "lo"
//	close 1000 "bye"
//	ping "1", wrong mask
//	RSV1 opcode 3 ""
func (f Frame) String() string { return f.describe(displayed(f.Payload)) }

func (f Frame) describe(payload string) string {
	var b strings.Builder
	for i, bit := range []uint8{4, 2, 1} {
		if f.RSV&bit != 0 {
			fmt.Fprintf(&b, "RSV%d ", i+1)
		}
	}
	switch name := opcodeName(f.Opcode); {
	case f.Opcode == opClose && len(f.Payload) == 0:
		b.WriteString("close without a code")
	case f.Opcode == opClose && len(f.Payload) >= 2:
		code, reason, _ := f.closing()
		fmt.Fprintf(&b, "close %d %q", uint16(code), reason)
	default:
		b.WriteString(name + " " + payload)
	}
	if !f.Fin {
		b.WriteString(", more follows")
	}
	if f.WrongMask {
		b.WriteString(", wrong mask")
	}
	if f.Length != nil {
		fmt.Fprintf(&b, ", length % x", f.Length)
	}
	return b.String()
}

func opcodeName(op uint8) string {
	switch op {
	case opContinuation:
		return "continuation"
	case opText:
		return "text"
	case opBinary:
		return "binary"
	case opClose:
		return "close"
	case opPing:
		return "ping"
	case opPong:
		return "pong"
	}
	return fmt.Sprintf("opcode %d", op)
}

// closing returns the code and the reason of a Close. ok is false if f is another frame or has neither.
func (f Frame) closing() (code edgews.StatusCode, reason string, ok bool) {
	if f.Opcode != opClose || len(f.Payload) < 2 {
		return 0, "", false
	}
	return edgews.StatusCode(binary.BigEndian.Uint16([]byte(f.Payload))), f.Payload[2:], true
}

// maskingKey is the key of all frames that a Peer masks: tests are the same in each run. Real clients choose it at random (§5.3).
var maskingKey = [4]byte{0x37, 0xfa, 0x21, 0x3d}

// Append appends the bytes of the frame to b, as a client or a server sends them. The masking key is always the same. The code does not use
// the library's own encoder, so that a fault of that is not hidden.
func (f Frame) Append(b []byte, client bool) []byte {
	length := f.Length
	if len(length) == 0 {
		length = shortestLength(len(f.Payload))
	}
	first := f.RSV&7<<4 | f.Opcode&15
	if f.Fin {
		first |= 0x80
	}
	b = append(b, first)
	if masked := client != f.WrongMask; !masked {
		return append(append(b, length...), f.Payload...)
	}
	b = append(append(b, length[0]|0x80), length[1:]...)
	b = append(b, maskingKey[:]...)
	for i := range len(f.Payload) {
		b = append(b, f.Payload[i]^maskingKey[i%4])
	}
	return b
}

// shortestLength returns the length n without the mask bit, in as few bytes as possible (§5.2).
func shortestLength(n int) []byte {
	switch {
	case n < 126:
		return []byte{byte(n)}
	case n < 1<<16:
		return binary.BigEndian.AppendUint16([]byte{126}, uint16(n))
	}
	return binary.BigEndian.AppendUint64([]byte{127}, uint64(n))
}

// ReadFrame reads one frame that a client, or a server, has sent. It takes memory for the payload only as it arrives.
func ReadFrame(r io.Reader, client bool) (Frame, error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return Frame{}, err
	}
	masked := head[1]&0x80 != 0
	f := Frame{Fin: head[0]&0x80 != 0, RSV: head[0] >> 4 & 7, Opcode: head[0] & 15, WrongMask: masked != client}
	n, err := readLength(r, head[1]&0x7f)
	if err != nil {
		return f, err
	}
	var key [4]byte
	if masked {
		if _, err := io.ReadFull(r, key[:]); err != nil {
			return f, noEOF(err)
		}
	}
	payload, err := readPayload(r, n)
	for i := range payload {
		payload[i] ^= key[i%4]
	}
	f.Payload = string(payload)
	return f, err
}

// readPayload reads n bytes. Up to 1 MiB it allocates them at once.
func readPayload(r io.Reader, n int64) ([]byte, error) {
	if n <= 1<<20 {
		payload := make([]byte, n)
		read, err := io.ReadFull(r, payload)
		return payload[:read], noEOF(err)
	}
	payload, err := io.ReadAll(io.LimitReader(r, n))
	if err == nil && int64(len(payload)) < n {
		err = io.ErrUnexpectedEOF
	}
	return payload, err
}

// readLength returns the length of a payload, of which short is in the frame's second byte.
func readLength(r io.Reader, short byte) (int64, error) {
	size := map[byte]int{126: 2, 127: 8}[short]
	if size == 0 {
		return int64(short), nil
	}
	var extended [8]byte
	if _, err := io.ReadFull(r, extended[8-size:]); err != nil {
		return 0, noEOF(err)
	}
	n := binary.BigEndian.Uint64(extended[:])
	if n >= 1<<63 {
		return 0, fmt.Errorf("edgewstest: received a frame of %d bytes: the most significant bit must be 0 (RFC 6455 §5.2)", n)
	}
	return int64(n), nil
}

// noEOF returns io.ErrUnexpectedEOF instead of io.EOF: the frame had begun.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
