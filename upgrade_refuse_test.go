package edgews_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// refusedRequests are opening handshakes that Respond refuses.
var refusedRequests = map[string]func(*http.Request){
	"400": func(r *http.Request) { r.Header.Set("Sec-WebSocket-Key", "too short") },
	"403": func(r *http.Request) { r.Header.Set("Origin", "https://elsewhere.example") },
	"405": func(r *http.Request) { r.Method = http.MethodPost },
	"426": func(r *http.Request) { r.Header.Del("Upgrade") },
	"500": func(r *http.Request) {}, // the recorder gives up no connection
}

func refusedRequest(edit func(*http.Request)) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "http://example.com/", nil)
	r.Header.Set("Upgrade", "websocket")
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Sec-WebSocket-Version", "13")
	r.Header.Set("Sec-WebSocket-Key", aKey)
	edit(r)
	return r
}

// overRefusals runs f in a bubble with each refused request, and what to answer it with.
func overRefusals(t *testing.T, f func(t *testing.T, w http.ResponseWriter, r *http.Request)) {
	t.Helper()
	for name, edit := range refusedRequests {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) { f(t, httptest.NewRecorder(), refusedRequest(edit)) })
		})
	}
}

// A pair whose end was refused in a response ends: nothing can come of it any more.
func TestRefusedPairEnds(t *testing.T) {
	overRefusals(t, func(t *testing.T, w http.ResponseWriter, r *http.Request) {
		client, server := edgews.NewPair()
		events := record(t, server)
		require.NoError(t, server.Accept())
		require.NoError(t, server.Send("hello"))
		err := edgews.Respond(w, r, client, nil)
		require.Error(t, err)
		events.wantsEnd(failed(err.Error()), cut)
		assert.Equal(t, edgews.Closed, server.ReadyState())
		assert.Equal(t, edgews.Closed, client.ReadyState())
		assert.ErrorIs(t, server.Send("x"), edgews.ErrClosed)
		assert.ErrorIs(t, server.Flush(within(t)), edgews.ErrClosed)
		assert.ErrorIs(t, client.Accept(), edgews.ErrUsed)
		assert.ErrorIs(t, edgews.Respond(httptest.NewRecorder(), r, client, nil), edgews.ErrUsed)
	})
}

// A goroutine that receives ends with the pair.
func TestRefusedPairAndReceivers(t *testing.T) {
	overRefusals(t, func(t *testing.T, w http.ResponseWriter, r *http.Request) {
		client, server := edgews.NewPair()
		ended := make(chan error, 3)
		go func() {
			for _, err := range server.Messages(context.Background()) {
				ended <- err
			}
		}()
		go func() {
			_, err := server.Ping(context.Background())
			ended <- err
		}()
		synctest.Wait()
		refused := edgews.Respond(w, r, client, nil)
		require.Error(t, refused)
		for range 2 {
			err := <-ended
			var end *edgews.CloseError
			require.ErrorAs(t, err, &end)
			assert.EqualValues(t, 1006, end.Code)
			assert.ErrorIs(t, err, refused)
		}
	})
}

// An end that is accepted after the refusal ends at once, with every way to accept it.
func TestRefusedPairAcceptedLater(t *testing.T) {
	overRefusals(t, func(t *testing.T, w http.ResponseWriter, r *http.Request) {
		client, server := edgews.NewPair()
		err := edgews.Respond(w, r, client, nil)
		require.Error(t, err)
		events := record(t, server)
		require.NoError(t, server.Accept())
		events.wantsEnd(failed(err.Error()), cut)
	})
}

