package gorilla_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func gorillaHow(err error) string {
	switch {
	case errors.Is(err, websocket.ErrReadLimit):
		return "too big"
	case websocket.IsCloseError(err, websocket.CloseNormalClosure, websocket.CloseGoingAway):
		return "done"
	case websocket.IsUnexpectedCloseError(err, websocket.CloseNormalClosure, websocket.CloseGoingAway, websocket.CloseAbnormalClosure):
		return fmt.Sprint("closed with ", err.(*websocket.CloseError).Code)
	}
	return "lost"
}

func how(err error) string {
	var closed *edgews.CloseError
	switch {
	case errors.Is(err, edgews.ErrMessageTooBig):
		return "too big"
	case err == nil: // the end of a loop over Messages
		return "done"
	case errors.As(err, &closed) && (closed.Code == edgews.StatusNormalClosure || closed.Code == edgews.StatusGoingAway):
		return "done" // from Receive
	case errors.As(err, &closed) && closed.WasClean:
		return fmt.Sprintf("closed with %d", closed.Code)
	}
	return "lost"
}

// TestEnds ends connections in several ways, and asks both libraries how.
func TestEnds(t *testing.T) {
	for name, end := range map[string]struct {
		want string
		fn   func(conn *websocket.Conn)
	}{
		"normal":     {"done", func(conn *websocket.Conn) { gorillaClose(conn, websocket.CloseNormalClosure) }},
		"going away": {"done", func(conn *websocket.Conn) { gorillaClose(conn, websocket.CloseGoingAway) }},
		"restart":    {"closed with 1012", func(conn *websocket.Conn) { gorillaClose(conn, websocket.CloseServiceRestart) }},
		"own code":   {"closed with 4000", func(conn *websocket.Conn) { gorillaClose(conn, 4000) }},
		"no Close":   {"lost", func(conn *websocket.Conn) { conn.Close() }},
		"too big":    {"too big", func(conn *websocket.Conn) { conn.WriteMessage(websocket.BinaryMessage, make([]byte, 1001)) }},
	} {
		url := gorillaServer(t, func(conn *websocket.Conn) { end.fn(conn) })
		conn, _, err := websocket.DefaultDialer.Dial(url, nil)
		require.NoError(t, err)
		conn.SetReadLimit(1000)
		_, _, err = conn.ReadMessage()
		assert.Equal(t, end.want, gorillaHow(err), name)
		conn.Close()

		s, _, err := edgews.Dial(t.Context(), url, &edgews.DialOptions{Options: edgews.Options{MaxMessageSize: 1000}})
		require.NoError(t, err)
		_, err = s.Receive(t.Context())
		assert.Equal(t, end.want, how(err), name)

		s, _, err = edgews.Dial(t.Context(), url, &edgews.DialOptions{Options: edgews.Options{MaxMessageSize: 1000}})
		require.NoError(t, err)
		err = nil
		for _, err = range s.Messages(t.Context()) {
		}
		assert.Equal(t, end.want, how(err), name)
	}
}

// gorillaClose sends a Close, and reads until the peer has answered, so that the answer does not meet a closed connection.
func gorillaClose(conn *websocket.Conn, code int) error {
	err := conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, "bye"), time.Now().Add(time.Second))
	if err != nil {
		return err
	}
	conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	for {
		if _, _, err := conn.NextReader(); err != nil {
			return conn.Close()
		}
	}
}

// closeAndWait does that with edgews: only a program that is about to exit has to wait.
func closeAndWait(s *edgews.Socket, code edgews.StatusCode) {
	s.Close(code, "bye")
	<-s.Done()
}

// gorillaServer starts a server of gorilla, whose handler gets the connection, and returns its URL.
func gorillaServer(t *testing.T, fn func(conn *websocket.Conn)) string {
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		if conn, err := upgrader.Upgrade(w, r, nil); err == nil {
			fn(conn)
		}
	})
}

func TestCloseAndWait(t *testing.T) {
	url := serve(t, handler)
	s, _, err := edgews.Dial(t.Context(), url, nil)
	require.NoError(t, err)
	s.Accept()
	closeAndWait(s, 4000)
	assert.ErrorContains(t, s.Err(), "4000")
	conn, _, err := websocket.DefaultDialer.Dial(url, nil)
	require.NoError(t, err)
	assert.NoError(t, gorillaClose(conn, 4000))
}

// Pings.

func gorillaPing(conn *websocket.Conn, pong func(d time.Duration)) error { // something has to read meanwhile
	sent := time.Now()
	conn.SetPongHandler(func(string) error { pong(time.Since(sent)); return nil })
	return conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Second))
}

func ping(ctx context.Context, s *edgews.Socket) (time.Duration, error) {
	return s.Ping(ctx)
}

