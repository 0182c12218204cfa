package edgews_test

import (
	"bufio"
	"context"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/edgewstest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Tests read like transcripts: a raw peer sends and expects frames as bytes, a recorder
// collects the events of a socket, and one test runs over every kind of connection. Over pairs and pipes
// a test runs in a synctest bubble, where waiting takes no time and a goroutine that does not end fails the test.

// patience bounds every wait outside a bubble, so that a test that hangs reports where.
const patience = time.Minute

// aFrame is one frame as a peer sends or receives it, valid or not.
type aFrame struct {
	bits    byte // FIN 0x80 and the reserved bits
	opcode  byte
	payload string
	length  []byte // replaces the correct length: the second byte, without its mask bit, and the extended length
	bare    bool   // wrong masking: a client's frame is not masked, a server's is
}

const (
	fin  = 0x80
	rsv1 = 0x40
)

func text(s string) aFrame     { return aFrame{bits: fin, opcode: 1, payload: s} }
func binaryOf(s string) aFrame { return aFrame{bits: fin, opcode: 2, payload: s} }
func ping(s string) aFrame     { return aFrame{bits: fin, opcode: 9, payload: s} }
func pong(s string) aFrame     { return aFrame{bits: fin, opcode: 10, payload: s} }

// closing is a Close frame; code 0 makes it empty.
func closing(code int, reason string) aFrame {
	f := aFrame{bits: fin, opcode: 8}
	if code != 0 {
		f.payload = string(binary.BigEndian.AppendUint16(nil, uint16(code))) + reason
	}
	return f
}

// part makes f a fragment of a message. With opcode 0 it is not the first one.
func part(f aFrame, last bool) aFrame {
	f.bits &^= fin
	if last {
		f.bits |= fin
	}
	return f
}

func continuation(s string, last bool) aFrame { return part(aFrame{payload: s}, last) }

// raw returns the frame as package edgewstest has it.
func (f aFrame) raw() edgewstest.Frame {
	return edgewstest.Frame{
		Fin: f.bits&fin != 0, RSV: f.bits >> 4 & 7, Opcode: f.opcode, Payload: f.payload, WrongMask: f.bare, Length: f.length,
	}
}

func (f aFrame) String() string { return f.raw().String() }

// appendTo encodes f in a simple way, independent of internal/frame.
func (f aFrame) appendTo(b []byte, client bool) []byte { return f.raw().Append(b, client) }

// readFrame reads a frame, masked or not.
func readFrame(r *bufio.Reader) (aFrame, error) {
	f, err := edgewstest.ReadFrame(r, false)
	got := aFrame{bits: f.RSV << 4, opcode: f.Opcode, payload: f.Payload}
	if f.Fin {
		got.bits |= fin
	}
	return got, err
}

// peer is the other end of a socket's connection. It sends and receives bytes and knows no socket.
type peer struct {
	t      testing.TB
	conn   net.Conn
	r      *bufio.Reader
	client bool // it masks its frames
}

func (p *peer) encode(frames ...aFrame) (b []byte) {
	for _, f := range frames {
		b = f.appendTo(b, p.client)
	}
	return b
}

// sends writes all frames in one Write.
func (p *peer) sends(frames ...aFrame) { p.t.Helper(); p.sendsBytes(p.encode(frames...)) }

func (p *peer) sendsBytes(b []byte) {
	p.t.Helper()
	p.conn.SetWriteDeadline(time.Now().Add(patience))
	_, err := p.conn.Write(b)
	require.NoError(p.t, err, "peer sends")
}

// writesAll writes b, without a time limit, until all of it is written or the connection ends.
func (p *peer) writesAll(b []byte) {
	p.conn.SetWriteDeadline(time.Time{})
	p.conn.Write(b)
}

func (p *peer) next() aFrame {
	p.t.Helper()
	p.conn.SetReadDeadline(time.Now().Add(patience))
	masked, err := p.r.Peek(2)
	require.NoError(p.t, err, "peer expects a frame")
	require.Equal(p.t, !p.client, masked[1]&0x80 != 0, "a frame is masked if and only if a client has sent it")
	f, err := readFrame(p.r)
	require.NoError(p.t, err, "peer expects a frame")
	return f
}

func (p *peer) expects(frames ...aFrame) {
	p.t.Helper()
	for _, want := range frames {
		require.Equal(p.t, want.String(), p.next().String())
	}
}

// expectsClose expects a Close with that code and returns its reason.
func (p *peer) expectsClose(code int) string {
	p.t.Helper()
	f := p.next()
	require.Contains(p.t, f.String(), fmt.Sprintf("close %d ", code))
	return f.payload[2:]
}

// expectsEOF expects the end of the connection.
func (p *peer) expectsEOF() {
	p.t.Helper()
	p.conn.SetReadDeadline(time.Now().Add(patience))
	f, err := readFrame(p.r)
	require.Error(p.t, err, "expected the end, but got %v", f)
	require.NotErrorIs(p.t, err, os.ErrDeadlineExceeded)
}

// closesCleanly sends a Close, expects the same as its answer, and closes the connection.
func (p *peer) closesCleanly(code int, reason string) {
	p.t.Helper()
	p.sends(closing(code, reason))
	p.expects(closing(code, reason))
	p.expectsEOF()
	p.conn.Close()
}

// ignores reads everything that arrives from now on, and drops it.
func (p *peer) ignores() {
	p.conn.SetReadDeadline(time.Time{})
	go io.Copy(io.Discard, p.r)
}

func (p *peer) hangsUp() { p.conn.Close() }

// recorder is a [edgewstest.Recorder] in the words of these tests.
type recorder struct {
	*edgewstest.Recorder
	s *edgews.Socket
}

func record(t testing.TB, s *edgews.Socket) *recorder { return &recorder{edgewstest.Record(t, s), s} }

func messageOf(m edgews.Message) string { return edgewstest.MessageLine(m) }

// The functions message, bytesMessage, closed and failed return events in the form of recorder.

func message(s string) string { return messageOf(edgews.Message{Kind: edgews.Text, Data: []byte(s)}) }
func bytesMessage(s string) string {
	return messageOf(edgews.Message{Kind: edgews.Binary, Data: []byte(s)})
}
func closed(code int, reason string, clean bool) string {
	return edgewstest.CloseLine(edgews.StatusCode(code), reason, clean)
}
func failed(with string) string { return "error " + with }

var cut = closed(1006, "WebSocket disconnected without sending Close frame.", false)

func (r *recorder) next() string { return r.Next() }

// wants checks the next events. The text of an error event must contain the wanted text.
func (r *recorder) wants(events ...string) { r.Want(events...) }

// wantsEnd checks that these are the last events, and that Done and Err agree with the close event.
func (r *recorder) wantsEnd(events ...string) { r.WantEnd(events...) }

func waitDone(t testing.TB, s *edgews.Socket) {
	t.Helper()
	select {
	case <-s.Done():
	case <-time.After(patience):
		require.FailNow(t, "socket does not end", "it is %v", s.ReadyState())
	}
}

// pipeWriter is a ResponseWriter over one end of a pipe, as Upgrade needs it.
type pipeWriter struct {
	conn   net.Conn
	rw     *bufio.ReadWriter
	header http.Header
}

func (w *pipeWriter) Header() http.Header         { return w.header }
func (w *pipeWriter) Write(p []byte) (int, error) { return w.conn.Write(p) }
func (w *pipeWriter) WriteHeader(code int)        { fmt.Fprintf(w.conn, "HTTP/1.1 %d x\r\n\r\n", code) }
func (w *pipeWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return w.conn, w.rw, nil
}

// serveConn runs handler for the one request that comes on conn.
func serveConn(conn net.Conn, handler http.HandlerFunc) {
	rw := bufio.NewReadWriter(bufio.NewReader(conn), bufio.NewWriter(conn))
	r, err := http.ReadRequest(rw.Reader)
	if err != nil {
		conn.Close()
		return
	}
	handler(&pipeWriter{conn, rw, make(http.Header)}, r)
}

// network is a kind of connection that a test runs over, such as TCP.
type network struct {
	name string
	real bool // in real time, not in a synctest bubble
	// serve starts a server with handler. dial opens a connection to it; url and client are for edgews.Dial.
	serve func(t testing.TB, handler http.HandlerFunc) (dial func() net.Conn, url string, client *http.Client)
}

var (
	overPipe = network{name: "pipe", serve: servePipe}
	overTCP  = network{name: "tcp", real: true, serve: serveTCP}
	overTLS  = network{name: "tls", real: true, serve: serveTLS}
)

func servePipe(t testing.TB, handler http.HandlerFunc) (func() net.Conn, string, *http.Client) {
	dial := func() net.Conn {
		ours, theirs := net.Pipe()
		t.Cleanup(func() { ours.Close(); theirs.Close() })
		go serveConn(theirs, handler)
		return ours
	}
	transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return dial(), nil }}
	return dial, "ws://pipe.test/", &http.Client{Transport: transport}
}