// Requests that are refused leave nothing in an object.
func TestRefusedPairsOfAnObject(t *testing.T) {
	const requests = 500
	handlers := map[string]func(st *edgews.State, w http.ResponseWriter, r *http.Request){
		"Respond": func(st *edgews.State, w http.ResponseWriter, r *http.Request) {
			client, server := edgews.NewPair()
			assert.NoError(t, st.AcceptWebSocket(server, "everyone"))
			assert.NoError(t, server.Send("welcome"))
			assert.Error(t, edgews.Respond(w, r, client, nil))
		},
		"Respond first": func(st *edgews.State, w http.ResponseWriter, r *http.Request) {
			client, server := edgews.NewPair()
			assert.Error(t, edgews.Respond(w, r, client, nil))
			assert.NoError(t, st.AcceptWebSocket(server, "everyone"))
		},
		"no response": func(st *edgews.State, _ http.ResponseWriter, _ *http.Request) {
			_, server := edgews.NewPair()
			assert.NoError(t, st.AcceptWebSocket(server, "everyone"))
		},
		"another response": func(st *edgews.State, w http.ResponseWriter, _ *http.Request) {
			_, server := edgews.NewPair()
			assert.NoError(t, st.AcceptWebSocket(server, "everyone"))
			http.Error(w, "who are you?", http.StatusUnauthorized)
		},
		"panic": func(st *edgews.State, _ http.ResponseWriter, _ *http.Request) {
			_, server := edgews.NewPair()
			assert.NoError(t, st.AcceptWebSocket(server, "everyone"))
			panic("boom")
		},
	}
	for name, handler := range handlers {
		t.Run(name, func(t *testing.T) {
			overRefusals(t, func(t *testing.T, _ http.ResponseWriter, r *http.Request) {
				var n *rooms
				n = newRooms(t, nil, func(room *room) {
					room.serve = func(w http.ResponseWriter, r *http.Request) { handler(room.st, w, r) }
					room.failed = func(_ context.Context, _ *edgews.Socket, err error) error {
						n.notes("error %v", err)
						return nil
					}
					room.close = func(_ context.Context, _ *edgews.Socket, e edgews.CloseEvent) error {
						n.notes("%s", closed(int(e.Code), e.Reason, e.WasClean))
						return nil
					}
				})
				id := n.NewUniqueID()
				for range requests {
					n.Get(id).ServeHTTP(httptest.NewRecorder(), r.Clone(context.Background()))
					if name == "Respond" {
						assert.Zero(t, n.state.Broadcast(edgews.Prepare(edgews.Text, []byte("to all"))), "a socket without a peer takes nothing")
					}
				}
				for range requests {
					n.wants(cut)
				}
				synctest.Wait()
				info, _ := n.info(id)
				assert.Zero(t, info.Sockets)
				assert.Empty(t, n.diary)
			})
		})
	}
}

// An object has room for 32 768 sockets: as many requests from another site do not use it up.
func TestRefusedPairsUseUpNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("it is about a number")
	}
	n := newRooms(t, nil, func(room *room) {
		room.serve = func(w http.ResponseWriter, r *http.Request) {
			client, server := edgews.NewPair()
			assert.NoError(t, room.st.AcceptWebSocket(server))
			assert.Error(t, edgews.Respond(w, r, client, nil))
		}
	})
	id := n.NewUniqueID()
	r := refusedRequest(refusedRequests["403"])
	for range 32768 + 1 {
		n.Get(id).ServeHTTP(httptest.NewRecorder(), r)
	}
	eventually(t, func() bool { info, _ := n.info(id); return info.Sockets == 0 }, "the end of all")
}

// The same for pairs of which the object holds an end.
func TestRefusedPairThatIsHeld(t *testing.T) {
	overRefusals(t, func(t *testing.T, w http.ResponseWriter, r *http.Request) {
		var events *recorder
		n := newRooms(t, nil, func(room *room) {
			room.serve = func(w http.ResponseWriter, r *http.Request) {
				_, server := edgews.NewPair()
				room.st.Hold(server)
				events = record(t, server)
				assert.NoError(t, server.Accept())
			}
		})
		id := n.NewUniqueID()
		n.Get(id).ServeHTTP(w, r)
		events.wants(failed("the request was answered without Respond"), cut)
		waitDone(t, events.s)
		synctest.Wait() // the event has ended
		n.wantsState(id, edgews.ObjectIdle)
	})
}

// What is in use, or was not begun by the request, is left alone.
func TestPairsThatAreNotRefused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var local, kept *edgews.Socket
		n := newRooms(t, nil, func(room *room) {
			room.serve = func(w http.ResponseWriter, r *http.Request) {
				if kept != nil {
					return
				}
				var a, b *edgews.Socket
				local, a = edgews.NewPair()
				assert.NoError(t, room.st.AcceptWebSocket(a))
				assert.NoError(t, local.Accept())
				kept, b = edgews.NewPair()
				assert.NoError(t, kept.Accept())
				assert.NoError(t, room.st.AcceptWebSocket(b))
			}
		})
		id := n.NewUniqueID()
		n.get(id)
		idle, c := edgews.NewPair()
		require.NoError(t, n.wake(id).AcceptWebSocket(c))
		n.get(id)
		info, _ := n.info(id)
		assert.Equal(t, 3, info.Sockets)
		for _, s := range []*edgews.Socket{local, kept} {
			assert.Equal(t, edgews.Open, s.ReadyState())
			require.NoError(t, s.Close(1000, ""))
		}
		require.NoError(t, idle.Accept())
		require.NoError(t, idle.Close(1000, ""))
	})
}

// The end of the pair says why.
func TestRefusalIsAHandshakeError(t *testing.T) {
	client, server := edgews.NewPair()
	err := edgews.Respond(httptest.NewRecorder(), refusedRequest(refusedRequests["403"]), client, nil)
	_, received := server.Receive(within(t))
	e, ok := errors.AsType[*edgews.HandshakeError](received)
	require.True(t, ok, "%v", received)
	assert.Equal(t, http.StatusForbidden, e.StatusCode)
	assert.Equal(t, err, error(e))
}
