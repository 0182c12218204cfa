package edgews_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/internal/park"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// upgradeConn is what the server that is not net/http does in these tests. The request has been parsed from conn.
type upgradeConn func(conn net.Conn, ahead []byte, r *http.Request)

// serveRaw reads one request from conn and calls f.
func serveRaw(conn net.Conn, f upgradeConn) {
	in := bufio.NewReader(conn)
	r, err := http.ReadRequest(in)
	if err != nil {
		conn.Close()
		return
	}
	ahead, _ := in.Peek(in.Buffered())
	f(conn, ahead, r)
	for i := range ahead { // a server uses its buffers again
		ahead[i] = 0xff
	}
}

// rawServers are servers that are not net/http. Each has a function that opens a connection to it.
var rawServers = []struct {
	name  string
	real  bool
	start func(t *testing.T, f upgradeConn) (dial func() net.Conn)
}{
	{"pipe", false, func(t *testing.T, f upgradeConn) func() net.Conn {
		return func() net.Conn {
			ours, theirs := net.Pipe()
			t.Cleanup(func() { ours.Close() })
			go serveRaw(theirs, f)
			return ours
		}
	}},
	{"tcp", true, func(t *testing.T, f upgradeConn) func() net.Conn {
		return listenRaw(t, f, func(c net.Conn) net.Conn { return c }, func(c net.Conn) net.Conn { return c })
	}},
	{"tls", true, func(t *testing.T, f upgradeConn) func() net.Conn {
		server, client := certificate(t)
		return listenRaw(t, f, func(c net.Conn) net.Conn { return tls.Server(c, server) }, func(c net.Conn) net.Conn { return tls.Client(c, client) })
	}},
	{"wrapped tcp", true, func(t *testing.T, f upgradeConn) func() net.Conn {
		return listenRaw(t, f, func(c net.Conn) net.Conn { return struct{ net.Conn }{c} }, func(c net.Conn) net.Conn { return c })
	}},
}

func listenRaw(t *testing.T, f upgradeConn, server, client func(net.Conn) net.Conn) func() net.Conn {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go serveRaw(server(conn), f)
		}
	}()
	return func() net.Conn {
		conn, err := net.Dial("tcp", listener.Addr().String())
		require.NoError(t, err)
		t.Cleanup(func() { conn.Close() })
		return client(conn)
	}
}

// overRawServers runs f over each kind of connection with a server that calls UpgradeConn with opts. What that returns comes from sockets and errors.
func overRawServers(t *testing.T, opts func() *edgews.UpgradeOptions, f func(t *testing.T, p *peer, sockets <-chan *edgews.Socket, errs <-chan error)) {
	t.Helper()
	for _, where := range rawServers {
		test := func(t *testing.T) {
			sockets, errs := make(chan *edgews.Socket, 1), make(chan error, 1)
			dial := where.start(t, func(conn net.Conn, ahead []byte, r *http.Request) {
				conn.SetDeadline(time.Unix(1, 0)) // a server's, which has passed
				s, err := edgews.UpgradeConn(conn, ahead, r, opts())
				if s != nil {
					endWith(t, s, conn)
				}
				sockets <- s
				errs <- err
			})
			conn := dial()
			f(t, &peer{t, conn, bufio.NewReader(conn), true}, sockets, errs)
		}
		t.Run(where.name, func(t *testing.T) {
			if where.real {
				test(t)
			} else {
				bubble(t, test)
			}
		})
	}
}

func noOptions() *edgews.UpgradeOptions { return nil }

// openingHandshake is a request that is in order.
const openingHandshake = "GET /chat HTTP/1.1\r\nHost: pipe.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + aKey + "\r\n\r\n"

func TestUpgradeConn(t *testing.T) {
	overRawServers(t, noOptions, func(t *testing.T, p *peer, sockets <-chan *edgews.Socket, errs <-chan error) {
		p.upgrades()
		s := <-sockets
		require.NoError(t, <-errs)
		events := record(t, s)
		hasAddrs(t, p, s, "before Accept")
		require.NoError(t, s.Accept())
		p.sends(text("one"))
		events.wants(message("one"))
		require.NoError(t, s.Send("two"))
		p.expects(text("two"))
		require.NoError(t, s.Close(4000, "bye"))
		p.expects(closing(4000, "bye"))
		p.sends(closing(4000, "bye"))
		events.wantsEnd(closed(4000, "bye", true))
	})
}

