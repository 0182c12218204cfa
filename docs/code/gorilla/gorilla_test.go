// The code of docs/from-gorilla.md, with the code that it replaces.
package gorilla_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var upgrader = websocket.Upgrader{ReadBufferSize: 1024, WriteBufferSize: 1024}

const pongWait = 60 * time.Second

// gorillaClient has a channel and two goroutines, because only one goroutine may write.
type gorillaClient struct {
	conn *websocket.Conn
	send chan []byte
}

func gorillaHandler(w http.ResponseWriter, r *http.Request) {
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	c := &gorillaClient{conn, make(chan []byte, 256)}
	go c.writePump()
	go c.readPump()
}

func (c *gorillaClient) readPump() {
	defer close(c.send)
	c.conn.SetReadLimit(64 << 10)
	c.conn.SetReadDeadline(time.Now().Add(pongWait))
	c.conn.SetPongHandler(func(string) error {
		return c.conn.SetReadDeadline(time.Now().Add(pongWait))
	})
	for {
		_, message, err := c.conn.ReadMessage()
		if err != nil {
			return
		}
		c.send <- message
	}
}

func (c *gorillaClient) writePump() {
	defer c.conn.Close()
	ticker := time.NewTicker(pongWait * 9 / 10)
	defer ticker.Stop()
	for {
		select {
		case message, ok := <-c.send:
			if !ok {
				return
			}
			c.conn.SetWriteDeadline(time.Now().Add(10 * time.Second))
			if err := c.conn.WriteMessage(websocket.TextMessage, message); err != nil {
				return
			}
		case <-ticker.C:
			if err := c.conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(10*time.Second)); err != nil {
				return
			}
		}
	}
}

// The same with edgews. The pings, the deadlines, the queue and the goroutines are the library's.
var options = &edgews.UpgradeOptions{Options: edgews.Options{MaxMessageSize: 64 << 10}}

func handler(w http.ResponseWriter, r *http.Request) {
	s, err := edgews.Upgrade(w, r, options)
	if err != nil {
		return
	}
	s.OnMessage(func(e edgews.MessageEvent) { s.Send(e.Text()) })
	s.Accept()
}

func gorillaDial(url string) (string, error) {
	conn, _, err := websocket.DefaultDialer.Dial(url, nil)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.WriteMessage(websocket.TextMessage, []byte("hello")); err != nil {
		return "", err
	}
	_, answer, err := conn.ReadMessage()
	if err != nil {
		return "", err
	}
	conn.WriteControl(websocket.CloseMessage,
		websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(time.Second))
	return string(answer), nil
}

func dial(ctx context.Context, url string) (string, error) {
	s, _, err := edgews.Dial(ctx, url, nil)
	if err != nil {
		return "", err
	}
	defer s.Close(edgews.StatusNormalClosure, "")
	if err := s.Write(ctx, edgews.Text, []byte("hello")); err != nil {
		return "", err
	}
	answer, err := s.Receive(ctx)
	return answer.Text(), err
}

// wsURL returns the URL of a server for WebSockets.
func wsURL(server *httptest.Server) string { return "ws" + strings.TrimPrefix(server.URL, "http") }

// serve starts a server until the end of the test, and returns its URL for WebSockets.
func serve(t *testing.T, h http.HandlerFunc) string {
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return wsURL(server)
}

func TestBoth(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{"gorilla": gorillaHandler, "edgews": handler} {
		server := httptest.NewServer(h)
		answer, err := gorillaDial(wsURL(server))
		assert.NoError(t, err, name)
		assert.Equal(t, "hello", answer, name)
		answer, err = dial(t.Context(), wsURL(server))
		assert.NoError(t, err, name)
		assert.Equal(t, "hello", answer, name)
		server.Close()
	}
}

// gorillaConn returns a connection to a server of edgews, whose handler gets the socket.
func gorillaConn(t *testing.T, opts *edgews.UpgradeOptions, fn func(s *edgews.Socket)) *websocket.Conn {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s, err := edgews.Upgrade(w, r, opts); err == nil {
			fn(s)
		}
	}))
	t.Cleanup(server.Close)
	conn, _, err := websocket.DefaultDialer.Dial(wsURL(server), nil)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn
}

// A read deadline that has passed ends a gorilla connection for reading; the context of a Receive ends the call alone.
func TestDeadlines(t *testing.T) {
	conn := gorillaConn(t, nil, func(s *edgews.Socket) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_, err := s.Receive(ctx)
		if assert.ErrorIs(t, err, context.Canceled) {
			assert.NoError(t, s.Send("still open"))
		}
	})
	_, message, err := conn.ReadMessage()
	require.NoError(t, err)
	assert.Equal(t, "still open", string(message))
	conn.SetReadDeadline(time.Now())
	_, _, err = conn.ReadMessage()
	var timeout net.Error
	require.ErrorAs(t, err, &timeout)
	conn.SetReadDeadline(time.Time{})
	_, _, again := conn.ReadMessage()
	assert.Equal(t, err, again)
	assert.PanicsWithValue(t, "repeated read on failed websocket connection", func() {
		for {
			conn.ReadMessage()
		}
	})
}

// gorilla passes text on that is not UTF-8; edgews ends the socket with 1007.
func TestUTF8(t *testing.T) {
	ended := make(chan error, 1)
	conn := gorillaConn(t, nil, func(s *edgews.Socket) {
		_, err := s.Receive(context.Background())
		ended <- err
	})
	require.NoError(t, conn.WriteMessage(websocket.TextMessage, []byte{0xff}))
	var closed *edgews.CloseError
	require.ErrorAs(t, <-ended, &closed)
	assert.Equal(t, edgews.StatusInvalidFramePayloadData, closed.Code)
}

// Close of gorilla sends no Close frame.
func TestCloseWithoutAFrame(t *testing.T) {
	ended := make(chan error, 1)
	conn := gorillaConn(t, nil, func(s *edgews.Socket) {
		_, err := s.Receive(context.Background())
		ended <- err
	})
	require.NoError(t, conn.Close())
	var closed *edgews.CloseError
	require.ErrorAs(t, <-ended, &closed)
	assert.Equal(t, edgews.StatusAbnormalClosure, closed.Code)
}

// The default of gorilla is no compression.
func TestCompression(t *testing.T) {
	extensions := make(chan string, 2)
	gorillaConn(t, nil, func(s *edgews.Socket) { extensions <- s.Extensions(); s.Accept() })
	assert.Empty(t, <-extensions)
	server := httptest.NewServer(http.HandlerFunc(handler))
	defer server.Close()
	s, _, err := edgews.Dial(t.Context(), server.URL, nil)
	require.NoError(t, err)
	assert.Contains(t, s.Extensions(), "permessage-deflate")
	s.Close(edgews.StatusNormalClosure, "")
}

// Both refuse pages of other sites by default.
func TestOrigin(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{"gorilla": gorillaHandler, "edgews": handler} {
		server := httptest.NewServer(h)
		_, resp, err := edgews.Dial(t.Context(), server.URL, &edgews.DialOptions{Header: http.Header{"Origin": {"https://other.example"}}})
		require.Error(t, err)
		assert.Equal(t, http.StatusForbidden, resp.StatusCode, name)
		server.Close()
	}
}
