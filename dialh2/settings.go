package dialh2

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"sync/atomic"
)

// Package http2 keeps a buffer for each stream that sends: as large as the frames that the server takes, up to 512 KiB. A server of net/http
// takes 1 MiB. Nothing is gained with frames of more than 16 KiB, which is also the largest TLS record, so the transport is told that the server
// takes no larger ones.

const (
	frameHeader  = 9        // bytes (RFC 9113 §4.1)
	typeSettings = 4        // RFC 9113 §6.5
	setting      = 6        // bytes of one setting
	maxFrameSize = 5        // SETTINGS_MAX_FRAME_SIZE
	smallFrames  = 16 << 10 // the default and the smallest value of that setting
)

// firstSettings reads a connection of a server, whose first frame has its settings (RFC 9113 §3.4), and lowers SETTINGS_MAX_FRAME_SIZE there.
type firstSettings struct {
	conn  io.Reader
	began bool
	frame []byte // of the first frame, what Read has not returned yet
	err   error  // of reading it

	otherProtocol atomic.Bool // the server has sent an answer of HTTP/1 instead
}

func (r *firstSettings) Read(p []byte) (int, error) {
	if !r.began {
		r.began = true
		r.frame, r.err = readFrame(r.conn)
		lowerFrameSize(r.frame)
		r.otherProtocol.Store(bytes.HasPrefix(r.frame, []byte("HTTP/1.")))
	}
	switch {
	case len(r.frame) > 0:
		n := copy(p, r.frame)
		r.frame = r.frame[n:]
		return n, nil
	case r.err != nil:
		return 0, r.err
	}
	return r.conn.Read(p)
}

// readFrame reads one frame. It reads only the header of one that is larger than the settings of any server.
func readFrame(r io.Reader) ([]byte, error) {
	frame := make([]byte, frameHeader)
	if n, err := io.ReadFull(r, frame); err != nil {
		return frame[:n], err
	}
	length := int(frame[0])<<16 | int(frame[1])<<8 | int(frame[2])
	if length > smallFrames {
		return frame, nil // package http2 refuses it
	}
	frame = append(frame, make([]byte, length)...)
	n, err := io.ReadFull(r, frame[frameHeader:])
	return frame[:frameHeader+n], err
}

// lowerFrameSize changes SETTINGS_MAX_FRAME_SIZE in a frame, if it has settings.
func lowerFrameSize(frame []byte) {
	if len(frame) < frameHeader || frame[3] != typeSettings {
		return
	}
	for s := frame[frameHeader:]; len(s) >= setting; s = s[setting:] {
		if value := s[2:setting]; binary.BigEndian.Uint16(s) == maxFrameSize && binary.BigEndian.Uint32(value) > smallFrames {
			binary.BigEndian.PutUint32(value, smallFrames)
		}
	}
}

// tlsConn is a connection with TLS that is read through firstSettings.
type tlsConn struct {
	*tls.Conn
	r firstSettings
}

func (c *tlsConn) Read(p []byte) (int, error) { return c.r.Read(p) }

// plainConn is a connection without TLS that is read through firstSettings.
type plainConn struct {
	net.Conn
	r firstSettings
}

func (c *plainConn) Read(p []byte) (int, error) { return c.r.Read(p) }
