package edgews_test

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// connecting returns a socket from NewWebSocket whose server answers once release is called, and the server's end.
func connecting(t *testing.T) (s *edgews.Socket, release func(), server <-chan *edgews.Socket) {
	t.Helper()
	sockets, gate := make(chan *edgews.Socket, 1), make(chan struct{})
	upgrade := upgradeInto(t, sockets, edgews.Options{})
	_, url, _ := overTCP.serve(t, func(w http.ResponseWriter, r *http.Request) {
		<-gate
		upgrade(w, r)
	})
	s, err := edgews.NewWebSocket("ws" + strings.TrimPrefix(url, "http"))
	require.NoError(t, err)
	return s, func() { close(gate) }, sockets
}

func TestConnecting(t *testing.T) {
	s, release, server := connecting(t)
	events := record(t, s)
	assert.Equal(t, edgews.Connecting, s.ReadyState())
	assert.ErrorIs(t, s.Accept(), edgews.ErrAccepted)
	assert.ErrorIs(t, s.Send("too early"), edgews.ErrNotAccepted)
	assert.Zero(t, s.BufferedAmount())
	written := make(chan error)
	go func() { written <- s.Write(t.Context(), edgews.Text, []byte("waited")) }()
	release()
	events.wants("open")
	require.NoError(t, <-written)
	b := <-server
	m, err := b.Receive(within(t))
	require.NoError(t, err)
	assert.Equal(t, "waited", m.Text())
	require.NoError(t, b.Close(1000, "enough"))
	events.wantsEnd(closed(1000, "enough", true))
}

func TestCloseWhileConnecting(t *testing.T) {
	s, release, _ := connecting(t)
	defer release()
	events := record(t, s)
	written := make(chan error)
	go func() { written <- s.Write(t.Context(), edgews.Text, nil) }()
	require.NoError(t, s.Close(1000, "never mind"))
	assert.ErrorIs(t, s.Close(1000, ""), edgews.ErrClosed)
	events.wantsEnd(failed("failed to establish the WebSocket connection"), closed(1006, "Failed to establish websocket connection", false))
	assert.ErrorIs(t, <-written, edgews.ErrClosed)
}

func TestOpenListenerThatDoesNotReturn(t *testing.T) {
	cases := []struct {
		name string
		how  func()
	}{
		{"Goexit", runtime.Goexit},
		{"panic", func() { panic(net.ErrClosed) }},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			captureDefaultLog(t)
			s, release, server := connecting(t)
			errs := make(chan error, 1)
			s.OnError(func(e edgews.ErrorEvent) { errs <- e.Err })
			s.OnOpen(func(edgews.OpenEvent) { c.how() })
			release()
			b := <-server
			events := record(t, b)
			require.NoError(t, b.Accept())
			events.wantsEnd(closed(1011, "internal error", true))
			waitDone(t, s)
			assert.Equal(t, c.name == "panic", errors.Is(<-errs, net.ErrClosed))
		})
	}
}

// A socket whose opening has failed is a dead socket like any other.
func TestAfterAFailedOpening(t *testing.T) {
	for name, fails := range map[string]func(t *testing.T) *edgews.Socket{
		"refused": func(t *testing.T) *edgews.Socket {
			_, url, _ := overTCP.serve(t, http.NotFound)
			s, err := edgews.NewWebSocket("ws" + strings.TrimPrefix(url, "http"))
			require.NoError(t, err)
			return s
		},
		"given up": func(t *testing.T) *edgews.Socket {
			s, release, _ := connecting(t)
			t.Cleanup(release)
			require.NoError(t, s.Close(1000, ""))
			return s
		},
		"a pair's end": func(t *testing.T) *edgews.Socket {
			a, b := edgews.NewPair()
			acceptBoth(t, a, b)
			require.NoError(t, a.Close(1000, ""))
			return a
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := fails(t)
			waitDone(t, s)
			assert.Equal(t, edgews.Closed, s.ReadyState())
			assert.NoError(t, s.Accept())
			assert.NoError(t, s.AcceptHalfOpen())
			for range 2 {
				assert.ErrorIs(t, s.Close(1000, ""), edgews.ErrClosed)
			}
			assert.ErrorIs(t, s.Send("x"), edgews.ErrClosed)
			assert.ErrorIs(t, s.Write(within(t), edgews.Text, nil), edgews.ErrClosed)
			_, err := s.NextWriter(within(t), edgews.Text)
			assert.ErrorIs(t, err, edgews.ErrClosed)
			_, err = s.Ping(within(t))
			assert.ErrorIs(t, err, edgews.ErrClosed)
			_, err = s.Receive(within(t))
			var end *edgews.CloseError
			assert.ErrorAs(t, err, &end)
		})
	}
}

