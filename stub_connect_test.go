package edgews_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// echoDesigns returns how an object may answer with a socket that sends back what it receives.
func echoDesigns() map[string]func(r *room) {
	answer := func(s *edgews.Socket, m edgews.Message) { _ = s.Send("echo " + m.Text()) }
	accepting := func(r *room, open func(w http.ResponseWriter, req *http.Request) *edgews.Socket) {
		r.message = func(_ context.Context, s *edgews.Socket, m edgews.Message) error { answer(s, m); return nil }
		r.serve = func(w http.ResponseWriter, req *http.Request) {
			if s := open(w, req); s != nil {
				_ = r.st.AcceptWebSocket(s)
			}
		}
	}
	upgraded := func(w http.ResponseWriter, req *http.Request) *edgews.Socket {
		s, _ := edgews.Upgrade(w, req, &edgews.UpgradeOptions{Protocols: []string{"chat"}})
		return s
	}
	return map[string]func(r *room){
		"Upgrade, accepted by the object": func(r *room) { accepting(r, upgraded) },
		"Respond, accepted by the object": func(r *room) {
			accepting(r, func(w http.ResponseWriter, req *http.Request) *edgews.Socket {
				client, server := edgews.NewPair()
				_ = edgews.Respond(w, req, client, &edgews.UpgradeOptions{Protocols: []string{"chat"}})
				return server
			})
		},
		"Respond to what the object has accepted": func(r *room) {
			accepting(r, nil)
			r.serve = func(w http.ResponseWriter, req *http.Request) {
				client, server := edgews.NewPair()
				_ = r.st.AcceptWebSocket(server)
				_ = edgews.Respond(w, req, client, &edgews.UpgradeOptions{Protocols: []string{"chat"}})
			}
		},
		"Upgrade, with a listener": func(r *room) {
			r.serve = func(w http.ResponseWriter, req *http.Request) {
				s := upgraded(w, req)
				s.OnMessage(func(e edgews.MessageEvent) { answer(s, e.Message) })
				_ = s.Accept()
			}
		},
		"Upgrade, received by the handler": func(r *room) {
			r.serve = func(w http.ResponseWriter, req *http.Request) {
				s := upgraded(w, req)
				for m := range s.Messages(req.Context()) {
					answer(s, m)
				}
			}
		},
	}
}

// An object answers Connect in every way, without a network, and the caller uses its end in every style.
func TestConnect(t *testing.T) {
	for name, design := range echoDesigns() {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				meter := edgews.NewMeter(nil)
				n := newRooms(t, &edgews.NamespaceOptions{Options: edgews.Options{Meter: meter}}, design)
				id := n.NewUniqueID()
				ctx, cancel := context.WithCancel(t.Context())
				r := httptest.NewRequest(http.MethodGet, "/room?name=ann", nil)
				r.Header.Set("Sec-WebSocket-Protocol", "talk, chat")
				s, resp, err := n.Get(id).Connect(ctx, r)
				require.NoError(t, err)
				cancel() // it has bounded the handshake alone
				assert.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
				assert.Equal(t, "chat", resp.Header.Get("Sec-WebSocket-Protocol"))
				assert.Equal(t, []string{"chat", "", "pair", "pair"}, []string{s.Protocol(), s.Extensions(), s.RemoteAddr().String(), s.LocalAddr().String()})
				assert.Equal(t, "http://example.com/room?name=ann", "http://"+r.Host+s.URL()[strings.Index(s.URL(), "/room"):])

				ask := func(text string) string {
					require.NoError(t, s.Write(t.Context(), edgews.Text, []byte(text)))
					m, err := s.Receive(t.Context())
					require.NoError(t, err)
					return m.Text()
				}
				require.ErrorIs(t, s.Send("x"), edgews.ErrNotAccepted)
				go s.Receive(t.Context())
				synctest.Wait()
				require.NoError(t, s.Send("first"))
				synctest.Wait()
				assert.Equal(t, "echo second", ask("second"))
				if strings.Contains(name, "by the object") {
					time.Sleep(time.Minute)
					n.wantsState(id, edgews.ObjectHibernated)
				}
				assert.Equal(t, "echo third", ask("third"))
				u := meter.Usage()
				assert.Equal(t, []int64{1, 0, 3, 3}, []int64{u.Connections, u.HTTPRequests, u.MessagesIn, u.MessagesOut})
				assert.EqualValues(t, len("firstsecondthird"), u.BytesIn)
				require.NoError(t, s.Close(4000, "enough"))
				_, err = s.Receive(t.Context())
				end, ok := errors.AsType[*edgews.CloseError](err)
				require.True(t, ok, "%v", err)
				assert.Equal(t, edgews.CloseError{Code: 4000, Reason: "enough", WasClean: true}, *end)
				synctest.Wait()
				assert.EqualValues(t, 1, meter.Usage().Connections)
			})
		})
	}
}

