package dialh2_test

import (
	"context"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews"
)

// smallWindows are the limits that the documentation of edgewsh2 recommends.
func smallWindows(s *server) {
	s.Config.HTTP2 = &http.HTTP2Config{MaxReceiveBufferPerStream: 64 << 10, MaxReceiveBufferPerConnection: 4 << 20}
}

// A receiver that does not receive makes its own peer wait, and nothing else on the connection: neither sockets nor requests.
func TestStalledReceiver(t *testing.T) {
	h, sockets := accepts(t, nil)
	mux := http.NewServeMux()
	mux.Handle("/stalled", h)
	mux.HandleFunc("/live", stays(nil))
	mux.HandleFunc("/page", func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	s := serve(t, mux, smallWindows)
	patient := plainWithRoom
	patient.WriteTimeout = -1 // how long it takes on a busy machine says nothing
	live := s.dial(t, "/live", edgews.DialOptions{Options: patient})
	const stalls = 5
	var clients []*edgews.Socket
	release, entered := make(chan struct{}), make(chan struct{}, stalls)
	for range stalls {
		client := s.dial(t, "/stalled", edgews.DialOptions{Options: patient})
		require.NoError(t, client.Accept())
		server := <-sockets
		require.NoError(t, server.Accept())
		server.OnMessage(func(edgews.MessageEvent) {
			entered <- struct{}{}
			<-release
		})
		require.NoError(t, client.Send("stall"))
		<-entered
		require.NoError(t, client.SendBytes(make([]byte, 1<<20)))
		clients = append(clients, client)
	}
	big := string(payload(1 << 20))
	for range 4 {
		require.NoError(t, live.Write(within(t), edgews.Binary, []byte(big)))
		expects(t, live, big)
		resp, err := s.client.Post(s.URL+"/page", "text/plain", http.NoBody)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
	}
	for _, client := range clients {
		assert.NotZero(t, client.BufferedAmount(), "the server has not taken it")
		require.NoError(t, client.Err())
	}
	close(release)
	for range clients { // now each server gets the large message
		<-entered
	}
}

// A client that does not read loses its own socket after WriteTimeout, by a reset of its stream. Others go on meanwhile.
func TestClientThatDoesNotRead(t *testing.T) {
	o := plainWithRoom
	o.WriteTimeout = 200 * time.Millisecond
	h, sockets := accepts(t, &edgews.UpgradeOptions{Options: o})
	s := serve(t, h)
	live := s.dial(t, "/", edgews.DialOptions{})
	echoAll(<-sockets)
	conn := s.raw(t, "/")
	server := <-sockets
	failure := make(chan error, 1)
	server.OnError(func(e edgews.ErrorEvent) { failure <- e.Err })
	require.NoError(t, server.Accept())
	require.NoError(t, server.SendBytes(make([]byte, 20<<20)))
	for server.Err() == nil {
		says(t, live, "meanwhile", "meanwhile")
	}
	lost(t, server)
	assert.ErrorIs(t, <-failure, edgews.ErrWriteTimeout)
	_, err := io.ReadAll(conn)
	assert.ErrorContains(t, err, "INTERNAL_ERROR")
	says(t, live, "afterwards", "afterwards")
}

// MaxConcurrentStreams counts open sockets.
func TestMaxConcurrentStreams(t *testing.T) {
	s := serve(t, returns(nil), func(s *server) {
		s.Config.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: 3}
		s.transport.HTTP2 = &http.HTTP2Config{StrictMaxConcurrentRequests: true}
	})
	var open []*edgews.Socket
	for range 3 {
		open = append(open, s.dial(t, "/", edgews.DialOptions{}))
		says(t, open[len(open)-1], "hello", "hello")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, _, err := edgews.Dial(ctx, s.webSocketURL("/"), &edgews.DialOptions{HTTPClient: s.client})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, open[0].Accept())
	require.NoError(t, open[0].Close(edgews.StatusNormalClosure, ""))
	says(t, s.dial(t, "/", edgews.DialOptions{}), "room", "room")
	for _, socket := range open[1:] {
		says(t, socket, "still here", "still here")
	}
}

// The time-outs of http.Server, which would end the stream of another request, do not end sockets.
func TestServerTimeouts(t *testing.T) {
	const timeout = 30 * time.Millisecond
	s := serve(t, returns(nil), func(s *server) { s.Config.ReadTimeout, s.Config.WriteTimeout = timeout, timeout })
	socket := s.dial(t, "/", edgews.DialOptions{})
	for began := time.Now(); time.Since(began) < 4*timeout; {
		says(t, socket, "tick", "tick")
	}
}

