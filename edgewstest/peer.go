package edgewstest

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/edgews/edgews"
)

// Peer is a WebSocket client or server that knows no rules: the test decides which frames it sends, valid or not, and when. It answers no
// ping and no Close by itself. [Server.DialPeer] and [FakeServer.Accept] return peers that have made the opening handshake.
//
// The methods belong to the goroutine that runs the test; they end the test when something unexpected arrives, or nothing for a minute. One
// goroutine may write while another reads.
type Peer struct {
	// Request is what a client has sent, or this one: set by Upgrade and AnswerUpgrade.
	Request *http.Request

	// Response is the server's answer to Upgrade. Its body is empty.
	Response *http.Response

	t      testing.TB
	conn   net.Conn
	r      *bufio.Reader
	client bool
}

// NewPeer returns a peer over a connection of any kind: a client, which masks its frames, or a server.
func NewPeer(t testing.TB, conn net.Conn, client bool) *Peer {
	return &Peer{t: t, conn: conn, r: bufio.NewReader(conn), client: client}
}

// key is the Sec-WebSocket-Key of RFC 6455 §1.3. Real clients choose it at random.
const key = "dGhlIHNhbXBsZSBub25jZQ=="

// Upgrade makes the opening handshake of a client, with additional header fields, which may be nil, and expects the answer 101. rawURL has
// the host and the path, as "http://edgews.test/chat".
func (p *Peer) Upgrade(rawURL string, header http.Header) {
	p.t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		p.t.Fatalf("edgewstest: Upgrade: %v", err)
		return
	}
	r := &http.Request{Method: http.MethodGet, URL: u, Host: u.Host, Header: header.Clone()}
	if r.Header == nil {
		r.Header = make(http.Header)
	}
	for name, value := range map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-Websocket-Version": "13", "Sec-Websocket-Key": key,
	} {
		if r.Header.Get(name) == "" {
			r.Header.Set(name, value)
		}
	}
	p.Request = r
	p.bound()
	if err := r.Write(p.conn); err != nil {
		p.t.Fatalf("edgewstest: the peer cannot send its request: %v", err)
		return
	}
	p.readResponse()
}

// readResponse expects a 101.
func (p *Peer) readResponse() {
	p.t.Helper()
	resp, err := http.ReadResponse(p.r, p.Request)
	if err != nil {
		p.t.Fatalf("edgewstest: the peer expects the answer to GET %s: %v", p.Request.URL.RequestURI(), err)
		return
	}
	p.Response = resp
	if resp.StatusCode != http.StatusSwitchingProtocols {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
		p.t.Fatalf("edgewstest: GET %s was answered with %s: %s", p.Request.URL.RequestURI(), resp.Status, strings.TrimSpace(string(body)))
		return
	}
	if got, want := resp.Header.Get("Sec-Websocket-Accept"), acceptFor(p.Request.Header.Get("Sec-Websocket-Key")); got != want {
		p.t.Fatalf("edgewstest: GET %s was answered with Sec-WebSocket-Accept %q instead of %q", p.Request.URL.RequestURI(), got, want)
	}
}

// acceptFor returns the Sec-WebSocket-Accept that answers a key (RFC 6455 §4.2.2).
func acceptFor(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// ReadRequest reads the request of a client. AnswerUpgrade does it too, unless it was called before.
func (p *Peer) ReadRequest() *http.Request {
	p.t.Helper()
	if err := p.readRequest(); err != nil {
		p.t.Fatalf("edgewstest: the peer expects a request: %v", err)
	}
	return p.Request
}

func (p *Peer) readRequest() (err error) {
	p.bound()
	p.Request, err = http.ReadRequest(p.r)
	return err
}

// AnswerUpgrade makes the opening handshake of a server: it answers 101, with additional header fields, which may be nil. Fields that the
// answer has anyway are replaced, so that a test can send wrong ones.
func (p *Peer) AnswerUpgrade(header http.Header) {
	p.t.Helper()
	if p.Request == nil {
		p.ReadRequest()
	}
	if err := p.answerUpgrade(header); err != nil {
		p.t.Fatalf("edgewstest: the peer cannot answer the request: %v", err)
	}
}

func (p *Peer) answerUpgrade(header http.Header) error {
	h := http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"},
		"Sec-Websocket-Accept": {acceptFor(p.Request.Header.Get("Sec-Websocket-Key"))},
	}
	for name, values := range header {
		h[http.CanonicalHeaderKey(name)] = values
	}
	var b strings.Builder
	b.WriteString("HTTP/1.1 101 Switching Protocols\r\n")
	_ = h.Write(&b) // a strings.Builder takes everything
	b.WriteString("\r\n")
	p.bound()
	_, err := io.WriteString(p.conn, b.String())
	return err
}

// Refuse answers a client's request with a status other than 101 and closes the connection. header may be nil.
func (p *Peer) Refuse(status int, header http.Header, body string) {
	p.t.Helper()
	if p.Request == nil {
		p.ReadRequest()
	}
	resp := &http.Response{
		StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, Header: header, Close: true,
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
	}
	p.bound()
	if err := resp.Write(p.conn); err != nil {
		p.t.Fatalf("edgewstest: the peer cannot answer the request: %v", err)
	}
	p.Close()
}

