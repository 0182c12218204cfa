// The code of docs/from-coder.md: functions whose names begin with coder use github.com/coder/websocket, the others edgews.
package coder_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
	"github.com/edgews/edgews"
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

// coderHeartbeat ends when the client has said nothing for a minute: the connection is closed then, whatever the program wants.
func coderHeartbeat(r *http.Request, c *websocket.Conn, wait time.Duration) error {
	for {
		ctx, cancel := context.WithTimeout(r.Context(), wait)
		_, _, err := c.Read(ctx)
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

// TestDeadlines shows what a context that ends does to the connection.
func TestDeadlines(t *testing.T) {
	ended := make(chan error, 1)
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err == nil {
			defer c.CloseNow()
			err = coderHeartbeat(r, c, time.Millisecond)
			assert.ErrorContains(t, c.Write(context.Background(), websocket.MessageText, []byte("lost")), "closed")
		}
		ended <- err
	})
	c, _, err := websocket.Dial(soon(t), url, nil)
	require.NoError(t, err)
	defer c.CloseNow()
	_, _, err = c.Read(soon(t))
	assert.ErrorIs(t, err, io.EOF)
	assert.ErrorIs(t, <-ended, context.DeadlineExceeded)

	url = serve(t, func(w http.ResponseWriter, r *http.Request) {
		s, err := edgews.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		m, err := remind(r.Context(), s, time.Millisecond)
		if assert.NoError(t, err) {
			s.Send("you said " + m.Text())
		}
	})
	s, _, err := edgews.Dial(soon(t), url, nil)
	require.NoError(t, err)
	defer s.Close(edgews.StatusNormalClosure, "")
	m, err := s.Receive(soon(t))
	require.NoError(t, err)
	assert.Equal(t, "are you still there?", m.Text())
	require.NoError(t, s.Send("yes"))
	for m.Text() == "are you still there?" {
		m, err = s.Receive(soon(t))
		require.NoError(t, err)
	}
	assert.Equal(t, "you said yes", m.Text())
}

// A server that only sends.

func coderTicks(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer c.CloseNow()
	ctx := c.CloseRead(r.Context()) // or nothing answers pings and sees the Close
	for n := 0; ctx.Err() == nil; n++ {
		if err := wsjson.Write(ctx, c, n); err != nil {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func ticks(w http.ResponseWriter, r *http.Request) {
	s, err := edgews.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	s.OnMessage(func(edgews.MessageEvent) { s.Close(edgews.StatusPolicyViolation, "unexpected message") })
	s.Accept()
	ctx := s.Context() // ends with the socket
	for n := 0; ctx.Err() == nil; n++ {
		if err := edgews.SendJSON(s, n); err != nil {
			return
		}
		time.Sleep(time.Millisecond)
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
