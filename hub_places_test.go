package edgews_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// An end of a pair leaves its hubs when Respond uses it up, also if the request is one of Stub.Connect.
func TestHubLosesSocketsThatConnectUses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := edgews.NewHub(nil)
		n := newRooms(t, nil, func(o *room) {
			o.serve = func(w http.ResponseWriter, r *http.Request) {
				client, server := edgews.NewPair()
				assert.NoError(t, h.Add(client))
				assert.NoError(t, server.Accept())
				assert.NoError(t, edgews.Respond(w, r, client, nil))
			}
		})
		s, _, err := n.Get(n.IDFromName("a")).Connect(within(t), nil)
		require.NoError(t, err)
		endWith(t, s)
		require.NoError(t, s.Accept())
		assert.Zero(t, h.Len())
		require.NoError(t, h.Shutdown(within(t)))
	})
}

// A socket of an object that gets a connection from another object of the same namespace has one place, and that is free at its end.
func TestNamespacePlaceOfAPairThatIsPassedOn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var n *rooms
		n, h := limitedRooms(t, &edgews.NamespaceOptions{MaxSockets: 2, MaxPerKey: 2, Key: userOf}, func(o *room) {
			o.serve = func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("X-Tag") == "end" {
					r.Header.Set("X-Tag", "")
					roomAnswers["Upgrade"](t)(o)
					o.serve(w, r)
					return
				}
				passed := r.Clone(r.Context())
				passed.Header.Set("X-Tag", "end")
				client, _, err := n.Get(n.IDFromName("b")).Connect(r.Context(), passed)
				if assert.NoError(t, err) {
					assert.NoError(t, edgews.Respond(w, r, client, nil))
				}
			}
		})
		for range 4 {
			s, _, err := h.dial("ada", "a")
			require.NoError(t, err)
			require.NoError(t, s.Accept())
			require.NoError(t, s.Close(1000, ""))
			waitDone(t, s)
			synctest.Wait()
		}
	})
}

// A request that an object passes on to another one of its namespace is one connection.
func TestNamespacePlaceOfARequestThatIsPassedOn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var n *rooms
		n, h := limitedRooms(t, &edgews.NamespaceOptions{MaxSockets: 1, MaxPerKey: 1, Key: userOf}, func(o *room) {
			answer := roomAnswers["Upgrade"](t)
			o.serve = func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Query().Get("to") == "" {
					r = r.Clone(r.Context())
					r.URL.RawQuery = "to=b"
					n.Get(n.IDFromName("b")).ServeHTTP(w, r)
					return
				}
				answer(o)
				o.serve(w, r)
			}
		})
		for range 3 {
			s, _, err := h.dial("ada", "a")
			require.NoError(t, err)
			require.NoError(t, s.Accept())
			h.refuses("bob", http.StatusServiceUnavailable, "connection limit exceeded: 1 open, the limit is 1")
			require.NoError(t, s.Close(1000, ""))
			waitDone(t, s)
			synctest.Wait()
		}
	})
}

// The place of a request of Stub.Connect that has given up is free, however the object answers.
func TestNamespacePlaceOfConnectThatGivesUp(t *testing.T) {
	target := newEchoServer(t)
	for name, answer := range map[string]func(w http.ResponseWriter, r *http.Request) error{
		"Upgrade": func(w http.ResponseWriter, r *http.Request) error {
			_, err := edgews.Upgrade(w, r, nil)
			return err
		},
		"Respond": func(w http.ResponseWriter, r *http.Request) error {
			client, server := edgews.NewPair()
			if err := server.Accept(); err != nil {
				return err
			}
			return edgews.Respond(w, r, client, nil)
		},
		"Respond with a dialed socket": func(w http.ResponseWriter, r *http.Request) error {
			s, _, err := edgews.Dial(within(t), target, nil)
			if err != nil {
				return err
			}
			return edgews.Respond(w, r, s, nil)
		},
		"Proxy": func(w http.ResponseWriter, r *http.Request) error {
			edgews.Proxy(target, nil).ServeHTTP(w, r)
			return context.Cause(r.Context())
		},
	} {
		t.Run(name, func(t *testing.T) {
			errs := make(chan error, 1)
			late := true
			n := newRooms(t, &edgews.NamespaceOptions{MaxSockets: 1}, func(o *room) {
				o.serve = func(w http.ResponseWriter, r *http.Request) {
					if late {
						<-r.Context().Done()
					}
					errs <- answer(w, r)
				}
			})
			stub := n.Get(n.IDFromName("a"))
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			defer cancel()
			_, _, err := stub.Connect(ctx, nil)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.Error(t, <-errs)
			require.NoError(t, stub.Do(within(t), func(context.Context, edgews.Object) error { return nil })) // the event is over
			late = false
			s, _, err := stub.Connect(within(t), nil)
			require.NoError(t, err)
			endWith(t, s)
			require.NoError(t, s.Accept())
		})
	}
}

// A request of Stub.Connect has no address, so that without Key it counts for no key. One that is passed on has that of the client.
func TestNamespaceKeyOfConnect(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := newRooms(t, &edgews.NamespaceOptions{MaxPerKey: 1, MaxSockets: 4}, func(o *room) {
			roomAnswers["Upgrade"](t)(o)
		})
		connect := func(r *http.Request) error {
			s, _, err := n.Get(n.IDFromName("a")).Connect(within(t), r)
			if err != nil {
				return err
			}
			endWith(t, s)
			return s.Accept()
		}
		for range 3 {
			require.NoError(t, connect(nil))
		}
		require.NoError(t, connect(&http.Request{RemoteAddr: "192.0.2.1:1"}))
		require.ErrorContains(t, connect(nil), "4 open, the limit is 4")
	})
}

// A panic of HubOptions.Key costs no place of the object's namespace.
func TestHubKeyPanicsInAnObject(t *testing.T) {
	bubble(t, func(t *testing.T) {
		faulty := true
		hub := edgews.NewHub(&edgews.HubOptions{MaxPerKey: 1, Key: func(*http.Request) string {
			if faulty {
				panic("a fault of the program")
			}
			return "ada"
		}})
		_, h := limitedRooms(t, &edgews.NamespaceOptions{MaxSockets: 1}, func(o *room) {
			o.serve = func(w http.ResponseWriter, r *http.Request) {
				if s, err := hub.Upgrade(w, r, nil); err == nil {
					assert.NoError(t, o.st.AcceptWebSocket(s))
				}
			}
		})
		_, _, err := h.dial("ada", "a")
		require.Error(t, err)
		faulty = false
		s, _, err := h.dial("ada", "a")
		require.NoError(t, err)
		endWith(t, s)
		require.NoError(t, s.Accept())
	})
}
