package dialh2_test

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/edgewsh2"
)

// room sends to all its sockets what one of them sends. Its handler returns at once.
type room struct{ st *edgews.State }

func (o *room) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s, err := edgews.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	if err := o.st.AcceptWebSocket(s); err != nil {
		panic(err)
	}
	if r.URL.Query().Has("panic") {
		panic("after AcceptWebSocket")
	}
}

func (o *room) WebSocketMessage(_ context.Context, _ *edgews.Socket, m edgews.Message) error {
	o.st.Broadcast(edgews.Prepare(m.Kind, m.Data))
	return nil
}

// rooms returns a namespace of rooms, its handler, and a function that returns how often a room was constructed.
func rooms(t *testing.T, opts *edgews.NamespaceOptions) (n *edgews.Namespace, h http.Handler, constructed func() int) {
	var mu sync.Mutex
	count := 0
	n = edgews.NewNamespace("rooms", func(_ context.Context, st *edgews.State) (edgews.Object, error) {
		mu.Lock()
		defer mu.Unlock()
		count++
		return &room{st}, nil
	}, opts)
	t.Cleanup(func() { assert.NoError(t, n.Shutdown(within(t))) })
	h = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.Get(n.IDFromName(strings.TrimPrefix(r.URL.Path, "/"))).ServeHTTP(w, r)
	})
	return n, h, func() int {
		mu.Lock()
		defer mu.Unlock()
		return count
	}
}

// The sockets of an object stay open while it hibernates, with edgewsh2.Handler and without.
func TestObjectHibernates(t *testing.T) {
	for name, wrap := range map[string]func(http.Handler) http.Handler{
		"wrapped": edgewsh2.Handler, "bare": func(h http.Handler) http.Handler { return h },
	} {
		t.Run(name, func(t *testing.T) {
			n, h, constructed := rooms(t, nil)
			s := serveBare(t, wrap(h))
			ann, bob := s.dial(t, "/lobby", edgews.DialOptions{}), s.dial(t, "/lobby", edgews.DialOptions{})
			for i := range 3 {
				says(t, ann, "hello", "hello")
				expects(t, bob, "hello")
				require.Equal(t, i+1, constructed())
				require.NoError(t, n.Hibernate(within(t), n.IDFromName("lobby")))
			}
			require.NoError(t, ann.Close(edgews.StatusNormalClosure, "bye"))
			assert.Equal(t, &edgews.CloseError{Code: 1000, Reason: "bye", WasClean: true}, ended(t, ann))
			says(t, bob, "alone", "alone")
		})
	}
}

// An object that panics after it has accepted a socket keeps it, as over HTTP/1.1.
func TestObjectPanicsAfterAccepting(t *testing.T) {
	for name, wrap := range map[string]func(http.Handler) http.Handler{
		"wrapped": edgewsh2.Handler, "bare": func(h http.Handler) http.Handler { return h },
	} {
		t.Run(name, func(t *testing.T) {
			_, h, _ := rooms(t, &edgews.NamespaceOptions{Options: edgews.Options{Logger: slog.New(slog.DiscardHandler)}})
			socket := serveBare(t, wrap(h)).dial(t, "/lobby?panic", edgews.DialOptions{})
			says(t, socket, "hello", "hello")
		})
	}
}

// Shutdown closes the sockets with 1012, and their handlers return.
func TestNamespaceShutdown(t *testing.T) {
	n, h, _ := rooms(t, nil)
	s := serveBare(t, h)
	socket := s.dial(t, "/lobby", edgews.DialOptions{})
	says(t, socket, "hello", "hello") // the object has accepted it, which Dial does not wait for
	require.NoError(t, n.Shutdown(within(t)))
	assert.Equal(t, edgews.StatusServiceRestart, ended(t, socket).Code)
	_, resp, err := edgews.Dial(within(t), s.webSocketURL("/lobby"), &edgews.DialOptions{HTTPClient: s.client})
	require.Error(t, err)
	assert.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
}

// A meter counts over HTTP/2 what it counts over HTTP/1.1, for a socket and for an object.
func TestUsage(t *testing.T) {
	for name, handler := range map[string]func(t *testing.T, m *edgews.Meter) http.Handler{
		"socket": func(_ *testing.T, m *edgews.Meter) http.Handler {
			return returns(&edgews.UpgradeOptions{Options: edgews.Options{Meter: m}})
		},
		"pair": func(_ *testing.T, m *edgews.Meter) http.Handler {
			return responds(&edgews.UpgradeOptions{Options: edgews.Options{Meter: m}})
		},
		"object": func(t *testing.T, m *edgews.Meter) http.Handler {
			_, h, _ := rooms(t, &edgews.NamespaceOptions{Options: edgews.Options{Meter: m}})
			return h
		},
	} {
		t.Run(name, func(t *testing.T) {
			usage := make(map[int]edgews.Usage)
			for version := 1; version <= 2; version++ {
				meter := edgews.NewMeter(nil)
				s := serve(t, handler(t, meter))
				client := s.client
				if version == 1 {
					client = s.Client()
				}
				socket, resp, err := edgews.Dial(within(t), s.webSocketURL("/"), &edgews.DialOptions{HTTPClient: client})
				require.NoError(t, err)
				require.Equal(t, version, resp.ProtoMajor)
				for range 10 {
					says(t, socket, "hello", "hello")
				}
				require.NoError(t, socket.Close(edgews.StatusNormalClosure, ""))
				ended(t, socket)
				require.Eventually(t, func() bool { u := meter.Usage(); return u.Connections == 1 && u.MessagesOut >= 10 }, patience, time.Millisecond)
				u := meter.Usage()
				assert.Positive(t, u.Connected)
				u.Active, u.Connected, u.Busy = 0, 0, 0
				usage[version] = u
			}
			assert.Equal(t, usage[1], usage[2])
			assert.EqualValues(t, 10, usage[2].MessagesIn)
			assert.EqualValues(t, 1, usage[2].Connections)
		})
	}
}
