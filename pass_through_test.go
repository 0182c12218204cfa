package edgews_test

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// dialAndRespond returns a handler that passes its requests through to target with Dial and Respond, and sends the result of Respond to results.
func dialAndRespond(t *testing.T, target string, dial *edgews.DialOptions, up *edgews.UpgradeOptions, results chan<- error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s, _, err := edgews.Dial(r.Context(), target, dial)
		if !assert.NoError(t, err) {
			return
		}
		err = edgews.Respond(w, r, s, up)
		if results != nil {
			results <- err
		}
		assert.ErrorIs(t, s.Send("x"), edgews.ErrUsed)
		assert.ErrorIs(t, s.Accept(), edgews.ErrUsed)
		assert.ErrorIs(t, edgews.Respond(httptest.NewRecorder(), r, s, nil), edgews.ErrUsed)
	}
}

// TestRespondWithADialedSocket passes messages, pings and Closes through, whatever each side has agreed to.
func TestRespondWithADialedSocket(t *testing.T) {
	sockets := make(chan *edgews.Socket, 1)
	target := startServer(t, false, echoTo(t, &edgews.UpgradeOptions{Protocols: []string{"chat"}}, sockets))
	none := &edgews.Compression{Disable: true}
	const agreed = "permessage-deflate; client_max_window_bits=12; server_max_window_bits=12"
	for _, c := range []struct {
		name                 string
		dialed, asked        *edgews.Compression
		offers, protocols    []string
		protocol, extensions string // of the client's end
		targets              string // extensions of the target's end
	}{
		{"nothing", none, none, nil, nil, "", "", ""},
		{"compression", nil, nil, nil, nil, "", agreed, agreed},
		{"the target without compression", none, nil, nil, nil, "", "", ""},
		{"the client without compression", nil, none, nil, nil, "", "", agreed},
		{"a subprotocol", none, none, []string{"chat"}, []string{"other", "chat"}, "chat", "", ""},
		{"a subprotocol that the client did not offer", none, none, []string{"chat"}, []string{"other"}, "", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			results := make(chan error, 1)
			dial := &edgews.DialOptions{Options: edgews.Options{Compression: c.dialed}, Protocols: c.offers}
			front := startServer(t, false, dialAndRespond(t, target.URL, dial, nil, results))
			client, _, err := edgews.Dial(t.Context(), front.URL, &edgews.DialOptions{Options: edgews.Options{Compression: c.asked}, Protocols: c.protocols})
			require.NoError(t, err)
			require.NoError(t, <-results)
			server := <-sockets
			assert.Equal(t, c.protocol, client.Protocol())
			assert.Equal(t, c.extensions, client.Extensions())
			assert.Equal(t, c.targets, server.Extensions())
			for range 3 {
				for _, size := range []int{5, 1000, 100_000} {
					want := string(make([]byte, size))
					require.NoError(t, client.Write(t.Context(), edgews.Text, []byte(want)))
					m, err := client.Receive(t.Context())
					require.NoError(t, err)
					require.Equal(t, want, m.Text())
				}
			}
			_, err = client.Ping(t.Context())
			require.NoError(t, err)
			require.NoError(t, server.Close(4321, "the end"))
			_, err = client.Receive(t.Context())
			var end *edgews.CloseError
			require.ErrorAs(t, err, &end)
			assert.Equal(t, edgews.CloseError{Code: 4321, Reason: "the end", WasClean: true}, *end)
			<-server.Done()
		})
	}
}

// TestRespondWithADialedSocketThatWasUsed: the request is answered with 500, and the socket stays as it was.
func TestRespondWithADialedSocketThatWasUsed(t *testing.T) {
	target := startServer(t, false, echoTo(t, nil, nil))
	for _, c := range []struct {
		name string
		use  func(s *edgews.Socket) error
		want error
	}{
		{"accepted", func(s *edgews.Socket) error { return s.Accept() }, edgews.ErrAccepted},
		{"written", func(s *edgews.Socket) error { return s.Write(t.Context(), edgews.Text, nil) }, edgews.ErrAccepted},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, _, err := edgews.Dial(t.Context(), target.URL, nil)
			require.NoError(t, err)
			require.NoError(t, c.use(s))
			results := make(chan error, 1)
			front := startServer(t, false, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { results <- edgews.Respond(w, r, s, nil) }))
			_, resp := refusedBy(t, front.URL)
			assert.Equal(t, http.StatusInternalServerError, resp.StatusCode)
			require.ErrorIs(t, <-results, c.want)
			_ = s.Close(1000, "")
		})
	}
}

