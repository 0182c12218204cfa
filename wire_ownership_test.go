package edgews_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The tests in this file check that the bytes of one socket never reach the peer of another one, in whatever way sockets end. With the race
// detector, buffers are overwritten when they are freed, which makes later uses visible.

// smallBuffers is a listener whose connections have a small send buffer, as if the network were slow.
type smallBuffers struct{ net.Listener }

func (l smallBuffers) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		err = conn.(*net.TCPConn).SetWriteBuffer(16 << 10)
	}
	return conn, err
}

// slowTCP and slowTLS are networks where the server's writes block after some kilobytes if the peer does not read.
var (
	slowTCP = network{name: "tcp", real: true, serve: func(t testing.TB, handler http.HandlerFunc) (func() net.Conn, string, *http.Client) {
		server := slowServer(t, handler, (*httptest.Server).Start)
		return slowDialer(t, server), server.URL, slowClient(server)
	}}
	slowTLS = network{name: "tls", real: true, serve: func(t testing.TB, handler http.HandlerFunc) (func() net.Conn, string, *http.Client) {
		server := slowServer(t, handler, (*httptest.Server).StartTLS)
		config := server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
		config.ServerName = "example.com" // what httptest's certificate is for
		plain := slowDialer(t, server)
		return func() net.Conn { return tls.Client(plain(), config) }, server.URL, slowClient(server)
	}}
)

func slowServer(t testing.TB, handler http.HandlerFunc, start func(*httptest.Server)) *httptest.Server {
	server := httptest.NewUnstartedServer(handler)
	server.Listener = smallBuffers{server.Listener}
	start(server)
	t.Cleanup(server.Close)
	return server
}

// slowClient returns an HTTP client for server whose connections have small buffers as well.
func slowClient(server *httptest.Server) *http.Client {
	client := server.Client()
	client.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", server.Listener.Addr().String())
		if err == nil {
			err = conn.(*net.TCPConn).SetWriteBuffer(16 << 10)
		}
		return conn, err
	}
	return client
}

func slowDialer(t testing.TB, server *httptest.Server) func() net.Conn {
	return func() net.Conn {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		require.NoError(t, err)
		require.NoError(t, conn.(*net.TCPConn).SetReadBuffer(16<<10))
		t.Cleanup(func() { conn.Close() })
		return conn
	}
}

// Unsent data of a socket whose listener does not return normally is sent to its own peer, and to no other.
func TestUnsentDataStaysWithItsSocket(t *testing.T) {
	for _, where := range []network{slowTCP, slowTLS} {
		for name, exit := range map[string]func(*edgews.Socket){
			"panic":  func(*edgews.Socket) { panic("with unsent data") },
			"Goexit": func(*edgews.Socket) { runtime.Goexit() },
			"Close":  func(s *edgews.Socket) { s.Close(1011, "internal error") },
		} {
			t.Run(where.name+", "+name, func(t *testing.T) {
				captureDefaultLog(t)
				a, peerOfA := where.serverAndPeer(t, edgews.Options{})
				b, peerOfB := where.serverAndPeer(t, edgews.Options{})
				big := strings.Repeat("A", bulk)
				a.OnMessage(func(edgews.MessageEvent) {
					a.Send(big)
					exit(a)
				})
				b.OnMessage(func(e edgews.MessageEvent) { b.SendBytes(e.Data) })
				acceptBoth(t, a, b)
				peerOfA.sends(text("?"))
				eventually(t, func() bool { return a.ReadyState() != edgews.Open }, "the end of A")
				for i := range 20 {
					said := binaryOf(fmt.Sprint("secret for B ", i))
					peerOfB.sends(said)
					peerOfB.expects(said)
				}
				require.Equal(t, big, peerOfA.next().payload)
				peerOfA.expects(closing(1011, "internal error"))
			})
		}
	}
}

// mark is the text that all payloads of one socket repeat.
type mark string

const markLength = 8

func newMark(id uint64) mark { return mark(fmt.Sprintf("%07d.", id)) }

func (m mark) payload(n int) []byte { return bytes.Repeat([]byte(m), n/markLength) }

func (m mark) owns(p string) bool {
	for ; p != ""; p = p[markLength:] {
		if len(p) < markLength || p[:markLength] != string(m) {
			return false
		}
	}
	return true
}

// someBytes returns a payload of a random size, usually a small one.
func (m mark) someBytes() []byte {
	switch rand.IntN(25) {
	case 0:
		return m.payload(rand.IntN(150 << 10))
	case 1, 2:
		return m.payload(rand.IntN(8 << 10))
	}
	return m.payload(rand.IntN(300))
}

