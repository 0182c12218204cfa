package conformance

import (
	"bufio"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// rawFrame is a frame to write, valid or not: the first octet, with FIN, the reserved bits and the opcode, and the payload before
// masking.
type rawFrame struct {
	first   byte
	payload string
}

const (
	fin  = 0x80
	rsv1 = 0x40

	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xA
)

func text(s string) rawFrame    { return rawFrame{fin | opText, s} }
func binry(s string) rawFrame   { return rawFrame{fin | opBinary, s} }
func cont(s string) rawFrame    { return rawFrame{fin | opContinuation, s} }
func ping(s string) rawFrame    { return rawFrame{fin | opPing, s} }
func pong(s string) rawFrame    { return rawFrame{fin | opPong, s} }
func op(n byte) rawFrame        { return rawFrame{fin | n, ""} }
func closing(s string) rawFrame { return rawFrame{fin | opClose, s} }

// closeWith is a Close frame with a code, which may be one that must not be sent.
func closeWith(code uint16, reason string) rawFrame {
	return closing(string(binary.BigEndian.AppendUint16(nil, code)) + reason)
}

// with returns f with another payload.
func (f rawFrame) with(payload string) rawFrame { f.payload = payload; return f }

// more returns f without FIN.
func (f rawFrame) more() rawFrame { f.first &^= fin; return f }

// rsv returns f with the three reserved bits set to n.
func (f rawFrame) rsv(n byte) rawFrame { f.first |= n << 4; return f }

func (f rawFrame) String() string {
	if len(f.payload) > 100 {
		return fmt.Sprintf("%02x [%d bytes]", f.first, len(f.payload))
	}
	return fmt.Sprintf("%02x %q", f.first, f.payload)
}

// append encodes f in the shortest form of its length.
func (f rawFrame) append(b []byte, masked bool) []byte {
	maskBit := byte(0)
	if masked {
		maskBit = 0x80
	}
	b = append(b, f.first)
	switch n := len(f.payload); {
	case n < 126:
		b = append(b, maskBit|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, maskBit|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, maskBit|127), uint64(n))
	}
	if !masked {
		return append(b, f.payload...)
	}
	key := [4]byte{0x37, 0xfa, 0x21, 0x3d}
	b = append(b, key[:]...)
	for i := range len(f.payload) {
		b = append(b, f.payload[i]^key[i&3])
	}
	return b
}

// rawPeer is one end of a WebSocket that can send any bytes, and fails the test if it receives an invalid frame. It shares no code with
// edgews.
type rawPeer struct {
	t          testing.TB
	conn       net.Conn
	in         *bufio.Reader
	client     bool   // this peer is the client: it masks
	extensions string // the negotiated extensions

	joins   bool      // it accepts messages in fragments, and read joins them
	partial *rawFrame // the fragments so far
}

const timeLimit = 60 * time.Second

func newRawPeer(t testing.TB, conn net.Conn, in *bufio.Reader, client bool) *rawPeer {
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(timeLimit))
	return &rawPeer{t: t, conn: conn, in: in, client: client}
}