// bound bounds the next reads and writes. Connections without deadlines wait for as long as the test may take.
func (p *Peer) bound() { _ = p.conn.SetDeadline(time.Now().Add(patience)) }

// Conn returns the connection, for example to end a direction of it, or nil if it is not a [Conn].
func (p *Peer) Conn() *Conn {
	c, _ := p.conn.(*Conn)
	return c
}

// Encode returns the bytes of frames as this peer sends them, for a test that sends them in parts.
func (p *Peer) Encode(frames ...Frame) (b []byte) {
	for _, f := range frames {
		b = f.Append(b, p.client)
	}
	return b
}

// Write sends frames in one Write of the connection.
func (p *Peer) Write(frames ...Frame) {
	p.t.Helper()
	p.WriteBytes(p.Encode(frames...))
}

// WriteBytes sends bytes as they are, in one Write of the connection. It waits while the connection takes no more, for a minute at most. Then,
// and if the connection has ended, it ends the test.
func (p *Peer) WriteBytes(b []byte) {
	p.t.Helper()
	_ = p.conn.SetWriteDeadline(time.Now().Add(patience))
	if n, err := p.conn.Write(b); err != nil {
		p.t.Fatalf("edgewstest: the peer has sent %d of %d bytes: %v", n, len(b), err)
	}
}

// ReadFrame returns the next frame.
func (p *Peer) ReadFrame() Frame {
	p.t.Helper()
	f, err := p.readFrame()
	if err != nil {
		p.t.Fatalf("edgewstest: the peer expects a frame: %v", explained(err))
	}
	return f
}

func (p *Peer) readFrame() (Frame, error) {
	_ = p.conn.SetReadDeadline(time.Now().Add(patience))
	return ReadFrame(p.r, !p.client)
}

// explained says what an error of reading means for the test.
func explained(err error) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("nothing has arrived for %v", patience)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the connection has ended in the middle of a frame")
	case errors.Is(err, io.EOF):
		return errors.New("the connection has ended")
	}
	return err
}

// Expect reads as many frames as there are arguments, and ends the test at the first that is different.
func (p *Peer) Expect(frames ...Frame) {
	p.t.Helper()
	for i, want := range frames {
		got, err := p.readFrame()
		if err != nil {
			p.t.Fatalf("edgewstest: the peer expects %v (frame %d of %d): %v", want, i+1, len(frames), explained(err))
			return
		}
		if want.whole() != got.whole() {
			p.t.Fatalf("edgewstest: the peer has received another frame (%d of %d):\n%s", i+1, len(frames), lineDiff(want.whole(), got.whole()))
			return
		}
	}
}

// whole is String with the whole payload.
func (f Frame) whole() string { return f.describe(fmt.Sprintf("%q", f.Payload)) }

// ExpectClose expects a Close with this code and returns its reason. Code 0 stands for an empty Close. The frames before it are an error.
func (p *Peer) ExpectClose(code edgews.StatusCode) (reason string) {
	p.t.Helper()
	f, err := p.readFrame()
	if err != nil {
		p.t.Fatalf("edgewstest: the peer expects a Close with %v: %v", code, explained(err))
		return ""
	}
	got, reason, ok := f.closing()
	if empty := f.Payload == ""; f.Opcode != opClose || !f.Fin || f.RSV != 0 || f.WrongMask || got != code || ok == empty || empty != (code == 0) {
		p.t.Fatalf("edgewstest: the peer expects a Close with %v, but has received %v", code, f)
	}
	return reason
}

// ExpectEnd expects that the other side closes the connection, and sends nothing more before. A reset is an end too.
func (p *Peer) ExpectEnd() {
	p.t.Helper()
	switch f, err := p.readFrame(); {
	case err == nil:
		p.t.Fatalf("edgewstest: the peer expects the end of the connection, but has received %v", f)
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, io.ErrUnexpectedEOF):
		p.t.Fatalf("edgewstest: the peer expects the end of the connection: %v", explained(err))
	}
}

// CloseCleanly makes the closing handshake: it sends a Close, expects the same as the answer, and closes the connection. A server expects
// that the client waits for it to close the connection; a client waits for the server (RFC 6455 §7.1.1).
func (p *Peer) CloseCleanly(code edgews.StatusCode, reason string) {
	p.t.Helper()
	p.Write(CloseFrame(code, reason))
	p.Expect(CloseFrame(code, reason))
	if p.client {
		p.ExpectEnd()
	}
	p.Close()
}

// Discard reads everything that arrives from now on, in a goroutine that ends with the connection, and drops it: a peer that takes what is
// sent, and never answers.
func (p *Peer) Discard() {
	_ = p.conn.SetReadDeadline(time.Time{})
	go io.Copy(io.Discard, p.r)
}

// Close closes the connection without a Close frame. Calling it again does nothing.
func (p *Peer) Close() { _ = p.conn.Close() }
