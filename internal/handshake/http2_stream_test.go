package handshake_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews/internal/handshake"
)

// streamWriter is the ResponseWriter of a stream whose flow control the test decides.
type streamWriter struct {
	http.ResponseWriter
	room chan int // a Write takes one value from it, or waits until the stream is reset

	mu      sync.Mutex
	written []byte // guarded by mu
	reset   chan struct{}
}

func newStreamWriter() *streamWriter {
	return &streamWriter{ResponseWriter: httptest.NewRecorder(), room: make(chan int, 100), reset: make(chan struct{})}
}

func (w *streamWriter) Write(p []byte) (int, error) {
	select {
	case <-w.room:
	case <-w.reset:
		return 0, errors.New("the stream was reset")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.written = append(w.written, p...)
	return len(p), nil
}

func (w *streamWriter) Flush() {}

func (w *streamWriter) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline with a time in the past resets the stream, as that of net/http does.
func (w *streamWriter) SetWriteDeadline(t time.Time) error {
	if !t.IsZero() && t.Before(time.Now()) {
		close(w.reset)
	}
	return nil
}

// extended returns an extended CONNECT whose stream is body.
func extended(ctx context.Context, body io.ReadCloser) *http.Request {
	r := httptest.NewRequestWithContext(ctx, http.MethodConnect, "https://example.com/", body)
	r.ProtoMajor, r.ProtoMinor, r.ContentLength = 2, 0, -1
	r.Header = http.Header{":protocol": {"websocket"}, "Sec-Websocket-Version": {handshake.Version}}
	return r
}

// takeStream takes the stream of r.
func takeStream(t *testing.T, w http.ResponseWriter, r *http.Request) *handshake.Stream {
	t.Helper()
	require.Nil(t, handshake.CheckRequest(r))
	s, refused := handshake.TakeStream(w, r, handshake.Respond(r.Header, nil, nil))
	require.Nil(t, refused)
	return s
}

// A Stream has write deadlines that do not end it, and takes one chunk more than the peer.
func TestStreamDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body, _ := io.Pipe()
		r, k := handshake.WithKeeper(extended(t.Context(), body), nil)
		w := newStreamWriter()
		s := takeStream(t, w, r)
		began := time.Now()
		require.NoError(t, s.SetWriteDeadline(began.Add(time.Minute)))
		_, err := s.Write([]byte("first"))
		assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
		assert.Equal(t, time.Minute, time.Since(began))
		var timeout net.Error
		assert.True(t, errors.As(err, &timeout) && timeout.Timeout())
		n, err := s.TryWrite([]byte("behind"))
		assert.NoError(t, err)
		assert.Zero(t, n, "the first write is still under way")
		require.NoError(t, s.SetWriteDeadline(time.Time{}))
		w.room <- 1
		synctest.Wait()
		n, err = s.TryWrite([]byte(" second"))
		assert.NoError(t, err)
		assert.Equal(t, 7, n, "taken, although the peer has no room")
		w.room <- 1
		w.room <- 1
		n, err = s.Write([]byte(" third"))
		assert.NoError(t, err)
		assert.Equal(t, 6, n)
		assert.Equal(t, "first second third", string(w.written))
		assert.ErrorIs(t, s.SetDeadline(time.Now()), os.ErrNoDeadline, "there are no read deadlines")
		require.NoError(t, s.Close())
		k.Return()
	})
}

// Keeper.Return waits for the end of the stream and of the write that is under way. CloseWrite lets that write go on, and Close
// resets the stream if it does not end in time.
func TestKeeperWaits(t *testing.T) {
	for name, reset := range map[string]bool{"written": false, "reset": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				body, _ := io.Pipe()
				r, k := handshake.WithKeeper(extended(t.Context(), body), nil)
				w := newStreamWriter()
				s := takeStream(t, w, r)
				returned := make(chan struct{})
				go func() {
					k.Return()
					close(returned)
				}()
				running := func() bool {
					synctest.Wait()
					select {
					case <-returned:
						return false
					default:
						return true
					}
				}
				n, err := s.TryWrite([]byte("last"))
				assert.NoError(t, err)
				assert.Equal(t, 4, n)
				assert.True(t, running())
				require.NoError(t, s.CloseWrite())
				assert.True(t, running(), "the last write is under way")
				_, err = s.Write([]byte("too late"))
				assert.ErrorIs(t, err, net.ErrClosed)
				if reset {
					require.NoError(t, s.Close())
					assert.True(t, running(), "the last write may still get through")
					time.Sleep(2 * time.Second)
				} else {
					w.room <- 1
				}
				assert.False(t, running())
				assert.Equal(t, !reset, string(w.written) == "last")
				require.NoError(t, s.Close())
				require.NoError(t, s.Close(), "twice")
			})
		})
	}
}

// The end of the request's context ends the wait: the peer has reset the stream, and perhaps the program never reads it.
func TestKeeperReturnsWhenTheStreamIsReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		r, k := handshake.WithKeeper(extended(ctx, http.NoBody), nil)
		s := takeStream(t, newStreamWriter(), r)
		time.AfterFunc(time.Hour, cancel)
		began := time.Now()
		k.Return()
		assert.Equal(t, time.Hour, time.Since(began))
		_, err := s.Write([]byte("too late"))
		assert.ErrorIs(t, err, net.ErrClosed)
	})
}