// onDefaultClient runs f over every kind of connection that NewWebSocket may get from http.DefaultClient. The server answers when f has
// called listening: an event waits no more than 10 ms for a listener, and f may take longer than that on a busy machine.
func onDefaultClient(t *testing.T, handler http.HandlerFunc, f func(t *testing.T, url string, listening func())) {
	for _, where := range slowPlaces {
		t.Run(where.name, func(t *testing.T) {
			hasListeners := make(chan struct{})
			listening := sync.OnceFunc(func() { close(hasListeners) })
			defer listening()
			_, url, client := where.serve(t, func(w http.ResponseWriter, r *http.Request) {
				<-hasListeners
				handler(w, r)
			})
			if where.name == slowWrapped.name {
				transport := client.Transport.(*http.Transport)
				dial := transport.DialContext
				transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
					conn, err := dial(ctx, network, addr)
					return wrapped{conn}, err
				}
			}
			before := http.DefaultClient
			http.DefaultClient = client
			t.Cleanup(func() { http.DefaultClient = before })
			f(t, "ws"+strings.TrimPrefix(url, "http"), listening)
		})
	}
}

// What a socket sends in its open event leaves, for as long as the listener takes, and nothing else is delivered meanwhile.
func TestSendingInTheOpenListener(t *testing.T) {
	const n = 6
	large := make([]byte, 64<<10)
	rand.Read(large) // nothing that can be compressed
	got := make(chan string, 10)
	onDefaultClient(t, func(w http.ResponseWriter, r *http.Request) {
		s, err := edgews.Upgrade(w, r, &edgews.UpgradeOptions{Options: edgews.Options{Logger: quiet}})
		assert.NoError(t, err)
		assert.NoError(t, s.AcceptHalfOpen())
		s.Send("early")
		go func() {
			for m, err := range s.Messages(context.Background()) {
				if err != nil {
					return
				}
				s.Write(context.Background(), m.Kind, m.Data[:min(len(m.Data), 5)])
				if m.Text() == "end" {
					s.Close(1000, "bye")
				}
				got <- messageOf(m)
			}
		}()
	}, func(t *testing.T, url string, listening func()) {
		s, err := edgews.NewWebSocket(url)
		require.NoError(t, err)
		events := record(t, s)
		s.OnOpen(func(edgews.OpenEvent) {
			assert.NoError(t, s.Send("hello"))
			assert.NoError(t, s.Flush(within(t)))
			assert.Equal(t, message("hello"), <-got)
			for range n {
				assert.NoError(t, s.Write(within(t), edgews.Binary, large))
				assert.Equal(t, bytesMessage(string(large)), <-got)
			}
			assert.NoError(t, s.Send("end"))
			assert.Equal(t, message("end"), <-got)
			events.Note("opened")
		})
		listening()
		events.wants("open", "opened", message("early"), message("hello"))
		for range n {
			events.wants(bytesMessage(string(large[:5])))
		}
		events.wantsEnd(message("end"), closed(1000, "bye", true))
	})
}

// A socket that ends while its open listener runs delivers its end behind that.
func TestEndInTheOpenListener(t *testing.T) {
	ended := make(chan struct{}, 1)
	onDefaultClient(t, func(w http.ResponseWriter, r *http.Request) {
		s, err := edgews.Upgrade(w, r, nil)
		assert.NoError(t, err)
		s.OnClose(func(e edgews.CloseEvent) {
			assert.EqualValues(t, 4000, e.Code)
			ended <- struct{}{}
		})
		assert.NoError(t, s.Accept())
	}, func(t *testing.T, url string, listening func()) {
		s, err := edgews.NewWebSocket(url)
		require.NoError(t, err)
		events := record(t, s)
		s.OnOpen(func(edgews.OpenEvent) {
			assert.NoError(t, s.Close(4000, "enough"))
			<-ended
			events.Note("opened")
		})
		listening()
		events.wantsEnd("open", "opened", closed(4000, "enough", true))
	})
}