func serveTCP(t testing.TB, handler http.HandlerFunc) (func() net.Conn, string, *http.Client) {
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return dialer(t, server), server.URL, server.Client()
}

func serveTLS(t testing.TB, handler http.HandlerFunc) (func() net.Conn, string, *http.Client) {
	server := httptest.NewTLSServer(handler)
	t.Cleanup(server.Close)
	config := server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	config.ServerName = "example.com" // a name in httptest's certificate
	plain := dialer(t, server)
	dial := func() net.Conn { return tls.Client(plain(), config) }
	return dial, server.URL, server.Client()
}

func dialer(t testing.TB, server *httptest.Server) func() net.Conn {
	return func() net.Conn {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		require.NoError(t, err)
		t.Cleanup(func() { conn.Close() })
		return conn
	}
}

// bubble runs f in virtual time, and then lets an hour pass, so that all timers fire.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(func() { time.Sleep(time.Hour) })
		f(t)
	})
}

// run runs f as a subtest over that kind of connection.
func (p network) run(t *testing.T, f func(t *testing.T, p network)) {
	t.Run(p.name, func(t *testing.T) {
		if p.real {
			f(t, p)
			return
		}
		bubble(t, func(t *testing.T) { f(t, p) })
	})
}

// withPeer runs f over a pipe and over TCP with a raw client as the peer of a server's socket.
func withPeer(t *testing.T, opts edgews.Options, f func(t *testing.T, s *edgews.Socket, p *peer)) {
	t.Helper()
	for _, where := range []network{overPipe, overTCP} {
		where.run(t, func(t *testing.T, where network) {
			s, p := where.serverAndPeer(t, opts)
			f(t, s, p)
		})
	}
}