// The outermost Keeper waits. The stream is that of its request, whatever is done to the request inside.
func TestKeepersInsideOneAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body, far := io.Pipe()
		outer, waits := handshake.WithKeeper(extended(t.Context(), body), nil)
		ctx, cancel := context.WithCancel(outer.Context())
		changed := outer.WithContext(ctx)
		changed.Body = http.NoBody
		taken := false
		inner, returns := handshake.WithKeeper(changed, func() { taken = true })
		w := newStreamWriter()
		s := takeStream(t, w, inner)
		assert.True(t, taken)
		assert.False(t, s.EndsWithHandler())
		returns.Return()
		cancel()
		go far.Write([]byte("hello"))
		got := make([]byte, 5)
		_, err := io.ReadFull(s, got)
		require.NoError(t, err)
		assert.Equal(t, "hello", string(got))
		w.room <- 1
		_, err = s.Write(got)
		require.NoError(t, err)
		time.AfterFunc(time.Hour, func() { s.Close() })
		began := time.Now()
		waits.Return()
		assert.Equal(t, time.Hour, time.Since(began))
		_, refused := handshake.TakeStream(w, inner, handshake.Respond(inner.Header, nil, nil))
		require.NotNil(t, refused)
		assert.Contains(t, refused.Detail, "has returned already")
	})
}

// Without a Keeper, Release ends the use of the ResponseWriter, also if the peer takes nothing.
func TestRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body, _ := io.Pipe()
		w := newStreamWriter()
		ctx, cancel := context.WithCancel(t.Context())
		s := takeStream(t, w, extended(ctx, body))
		assert.True(t, s.EndsWithHandler())
		n, err := s.TryWrite([]byte("stuck"))
		assert.NoError(t, err)
		assert.Equal(t, 5, n)
		s.Release()
		<-w.reset
		synctest.Wait()
		_, err = s.Write([]byte("too late"))
		assert.Error(t, err)
		assert.Empty(t, w.written)
		cancel()
	})
}

// stuckWriter is a streamWriter of a connection that takes nothing, not even a reset of the stream.
type stuckWriter struct{ *streamWriter }

func (stuckWriter) SetWriteDeadline(time.Time) error { return nil }

// While a Write of net/http has not returned, Release does not return: the handler would, and net/http would give the buffer to another stream.
func TestReleaseWaitsForTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body, _ := io.Pipe()
		w := stuckWriter{newStreamWriter()}
		s := takeStream(t, w, extended(t.Context(), body))
		_, err := s.TryWrite([]byte("stuck"))
		require.NoError(t, err)
		released := make(chan struct{})
		go func() {
			defer close(released)
			s.Release()
		}()
		select {
		case <-released:
			assert.Fail(t, "the Write still runs")
		case <-time.After(time.Hour):
		}
		close(w.reset) // the end of the connection
		<-released
		_, err = s.Write([]byte("too late"))
		assert.Error(t, err)
	})
}

// Without a Keeper, the end of the request's context, which is that of the handler, ends writing.
func TestHandlerReturnsWithoutKeeper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := takeStream(t, newStreamWriter(), extended(ctx, failing{errors.New("http2: request body closed due to handler exiting")}))
		told := 0
		s.OnReturn(func() { told++ })
		cancel()
		_, err := s.Write([]byte("too late"))
		assert.ErrorIs(t, err, net.ErrClosed)
		for range 2 {
			_, err = s.Read(make([]byte, 1))
			assert.ErrorContains(t, err, "handler exiting")
		}
		assert.Equal(t, 1, told)
	})
}

// failing is a body that fails.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
func (failing) Close() error               { return nil }

func TestCheckExtendedConnect(t *testing.T) {
	for _, tt := range []struct {
		name   string
		edit   func(*http.Request)
		status int
		detail string
	}{
		{"correct", func(*http.Request) {}, 0, ""},
		{"case of the protocol", func(r *http.Request) { r.Header[":protocol"] = []string{"WebSocket"} }, 0, ""},
		{"other protocol", func(r *http.Request) { r.Header[":protocol"] = []string{"connect-udp"} }, 501, `the :protocol is "connect-udp"`},
		{"plain CONNECT", func(r *http.Request) { delete(r.Header, ":protocol") }, 505, "a WebSocket is not opened with CONNECT"},
		{"GET", func(r *http.Request) { r.Method = http.MethodGet }, 505, "a WebSocket is not opened with GET"},
		{"ended", func(r *http.Request) { r.ContentLength = 0 }, 400, "the request has ended"},
		{"version", func(r *http.Request) { r.Header.Set(handshake.VersionHeader, "8") }, 400, "this server speaks version 13"},
		{"subprotocol", func(r *http.Request) { r.Header.Set(handshake.ProtocolHeader, "a b") }, 400, "not a token"},
		{"HTTP/1.1", func(r *http.Request) { r.ProtoMajor, r.ProtoMinor = 1, 1 }, 405, "the method is"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := extended(t.Context(), http.NoBody)
			tt.edit(r)
			refused := handshake.CheckRequest(r)
			if tt.status == 0 {
				assert.Nil(t, refused)
				assert.True(t, handshake.IsUpgrade(r))
				return
			}
			require.NotNil(t, refused)
			assert.Equal(t, tt.status, refused.Status)
			assert.Contains(t, refused.Detail, tt.detail)
		})
	}
}