// The bytes that the server has read behind the request come first, whatever the server does with their memory afterwards.
func TestUpgradeConnDeliversBufferedBytesFirst(t *testing.T) {
	overRawServers(t, noOptions, func(t *testing.T, p *peer, sockets <-chan *edgews.Socket, errs <-chan error) {
		third := p.encode(text("three"))
		sent := make(chan struct{})
		go func() { // a pipe takes the bytes only when they are read
			defer close(sent)
			p.conn.Write(append(append([]byte(openingHandshake), p.encode(text("one"), text("two"))...), third[:4]...))
		}()
		resp, err := http.ReadResponse(p.r, nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
		s := <-sockets
		require.NoError(t, <-errs)
		events := record(t, s)
		require.NoError(t, s.Accept())
		<-sent
		p.sendsBytes(third[4:])
		p.sends(text("four"))
		events.wants(message("one"), message("two"), message("three"), message("four"))
		p.hangsUp()
		events.wantsEnd(cut)
	})
}

// refusedHandshakes are requests that Upgrade refuses, and the options of the server.
var refusedHandshakes = map[string]struct {
	request string
	opts    func() *edgews.UpgradeOptions
}{
	"400, key":          {strings.Replace(openingHandshake, aKey, "short", 1), noOptions},
	"400, HTTP/1.0":     {strings.Replace(openingHandshake, "HTTP/1.1", "HTTP/1.0", 1), noOptions},
	"400, body":         {strings.Replace(openingHandshake, "\r\n\r\n", "\r\nContent-Length: 1\r\n\r\nx", 1), noOptions},
	"403":               {strings.Replace(openingHandshake, "\r\n\r\n", "\r\nOrigin: https://elsewhere.example\r\n\r\n", 1), noOptions},
	"405":               {strings.Replace(openingHandshake, "GET", "PUT", 1), noOptions},
	"426, no WebSocket": {"GET / HTTP/1.1\r\nHost: pipe.test\r\n\r\n", noOptions},
	"426, version":      {strings.Replace(openingHandshake, "Version: 13", "Version: 8", 1), noOptions},
	"429": {openingHandshake, func() *edgews.UpgradeOptions {
		m := edgews.NewMeter(&edgews.MeterOptions{Logger: quiet})
		m.SetQuota(edgews.Plan{Name: "one", Requests: edgews.Rate{Included: 1}})
		ours, theirs := net.Pipe()
		go io.Copy(io.Discard, ours)
		edgews.UpgradeConn(theirs, nil, refusedRequest(func(*http.Request) {}), &edgews.UpgradeOptions{Options: edgews.Options{Meter: m}})
		ours.Close()
		return &edgews.UpgradeOptions{Options: edgews.Options{Meter: m}}
	}},
	"500": {openingHandshake, func() *edgews.UpgradeOptions { return &edgews.UpgradeOptions{Protocols: []string{"not a token"}} }},
}

// UpgradeConn refuses what Upgrade refuses, with the same error, status, headers and body.
func TestUpgradeConnRefusesAsUpgradeDoes(t *testing.T) {
	for name, c := range refusedHandshakes {
		t.Run(name, func(t *testing.T) {
			wantErr := make(chan error, 1)
			dial, _, _ := overTCP.serve(t, func(w http.ResponseWriter, r *http.Request) {
				_, err := edgews.Upgrade(w, r, c.opts())
				wantErr <- err
			})
			want := answerTo(t, dial(), c.request)
			wantError := <-wantErr
			require.Error(t, wantError)
			overRawServers(t, c.opts, func(t *testing.T, p *peer, sockets <-chan *edgews.Socket, errs <-chan error) {
				assert.Equal(t, want, answerTo(t, p.conn, c.request))
				assert.Nil(t, <-sockets)
				err := <-errs
				var refused *edgews.HandshakeError
				require.ErrorAs(t, err, &refused)
				assert.Equal(t, wantError.Error(), err.Error())
			})
		})
	}
}

// answer is a response without the moments in its header.
type answer struct {
	status int
	close  bool
	header http.Header
	body   string
}

// answerTo sends request and returns the response. The server must then close the connection.
func answerTo(t *testing.T, conn net.Conn, request string) answer {
	t.Helper()
	conn.SetDeadline(time.Now().Add(patience))
	go io.WriteString(conn, request)
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, nil)
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NotEmpty(t, resp.Header.Get("Date"))
	resp.Header.Del("Date")
	if resp.Header.Get("Retry-After") != "" {
		resp.Header.Set("Retry-After", "until midnight")
	}
	_, err = in.ReadByte() // unread bytes of ours may have led to a reset, after the answer
	require.Error(t, err)
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "the connection stays open")
	return answer{resp.StatusCode, resp.Close, resp.Header, string(body)}
}

