// The code of docs/from-coder.md: functions whose names begin with coder use github.com/coder/websocket, the others edgews.
package coder_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
	"github.com/edgews/edgews"
	"github.com/edgews/edgews/edgewstest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The server.

func coderEcho(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		OriginPatterns: []string{"*.example.com"},
		Subprotocols:   []string{"chat.v2", "chat.v1"},
	})
	if err != nil {
		return // answered already
	}
	defer c.CloseNow()
	c.SetReadLimit(64 << 10)
	for {
		kind, data, err := c.Read(r.Context())
		if err != nil {
			return
		}
		if err := c.Write(r.Context(), kind, data); err != nil {
			return
		}
	}
}

func echo(w http.ResponseWriter, r *http.Request) {
	s, err := edgews.Upgrade(w, r, &edgews.UpgradeOptions{
		AllowedOrigins: []string{"https://*.example.com"},
		Protocols:      []string{"chat.v2", "chat.v1"},
		Options:        edgews.Options{MaxMessageSize: 64 << 10},
	})
	if err != nil {
		return // answered already
	}
	defer s.Close(edgews.StatusNormalClosure, "")
	for m, err := range s.Messages(r.Context()) {
		if err != nil {
			return
		}
		if err := s.Write(r.Context(), m.Kind, m.Data); err != nil {
			return
		}
	}
}

// The client.

type question struct {
	Text string `json:"text"`
}

func coderAsk(ctx context.Context, url string, q question) (answer question, err error) {
	c, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{Subprotocols: []string{"chat.v1"}})
	if err != nil {
		return answer, err
	}
	defer c.CloseNow()
	if err := wsjson.Write(ctx, c, q); err != nil {
		return answer, err
	}
	if err := wsjson.Read(ctx, c, &answer); err != nil {
		return answer, err
	}
	return answer, c.Close(websocket.StatusNormalClosure, "") // waits for the peer's Close, up to 5 s
}

func ask(ctx context.Context, url string, q question) (answer question, err error) {
	s, _, err := edgews.Dial(ctx, url, &edgews.DialOptions{Protocols: []string{"chat.v1"}})
	if err != nil {
		return answer, err
	}
	defer s.Close(edgews.StatusNormalClosure, "") // does not wait
	s.Accept()                                    // before the first Send
	if err := edgews.SendJSON(s, q); err != nil {
		return answer, err
	}
	return edgews.ReceiveJSON[question](ctx, s)
}

// wsURL returns the URL of a server for WebSockets.
func wsURL(server *httptest.Server) string { return "ws" + strings.TrimPrefix(server.URL, "http") }

// soon is a context that ends before a test that hangs would be noticed otherwise.
func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// TestBoth lets each client talk to each server.
func TestBoth(t *testing.T) {
	servers := map[string]http.HandlerFunc{"coder": coderEcho, "edgews": echo}
	clients := map[string]func(context.Context, string, question) (question, error){"coder": coderAsk, "edgews": ask}
	for s, handler := range servers {
		for c, client := range clients {
			t.Run(c+" to "+s, func(t *testing.T) {
				server := httptest.NewServer(handler)
				defer server.Close()
				answer, err := client(soon(t), wsURL(server), question{"hello"})
				assert.NoError(t, err)
				assert.Equal(t, question{"hello"}, answer)
			})
		}
	}
}

// Time-outs of a call.

// coderHeartbeat returns when the client has said nothing for a while. The connection is closed then, whatever the program wants.
func coderHeartbeat(ctx context.Context, c *websocket.Conn, wait time.Duration) error {
	for {
		short, cancel := context.WithTimeout(ctx, wait)
		_, _, err := c.Read(short)
		cancel()
		if err != nil {
			return err
		}
	}
}

// remind asks again when the client has said nothing for a while. The socket stays open.
func remind(ctx context.Context, s *edgews.Socket, wait time.Duration) (edgews.Message, error) {
	for {
		short, cancel := context.WithTimeout(ctx, wait)
		m, err := s.Receive(short)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			return m, err
		}
		if err := s.Send("are you still there?"); err != nil {
			return m, err
		}
	}
}

// serve starts a server until the end of the test, and returns its URL for WebSockets.
func serve(t *testing.T, handler http.HandlerFunc) string {
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return wsURL(server)
}