// TestRespondRefusesTheClientOfADialedSocket: the target's connection ends.
func TestRespondRefusesTheClientOfADialedSocket(t *testing.T) {
	sockets := make(chan *edgews.Socket, 1)
	target := startServer(t, false, echoTo(t, nil, sockets))
	results := make(chan error, 1)
	front := startServer(t, false, dialAndRespond(t, target.URL, nil, nil, results))
	resp, err := http.Get(front.URL)
	require.NoError(t, err)
	resp.Body.Close()
	assert.Equal(t, http.StatusUpgradeRequired, resp.StatusCode)
	var refused *edgews.HandshakeError
	require.ErrorAs(t, <-results, &refused)
	<-(<-sockets).Done()
}

// TestPassThroughInAnObject: a connection that an object's request passes through does not keep the object awake, counts once, and lives on
// when the object hibernates.
func TestPassThroughInAnObject(t *testing.T) {
	target := startServer(t, false, echoTo(t, nil, nil))
	for _, asked := range []*edgews.Compression{nil, {Disable: true}} { // the second one is relayed
		meter := edgews.NewMeter(nil)
		rooms := edgews.NewNamespace("rooms", func(context.Context, *edgews.State) (edgews.Object, error) {
			return http.HandlerFunc(dialAndRespond(t, target.URL, nil, nil, nil)), nil
		}, &edgews.NamespaceOptions{Options: edgews.Options{Meter: meter}, HibernateAfter: time.Millisecond})
		id := rooms.IDFromName("a")
		front := startServer(t, false, rooms.Get(id))
		client, _, err := edgews.Dial(t.Context(), front.URL, &edgews.DialOptions{Options: edgews.Options{Compression: asked}})
		require.NoError(t, err)
		for range 3 {
			require.NoError(t, client.Write(t.Context(), edgews.Text, []byte("x")))
			_, err := client.Receive(t.Context())
			require.NoError(t, err)
		}
		for began := time.Now(); ; time.Sleep(time.Millisecond) {
			awake := false
			for info := range rooms.Objects() {
				awake = awake || info.ID == id && len(info.Pins) > 0
			}
			if !awake {
				break
			}
			require.Less(t, time.Since(began), patience)
		}
		require.NoError(t, client.Write(t.Context(), edgews.Text, []byte("x")))
		_, err = client.Receive(t.Context())
		require.NoError(t, err)
		used := meter.Usage()
		assert.EqualValues(t, 1, used.Connections)
		assert.Zero(t, used.HTTPRequests+used.MessagesIn+used.MessagesOut)
		assert.Zero(t, used.Connected)
		require.NoError(t, client.Close(1000, ""))
		require.NoError(t, rooms.Shutdown(t.Context()))
	}
}

// passThroughFaults are the ways in which a proxied connection ends. Each gets the client's and the target's connection.
var passThroughFaults = []struct {
	name string
	do   func(client, target *net.TCPConn)
}{
	{"the target is killed", func(_, target *net.TCPConn) { target.Close() }},
	{"the client is killed", func(client, _ *net.TCPConn) { client.Close() }},
	{"the client resets", func(client, _ *net.TCPConn) { client.SetLinger(0); client.Close() }},
	{"the target resets", func(_, target *net.TCPConn) { target.SetLinger(0); target.Close() }},
	{"the client half-closes", func(client, _ *net.TCPConn) { client.CloseWrite() }},
	{"the target half-closes", func(_, target *net.TCPConn) { target.CloseWrite() }},
	{"the client does not read", func(_, target *net.TCPConn) { _, _ = target.Write(make([]byte, 16<<20)) }},
	{"the target does not read", func(client, _ *net.TCPConn) { _, _ = client.Write(make([]byte, 16<<20)) }},
}