// A client that has sent frames behind a request that is refused gets the answer, and no reset in its place.
func TestUpgradeConnRefusesAClientThatSendsOn(t *testing.T) {
	overRawServers(t, noOptions, func(t *testing.T, p *peer, sockets <-chan *edgews.Socket, errs <-chan error) {
		request := strings.Replace(openingHandshake, aKey, "short", 1)
		a := answerTo(t, p.conn, request+string(p.encode(binaryOf(string(make([]byte, 50_000))))))
		assert.Equal(t, http.StatusBadRequest, a.status)
		assert.Error(t, <-errs)
	})
}

func TestUpgradeConnNegotiates(t *testing.T) {
	opts := func() *edgews.UpgradeOptions {
		return &edgews.UpgradeOptions{Protocols: []string{"b", "a"}, Header: http.Header{"X-Extra": {"1"}}, AllowedOrigins: []string{"https://*.example.com"}}
	}
	overRawServers(t, opts, func(t *testing.T, p *peer, sockets <-chan *edgews.Socket, errs <-chan error) {
		more := "\r\nOrigin: https://www.example.com\r\nSec-WebSocket-Protocol: a, b\r\nSec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover\r\n\r\n"
		p.sendsBytes([]byte(strings.Replace(openingHandshake, "\r\n\r\n", more, 1)))
		resp, err := http.ReadResponse(p.r, nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
		assert.Equal(t, "1", resp.Header.Get("X-Extra"))
		assert.Equal(t, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", resp.Header.Get("Sec-WebSocket-Accept"))
		s := <-sockets
		require.NoError(t, <-errs)
		assert.Equal(t, "b", s.Protocol())
		assert.Equal(t, resp.Header.Get("Sec-WebSocket-Extensions"), s.Extensions())
		assert.Contains(t, s.Extensions(), "client_no_context_takeover")
		events := record(t, s)
		require.NoError(t, s.Accept())
		long := strings.Repeat("hello ", 100)
		p.sends(aFrame{bits: fin | rsv1, opcode: 1, payload: deflated(long)})
		events.wants(message(long))
		p.hangsUp()
	})
}

func TestUpgradeConnCounts(t *testing.T) {
	m := edgews.NewMeter(nil)
	opts := func() *edgews.UpgradeOptions { return &edgews.UpgradeOptions{Options: edgews.Options{Meter: m}} }
	overRawServers(t, opts, func(t *testing.T, p *peer, sockets <-chan *edgews.Socket, errs <-chan error) {
		before := m.Usage()
		p.upgrades()
		s := <-sockets
		require.NoError(t, <-errs)
		events := record(t, s)
		require.NoError(t, s.Accept())
		p.sends(text("hello"))
		events.wants(message("hello"))
		p.closesCleanly(1000, "")
		waitDone(t, s)
		used := m.Usage().Sub(before)
		assert.EqualValues(t, 1, used.Connections)
		assert.EqualValues(t, 1, used.MessagesIn)
		assert.EqualValues(t, 5, used.BytesIn)
	})
}

// Mistakes of the server get an error, and with a connection an answer.
func TestUpgradeConnWithWrongArguments(t *testing.T) {
	t.Run("no connection", func(t *testing.T) {
		s, err := edgews.UpgradeConn(nil, nil, httptest.NewRequest(http.MethodGet, "/", nil), nil)
		assert.Nil(t, s)
		assert.ErrorContains(t, err, "edgews: UpgradeConn was called without a connection")
	})
	withoutHost := refusedRequest(func(r *http.Request) { r.Host = "" })
	overHTTP2 := refusedRequest(func(r *http.Request) { r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/2.0", 2, 0 })
	for name, c := range map[string]struct {
		r      *http.Request
		status int
		detail string
	}{
		"no request":       {nil, 500, "r is nil"},
		"an empty request": {new(http.Request), 500, "has no version"},
		"no Host":          {withoutHost, 400, "Request.Host"},
		"HTTP/2":           {overHTTP2, 505, "HTTP/2.0"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				got := make(chan error, 1)
				go func() {
					_, err := edgews.UpgradeConn(theirs, nil, c.r, nil)
					got <- err
				}()
				a := answerTo(t, ours, "")
				assert.Equal(t, c.status, a.status)
				assert.Contains(t, a.body, c.detail)
				assert.True(t, a.close)
				var refused *edgews.HandshakeError
				require.ErrorAs(t, <-got, &refused)
				assert.Equal(t, c.status, refused.StatusCode)
			})
		})
	}
}

// A connection that is lost before the answer ends in an error and is closed, whether the request is refused or not.
func TestUpgradeConnOnALostConnection(t *testing.T) {
	for name, edit := range map[string]func(*http.Request){
		"upgraded": func(*http.Request) {},
		"refused":  func(r *http.Request) { r.Method = http.MethodPost },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				ours.Close()
				s, err := edgews.UpgradeConn(theirs, []byte("more"), refusedRequest(edit), nil)
				assert.Nil(t, s)
				var refused *edgews.HandshakeError
				require.ErrorAs(t, err, &refused)
				_, err = theirs.Write([]byte("x"))
				assert.ErrorIs(t, err, io.ErrClosedPipe)
			})
		})
	}
}

