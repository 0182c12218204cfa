package dialh2_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews"
)

// Handlers that send back what they receive. The same ones work over HTTP/1.1.

// stays echoes in a loop and returns at the end of the socket.
func stays(opts *edgews.UpgradeOptions) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s, err := edgews.Upgrade(w, r, opts)
		if err != nil {
			return
		}
		for m, err := range s.Messages(context.Background()) {
			if err != nil || s.Write(context.Background(), m.Kind, m.Data) != nil {
				return
			}
		}
	}
}

// returns echoes with a listener and returns at once.
func returns(opts *edgews.UpgradeOptions) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s, err := edgews.Upgrade(w, r, opts)
		if err != nil {
			return
		}
		echoAll(s)
	}
}

// responds echoes with the other end of a pair.
func responds(opts *edgews.UpgradeOptions) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		client, s := edgews.NewPair()
		echoAll(s)
		_ = edgews.Respond(w, r, client, opts)
	}
}

func echoAll(s *edgews.Socket) {
	s.OnMessage(func(e edgews.MessageEvent) {
		if err := s.Write(context.Background(), e.Kind, e.Data); err != nil {
			_ = s.Close(edgews.StatusInternalError, err.Error())
		}
	})
	_ = s.Accept()
}

var handlers = map[string]func(*edgews.UpgradeOptions) http.HandlerFunc{"stays": stays, "returns": returns, "responds": responds}

// eachHandler runs test with a server for each kind of handler. The handler that stays also has to work without edgewsh2.Handler.
func eachHandler(t *testing.T, opts *edgews.UpgradeOptions, test func(t *testing.T, s *server)) {
	for name, handler := range handlers {
		t.Run(name, func(t *testing.T) { test(t, serve(t, requireHTTP2(t, handler(opts)))) })
	}
	t.Run("stays, bare", func(t *testing.T) { test(t, serveBare(t, requireHTTP2(t, stays(opts)))) })
}

func requireHTTP2(t *testing.T, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, 2, r.ProtoMajor)
		assert.Equal(t, http.MethodConnect, r.Method)
		assert.True(t, edgews.IsUpgrade(r))
		h.ServeHTTP(w, r)
	})
}

var sizes = []int{0, 1, 125, 126, 300, 16 << 10, 1<<16 - 1, 1 << 16, 1 << 20}

// payload returns n bytes, of which about a half is random.
func payload(n int) []byte {
	random := rand.NewChaCha8([32]byte{byte(n)})
	p := make([]byte, n)
	random.Read(p)
	for i := 0; i < n; i += 2 {
		p[i] = 'x'
	}
	return p
}

func TestEcho(t *testing.T) {
	for name, c := range map[string]*edgews.Compression{
		"plain": {Disable: true}, "compressed": {Threshold: 1, PeerWindowBits: 15}, "each message alone": {NoContextTakeover: true, PeerNoContextTakeover: true},
	} {
		t.Run(name, func(t *testing.T) {
			eachHandler(t, &edgews.UpgradeOptions{Options: edgews.Options{Compression: c}}, func(t *testing.T, s *server) {
				socket := s.dial(t, "/", edgews.DialOptions{})
				assert.Equal(t, c.Disable, socket.Extensions() == "")
				for _, size := range sizes {
					sent := payload(size)
					require.NoError(t, socket.Write(within(t), edgews.Binary, sent))
					m, err := socket.Receive(within(t))
					require.NoError(t, err)
					require.True(t, bytes.Equal(sent, m.Data), "%d bytes", size)
				}
				rtt, err := socket.Ping(within(t))
				require.NoError(t, err)
				assert.Positive(t, rtt)
				require.NoError(t, socket.Close(edgews.StatusNormalClosure, "bye"))
				assert.Equal(t, &edgews.CloseError{Code: edgews.StatusNormalClosure, Reason: "bye", WasClean: true}, ended(t, socket))
			})
		})
	}
}

// A message in pieces arrives in pieces.
func TestFragments(t *testing.T) {
	eachHandler(t, nil, func(t *testing.T, s *server) {
		socket := s.dial(t, "/", edgews.DialOptions{})
		w, err := socket.NextWriter(within(t), edgews.Text)
		require.NoError(t, err)
		var sent bytes.Buffer
		for i := range 1000 {
			fmt.Fprintf(io.MultiWriter(w, &sent), "piece %d ", i)
		}
		require.NoError(t, w.Close())
		expects(t, socket, sent.String())
	})
}

// Many sockets share one connection, and their messages stay apart.
func TestManySocketsShareOneConnection(t *testing.T) {
	var mu sync.Mutex
	conns := make(map[string]int)
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		conns[r.RemoteAddr]++
		mu.Unlock()
		returns(nil)(w, r)
	}))
	var wg sync.WaitGroup
	for i := range 50 {
		socket := s.dial(t, "/", edgews.DialOptions{})
		wg.Go(func() {
			for n := range 20 {
				text := fmt.Sprint("socket ", i, " message ", n)
				if !assert.NoError(t, socket.Write(within(t), edgews.Text, []byte(text))) {
					return
				}
				m, err := socket.Receive(within(t))
				if !assert.NoError(t, err) || !assert.Equal(t, text, m.Text()) {
					return
				}
			}
		})
	}
	wg.Wait()
	assert.Len(t, conns, 1)
	for _, n := range conns {
		assert.Equal(t, 50, n)
	}
}