// TestPassThroughFaultsLeakNothing ends proxied connections in each way, 50 times at once, with traffic before. Descriptors and goroutines
// are back where they were afterwards, and both sides learn of the end.
func TestPassThroughFaultsLeakNothing(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("it counts descriptors in /proc")
	}
	targets := make(chan *net.TCPConn, 50)
	transport := &http.Transport{DisableKeepAlives: true}
	p := serveProxied(t, false, false, rawTarget(t, targets), &edgews.ProxyOptions{
		HTTPClient: &http.Client{Transport: transport},
		Options:    edgews.Options{CloseTimeout: 200 * time.Millisecond, WriteTimeout: 200 * time.Millisecond},
	})
	for _, fault := range passThroughFaults {
		t.Run(fault.name, func(t *testing.T) {
			settled := func() (descriptors, goroutines int) {
				names, err := os.ReadDir("/proc/self/fd")
				require.NoError(t, err)
				return len(names), runtime.NumGoroutine()
			}
			descriptors, goroutines := settled()
			var wg sync.WaitGroup
			for range 50 {
				wg.Go(func() {
					client := rawHandshake(t, p.front.Listener.Addr().String())
					target := <-targets // perhaps another client's: then that client's fault is its own
					defer client.Close()
					defer target.Close()
					_, _ = client.Write(make([]byte, rand.IntN(100_000)))
					fault.do(client, target)
					var both sync.WaitGroup
					for _, c := range []*net.TCPConn{client, target} {
						both.Go(func() { awaitEnd(t, c) })
					}
					both.Wait()
				})
			}
			wg.Wait()
			for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
				d, g := settled()
				if d <= descriptors+8 && g <= goroutines+8 { // the loop and its pollers
					break
				}
				require.Less(t, time.Since(began), patience, "%d descriptors, %d before; %d goroutines, %d before", d, descriptors, g, goroutines)
			}
		})
	}
}

// rawTarget answers the handshake of rawHandshake and gives the connection to targets.
func rawTarget(t *testing.T, targets chan<- *net.TCPConn) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if !assert.NoError(t, err) {
			return
		}
		_, _ = io.WriteString(conn, sampleAccept+"\r\n")
		targets <- conn.(*net.TCPConn)
	}
}

// awaitEnd reads until c has ended, which it does in time.
func awaitEnd(t *testing.T, c *net.TCPConn) {
	_ = c.SetReadDeadline(time.Now().Add(patience))
	for p := make([]byte, 4<<10); ; time.Sleep(time.Millisecond) { // slowly
		if _, err := c.Read(p); err != nil {
			assert.NotErrorIs(t, err, os.ErrDeadlineExceeded)
			return
		}
	}
}

// rawHandshake opens a WebSocket, and returns its connection.
func rawHandshake(t *testing.T, addr string) *net.TCPConn {
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n"+handshakeLines+"\r\n")
	require.NoError(t, err)
	head := make([]byte, 0, 512)
	for one := make([]byte, 1); len(head) < 4 || string(head[len(head)-4:]) != "\r\n\r\n"; {
		_, err := conn.Read(one)
		require.NoError(t, err)
		head = append(head, one...)
	}
	require.Contains(t, string(head), " 101 ")
	return conn.(*net.TCPConn)
}

// TestPassThroughResetTravels: a client whose target resets gets a reset, not an end of stream that looks like a clean one.
func TestPassThroughResetTravels(t *testing.T) {
	targets := make(chan *net.TCPConn, 1)
	p := serveProxied(t, false, false, rawTarget(t, targets), nil)
	client := rawHandshake(t, p.front.Listener.Addr().String())
	defer client.Close()
	target := <-targets
	require.NoError(t, target.SetLinger(0))
	target.Close()
	_, err := client.Read(make([]byte, 1))
	require.ErrorIs(t, err, syscall.ECONNRESET)
}
