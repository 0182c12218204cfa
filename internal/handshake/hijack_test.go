package handshake_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews/internal/handshake"
)

// wrapper is a middleware's ResponseWriter.
type wrapper struct{ http.ResponseWriter }

func (w wrapper) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// opaque is one without Unwrap.
type opaque struct{ http.ResponseWriter }

func TestCheckUnanswered(t *testing.T) {
	w := httptest.NewRecorder()
	assert.Nil(t, handshake.CheckUnanswered(wrapper{w}))
	w.WriteHeader(http.StatusOK)
	refused := handshake.CheckUnanswered(wrapper{w})
	require.NotNil(t, refused)
	assert.Contains(t, refused.Detail, "call Upgrade before WriteHeader")
	assert.Zero(t, refused.Status)
	assert.Nil(t, handshake.CheckUnanswered(opaque{w}), "nothing is known about it")
}

func TestCheckUnansweredAfterHijack(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		assert.Nil(t, handshake.CheckUnanswered(w))
		conn, buffered, refused := handshake.Hijack(wrapper{w})
		if !assert.Nil(t, refused) {
			return
		}
		defer conn.Close()
		assert.Equal(t, "behind", string(buffered))
		refused = handshake.CheckUnanswered(w)
		if assert.NotNil(t, refused) {
			assert.ErrorIs(t, refused.Err, http.ErrHijacked)
		}
		io.WriteString(conn, "done")
	}))
	defer srv.Close()
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\nbehind")
	require.NoError(t, err)
	got, err := io.ReadAll(conn)
	require.NoError(t, err)
	assert.Equal(t, "done", string(got))
}

func TestHijackNamesTheWriterThatHasNoConnection(t *testing.T) {
	_, _, refused := handshake.Hijack(wrapper{opaque{httptest.NewRecorder()}})
	require.NotNil(t, refused)
	assert.Equal(t, http.StatusInternalServerError, refused.Status)
	assert.Contains(t, refused.Detail, "handshake_test.opaque cannot hand over its connection")
	assert.ErrorIs(t, refused.Err, http.ErrNotSupported)
}

// asking is a wrapper whose Hijack works only if the writer directly below it has one; how says what it does otherwise.
type asking struct {
	wrapper
	how func() error
}

func (w asking) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if h, ok := w.ResponseWriter.(http.Hijacker); ok {
		return h.Hijack()
	}
	return nil, nil, w.how()
}

// hijackable is the ResponseWriter of a server.
type hijackable struct {
	http.ResponseWriter
	conn net.Conn
	err  error
}

func (w hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) { return w.conn, nil, w.err }

// A wrapper with Hijack around one that has only Unwrap does not break the chain.
func TestHijackGoesAroundAWrapperThatFails(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	broken := errors.New("broken")
	server := hijackable{httptest.NewRecorder(), near, nil}
	for name, how := range map[string]func() error{
		"an error":        func() error { return errors.New("not supported") },
		"no connection":   func() error { return nil },
		"a panic":         func() error { return fmt.Errorf("%v", http.ResponseWriter(server).(io.Seeker)) },
		"ErrNotSupported": func() error { return http.ErrNotSupported },
	} {
		t.Run(name, func(t *testing.T) {
			conn, _, refused := handshake.Hijack(wrapper{asking{wrapper{wrapper{asking{wrapper{wrapper{server}}, how}}}, how}})
			require.Nil(t, refused)
			assert.Same(t, near, conn)

			_, _, refused = handshake.Hijack(asking{wrapper{wrapper{opaque{server}}}, how})
			require.NotNil(t, refused)
			assert.Equal(t, http.StatusInternalServerError, refused.Status)
			assert.Contains(t, refused.Detail, "handshake_test.opaque cannot hand over its connection")
			assert.Error(t, refused.Err)

			_, _, refused = handshake.Hijack(asking{wrapper{wrapper{hijackable{err: broken}}}, how})
			require.NotNil(t, refused)
			assert.Equal(t, "cannot take the connection over", refused.Detail)

			_, _, refused = handshake.Hijack(asking{wrapper{hijackable{err: http.ErrHijacked}}, how})
			require.NotNil(t, refused)
			assert.ErrorIs(t, refused.Err, http.ErrHijacked)
		})
	}
	_, _, refused := handshake.Hijack(wrapper{nil})
	require.NotNil(t, refused)
	assert.ErrorIs(t, refused.Err, http.ErrNotSupported)
	assert.PanicsWithValue(t, "a fault of the program's own", func() {
		handshake.Hijack(asking{wrapper{wrapper{server}}, func() error { panic("a fault of the program's own") }})
	})
}

func TestHijackSaysWhatToDoAboutTimeoutHandler(t *testing.T) {
	var refused *handshake.Refusal
	h := http.TimeoutHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _, refused = handshake.Hijack(wrapper{w}) }), time.Minute, "")
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	require.NotNil(t, refused)
	assert.Equal(t, "http.TimeoutHandler (*http.timeoutWriter) cannot hand over the connection: wrap the handlers of the other routes in it, and not this one",
		refused.Detail)
}

// pipeBody is the body of a RoundTripper's own.
type pipeBody struct{ io.ReadWriteCloser }

func TestAdopt(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()

	conn, buffered, err := handshake.Adopt(&http.Response{Body: near}, nil)
	require.NoError(t, err)
	assert.Same(t, near, conn, "a body that is a connection")
	assert.Empty(t, buffered)

	resp := &http.Response{Body: pipeBody{near}}
	conn, _, err = handshake.Adopt(resp, nil)
	require.NoError(t, err)
	assert.Equal(t, http.NoBody, resp.Body)
	assert.ErrorIs(t, conn.SetDeadline(time.Now()), os.ErrNoDeadline, "without a connection below there are no deadlines")
	assert.Equal(t, "http", conn.RemoteAddr().Network())
	go io.WriteString(far, "hi")
	p := make([]byte, 2)
	_, err = io.ReadFull(conn, p)
	require.NoError(t, err)

	conn, _, err = handshake.Adopt(&http.Response{Body: pipeBody{near}}, near)
	require.NoError(t, err)
	require.NoError(t, conn.SetReadDeadline(time.Unix(1, 0)), "the deadlines are those of the connection below")
	_, err = conn.Read(p)
	assert.ErrorIs(t, err, os.ErrDeadlineExceeded)

	_, _, err = handshake.Adopt(&http.Response{Body: io.NopCloser(strings.NewReader(""))}, nil)
	assert.ErrorContains(t, err, "to which nothing can be written")
}