func TestPings(t *testing.T) {
	url := serve(t, handler)
	conn, _, err := websocket.DefaultDialer.Dial(url, nil)
	require.NoError(t, err)
	defer conn.Close()
	pongs := make(chan time.Duration, 1)
	require.NoError(t, gorillaPing(conn, func(d time.Duration) { pongs <- d }))
	go conn.ReadMessage()
	assert.Positive(t, <-pongs)

	s, _, err := edgews.Dial(t.Context(), url, nil)
	require.NoError(t, err)
	defer s.Close(edgews.StatusNormalClosure, "")
	rtt, err := ping(t.Context(), s)
	assert.NoError(t, err)
	assert.Positive(t, rtt)
}

// Messages for many, and messages in pieces.

func gorillaPublish(conns []*websocket.Conn, text string) error {
	message, err := websocket.NewPreparedMessage(websocket.TextMessage, []byte(text))
	if err != nil {
		return err
	}
	for _, conn := range conns { // each write waits for its peer, and no other goroutine may write
		if err := conn.WritePreparedMessage(message); err != nil {
			conn.Close()
		}
	}
	return nil
}

func publish(sockets []*edgews.Socket, text string) {
	message := edgews.Prepare(edgews.Text, []byte(text))
	for _, s := range sockets { // no write waits
		if err := s.SendPrepared(message); err != nil {
			s.Close(edgews.StatusTryAgainLater, "")
		}
	}
}

func gorillaCopy(dst, src *websocket.Conn) error {
	kind, r, err := src.NextReader()
	if err != nil {
		return err
	}
	w, err := dst.NextWriter(kind)
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, r); err != nil {
		return err
	}
	return w.Close()
}

func copyMessage(ctx context.Context, dst, src *edgews.Socket) error {
	kind, r, err := src.NextReader(ctx)
	if err != nil {
		return err
	}
	w, err := dst.NextWriter(ctx, kind)
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, r); err != nil {
		return err
	}
	return w.Close()
}

func TestPreparedAndStreams(t *testing.T) {
	text := strings.Repeat("a long message ", 10_000)
	url := gorillaServer(t, func(conn *websocket.Conn) {
		defer conn.Close()
		assert.NoError(t, gorillaPublish([]*websocket.Conn{conn}, "for all"))
		assert.NoError(t, gorillaCopy(conn, conn))
	})
	edgewsURL := serve(t, func(w http.ResponseWriter, r *http.Request) {
		s, err := edgews.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		s.Accept()
		publish([]*edgews.Socket{s}, "for all")
		assert.NoError(t, copyMessage(r.Context(), s, s))
		s.Close(edgews.StatusNormalClosure, "")
	})
	for _, url := range []string{url, edgewsURL} {
		conn, _, err := websocket.DefaultDialer.Dial(url, nil)
		require.NoError(t, err)
		defer conn.Close()
		require.NoError(t, conn.WriteMessage(websocket.TextMessage, []byte(text)))
		for _, want := range []string{"for all", text} {
			_, message, err := conn.ReadMessage()
			require.NoError(t, err)
			assert.True(t, want == string(message))
		}
	}
}

// JSON.

type order struct {
	Item  string `json:"item"`
	Count int    `json:"count"`
}

func gorillaDouble(conn *websocket.Conn) error {
	var o order
	if err := conn.ReadJSON(&o); err != nil {
		return err
	}
	o.Count *= 2
	return conn.WriteJSON(o)
}

func double(ctx context.Context, s *edgews.Socket) error {
	o, err := edgews.ReceiveJSON[order](ctx, s)
	if err != nil {
		return err
	}
	o.Count *= 2
	return edgews.SendJSON(s, o)
}

func TestJSON(t *testing.T) {
	for name, url := range map[string]string{
		"gorilla": gorillaServer(t, func(conn *websocket.Conn) {
			assert.NoError(t, gorillaDouble(conn))
			gorillaClose(conn, websocket.CloseNormalClosure)
		}),
		"edgews": serve(t, func(w http.ResponseWriter, r *http.Request) {
			if s, err := edgews.Upgrade(w, r, nil); err == nil {
				assert.NoError(t, double(r.Context(), s))
				s.Close(edgews.StatusNormalClosure, "")
			}
		}),
	} {
		s, _, err := edgews.Dial(t.Context(), url, nil)
		require.NoError(t, err, name)
		s.Accept()
		require.NoError(t, edgews.SendJSON(s, order{"tea", 2}), name)
		got, err := edgews.ReceiveJSON[order](t.Context(), s)
		require.NoError(t, err, name)
		assert.Equal(t, order{"tea", 4}, got, name)
		s.Close(edgews.StatusNormalClosure, "")
	}
}