// TestCoderDeadline shows that a context that ends closes the connection of coder.
func TestCoderDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan error, 2)
		srv := edgewstest.New(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, err := websocket.Accept(w, r, nil)
			if err != nil {
				return
			}
			defer c.CloseNow()
			ended <- coderHeartbeat(r.Context(), c, time.Minute)
			ended <- c.Write(context.Background(), websocket.MessageText, []byte("lost"))
		}))
		client := srv.DialPeer("/", nil)
		client.Write(edgewstest.TextFrame("here"))
		assert.ErrorIs(t, <-ended, context.DeadlineExceeded)
		assert.ErrorContains(t, <-ended, "closed")
		client.ExpectEnd() // without a Close
		client.Close()
	})
}

// TestDeadline shows that the socket stays open with edgews.
func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := edgewstest.New(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s, err := edgews.Upgrade(w, r, nil)
			if err != nil {
				return
			}
			m, err := remind(r.Context(), s, time.Minute)
			if assert.NoError(t, err) {
				s.Send("you said " + m.Text())
				s.Close(edgews.StatusNormalClosure, "")
			}
		}))
		s := srv.Dial("/", nil)
		client := edgewstest.Record(t, s)
		require.NoError(t, s.Accept())
		client.WantNothing(59 * time.Second)
		client.Want(`text "are you still there?"`)
		client.Send("yes")
		client.WantEnd(`sent text "yes"`, `text "you said yes"`, `close 1000 "" clean=true`)
	})
}

// A server that only sends.

func coderTicks(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer c.CloseNow()
	ctx := c.CloseRead(r.Context()) // or nothing answers pings and sees the Close
	for tick := range every(ctx, time.Millisecond) {
		if err := wsjson.Write(ctx, c, tick); err != nil {
			return
		}
	}
}

func ticks(w http.ResponseWriter, r *http.Request) {
	s, err := edgews.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	s.OnMessage(func(edgews.MessageEvent) { s.Close(edgews.StatusPolicyViolation, "unexpected message") })
	s.Accept()
	for tick := range every(s.Context(), time.Millisecond) { // the context ends with the socket
		if err := edgews.SendJSON(s, tick); err != nil {
			return
		}
	}
}

// every yields 0, 1, 2 … at intervals, until ctx ends.
func every(ctx context.Context, interval time.Duration) iter.Seq[int] {
	return func(yield func(int) bool) {
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for n := 0; ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				if !yield(n) {
					return
				}
			}
		}
	}
}

func TestCloseRead(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{"coder": coderTicks, "edgews": ticks} {
		t.Run(name, func(t *testing.T) {
			url := serve(t, handler)
			s, _, err := edgews.Dial(soon(t), url, nil)
			require.NoError(t, err)
			for want := range 3 {
				n, err := edgews.ReceiveJSON[int](soon(t), s)
				require.NoError(t, err)
				assert.Equal(t, want, n)
			}
			require.NoError(t, s.Send("something"))
			for err == nil {
				_, err = s.Receive(soon(t))
			}
			var closed *edgews.CloseError
			require.ErrorAs(t, err, &closed)
			assert.Equal(t, edgews.StatusPolicyViolation, closed.Code)
		})
	}
}

// Pings.

// coderAlive needs another goroutine that reads.
func coderAlive(ctx context.Context, c *websocket.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return c.Ping(ctx)
}

// latency needs nothing else.
func latency(ctx context.Context, s *edgews.Socket) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return s.Ping(ctx)
}

func TestPing(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{"coder": coderEcho, "edgews": echo} {
		t.Run(name, func(t *testing.T) {
			url := serve(t, handler)
			c, _, err := websocket.Dial(soon(t), url, nil)
			require.NoError(t, err)
			c.CloseRead(soon(t))
			assert.NoError(t, coderAlive(soon(t), c))
			assert.NoError(t, c.Close(websocket.StatusNormalClosure, ""))

			s, _, err := edgews.Dial(soon(t), url, nil)
			require.NoError(t, err)
			rtt, err := latency(soon(t), s)
			assert.NoError(t, err)
			assert.Positive(t, rtt)
			assert.NoError(t, s.Close(edgews.StatusNormalClosure, ""))
		})
	}
}

// Messages that do not fit in memory.

func coderUpload(ctx context.Context, c *websocket.Conn, file io.Reader) error {
	w, err := c.Writer(ctx, websocket.MessageBinary)
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, file); err != nil {
		return err
	}
	return w.Close()
}

func coderDownload(ctx context.Context, c *websocket.Conn, w io.Writer) error {
	c.SetReadLimit(-1)
	_, r, err := c.Reader(ctx)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	return err
}

func upload(ctx context.Context, s *edgews.Socket, file io.Reader) error {
	w, err := s.NextWriter(ctx, edgews.Binary)
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, file); err != nil {
		return err
	}
	return w.Close()
}