// The caller of Connect gives its end to Respond, and the object's end gets the connection: nothing is counted twice.
func TestConnectIsPassedOn(t *testing.T) {
	for name, design := range echoDesigns() {
		t.Run(name, func(t *testing.T) {
			meter := edgews.NewMeter(nil)
			n := newRooms(t, &edgews.NamespaceOptions{Options: edgews.Options{Meter: meter}}, design)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				inner, _, err := n.Get(n.IDFromName("a")).Connect(r.Context(), r)
				if assert.NoError(t, err) {
					assert.NoError(t, edgews.Respond(w, r, inner, &edgews.UpgradeOptions{Protocols: []string{"chat"}}))
				}
			}))
			defer server.Close()
			s, _, err := edgews.Dial(t.Context(), server.URL, &edgews.DialOptions{Protocols: []string{"chat"}})
			require.NoError(t, err)
			for range 3 {
				require.NoError(t, s.Write(t.Context(), edgews.Text, []byte("hello")))
				m, err := s.Receive(t.Context())
				require.NoError(t, err)
				assert.Equal(t, "echo hello", m.Text())
			}
			u := meter.Usage()
			assert.Equal(t, []int64{1, 0, 3, 3}, []int64{u.Connections, u.HTTPRequests, u.MessagesIn, u.MessagesOut})
			require.NoError(t, s.Close(1000, ""))
			_, err = s.Receive(t.Context())
			assert.Error(t, err)
		})
	}
}

// The object answers with a socket that it has dialed, or through a Proxy.
func TestConnectToWhatIsPassedThrough(t *testing.T) {
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := edgews.Upgrade(w, r, &edgews.UpgradeOptions{Protocols: []string{"chat"}})
		if err != nil {
			return
		}
		for m := range s.Messages(context.Background()) {
			_ = s.Send("target " + m.Text())
		}
	}))
	defer target.Close()
	for name, answer := range map[string]http.HandlerFunc{
		"dialed": func(w http.ResponseWriter, r *http.Request) {
			s, _, err := edgews.Dial(r.Context(), target.URL, &edgews.DialOptions{Protocols: []string{"chat"}})
			if assert.NoError(t, err) {
				assert.NoError(t, edgews.Respond(w, r, s, nil))
			}
		},
		"proxy": edgews.Proxy(target.URL, nil).ServeHTTP,
	} {
		t.Run(name, func(t *testing.T) {
			meter := edgews.NewMeter(nil)
			n := newRooms(t, &edgews.NamespaceOptions{Options: edgews.Options{Meter: meter}}, func(r *room) { r.serve = answer })
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header.Set("Sec-WebSocket-Protocol", "chat")
			id := n.NewUniqueID()
			s, _, err := n.Get(id).Connect(t.Context(), r)
			require.NoError(t, err)
			assert.Equal(t, "chat", s.Protocol())
			require.NoError(t, s.Write(t.Context(), edgews.Text, []byte("hello")))
			m, err := s.Receive(t.Context())
			require.NoError(t, err)
			assert.Equal(t, "target hello", m.Text())
			assert.EqualValues(t, 1, meter.Usage().Connections)
			require.NoError(t, n.Hibernate(t.Context(), id), "the socket belongs to the caller")
			require.NoError(t, s.Close(1000, ""))
			_, err = s.Receive(t.Context())
			assert.Error(t, err)
		})
	}
}