// A client that does not read its answer holds the server up for ten seconds at most.
func TestUpgradeConnToAClientThatDoesNotRead(t *testing.T) {
	for name, edit := range map[string]func(*http.Request){
		"upgraded": func(*http.Request) {},
		"refused":  func(r *http.Request) { r.Method = http.MethodPost },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				defer ours.Close()
				start := time.Now()
				_, err := edgews.UpgradeConn(theirs, nil, refusedRequest(edit), nil)
				require.Error(t, err)
				assert.LessOrEqual(t, time.Since(start), 11*time.Second)
				_, err = ours.Write([]byte("x"))
				assert.ErrorIs(t, err, io.ErrClosedPipe)
			})
		})
	}
}

// An idle socket of UpgradeConn over TCP waits on the event loop, without a goroutine.
func TestUpgradeConnParks(t *testing.T) {
	if !park.HasLoop {
		t.Skip("no event loop here")
	}
	const n = 50
	sockets := make(chan *edgews.Socket, n)
	dial := listenRaw(t, func(conn net.Conn, ahead []byte, r *http.Request) {
		s, err := edgews.UpgradeConn(conn, ahead, r, nil)
		assert.NoError(t, err)
		assert.NoError(t, s.Accept())
		sockets <- s
	}, func(c net.Conn) net.Conn { return c }, func(c net.Conn) net.Conn { return c })
	open := func() {
		for range n {
			conn := dial()
			(&peer{t, conn, bufio.NewReader(conn), true}).upgrades()
			endWith(t, <-sockets, conn)
		}
	}
	open()
	before := runtime.NumGoroutine()
	open()
	eventually(t, func() bool { return runtime.NumGoroutine() < before+n/2 }, "idle sockets without goroutines")
}

// Everything of the buffered bytes is read, however they are cut.
func TestUpgradeConnBufferedBytesOfAnyLength(t *testing.T) {
	p := &peer{client: true}
	frames := p.encode(text("one"), binaryOf(strings.Repeat("x", 5000)), text("three"))
	for _, n := range []int{0, 1, 2, 6, 9, 15, 16, 17, 4096, len(frames) - 1, len(frames)} {
		bubble(t, func(t *testing.T) {
			ours, theirs := net.Pipe()
			defer ours.Close()
			sockets := make(chan *edgews.Socket, 1)
			go func() {
				s, err := edgews.UpgradeConn(theirs, bytes.Clone(frames[:n]), refusedRequest(func(*http.Request) {}), nil)
				assert.NoError(t, err)
				sockets <- s
			}()
			_, err := http.ReadResponse(bufio.NewReader(ours), nil)
			require.NoError(t, err)
			s := <-sockets
			events := record(t, s)
			require.NoError(t, s.Accept())
			if n < len(frames) {
				_, err = ours.Write(frames[n:])
				require.NoError(t, err)
			}
			events.wants(message("one"), bytesMessage(strings.Repeat("x", 5000)), message("three"))
			ours.Close()
			waitDone(t, s)
		})
	}
}
