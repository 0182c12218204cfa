package conformance_test

import (
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"syscall"
)

// A second, naive frame codec: it can write invalid frames, and reads without checks.

var opcodes = map[string]byte{"continuation": 0, "text": 1, "binary": 2, "close": 8, "ping": 9, "pong": 10}

func opcodeOf(name string) byte {
	if op, ok := opcodes[name]; ok {
		return op
	}
	op, _ := strconv.Atoi(strings.TrimPrefix(name, "op"))
	return byte(op)
}

func opcodeName(op byte) string {
	for name, o := range opcodes {
		if o == op {
			return name
		}
	}
	return fmt.Sprintf("op%d", op)
}

var maskKey = [4]byte{0x11, 0x22, 0x33, 0x44}

// encode returns the frame that a send-frame entry recorded.
func (e *entry) encode() []byte {
	payload := e.payload()
	first := opcodeOf(e.Opcode)
	for _, bit := range []struct {
		set  bool
		mask byte
	}{{e.Fin, 0x80}, {e.RSV1, 0x40}, {e.RSV2, 0x20}, {e.RSV3, 0x10}} {
		if bit.set {
			first |= bit.mask
		}
	}
	var masked byte
	if e.Masked {
		masked = 0x80
	}
	b := []byte{first}
	switch n := len(payload); {
	case n < 126 && e.LenForm == "":
		b = append(b, masked|byte(n))
	case n < 1<<16 && e.LenForm != "64":
		b = binary.BigEndian.AppendUint16(append(b, masked|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, masked|127), uint64(n))
	}
	if e.Masked {
		b = append(b, maskKey[:]...)
		for i := range payload {
			payload[i] ^= maskKey[i&3]
		}
	}
	return append(b, payload...)
}

// payload returns a recorded frame's payload, generated if only its length was recorded.
func (e *entry) payload() []byte {
	switch {
	case e.reasonGiven:
		reason := e.Reason
		if len(reason)+2 > e.Length { // it was not UTF-8
			reason = strings.ReplaceAll(reason, "\ufffd", "\xff")
		}
		return append(binary.BigEndian.AppendUint16(nil, uint16(e.Code)), reason...)
	case e.Hex != "":
		b, _ := hex.DecodeString(e.Hex)
		return b
	case e.textGiven:
		return []byte(e.Text)
	case e.Opcode == "text":
		return bytes.Repeat([]byte("x"), e.Length)
	}
	return make([]byte, e.Length)
}

// describeFrame describes a received frame of a trace.
func (e *entry) describeFrame() string {
	data := e.payload()
	if e.Inflated != nil {
		data = []byte(*e.Inflated)
	}
	f := rawFrame{op: opcodeOf(e.Opcode), fin: e.Fin, deflated: e.RSV1, masked: e.Masked, payload: data}
	if e.RSV1 && e.Length >= len(data) {
		return strings.Replace(f.String(), deflated, deflatedInVain, 1)
	}
	return f.String()
}

// Marks of a compressed frame, and of one that compression did not make shorter.
const (
	deflated       = " deflated"
	deflatedInVain = " deflated in vain"
)

// rawFrame is a frame as it was received; payload is unmasked and inflated.
type rawFrame struct {
	op                    byte
	fin, deflated, masked bool
	payload               []byte
}

func (f rawFrame) String() string {
	var b strings.Builder
	b.WriteString("recv " + opcodeName(f.op))
	switch {
	case f.op == 8 && len(f.payload) >= 2:
		fmt.Fprintf(&b, " %d %q", binary.BigEndian.Uint16(f.payload), f.payload[2:])
	case f.op == 1 || f.op >= 8:
		b.WriteString(" " + describeText(string(f.payload)))
	default:
		b.WriteString(" " + describeBinary(f.payload))
	}
	for _, flag := range []struct {
		set  bool
		name string
	}{{!f.fin, " unfinished"}, {f.deflated, deflated}, {f.masked, " masked"}} {
		if flag.set {
			b.WriteString(flag.name)
		}
	}
	return b.String()
}

// frameReader reads frames and inflates compressed ones.
type frameReader struct {
	r       *bufio.Reader
	forget  bool // the sender compresses each message on its own
	history []byte
}

func (r *frameReader) next() (rawFrame, error) {
	var head [2]byte
	if _, err := io.ReadFull(r.r, head[:]); err != nil {
		return rawFrame{}, err
	}
	f := rawFrame{op: head[0] & 15, fin: head[0]&0x80 != 0, deflated: head[0]&0x40 != 0, masked: head[1]&0x80 != 0}
	n, err := r.length(head[1] & 127)
	if err != nil {
		return f, err
	}
	var key [4]byte
	if f.masked {
		if _, err := io.ReadFull(r.r, key[:]); err != nil {
			return f, err
		}
	}
	f.payload = make([]byte, n)
	if _, err := io.ReadFull(r.r, f.payload); err != nil {
		return f, err
	}
	if f.masked {
		for i := range f.payload {
			f.payload[i] ^= key[i%4]
		}
	}
	if f.deflated {
		f.payload, err = r.inflate(f.payload)
	}
	return f, err
}

func (r *frameReader) length(short byte) (uint64, error) {
	var b [8]byte
	switch short {
	case 126:
		_, err := io.ReadFull(r.r, b[6:])
		return binary.BigEndian.Uint64(b[:]), err
	case 127:
		_, err := io.ReadFull(r.r, b[:])
		return binary.BigEndian.Uint64(b[:]), err
	}
	return uint64(short), nil
}

// inflate follows RFC 7692 §7.2.2 literally.
func (r *frameReader) inflate(p []byte) ([]byte, error) {
	if r.forget {
		r.history = nil
	}
	in := io.MultiReader(bytes.NewReader(p), strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff"))
	out, err := io.ReadAll(flate.NewReaderDict(in, r.history))
	if err != nil {
		return nil, fmt.Errorf("compressed payload: %w", err)
	}
	r.history = append(r.history, out...)
	if n := len(r.history); n > 1<<15 {
		r.history = r.history[n-1<<15:]
	}
	return out, nil
}

// record writes every frame and the end of the connection to a stream. seen is called for each frame.
func (r *frameReader) record(rec *recorder, stream string, plain func(*rawFrame), seen func(rawFrame)) {
	for {
		f, err := r.next()
		if err != nil {
			if text := describeEnd(err); text != "" {
				rec.add(stream, "%s", text)
			}
			return
		}
		if plain != nil {
			plain(&f)
		}
		rec.add(stream, "%s", f)
		if seen != nil {
			seen(f)
		}
	}
}

// describeEnd distinguishes a FIN from a RST, which may destroy bytes that were sent before it.
func describeEnd(err error) string {
	switch {
	case errors.Is(err, net.ErrClosed):
		return "" // closed by the client itself
	case errors.Is(err, io.EOF):
		return connectionEnded
	case errors.Is(err, io.ErrUnexpectedEOF):
		return connectionEnded + " in the middle of a frame"
	case errors.Is(err, syscall.ECONNRESET):
		return connectionReset
	}
	return err.Error()
}

// The ends of a connection, by FIN and by RST.
const (
	connectionEnded = "connection ended"
	connectionReset = "connection reset"
)

// describeTCP describes the received end of a connection in a trace.
func (e *entry) describeTCP() string {
	if strings.HasPrefix(e.Event, "RST") {
		return connectionReset
	}
	return connectionEnded
}
