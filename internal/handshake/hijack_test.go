package handshake_test

import (
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