func download(ctx context.Context, s *edgews.Socket, w io.Writer) error { // of a socket with MaxMessageSize: -1
	_, r, err := s.NextReader(ctx)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	return err
}

const size = 40 << 20

func TestStreams(t *testing.T) {
	unlimited := edgews.Options{MaxMessageSize: -1}
	fromEdgews := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if s, err := edgews.Upgrade(w, r, nil); err == nil {
			assert.NoError(t, upload(r.Context(), s, io.LimitReader(zeros{}, size)))
			s.Close(edgews.StatusNormalClosure, "")
		}
	})
	c, _, err := websocket.Dial(soon(t), fromEdgews, nil)
	require.NoError(t, err)
	defer c.CloseNow()
	var got counter
	require.NoError(t, coderDownload(soon(t), c, &got))
	assert.EqualValues(t, size, got)

	fromCoder := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if c, err := websocket.Accept(w, r, nil); err == nil {
			assert.NoError(t, coderUpload(r.Context(), c, io.LimitReader(zeros{}, size)))
			c.Close(websocket.StatusNormalClosure, "")
		}
	})
	s, _, err := edgews.Dial(soon(t), fromCoder, &edgews.DialOptions{Options: unlimited})
	require.NoError(t, err)
	got = 0
	require.NoError(t, download(soon(t), s, &got))
	assert.EqualValues(t, size, got)
	_, err = s.Receive(soon(t))
	assert.ErrorContains(t, err, "1000")
}

// zeros is a file without an end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// counter counts what is written.
type counter int64

func (n *counter) Write(p []byte) (int, error) { *n += counter(len(p)); return len(p), nil }

// The end.

func coderHow(err error) string {
	switch {
	case errors.Is(err, websocket.ErrMessageTooBig):
		return "too big"
	case websocket.CloseStatus(err) == websocket.StatusNormalClosure:
		return "done"
	case websocket.CloseStatus(err) != -1:
		return fmt.Sprint("closed with ", websocket.CloseStatus(err))
	}
	return "lost"
}

func how(err error) string {
	var closed *edgews.CloseError
	switch {
	case errors.Is(err, edgews.ErrMessageTooBig):
		return "too big"
	case errors.As(err, &closed) && closed.Code == edgews.StatusNormalClosure:
		return "done"
	case errors.As(err, &closed) && closed.WasClean:
		return fmt.Sprint("closed with ", closed.Code)
	}
	return "lost"
}

// TestEnds ends connections in four ways, and asks both sides how.
func TestEnds(t *testing.T) {
	for want, end := range map[string]func(s *edgews.Socket){
		"done":                            func(s *edgews.Socket) { s.Close(edgews.StatusNormalClosure, "") },
		"closed with StatusTryAgainLater": func(s *edgews.Socket) { s.Close(edgews.StatusTryAgainLater, "") },
		"too big":                         func(s *edgews.Socket) { s.SendBytes(make([]byte, 64<<10)) },
	} {
		url := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if s, err := edgews.Upgrade(w, r, nil); err == nil {
				s.Accept()
				end(s)
			}
		})
		c, _, err := websocket.Dial(soon(t), url, nil)
		require.NoError(t, err)
		_, _, err = c.Read(soon(t))
		assert.Equal(t, want, coderHow(err))
		c.CloseNow()
	}
	for want, end := range map[string]func(c *websocket.Conn){
		"done":                             func(c *websocket.Conn) { c.Close(websocket.StatusNormalClosure, "") },
		"closed with 1013 try again later": func(c *websocket.Conn) { c.Close(websocket.StatusTryAgainLater, "") },
		"too big":                          func(c *websocket.Conn) { c.Write(context.Background(), websocket.MessageBinary, make([]byte, 64<<10)) },
		"lost":                             func(c *websocket.Conn) { c.CloseNow() },
	} {
		url := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if c, err := websocket.Accept(w, r, nil); err == nil {
				end(c)
			}
		})
		s, _, err := edgews.Dial(soon(t), url, &edgews.DialOptions{Options: edgews.Options{MaxMessageSize: 32 << 10}})
		require.NoError(t, err)
		_, err = s.Receive(soon(t))
		assert.Equal(t, want, how(err))
	}
}

// Another protocol inside a WebSocket.

func coderTunnel(ctx context.Context, c *websocket.Conn) net.Conn {
	return websocket.NetConn(ctx, c, websocket.MessageBinary)
}

func tunnel(s *edgews.Socket) net.Conn {
	return edgews.NetConn(s, edgews.Binary)
}

