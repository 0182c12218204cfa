package load

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	fast "github.com/klauspost/compress/flate"
)

// documents is the number of messages of a compressed script.
const documents = 64

// Deflated returns a script of compressed JSON messages of 1 KiB. With takeover each message refers to earlier ones within a window
// of 2^bits. The first one does not, so that the script can be repeated.
func Deflated(takeover bool, bits int) (*Script, error) {
	var packed bytes.Buffer
	w, err := fast.NewWriterWindow(&packed, 1<<bits)
	if err != nil {
		return nil, err
	}
	s := &Script{}
	for i := range documents {
		if !takeover {
			w.Reset(&packed)
		}
		packed.Reset()
		p := document(i)
		if _, err := w.Write(p); err != nil {
			return nil, err
		}
		if err := w.Flush(); err != nil {
			return nil, err
		}
		var b Batch
		b.want = [][]byte{p}
		b.frame(text, bytes.TrimSuffix(packed.Bytes(), tail), uint32(i)*0x9e3779b9, true)
		s.Batches = append(s.Batches, b)
	}
	return s, nil
}

// tail is the end of each message, which is not sent (RFC 7692 §7.2.1).
var tail = []byte{0, 0, 0xff, 0xff}

// inflater inflates the compressed messages of all connections, one after the other.
type inflater struct {
	r      io.ReadCloser
	parts  parts
	output []byte
}

// parts reads a message and then the tail.
type parts struct{ message, tail bytes.Reader }

func (p *parts) ReadByte() (byte, error) {
	if c, err := p.message.ReadByte(); err == nil {
		return c, nil
	}
	return p.tail.ReadByte()
}

func (p *parts) Read(b []byte) (int, error) {
	if n, err := p.message.Read(b); err == nil {
		return n, nil
	}
	return p.tail.Read(b)
}

const maxWindow = 32 << 10

// inflate returns the plaintext of a message. history is the plaintext of the connection's earlier messages, or nil.
func (f *inflater) inflate(packed, history []byte) ([]byte, error) {
	f.parts.message.Reset(packed)
	f.parts.tail.Reset(tail)
	if f.r == nil {
		f.r = flate.NewReader(&f.parts)
		f.output = make([]byte, 64<<10)
	}
	if err := f.r.(flate.Resetter).Reset(&f.parts, history); err != nil {
		return nil, err
	}
	n := 0
	for {
		m, err := f.r.Read(f.output[n:])
		n += m
		switch {
		case n == len(f.output):
			return nil, errors.New("message inflates to more than 64 KiB")
		case err == io.ErrUnexpectedEOF, err == io.EOF:
			return f.output[:n], nil // the stream has no final block
		case err != nil:
			return nil, err
		}
	}
}

// remember appends p to history, and cuts it to one window when it gets longer than two.
func remember(history, p []byte) []byte {
	if len(history)+len(p) > 2*maxWindow {
		history = history[:copy(history, history[len(history)-maxWindow:])]
	}
	return append(history, p...)
}

// recent returns the part of history that a message may refer to.
func recent(history []byte) []byte { return history[max(0, len(history)-maxWindow):] }

// ScriptFor returns the compressed script for the extensions that a server has agreed to.
func ScriptFor(extensions string, takeover bool) (*Script, error) {
	if !strings.HasPrefix(extensions, "permessage-deflate") {
		return nil, fmt.Errorf("%w: server agrees to %q", ErrUnsupported, extensions)
	}
	if takeover && strings.Contains(extensions, "no_context_takeover") {
		return nil, fmt.Errorf("%w: %s", ErrUnsupported, extensions)
	}
	return Deflated(takeover, clientBits(extensions))
}

// ErrUnsupported: the server does not support what the cell measures.
var ErrUnsupported = errors.New("not supported")

// clientBits returns the window that the server allows its client.
func clientBits(extensions string) int {
	_, rest, ok := strings.Cut(extensions, "client_max_window_bits=")
	if !ok {
		return 15
	}
	rest, _, _ = strings.Cut(rest, ";")
	bits, err := strconv.Atoi(strings.Trim(rest, `" `))
	if err != nil {
		return 15
	}
	return bits
}