// overAPipe runs f in a bubble, over a pipe, with a raw client as the peer of a server's socket.
func overAPipe(t *testing.T, opts edgews.Options, f func(t *testing.T, s *edgews.Socket, p *peer)) {
	t.Helper()
	bubble(t, func(t *testing.T) {
		s, p := overPipe.serverAndPeer(t, opts)
		f(t, s, p)
	})
}

// serverAndPeer returns a server's socket, not accepted, and the raw client at its other end.
func (p network) serverAndPeer(t testing.TB, opts edgews.Options, offers ...string) (*edgews.Socket, *peer) {
	t.Helper()
	sockets := make(chan *edgews.Socket, 1)
	dial, _, _ := p.serve(t, upgradeInto(t, sockets, opts))
	conn := dial()
	raw := &peer{t, conn, bufio.NewReader(conn), true}
	raw.upgrades(offers...)
	s := <-sockets
	endWith(t, s, conn)
	return s, raw
}

// upgradeInto returns a handler that upgrades requests and sends the sockets to a channel.
func upgradeInto(t testing.TB, sockets chan<- *edgews.Socket, opts edgews.Options) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s, err := edgews.Upgrade(w, r, &edgews.UpgradeOptions{Options: opts})
		assert.NoError(t, err)
		sockets <- s
	}
}

// aKey is the Sec-WebSocket-Key of RFC 6455 §1.3.
const aKey = "dGhlIHNhbXBsZSBub25jZQ=="

// upgrades makes the opening handshake of a client that offers extensions, and expects success.
func (p *peer) upgrades(offers ...string) {
	p.t.Helper()
	lines := []string{"GET / HTTP/1.1", "Host: pipe.test", "Connection: Upgrade", "Upgrade: websocket",
		"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: " + aKey}
	for _, offer := range offers {
		lines = append(lines, "Sec-WebSocket-Extensions: "+offer)
	}
	p.sendsBytes([]byte(strings.Join(lines, "\r\n") + "\r\n\r\n"))
	p.conn.SetReadDeadline(time.Now().Add(patience))
	resp, err := http.ReadResponse(p.r, nil)
	require.NoError(p.t, err)
	require.Equal(p.t, http.StatusSwitchingProtocols, resp.StatusCode)
}

