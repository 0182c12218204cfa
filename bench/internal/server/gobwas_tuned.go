package server

import (
	"bufio"
	"bytes"
	"compress/flate"
	"io"
	"net"
	"sync"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"
	fast "github.com/klauspost/compress/flate"
)

// serveGobwasTuned uses gobwas's low-level package: no net/http, a buffered reader, a reused buffer, and one write for all answers to
// the messages of one read.
func serveGobwasTuned(l net.Listener, c Config) error {
	serve := (*gobwasConn).echo
	var all broadcastGroup[net.Conn]
	switch {
	case c.Work == Broadcast:
		serve = func(g *gobwasConn) error { gobwasBroadcast(&all)(g.conn); return nil }
	case c.Deflate != Plain:
		serve = (*gobwasConn).echoDeflate
	}
	return accept(l, func(conn net.Conn) {
		upgrader := ws.Upgrader{}
		if c.Deflate != Plain {
			extension := wsflate.Extension{Parameters: wsflate.DefaultParameters}
			upgrader.Negotiate = extension.Negotiate
		}
		if _, err := upgrader.Upgrade(conn); err != nil {
			return
		}
		_ = serve(&gobwasConn{conn: conn, in: bufio.NewReaderSize(conn, 4<<10)})
	})
}

type gobwasConn struct {
	conn    net.Conn
	in      *bufio.Reader
	payload []byte
	out     bytes.Buffer // answers that are not written yet
}

// next reads a message or a ping. Its payload is valid until the next call.
func (g *gobwasConn) next() (ws.Header, error) {
	h, err := ws.ReadHeader(g.in)
	if err != nil {
		return h, err
	}
	if h.OpCode == ws.OpClose || !h.Fin {
		return h, io.EOF
	}
	if n := int(h.Length); n > cap(g.payload) {
		g.payload = make([]byte, n)
	}
	g.payload = g.payload[:h.Length]
	if _, err := io.ReadFull(g.in, g.payload); err != nil {
		return h, err
	}
	ws.Cipher(g.payload, h.Mask, 0)
	return h, nil
}

// answer queues a frame, and writes the queue when no further request is waiting in the buffer.
func (g *gobwasConn) answer(h ws.Header, p []byte) error {
	h.Masked, h.Mask, h.Length = false, [4]byte{}, int64(len(p))
	if err := ws.WriteHeader(&g.out, h); err != nil {
		return err
	}
	g.out.Write(p)
	if g.in.Buffered() > 0 {
		return nil
	}
	_, err := g.conn.Write(g.out.Bytes())
	g.out.Reset()
	return err
}

func (g *gobwasConn) echo() error {
	for {
		h, err := g.next()
		if err != nil {
			return err
		}
		if h.OpCode == ws.OpPing {
			h.OpCode = ws.OpPong
		}
		if err := g.answer(h, g.payload); err != nil {
			return err
		}
	}
}

// codec is a compressor and a decompressor. They are large and costly to make, and so are pooled. The decompressor is the standard
// library's, because wsflate's Reader returns an unexpected EOF with klauspost's.
type codec struct {
	deflater *wsflate.Writer
	inflater *wsflate.Reader
	message  bytes.Buffer
	packed   bytes.Buffer
}

var codecs = sync.Pool{New: func() any {
	return &codec{
		deflater: wsflate.NewWriter(nil, func(w io.Writer) wsflate.Compressor {
			c, _ := fast.NewWriter(w, fast.BestSpeed)
			return c
		}),
		inflater: wsflate.NewReader(nil, func(r io.Reader) wsflate.Decompressor { return flate.NewReader(r) }),
	}
}}

func (g *gobwasConn) echoDeflate() error {
	for {
		h, err := g.next()
		if err != nil {
			return err
		}
		if err := g.answerDeflate(h); err != nil {
			return err
		}
	}
}

func (g *gobwasConn) answerDeflate(h ws.Header) error {
	c := codecs.Get().(*codec)
	defer codecs.Put(c)
	h, compressed, err := wsflate.UnsetBit(h)
	if err != nil {
		return err
	}
	p := g.payload
	if compressed {
		c.inflater.Reset(bytes.NewReader(p))
		c.message.Reset()
		if _, err := c.message.ReadFrom(c.inflater); err != nil {
			return err
		}
		p = c.message.Bytes()
	}
	c.packed.Reset()
	c.deflater.Reset(&c.packed)
	if _, err := c.deflater.Write(p); err != nil {
		return err
	}
	if err := c.deflater.Close(); err != nil {
		return err
	}
	if h, err = wsflate.SetBit(h); err != nil {
		return err
	}
	return g.answer(h, c.packed.Bytes())
}