// Shutdown tells the client to open no more streams and waits for the sockets, which go on.
func TestShutdown(t *testing.T) {
	h, sockets := accepts(t, nil)
	s := serve(t, h)
	socket := s.dial(t, "/", edgews.DialOptions{})
	server := <-sockets
	echoAll(server)
	says(t, socket, "before", "before")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, s.Config.Shutdown(ctx), context.DeadlineExceeded)
	says(t, socket, "after", "after")
	_, _, err := edgews.Dial(within(t), s.webSocketURL("/"), &edgews.DialOptions{HTTPClient: s.client})
	require.Error(t, err, "the listener is closed, and the connection takes no more streams")
	says(t, socket, "still", "still")
	require.NoError(t, server.Close(edgews.StatusServiceRestart, "restart"))
	_, err = socket.Receive(within(t))
	require.Error(t, err)
	assert.Equal(t, &edgews.CloseError{Code: edgews.StatusServiceRestart, Reason: "restart", WasClean: true}, ended(t, socket))
	require.NoError(t, s.Config.Shutdown(within(t)), "now it has nothing to wait for")
}

// A client that does not answer pings, and one that does not answer a Close, lose their sockets in time. Their streams end.
func TestSilentClient(t *testing.T) {
	for _, c := range []struct {
		name    string
		opts    edgews.Options
		close   bool
		failure error
	}{
		{"ping", edgews.Options{KeepAlive: 20 * time.Millisecond, KeepAliveTimeout: 20 * time.Millisecond}, false, edgews.ErrNoPong},
		{"Close", edgews.Options{CloseTimeout: 20 * time.Millisecond}, true, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, sockets := accepts(t, &edgews.UpgradeOptions{Options: c.opts})
			s := serve(t, h)
			conn := s.raw(t, "/")
			server := <-sockets
			failures := make(chan error, 1)
			server.OnError(func(e edgews.ErrorEvent) { failures <- e.Err })
			require.NoError(t, server.Accept())
			if c.close {
				require.NoError(t, server.Close(edgews.StatusGoingAway, ""))
			}
			lost(t, server)
			if c.failure != nil {
				assert.ErrorIs(t, <-failures, c.failure)
			}
			_, _ = io.ReadAll(conn) // until the end of the stream
		})
	}
}

// A client that answers pings keeps its socket.
func TestKeepAlive(t *testing.T) {
	const interval = 20 * time.Millisecond
	s := serve(t, returns(&edgews.UpgradeOptions{Options: edgews.Options{KeepAlive: interval, KeepAliveTimeout: time.Minute}}))
	socket := s.dial(t, "/", edgews.DialOptions{Options: edgews.Options{KeepAlive: -1}})
	ctx, cancel := context.WithTimeout(t.Context(), 10*interval)
	defer cancel()
	_, err := socket.Receive(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	says(t, socket, "still here", "still here")
}

// Sockets that end in all ways at once, on one connection, leave no handler behind, and the connection goes on.
func TestManyEnds(t *testing.T) {
	for name, start := range map[string]func(testing.TB, http.Handler, ...func(*server)) *server{"wrapped": serve, "bare": serveBare} {
		t.Run(name, func(t *testing.T) {
			s := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				socket, err := edgews.Upgrade(w, r, &edgews.UpgradeOptions{Options: edgews.Options{CloseTimeout: 50 * time.Millisecond}})
				if err != nil {
					return
				}
				defer func() { <-socket.Done() }() // the handlers without a wrapper have to
				for m, err := range socket.Messages(context.Background()) {
					switch {
					case err != nil:
						return
					case m.Text() == "close":
						_ = socket.Close(edgews.StatusGoingAway, "")
					default:
						_ = socket.SendBytes(m.Data)
					}
				}
			}))
			var wg sync.WaitGroup
			for i := range 120 {
				conn := s.raw(t, "/")
				wg.Go(func() {
					frames := "\x82\x83\x00\x00\x00\x00abc"
					switch i % 4 {
					case 0: // the server closes, and gets no answer
						frames += "\x81\x85\x00\x00\x00\x00close"
					case 1: // the client closes
						frames += "\x88\x82\x00\x00\x00\x00\x03\xe8"
					case 2: // a frame that is not masked
						frames += "\x81\x01x"
					}
					_, _ = conn.Write([]byte(frames))
					switch i % 8 {
					case 3, 4, 5:
						_ = conn.Close() // a reset
					default:
						_ = conn.(interface{ CloseWrite() error }).CloseWrite()
					}
					_, _ = io.ReadAll(conn)
				})
			}
			wg.Wait()
			says(t, s.dial(t, "/", edgews.DialOptions{}), "afterwards", "afterwards")
		})
	}
}
