package edgews_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// wantsRefusal checks that one refusal has been told of.
func (o *observations) wantsRefusal(t *testing.T, r *http.Request, cause edgews.RefusalCause, status int) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	require.Len(t, o.refusals, 1)
	got := o.refusals[0]
	assert.Equal(t, cause, got.Cause)
	assert.Equal(t, status, got.Status)
	assert.Error(t, got.Err)
	assert.Equal(t, r.URL.Path, got.Request.URL.Path)
	o.refusals = nil
}

func TestEveryRefusalIsTold(t *testing.T) {
	foreign := func(r *http.Request) { r.Header.Set("Origin", "https://elsewhere.example") }
	plain := func(*http.Request) {}
	observed := func(seen *observations) *edgews.UpgradeOptions {
		return &edgews.UpgradeOptions{Options: edgews.Options{Observer: seen}}
	}
	cases := map[string]func(t *testing.T, seen *observations){
		"UpgradeConn": func(t *testing.T, seen *observations) {
			ours, theirs := net.Pipe()
			defer theirs.Close()
			go func() { // what the client reads
				b := make([]byte, 4096)
				for {
					if _, err := theirs.Read(b); err != nil {
						return
					}
				}
			}()
			r := refusedRequest(foreign)
			_, err := edgews.UpgradeConn(ours, nil, r, observed(seen))
			require.Error(t, err)
			seen.wantsRefusal(t, r, edgews.RefusedOrigin, 403)
		},
		"UpgradeConn with HTTP/2": func(t *testing.T, seen *observations) {
			ours, theirs := net.Pipe()
			theirs.Close()
			r := refusedRequest(func(r *http.Request) { r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/2.0", 2, 0 })
			_, err := edgews.UpgradeConn(ours, nil, r, observed(seen))
			require.Error(t, err)
			seen.wantsRefusal(t, r, edgews.RefusedHandshake, 505)
		},
		"lost": func(t *testing.T, seen *observations) {
			ours, theirs := net.Pipe()
			theirs.Close()
			r := refusedRequest(plain)
			_, err := edgews.UpgradeConn(ours, nil, r, observed(seen))
			require.Error(t, err)
			seen.wantsRefusal(t, r, edgews.RefusedLost, 0)
		},
		"Respond": func(t *testing.T, seen *observations) {
			client, server := edgews.NewPair()
			require.NoError(t, server.Accept())
			r := refusedRequest(foreign)
			require.Error(t, edgews.Respond(httptest.NewRecorder(), r, client, observed(seen)))
			seen.wantsRefusal(t, r, edgews.RefusedOrigin, 403)
		},
		"Respond with a used socket": func(t *testing.T, seen *observations) {
			client, server := edgews.NewPair()
			acceptBoth(t, client, server)
			r := refusedRequest(plain)
			require.ErrorIs(t, edgews.Respond(httptest.NewRecorder(), r, client, observed(seen)), edgews.ErrAccepted)
			seen.wantsRefusal(t, r, edgews.RefusedOptions, 500)
			client.Close(1000, "")
			waitDone(t, server)
		},
		"a hub that is full": func(t *testing.T, seen *observations) {
			hub := edgews.NewHub(&edgews.HubOptions{MaxSockets: 1})
			full, _ := edgews.NewPair()
			require.NoError(t, hub.Add(full))
			r := refusedRequest(plain)
			_, err := hub.Upgrade(httptest.NewRecorder(), r, observed(seen))
			require.ErrorIs(t, err, edgews.ErrConnectionLimit)
			seen.wantsRefusal(t, r, edgews.RefusedLimit, 503)
		},
		"an object": func(t *testing.T, seen *observations) {
			opts := &edgews.NamespaceOptions{Options: edgews.Options{Observer: seen}}
			n := newRooms(t, opts, func(r *room) {
				r.serve = func(w http.ResponseWriter, req *http.Request) {
					_, err := edgews.Upgrade(w, req, &edgews.UpgradeOptions{}) // with options of its own, but no Observer
					assert.Error(t, err)
				}
			})
			r := refusedRequest(foreign)
			n.ByName("lobby").ServeHTTP(httptest.NewRecorder(), r)
			seen.wantsRefusal(t, r, edgews.RefusedOrigin, 403)
		},
		"a namespace that is full": func(t *testing.T, seen *observations) {
			var release chan struct{}
			opts := &edgews.NamespaceOptions{Options: edgews.Options{Observer: seen}, MaxWaiting: 1}
			n := newRooms(t, opts, func(r *room) { r.serve = func(http.ResponseWriter, *http.Request) { <-release } })
			release = make(chan struct{})
			id := n.IDFromName("lobby")
			go n.get(id)
			synctest.Wait()
			go n.get(id)
			synctest.Wait()
			r := refusedRequest(plain)
			n.Get(id).ServeHTTP(httptest.NewRecorder(), r)
			close(release)
			seen.wantsRefusal(t, r, edgews.RefusedLimit, 503)
		},
		"a quota": func(t *testing.T, seen *observations) {
			meter := edgews.NewMeter(nil)
			meter.SetQuota(edgews.Plan{Requests: edgews.Rate{Included: 1}})
			opts := &edgews.NamespaceOptions{Options: edgews.Options{Observer: seen, Meter: meter}}
			n := newRooms(t, opts, nil)
			n.get(n.IDFromName("lobby"))
			r := refusedRequest(plain)
			n.ByName("lobby").ServeHTTP(httptest.NewRecorder(), r)
			seen.wantsRefusal(t, r, edgews.RefusedLimit, 429)
		},
		"Shutdown": func(t *testing.T, seen *observations) {
			n := newRooms(t, &edgews.NamespaceOptions{Options: edgews.Options{Observer: seen}}, nil)
			require.NoError(t, n.Shutdown(t.Context()))
			r := refusedRequest(plain)
			n.ByName("lobby").ServeHTTP(httptest.NewRecorder(), r)
			seen.wantsRefusal(t, r, edgews.RefusedShutdown, 503)
			n.get(n.IDFromName("lobby"))
			assert.Empty(t, seen.refusals, "a request that is no upgrade is none")
		},
		"Proxy": func(t *testing.T, seen *observations) {
			r := refusedRequest(func(r *http.Request) { r.Header.Del("Sec-WebSocket-Key") })
			edgews.Proxy("ws://target.test", &edgews.ProxyOptions{Options: edgews.Options{Observer: seen}}).ServeHTTP(httptest.NewRecorder(), r)
			seen.wantsRefusal(t, r, edgews.RefusedHandshake, 400)
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) { bubble(t, func(t *testing.T) { c(t, newObservations()) }) })
	}
}

// What goes through NetConn, Relay and a Mux is told of as any other message.
func TestAnObserverIsToldWhateverUsesTheSocket(t *testing.T) {
	t.Run("NetConn", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			seen := newObservations()
			client, server := overPipe.connect(t, edgews.Options{Observer: seen, Compression: &edgews.Compression{Disable: true}})
			a, b := edgews.NetConn(client, edgews.Binary), edgews.NetConn(server, edgews.Binary)
			_, err := a.Write([]byte("hello"))
			require.NoError(t, err)
			buffer := make([]byte, 10)
			n, err := b.Read(buffer)
			require.NoError(t, err)
			assert.Equal(t, "hello", string(buffer[:n]))
			go b.Read(buffer)
			require.NoError(t, a.Close())
			waitDone(t, server)
			waitDone(t, client)
			synctest.Wait()
			seen.wants(t, client, "opened", "out binary 5/11", "closed 1000 true local")
			seen.wants(t, server, "opened", "in binary 5/11", "closed 1000 true peer")
		})
	})
	t.Run("Relay", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			seen := newObservations()
			opts := edgews.Options{Observer: seen, Compression: &edgews.Compression{Disable: true}}
			client, front := overPipe.connect(t, opts)
			back, target := overPipe.connect(t, opts)
			target.OnMessage(func(m edgews.MessageEvent) {
				synctest.Wait() // the Observer is told of a message when Relay has forwarded it, which the answer must not overtake
				assert.NoError(t, target.Send(m.Text()+"!"))
			})
			acceptBoth(t, client, target)
			relayed := make(chan error, 1)
			go func() { relayed <- edgews.Relay(context.Background(), front, back) }()
			require.NoError(t, client.Send("hello"))
			m, err := client.Receive(t.Context())
			require.NoError(t, err)
			assert.Equal(t, "hello!", m.Text())
			require.NoError(t, client.Close(1000, ""))
			require.ErrorContains(t, <-relayed, "1000")
			waitDone(t, client)
			waitDone(t, target)
			synctest.Wait()
			seen.wants(t, front, "opened", "in text 5/11", "out text 6/8", "closed 1000 true peer")
			seen.wants(t, back, "opened", "out text 5/11", "in text 6/8", "closed 1000 true local")
		})
	})
	t.Run("Mux", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			seen := newObservations()
			client, server := overPipe.connect(t, edgews.Options{Observer: seen, Compression: &edgews.Compression{Disable: true}})
			var mux edgews.Mux
			edgews.Handle(&mux, "hello", func(ctx context.Context, s *edgews.Socket, m struct{}) error {
				time.Sleep(time.Second)
				return s.Send("{}")
			})
			server.OnMessage(func(m edgews.MessageEvent) { assert.NoError(t, mux.Dispatch(t.Context(), m.Target, m.Message)) })
			acceptBoth(t, client, server)
			const request = `{"type":"hello"}`
			require.NoError(t, client.Send(request))
			_, err := client.Receive(t.Context())
			require.NoError(t, err)
			require.NoError(t, client.Close(1000, ""))
			waitDone(t, server)
			synctest.Wait()
			seen.wants(t, server, "opened", "out text 2/4", "in text 16/22", "closed 1000 true peer")
		})
	})
}