func TestConnectIsRefused(t *testing.T) {
	boom := errors.New("boom")
	large := strings.Repeat("no ", 10000)
	for name, c := range map[string]struct {
		serve  func(w http.ResponseWriter, r *http.Request)
		change func(r *http.Request)
		status int
		body   string // its beginning
		is     error
	}{
		"a page":    {serve: func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }, status: 200, body: "hello"},
		"nothing":   {serve: func(http.ResponseWriter, *http.Request) {}, status: 200},
		"not found": {serve: func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no such room", 404) }, status: 404, body: "no such room\n"},
		"an interim answer": {serve: func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusForbidden)
			w.WriteHeader(http.StatusOK)
		}, status: 403},
		"much": {serve: func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				io.WriteString(w, large)
			}
		}, status: 200, body: large[:4096]},
		"little by little": {serve: func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "wait")
			<-r.Context().Done()
		}, status: 200, body: "wait"},
		"a panic": {serve: func(http.ResponseWriter, *http.Request) { panic(boom) }, status: 500, body: "Internal Server Error\n", is: boom},
		"a panic in the answer": {serve: func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "so")
			panic(boom)
		}, status: 200, body: "so"},
		"Goexit":         {serve: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
		"another method": {change: func(r *http.Request) { r.Method = http.MethodPost }, status: 405},
		"another origin": {change: func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") }, status: 403},
		"an old version": {change: func(r *http.Request) { r.Header.Set("Sec-WebSocket-Version", "8") }, status: 426},
		"hijacked": {serve: func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if assert.NoError(t, err) {
				_, err = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
				assert.ErrorContains(t, err, "answer it with Upgrade or Respond")
				_, _, err = http.NewResponseController(w).Hijack()
				assert.ErrorIs(t, err, http.ErrHijacked)
			}
		}},
		"too late": {serve: func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "page")
			_, err := edgews.Upgrade(w, r, nil)
			assert.ErrorContains(t, err, "the answer has begun already")
		}, status: 200, body: "page"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				n := newRooms(t, nil, func(r *room) {
					r.serve = c.serve
					if c.serve == nil {
						r.serve = func(w http.ResponseWriter, req *http.Request) {
							_, err := edgews.Upgrade(w, req, nil)
							assert.Error(t, err)
						}
					}
				})
				r := httptest.NewRequest(http.MethodGet, "/", nil)
				if c.change != nil {
					c.change(r)
				}
				s, resp, err := n.Get(n.NewUniqueID()).Connect(t.Context(), r)
				require.Nil(t, s)
				refused, ok := errors.AsType[*edgews.HandshakeError](err)
				require.True(t, ok, "%v", err)
				assert.Equal(t, c.status, refused.StatusCode)
				if c.is != nil {
					assert.ErrorIs(t, err, c.is)
				}
				if c.status == 0 {
					assert.Nil(t, resp)
					assert.ErrorContains(t, err, "the object has not answered: ")
					return
				}
				assert.ErrorContains(t, err, "edgews: handshake failed: expected status 101, but received ")
				body, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				assert.True(t, bytes.HasPrefix(body, []byte(c.body)), "%q", body)
				assert.LessOrEqual(t, len(body), 4096)
			})
		})
	}
}

// Connect makes a handshake of every request, and changes none.
func TestConnectRequests(t *testing.T) {
	for name, c := range map[string]struct {
		r    *http.Request
		want string
	}{
		"nil":   {nil, "GET / localhost pair"},
		"empty": {&http.Request{}, "GET / localhost pair"},
		"of a client": {func() *http.Request {
			r, _ := http.NewRequest(http.MethodGet, "wss://rooms.example/a?b=c", nil)
			return r
		}(), "GET /a?b=c rooms.example pair"},
		"of a server": {func() *http.Request {
			r := httptest.NewRequest(http.MethodGet, "/a", nil)
			r.Header.Set("Connection", "keep-alive")
			return r
		}(), "GET /a example.com 192.0.2.1:1234"},
		"a handshake": {func() *http.Request {
			r := httptest.NewRequest(http.MethodGet, "/a", nil)
			r.Header = http.Header{
				"Connection": {"keep-alive, Upgrade"}, "Upgrade": {"WebSocket"}, "Sec-Websocket-Version": {"13"},
				"Sec-WebSocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}, "Sec-Websocket-Extensions": {"permessage-deflate"},
			}
			return r
		}(), "GET /a example.com 192.0.2.1:1234"},
		"a handshake over HTTP/2": {&http.Request{
			Method: http.MethodConnect, Proto: "HTTP/2.0", ProtoMajor: 2, Host: "example.com", RequestURI: "/a", URL: &url.URL{Path: "/a"},
			Header: http.Header{":protocol": {"websocket"}, "Sec-Websocket-Version": {"13"}}, Body: io.NopCloser(strings.NewReader("frames")), ContentLength: -1,
		}, "GET /a example.com pair"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				before := fmt.Sprintf("%+v", c.r)
				got := ""
				n := newRooms(t, nil, func(r *room) {
					r.serve = func(w http.ResponseWriter, req *http.Request) {
						got = fmt.Sprint(req.Method, " ", req.RequestURI, " ", req.Host, " ", req.RemoteAddr)
						assert.True(t, edgews.IsUpgrade(req))
						s, err := edgews.Upgrade(w, req, &edgews.UpgradeOptions{Header: http.Header{"Set-Cookie": {"a=b"}}})
						if assert.NoError(t, err) {
							assert.NoError(t, r.st.AcceptWebSocket(s))
						}
					}
				})
				s, resp, err := n.Get(n.NewUniqueID()).Connect(t.Context(), c.r)
				require.NoError(t, err)
				assert.Equal(t, c.want, got)
				assert.Empty(t, s.Extensions())
				assert.Equal(t, "a=b", resp.Header.Get("Set-Cookie"))
				assert.Equal(t, before, fmt.Sprintf("%+v", c.r))
				synctest.Wait() // the handler goes on after Upgrade, and Shutdown would end that
			})
		})
	}
}