// shout answers a line in capitals.
func shout(conn net.Conn) {
	defer conn.Close()
	if line, err := bufio.NewReader(conn).ReadString('\n'); err == nil {
		fmt.Fprint(conn, strings.ToUpper(line))
	}
}

// TestNetConn sends lines through WebSockets, from either library to the other. After a read deadline only the conn of edgews is usable.
func TestNetConn(t *testing.T) {
	for name, server := range map[string]http.HandlerFunc{
		"coder": func(w http.ResponseWriter, r *http.Request) {
			if c, err := websocket.Accept(w, r, nil); err == nil {
				shout(coderTunnel(context.Background(), c))
			}
		},
		"edgews": func(w http.ResponseWriter, r *http.Request) {
			if s, err := edgews.Upgrade(w, r, nil); err == nil {
				shout(tunnel(s))
			}
		},
	} {
		for client, dial := range map[string]func(srv *edgewstest.Server) (net.Conn, error){
			"coder": func(srv *edgewstest.Server) (net.Conn, error) {
				c, _, err := websocket.Dial(context.Background(), srv.URL, &websocket.DialOptions{HTTPClient: srv.Client()})
				if err != nil {
					return nil, err
				}
				return coderTunnel(context.Background(), c), nil
			},
			"edgews": func(srv *edgewstest.Server) (net.Conn, error) {
				s, _, err := edgews.Dial(context.Background(), srv.URL, &edgews.DialOptions{HTTPClient: srv.Client()})
				if err != nil {
					return nil, err
				}
				return tunnel(s), nil
			},
		} {
			synctest.Test(t, func(t *testing.T) {
				what := client + " to " + name
				conn, err := dial(edgewstest.New(t, server))
				require.NoError(t, err, what)
				defer conn.Close()
				conn.SetReadDeadline(time.Now().Add(time.Second))
				_, err = conn.Read(make([]byte, 1)) // waits: the server says nothing before it has a line
				require.Error(t, err, what)
				conn.SetReadDeadline(time.Time{})
				_, err = fmt.Fprintln(conn, "hello")
				if client == "coder" {
					assert.Error(t, err, what)
					return
				}
				require.NoError(t, err, what)
				answer, err := io.ReadAll(conn)
				assert.NoError(t, err, what)
				assert.Equal(t, "HELLO\n", string(answer), what)
			})
		}
	}
}

// Compression.

var coderModes = map[string]websocket.CompressionMode{
	"disabled":            websocket.CompressionDisabled,
	"context takeover":    websocket.CompressionContextTakeover,
	"no context takeover": websocket.CompressionNoContextTakeover,
}

// The same three choices. The first is not the default of edgews.
var modes = map[string]*edgews.Compression{
	"disabled":            {Disable: true},
	"context takeover":    nil,
	"no context takeover": {NoContextTakeover: true, PeerNoContextTakeover: true},
}

// TestCompression sends compressed messages between the libraries, in every combination of modes.
func TestCompression(t *testing.T) {
	text := strings.Repeat("edgews and coder ", 100)
	for coder, coderMode := range coderModes {
		for ours, mode := range modes {
			t.Run(coder+" and "+ours, func(t *testing.T) {
				url := serve(t, func(w http.ResponseWriter, r *http.Request) {
					s, err := edgews.Upgrade(w, r, &edgews.UpgradeOptions{Options: edgews.Options{Compression: mode}})
					if err != nil {
						return
					}
					for m, err := range s.Messages(r.Context()) {
						if err != nil || s.Write(r.Context(), m.Kind, m.Data) != nil {
							return
						}
					}
				})
				c, resp, err := websocket.Dial(soon(t), url, &websocket.DialOptions{CompressionMode: coderMode})
				require.NoError(t, err)
				assert.Equal(t, coder != "disabled" && ours != "disabled", resp.Header.Get("Sec-WebSocket-Extensions") != "")
				for range 5 {
					require.NoError(t, c.Write(soon(t), websocket.MessageText, []byte(text)))
					_, data, err := c.Read(soon(t))
					require.NoError(t, err)
					require.Equal(t, text, string(data))
				}
				assert.NoError(t, c.Close(websocket.StatusNormalClosure, ""))

				url = serve(t, func(w http.ResponseWriter, r *http.Request) {
					c, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: coderMode})
					if err != nil {
						return
					}
					defer c.CloseNow()
					for {
						kind, data, err := c.Read(r.Context())
						if err != nil || c.Write(r.Context(), kind, data) != nil {
							return
						}
					}
				})
				s, _, err := edgews.Dial(soon(t), url, &edgews.DialOptions{Options: edgews.Options{Compression: mode}})
				require.NoError(t, err)
				for range 5 {
					require.NoError(t, s.Write(soon(t), edgews.Text, []byte(text)))
					m, err := s.Receive(soon(t))
					require.NoError(t, err)
					require.Equal(t, text, m.Text())
				}
				assert.NoError(t, s.Close(edgews.StatusNormalClosure, ""))
			})
		}
	}
}