// dialRaw makes a client's opening handshake.
func dialRaw(t testing.TB, addr, extensions string) *rawPeer {
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	nonce := make([]byte, 16)
	rand.Read(nonce)
	key := base64.StdEncoding.EncodeToString(nonce)
	request := "GET / HTTP/1.1\r\nHost: " + addr + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key + "\r\n"
	if extensions != "" {
		request += "Sec-WebSocket-Extensions: " + extensions + "\r\n"
	}
	_, err = io.WriteString(conn, request+"\r\n")
	require.NoError(t, err)
	p := newRawPeer(t, conn, bufio.NewReader(conn), true)
	resp, err := http.ReadResponse(p.in, nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
	require.Equal(t, acceptKey(key), resp.Header.Get("Sec-WebSocket-Accept"))
	p.extensions = resp.Header.Get("Sec-WebSocket-Extensions")
	return p
}

// acceptRaw makes a server's opening handshake. It answers with extensions, without regard to the offer.
func acceptRaw(t testing.TB, l net.Listener, extensions string) *rawPeer {
	conn, err := l.Accept()
	require.NoError(t, err)
	p := newRawPeer(t, conn, bufio.NewReader(conn), false)
	r, err := http.ReadRequest(p.in)
	require.NoError(t, err)
	answer := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: " + acceptKey(r.Header.Get("Sec-WebSocket-Key")) + "\r\n"
	if extensions != "" {
		answer += "Sec-WebSocket-Extensions: " + extensions + "\r\n"
	}
	_, err = io.WriteString(conn, answer+"\r\n")
	require.NoError(t, err)
	p.extensions = extensions
	return p
}

func acceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// frameByFrame is the chop size that gives each frame a write of its own.
const frameByFrame = -1

// write sends frames, chop octets at a time; 0 means all of them at once.
func (p *rawPeer) write(frames []rawFrame, chop int) error {
	var b []byte
	for _, f := range frames {
		b = f.append(b, p.client)
		if chop == frameByFrame {
			if _, err := p.conn.Write(b); err != nil {
				return err
			}
			b = b[:0]
		}
	}
	return p.writeChopped(b, chop)
}

// send writes frames in one piece.
func (p *rawPeer) send(frames ...rawFrame) {
	p.t.Helper()
	require.NoError(p.t, p.write(frames, 0))
}

func (p *rawPeer) writeChopped(b []byte, chop int) error {
	if chop <= 0 {
		chop = len(b)
	}
	for len(b) > 0 {
		n, err := p.conn.Write(b[:min(chop, len(b))])
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// read returns the next frame, unmasked, or, when the peer joins, the next whole message or control frame.
func (p *rawPeer) read() (rawFrame, error) {
	for {
		f, err := p.readFrame()
		if err != nil || !p.joins || f.first&0x0f >= opClose {
			return f, err
		}
		switch continued := f.first&0x0f == opContinuation; {
		case continued != (p.partial != nil):
			return f, errors.New("fragments are out of order")
		case continued:
			f.first |= p.partial.first
			f.payload = p.partial.payload + f.payload
		}
		if f.first&fin != 0 {
			p.partial = nil
			return f, nil
		}
		p.partial = &f
	}
}

// readFrame returns the next frame, unmasked.
func (p *rawPeer) readFrame() (rawFrame, error) {
	var h [2]byte
	if _, err := io.ReadFull(p.in, h[:]); err != nil {
		return rawFrame{}, err
	}
	if masked := h[1]&0x80 != 0; masked == p.client {
		return rawFrame{}, errors.New("frame is masked by a server, or not masked by a client")
	}
	n, err := p.readLength(h[1] & 0x7f)
	if err != nil {
		return rawFrame{}, err
	}
	var key [4]byte
	if !p.client {
		if _, err := io.ReadFull(p.in, key[:]); err != nil {
			return rawFrame{}, err
		}
	}
	payload := make([]byte, n)
	if _, err := io.ReadFull(p.in, payload); err != nil {
		return rawFrame{}, err
	}
	if !p.client {
		for i := range payload {
			payload[i] ^= key[i&3]
		}
	}
	return rawFrame{h[0], string(payload)}, nil
}

func (p *rawPeer) readLength(short byte) (int, error) {
	if short < 126 {
		return int(short), nil
	}
	var b [8]byte
	size, least := 2, uint64(126)
	if short == 127 {
		size, least = 8, 1<<16
	}
	if _, err := io.ReadFull(p.in, b[8-size:]); err != nil {
		return 0, err
	}
	n := binary.BigEndian.Uint64(b[:])
	if n < least || n > 1<<30 {
		return 0, fmt.Errorf("length %d in %d octets", n, size)
	}
	return int(n), nil
}

// expect reads the next frame and compares it.
func (p *rawPeer) expect(want rawFrame) {
	p.t.Helper()
	got, err := p.read()
	require.NoError(p.t, err, "waiting for %v", want)
	if got != want {
		require.Failf(p.t, "wrong frame", "got %v, want %v", got, want)
	}
}

// expectClose reads a Close frame with this code; a code of 0 is an empty payload.
func (p *rawPeer) expectClose(code uint16) (reason string) {
	p.t.Helper()
	got, err := p.read()
	require.NoError(p.t, err, "waiting for Close %d", code)
	require.Equal(p.t, byte(fin|opClose), got.first, "want Close %d, got %v", code, got)
	if code == 0 {
		require.Empty(p.t, got.payload)
		return ""
	}
	require.GreaterOrEqual(p.t, len(got.payload), 2)
	require.Equal(p.t, code, binary.BigEndian.Uint16([]byte(got.payload)))
	return got.payload[2:]
}

// expectEnd checks that only the end of the connection follows.
func (p *rawPeer) expectEnd() {
	p.t.Helper()
	rest, err := io.ReadAll(p.in)
	require.NoError(p.t, err)
	require.Empty(p.t, rest)
	p.conn.Close()
}

// expectSilence checks that nothing is received for a short time.
func (p *rawPeer) expectSilence() {
	p.t.Helper()
	p.conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	_, err := p.in.Peek(1)
	require.ErrorIs(p.t, err, os.ErrDeadlineExceeded)
	p.conn.SetReadDeadline(time.Now().Add(timeLimit))
}