// What refuses a connection before the object gets it is found in the error.
func TestConnectIsNotAdmitted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		meter := edgews.NewMeter(nil)
		var n *rooms
		var nested error
		n = newRooms(t, &edgews.NamespaceOptions{Options: edgews.Options{Meter: meter}, MaxWaiting: 1}, func(r *room) {
			r.serve = func(w http.ResponseWriter, req *http.Request) {
				_, resp, err := n.Get(r.st.ID()).Connect(req.Context(), nil)
				nested = err
				assert.Equal(t, http.StatusLoopDetected, resp.StatusCode)
				s, _ := edgews.Upgrade(w, req, nil)
				_ = r.st.AcceptWebSocket(s)
			}
		})
		id := n.NewUniqueID()
		_, _, err := n.Get(id).Connect(t.Context(), nil)
		require.NoError(t, err)
		assert.ErrorIs(t, nested, edgews.ErrReentrant)
		assert.ErrorContains(t, nested, "rooms "+id.String()+" ServeHTTP → rooms "+id.String()+" ServeHTTP")

		free := n.occupy(id)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var all sync.WaitGroup
		start := time.Now()
		all.Go(func() {
			_, resp, err := n.Get(id).Connect(ctx, nil)
			assert.Nil(t, resp)
			assert.ErrorIs(t, err, context.DeadlineExceeded)
			assert.Equal(t, time.Minute, time.Since(start))
		})
		synctest.Wait()
		_, resp, err := n.Get(id).Connect(t.Context(), nil)
		assert.ErrorIs(t, err, edgews.ErrOverloaded)
		assert.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
		all.Wait()
		free()

		meter.SetQuota(edgews.Plan{Name: "none", Requests: edgews.Rate{Included: 1}})
		_, resp, err = n.Get(id).Connect(t.Context(), nil)
		assert.ErrorIs(t, err, edgews.ErrQuota)
		assert.Equal(t, http.StatusTooManyRequests, resp.StatusCode)
		meter.SetQuota(edgews.Plan{})
		_, _, err = n.Get(edgews.ID{}).Connect(t.Context(), nil)
		assert.ErrorIs(t, err, edgews.ErrInvalidID)
		require.NoError(t, n.Shutdown(t.Context()))
		_, resp, err = n.Get(id).Connect(t.Context(), nil)
		assert.ErrorIs(t, err, edgews.ErrShutdown)
		assert.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
		assert.Equal(t, "1", resp.Header.Get("Retry-After"))
	})
}

// An object that upgrades after Connect has given up gets an error, and its pair ends.
func TestConnectGivesUp(t *testing.T) {
	for _, respond := range []bool{false, true} {
		bubble(t, func(t *testing.T) {
			var events *recorder
			answers := make(chan error, 1)
			n := newRooms(t, nil, func(r *room) {
				r.serve = func(w http.ResponseWriter, req *http.Request) {
					time.Sleep(time.Minute)
					assert.ErrorIs(t, req.Context().Err(), context.Canceled)
					if !respond {
						_, err := edgews.Upgrade(w, req, nil)
						answers <- err
						return
					}
					client, server := edgews.NewPair()
					events = record(t, server)
					_ = server.Accept()
					answers <- edgews.Respond(w, req, client, nil)
				}
			})
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, _, err := n.Get(n.NewUniqueID()).Connect(ctx, nil)
			assert.ErrorIs(t, err, context.DeadlineExceeded)
			err = <-answers
			assert.ErrorContains(t, err, "Stub.Connect has given up")
			assert.ErrorIs(t, err, context.DeadlineExceeded)
			if respond {
				events.wantsEnd(failed("Stub.Connect has given up"), cut)
			}
		})
	}
}

// In an event of an object the client's end belongs to that object: its listeners are events, and it keeps the object awake.
func TestConnectBetweenObjects(t *testing.T) {
	bubble(t, func(t *testing.T) {
		designs := echoDesigns()
		callees := newRooms(t, nil, designs["Upgrade, accepted by the object"])
		var n *rooms
		n = newRooms(t, nil, func(r *room) {
			r.serve = func(_ http.ResponseWriter, req *http.Request) {
				s, _, err := callees.Get(callees.IDFromName("b")).Connect(req.Context(), nil)
				require.NoError(t, err)
				s.OnMessage(func(e edgews.MessageEvent) { n.notes("%s", e.Text()) })
				require.NoError(t, s.Accept())
				require.NoError(t, s.Send("hello"))
				n.notes("the event ends")
				time.AfterFunc(time.Hour, func() { s.Close(1000, "") })
			}
		})
		id := n.IDFromName("a")
		n.get(id)
		n.wants("the event ends", "echo hello")
		time.Sleep(time.Minute)
		n.wantsState(id, edgews.ObjectActive, "outbound socket")
		time.Sleep(time.Hour)
		n.wantsState(id, edgews.ObjectHibernated)
	})
}