// marked is a test in which each socket sends its own mark and expects no other one.
type marked struct {
	t       *testing.T
	number  atomic.Uint64
	objects *edgews.Namespace
	sockets sync.Map // the server's sockets: mark to *edgews.Socket
}

// hammerTime returns the duration of a randomised test: EDGEWS_HAMMER, or two seconds.
func hammerTime() time.Duration {
	if d, err := time.ParseDuration(os.Getenv("EDGEWS_HAMMER")); err == nil {
		return d
	}
	return 2 * time.Second
}

// TestEachSocketHasItsOwnBytes ends sockets in all ways at random, at any point of what they send, and checks every byte that arrives. It
// runs for hammerTime.
func TestEachSocketHasItsOwnBytes(t *testing.T) {
	m := &marked{t: t}
	m.objects = edgews.NewNamespace("marked", func(_ context.Context, st *edgews.State) (edgews.Object, error) {
		return &markedObject{m, st}, nil
	}, &edgews.NamespaceOptions{HibernateAfter: time.Millisecond, Options: edgews.Options{Logger: quiet}})
	var dials []func() net.Conn
	for _, where := range []network{slowTCP, slowTLS, overTCP} {
		dial, _, _ := where.serve(t, m.serve)
		dials = append(dials, dial)
	}
	until := time.Now().Add(hammerTime())
	var workers sync.WaitGroup
	for range 40 {
		workers.Go(func() {
			for time.Now().Before(until) && !t.Failed() {
				m.client(dials[rand.IntN(len(dials))]())
			}
		})
	}
	workers.Go(func() {
		for time.Now().Before(until) && !t.Failed() {
			m.sendToAll()
			runtime.Gosched()
		}
	})
	workers.Wait()
	m.sockets.Range(func(_, s any) bool {
		waitDone(t, s.(*edgews.Socket))
		return true
	})
	t.Logf("%d sockets", m.number.Load())
}

// markedOptions have short time-outs, so that peers that do not read do not delay the test.
var markedOptions = edgews.Options{Logger: quiet, WriteTimeout: 300 * time.Millisecond, CloseTimeout: 300 * time.Millisecond}

func (m *marked) serve(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Has("object") {
		m.objects.Get(m.objects.IDFromName(strconv.Itoa(rand.IntN(5)))).ServeHTTP(w, r)
		return
	}
	echoes := r.URL.Query().Has("echo")
	opts := markedOptions
	if echoes { // its peer reads, but on a busy machine not always in time
		opts.WriteTimeout = patience
	}
	s, err := edgews.Upgrade(w, r, &edgews.UpgradeOptions{Options: opts})
	if err != nil {
		return
	}
	own := mark(r.URL.Query().Get("mark"))
	if echoes {
		echoListener(s)
		return
	}
	m.sockets.Store(own, s)
	switch {
	case rand.IntN(3) == 0:
		go m.pull(s, own)
	default:
		s.OnMessage(func(e edgews.MessageEvent) { m.handle(s, own, e.Data) })
		s.Accept()
	}
}

func (m *marked) pull(s *edgews.Socket, own mark) {
	for {
		message, err := s.Receive(context.Background())
		if err != nil {
			return
		}
		m.check(own, string(message.Data))
		s.Write(context.Background(), message.Kind, message.Data)
	}
}

// handle is a message listener that sends at random and may return, panic, call Goexit, close the socket or block for a while.
func (m *marked) handle(s *edgews.Socket, own mark, data []byte) {
	m.check(own, string(data))
	for range rand.IntN(4) {
		m.send(s, own)
	}
	how := rand.IntN(25)
	if how < 3 && rand.IntN(2) == 0 { // more than the kernel has room for
		s.SendBytes(own.payload(200 << 10))
	}
	switch how {
	case 0:
		panic("at random")
	case 1:
		runtime.Goexit()
	case 2:
		s.Close(4000, string(own))
	case 3:
		<-time.After(time.Duration(rand.IntN(3000)) * time.Microsecond)
	}
}

func (m *marked) send(s *edgews.Socket, own mark) {
	switch p := own.someBytes(); rand.IntN(5) {
	case 0:
		s.Send(string(p))
	case 1:
		s.SendPrepared(edgews.Prepare(edgews.Binary, p))
	case 2:
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		s.Write(ctx, edgews.Text, p)
	default:
		s.SendBytes(p)
	}
}