// clientAndPeer returns a client's socket, not accepted, and the raw server at its other end.
func clientAndPeer(t testing.TB, opts edgews.Options) (*edgews.Socket, *peer) {
	t.Helper()
	ours, theirs := net.Pipe()
	raw := &peer{t, theirs, bufio.NewReader(theirs), false}
	go raw.answersHandshake()
	transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return ours, nil }}
	s, _, err := edgews.Dial(t.Context(), "ws://pipe.test/", &edgews.DialOptions{Options: opts, HTTPClient: &http.Client{Transport: transport}})
	require.NoError(t, err)
	endWith(t, s, theirs)
	return s, raw
}

// answersHandshake makes the opening handshake of a server that accepts no extensions.
func (p *peer) answersHandshake() {
	r, err := http.ReadRequest(p.r)
	if err != nil {
		p.t.Errorf("no request: %v", err)
		return
	}
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	fmt.Fprintf(p.conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		base64.StdEncoding.EncodeToString(sum[:]))
}

// endWith closes conns and s at the end of the test, and waits for the end of s if it is accepted.
func endWith(t testing.TB, s *edgews.Socket, conns ...net.Conn) {
	t.Cleanup(func() {
		for _, conn := range conns {
			conn.Close()
		}
		if s.Close(1001, "test is over") != edgews.ErrNotAccepted {
			waitDone(t, s)
		}
	})
}

// both runs f over a pair, a pipe, TCP and TLS with two sockets, not accepted.
func both(t *testing.T, opts edgews.Options, f func(t *testing.T, client, server *edgews.Socket)) {
	t.Helper()
	t.Run("pair", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			client, server := edgews.NewPair()
			f(t, client, server)
		})
	})
	overWires(t, opts, f)
}

// overWires is both without the pair.
func overWires(t *testing.T, opts edgews.Options, f func(t *testing.T, client, server *edgews.Socket)) {
	t.Helper()
	for _, where := range []network{overPipe, overTCP, overTLS} {
		where.run(t, func(t *testing.T, where network) {
			client, server := where.connect(t, opts)
			f(t, client, server)
		})
	}
}

// connect returns the two ends of one connection, with the same options.
func (p network) connect(t testing.TB, opts edgews.Options) (client, server *edgews.Socket) {
	t.Helper()
	sockets := make(chan *edgews.Socket, 1)
	_, url, httpClient := p.serve(t, upgradeInto(t, sockets, opts))
	client, _, err := edgews.Dial(t.Context(), url, &edgews.DialOptions{Options: opts, HTTPClient: httpClient})
	require.NoError(t, err)
	server = <-sockets
	endWith(t, client)
	endWith(t, server)
	return client, server
}

// acceptBoth accepts a and b.
func acceptBoth(t testing.TB, a, b *edgews.Socket) {
	t.Helper()
	require.NoError(t, a.Accept())
	require.NoError(t, b.Accept())
}

// eventually waits until ok returns true, which it calls every millisecond.
func eventually(t testing.TB, ok func() bool, what string) {
	t.Helper()
	for start := time.Now(); !ok(); {
		if time.Since(start) > patience {
			require.FailNow(t, "never happened", what)
		}
		select {
		case <-time.After(time.Millisecond):
		case <-t.Context().Done():
		}
		runtime.Gosched()
	}
}

// within returns a context for a wait that should end: it is cancelled after patience.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// noGoroutinesLeft fails the test if it ends with more goroutines than it began with.
func noGoroutinesLeft(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		for start := time.Now(); runtime.NumGoroutine() > before; runtime.Gosched() {
			if time.Since(start) > patience {
				stacks := make([]byte, 1<<16)
				t.Errorf("%d goroutines are left of %d:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
				return
			}
		}
	})
}

// TestHarness shows how to read the tests of this package.
func TestHarness(t *testing.T) {
	withPeer(t, edgews.Options{}, func(t *testing.T, s *edgews.Socket, p *peer) {
		events := record(t, s)
		require.NoError(t, s.Accept())
		p.sends(text("hello"))
		events.wants(message("hello"))
		require.NoError(t, s.Send("good day"))
		p.expects(text("good day"))
		p.sends(ping("are you there?"), part(text("a "), false), continuation("whole", true))
		p.expects(pong("are you there?"))
		p.closesCleanly(1000, "bye")
		events.wantsEnd(message("a whole"), closed(1000, "bye", true))
	})
}