// TestHandshake checks subprotocols and origins.
func TestHandshake(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{"coder": coderEcho, "edgews": echo} {
		url := serve(t, handler)
		for origin, allowed := range map[string]bool{
			"https://www.example.com":    true,
			"https://other.example.org":  false,
			"https://a.b.example.com":    true, // a wildcard covers any depth in both
			"http://www.example.com":     name == "coder",
			"https://www.example.com:81": false,
			"https://example.com":        false,
		} {
			s, resp, err := edgews.Dial(soon(t), url, &edgews.DialOptions{
				Protocols: []string{"chat.v1", "chat.v2"},
				Header:    http.Header{"Origin": {origin}},
			})
			if !allowed {
				assert.Error(t, err, "%s %s", name, origin)
				assert.Equal(t, http.StatusForbidden, resp.StatusCode)
				continue
			}
			if assert.NoError(t, err, "%s %s", name, origin) {
				assert.Equal(t, "chat.v2", s.Protocol(), "the server's preference decides in both")
				s.Accept()
				s.Close(edgews.StatusNormalClosure, "")
			}
		}
	}
}

// TestUTF8 shows that coder passes text on that is not UTF-8.
func TestUTF8(t *testing.T) {
	url := serve(t, echo)
	c, _, err := websocket.Dial(soon(t), url, nil)
	require.NoError(t, err)
	defer c.CloseNow()
	require.NoError(t, c.Write(soon(t), websocket.MessageText, []byte{0xff}))
	_, _, err = c.Read(soon(t))
	assert.Equal(t, websocket.StatusInvalidFramePayloadData, websocket.CloseStatus(err))

	url = serve(t, coderEcho)
	c, _, err = websocket.Dial(soon(t), url, nil)
	require.NoError(t, err)
	defer c.CloseNow()
	require.NoError(t, c.Write(soon(t), websocket.MessageText, []byte{0xff}))
	_, data, err := c.Read(soon(t))
	require.NoError(t, err)
	assert.Equal(t, []byte{0xff}, data)
}

// TestDialContext checks that the context of Dial bounds the handshake alone, and what the addresses of a NetConn are.
func TestDialContext(t *testing.T) {
	url := serve(t, echo)
	ctx, cancel := context.WithCancel(t.Context())
	c, _, err := websocket.Dial(ctx, url, nil)
	require.NoError(t, err)
	defer c.CloseNow()
	s, _, err := edgews.Dial(ctx, url, nil)
	require.NoError(t, err)
	defer s.Close(edgews.StatusNormalClosure, "")
	cancel()
	require.NoError(t, c.Write(soon(t), websocket.MessageText, []byte("hello")))
	_, data, err := c.Read(soon(t))
	require.NoError(t, err)
	assert.Equal(t, "hello", string(data))
	require.NoError(t, s.Write(soon(t), edgews.Text, []byte("hello")))
	m, err := s.Receive(soon(t))
	require.NoError(t, err)
	assert.Equal(t, "hello", m.Text())

	assert.Equal(t, "websocket/unknown-addr", coderTunnel(soon(t), c).RemoteAddr().String())
	assert.Equal(t, strings.TrimPrefix(url, "ws://"), tunnel(s).RemoteAddr().String())
}

// TestPingNeedsAReader shows that Ping of coder, without a goroutine that reads, waits until its context ends: the pong is never read, nor is it
// noticed that the peer has cut the connection. With context.Background() it would wait for ever.
func TestPingNeedsAReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := edgewstest.New(t, http.HandlerFunc(echo))
		c, _, err := websocket.Dial(t.Context(), srv.URL, &websocket.DialOptions{HTTPClient: srv.Client()})
		require.NoError(t, err)
		defer c.CloseNow()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Hour)
		defer cancel()
		begin := time.Now()
		assert.ErrorIs(t, c.Ping(ctx), context.DeadlineExceeded)
		assert.Equal(t, 10*time.Hour, time.Since(begin))

		s := srv.Dial("/", nil)
		_, err = s.Ping(t.Context())
		assert.NoError(t, err)
	})
}