// sendToAll sends to about ten of the server's sockets, from a goroutine that does not handle their messages.
func (m *marked) sendToAll() {
	m.sockets.Range(func(key, value any) bool {
		s := value.(*edgews.Socket)
		m.send(s, key.(mark))
		if s.Err() != nil {
			m.sockets.Delete(key)
		}
		return rand.IntN(10) > 0
	})
}

func (m *marked) check(own mark, p string) {
	if !own.owns(p) {
		assert.Fail(m.t, "bytes of another socket", "%s got %.80q of %d bytes", own, p, len(p))
	}
}

type markedObject struct {
	m  *marked
	st *edgews.State
}

func (o *markedObject) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s, err := edgews.Upgrade(w, r, &edgews.UpgradeOptions{Options: markedOptions})
	if err != nil {
		return
	}
	own := r.URL.Query().Get("mark")
	o.m.sockets.Store(mark(own), s)
	if err := s.SetAttachment(own); err != nil {
		o.m.t.Error(err)
	}
	if err := o.st.AcceptWebSocket(s); err != nil {
		s.Accept()
		s.Close(1013, "")
	}
}

func (o *markedObject) WebSocketMessage(_ context.Context, s *edgews.Socket, message edgews.Message) error {
	var own string
	if err := s.Attachment(&own); err != nil {
		return err
	}
	o.m.handle(s, mark(own), message.Data)
	return nil
}

// client uses one connection, from its handshake to its end.
func (m *marked) client(conn net.Conn) {
	defer conn.Close()
	own := newMark(m.number.Add(1))
	conn.SetDeadline(time.Now().Add(2 * patience))
	where := "/?mark=" + string(own)
	switch rand.IntN(4) {
	case 0:
		where += "&object"
	case 1:
		where += "&echo"
	}
	echo := strings.HasSuffix(where, "echo")
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n", where, aKey)
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		assert.Fail(m.t, "no handshake", "%v", err)
		return
	}
	if echo {
		m.wantsEchoes(conn, r, own)
		return
	}
	var sender sync.WaitGroup
	defer sender.Wait()
	sender.Go(func() { m.sendFrames(conn, own) })
	m.checkFrames(conn, r, own)
}

// wantsEchoes sends messages and checks that each is echoed.
func (m *marked) wantsEchoes(conn net.Conn, r *bufio.Reader, own mark) {
	p := &peer{client: true}
	for range 1 + rand.IntN(50) {
		sent := binaryOf(string(own.payload(rand.IntN(300))))
		_, err := conn.Write(p.encode(sent))
		got := aFrame{}
		if err == nil {
			got, err = readFrame(r)
		}
		if !assert.NoError(m.t, err, "no echo") || !assert.Equal(m.t, sent.String(), got.String()) {
			return
		}
	}
}

// sendFrames sends frames at random, and ends the connection in one of four ways.
func (m *marked) sendFrames(conn net.Conn, own mark) {
	p := &peer{client: true}
	for range rand.IntN(10) {
		data := string(own.someBytes())
		f := p.encode(binaryOf(data))
		if rand.IntN(10) == 0 {
			f = p.encode(ping(string(own)), part(text(data), false), ping(string(own)), continuation(data, true))
		}
		if _, err := conn.Write(f); err != nil {
			return
		}
		if rand.IntN(4) == 0 {
			<-time.After(time.Duration(rand.IntN(2000)) * time.Microsecond)
		}
	}
	switch tcp := tcpOf(conn); rand.IntN(4) {
	case 0:
		tcp.SetLinger(0)
		tcp.Close()
	case 1:
		tcp.Close()
	case 2:
		tcp.CloseWrite()
	default:
		conn.Write(p.encode(closing(4001, string(own))))
	}
}

func tcpOf(conn net.Conn) *net.TCPConn {
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	return conn.(*net.TCPConn)
}

// checkFrames checks the received frames, and sometimes stops reading for some milliseconds.
func (m *marked) checkFrames(conn net.Conn, r *bufio.Reader, own mark) {
	for {
		f, err := readFrame(r)
		if err != nil { // the received part of an incomplete frame is checked as well
			f.payload = f.payload[:len(f.payload)/markLength*markLength]
			f.payload = strings.TrimRight(f.payload, "\x00")
		}
		switch {
		case f.opcode == 8 && len(f.payload) >= 2 && strings.HasPrefix(f.payload[2:], "0"):
			m.check(own, f.payload[2:])
		case f.opcode == 8:
		default:
			m.check(own, f.payload[:len(f.payload)/markLength*markLength])
		}
		if err != nil { // frames behind a Close frame are checked as well
			return
		}
		if rand.IntN(20) == 0 {
			<-time.After(time.Duration(rand.IntN(10_000)) * time.Microsecond)
		}
	}
}
