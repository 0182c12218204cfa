package edgewstest_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/edgewstest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const lost = `close 1006 "WebSocket disconnected without sending Close frame." clean=false`

// echo is a handler that answers every message with the same one.
func echo(w http.ResponseWriter, r *http.Request) {
	s, err := edgews.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	for msg, err := range s.Messages(r.Context()) {
		if err != nil || s.Write(r.Context(), msg.Kind, msg.Data) != nil {
			return
		}
	}
}

// listening is a handler with listeners, which returns at once.
func listening(w http.ResponseWriter, r *http.Request) {
	s, err := edgews.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	s.OnMessage(func(e edgews.MessageEvent) { s.Send(e.Text()) })
	s.Accept()
}

// inAndOutOfABubble runs f in virtual and in real time.
func inAndOutOfABubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	t.Run("virtual", func(t *testing.T) { synctest.Test(t, f) })
	t.Run("real", f)
}

func TestServer(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{"loop": echo, "listeners": listening} {
		t.Run(name, func(t *testing.T) {
			inAndOutOfABubble(t, func(t *testing.T) {
				srv := edgewstest.New(t, handler)
				for range 3 {
					rec := edgewstest.Record(t, srv.Dial("/", nil))
					require.NoError(t, rec.Socket().Accept())
					require.NoError(t, rec.Send("hello"))
					rec.Want(`sent text "hello"`, `text "hello"`)
				}
				s := srv.Dial("/closed", nil)
				rec := edgewstest.Record(t, s)
				require.NoError(t, s.Accept())
				require.NoError(t, rec.Close(1000, "bye"))
				rec.WantEnd(`sent close 1000 "bye"`, `close 1000 "bye" clean=true`)
				srv.Dial("/", nil) // is never accepted by the test
			})
		})
	}
}

// Days pass in no time, and keep-alive keeps the connection open.
func TestServerForDays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := edgewstest.New(t, http.HandlerFunc(listening))
		s := srv.Dial("/", nil)
		rec := edgewstest.Record(t, s)
		require.NoError(t, s.Accept())
		start := time.Now()
		rec.WantNothing(72 * time.Hour)
		assert.Equal(t, 72*time.Hour, time.Since(start))
		require.NoError(t, s.Send("still there?"))
		rec.Want(`text "still there?"`)
	})
}

// The kit leaves nothing behind in real time: no goroutine, also after requests that are not upgrades.
func TestServerLeavesNoGoroutine(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 10 {
		assert.Empty(t, runTest(func(t testing.TB) {
			srv := edgewstest.New(t, http.HandlerFunc(echo))
			srv.Dial("/", nil)
			rec := edgewstest.Record(t, srv.Dial("/", nil))
			rec.Socket().Accept()
			rec.Send("hello")
			rec.Want(`sent text "hello"`, `text "hello"`)
			srv.DialPeer("/", nil).Write(edgewstest.TextFrame("no end"))
			resp, err := srv.Client().Get(srv.URL)
			if err != nil || resp.StatusCode != http.StatusUpgradeRequired {
				t.Fatalf("%v, %v", resp, err)
			}
			resp.Body.Close()
			srv.TryDial(t.Context(), "/", &edgews.DialOptions{Header: http.Header{"Origin": {"https://elsewhere.test"}}})
		}))
	}
	for start := time.Now(); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Since(start) > time.Minute {
			stacks := make([]byte, 1<<16)
			t.Fatalf("%d goroutines are left of %d:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
		}
	}
}

// What the handler leaves behind is reported, with the place where it waits.
func TestServerReportsLeaks(t *testing.T) {
	cases := []struct {
		name    string
		handler func(release <-chan struct{}) http.HandlerFunc
		want    []string // parts of the reports
	}{
		{"none", func(<-chan struct{}) http.HandlerFunc { return echo }, nil},
		{"none, with listeners", func(<-chan struct{}) http.HandlerFunc { return listening }, nil},
		{"a handler that ends late", func(<-chan struct{}) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				echo(w, r)
				time.Sleep(30 * time.Second)
			}
		}, nil},
		{"a handler", func(release <-chan struct{}) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				echo(w, r)
				<-release
			}
		}, []string{"edgewstest: the handler of GET /chat?room=1 still runs, 1m0s after all connections have ended. It waits here:\n\n" +
			"goroutine "}},
		{"a context that does not end", func(<-chan struct{}) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				listening(w, r)
				<-r.Context().Done() // net/http does not end it after Hijack
			}
		}, []string{"the handler of GET /chat?room=1 still runs"}},
		{"a socket", func(<-chan struct{}) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				edgews.Upgrade(w, r, nil)
			}
		}, []string{"edgewstest: connection 1 (GET /chat?room=1) is still open, 1m0s after its other end has gone: a socket that is not accepted " +
			"does not notice; accept it or close it"}},
		{"a panic", func(<-chan struct{}) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				listening(w, r)
				panic("a fault of the handler")
			}
		}, []string{"edgewstest: the handler of GET /chat?room=1 panicked: a fault of the handler\n\n"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				reports := runTest(func(t testing.TB) {
					s := edgewstest.New(t, c.handler(release)).Dial("/chat?room=1", nil)
					s.Accept()
				})
				require.Len(t, reports, len(c.want), "%q", reports)
				for i, want := range c.want {
					assert.Contains(t, reports[i], want)
				}
				close(release)
				time.Sleep(time.Hour)
			})
		})
	}
}

// The report shows the line at which the handler waits.
func TestServerReportsWhereAHandlerWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		reports := runTest(func(t testing.TB) {
			srv := edgewstest.New(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { waitsInHere(release) }))
			go srv.Client().Get(srv.URL + "/stuck")
			synctest.Wait()
		})
		require.Len(t, reports, 1)
		assert.Contains(t, reports[0], "GET /stuck")
		assert.Contains(t, reports[0], "edgewstest_test.waitsInHere(")
		close(release)
		synctest.Wait()
	})
}

func waitsInHere(release <-chan struct{}) { <-release }

// A client's socket that cannot end is reported too: here its listener blocks.
func TestServerReportsAClientsSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		reports := runTest(func(t testing.TB) {
			s := edgewstest.New(t, http.HandlerFunc(echo)).Dial("/blocked", nil)
			s.OnMessage(func(edgews.MessageEvent) { <-release })
			s.Accept()
			s.Send("hello")
			synctest.Wait()
		})
		require.NotEmpty(t, reports)
		assert.Contains(t, reports[0], "edgewstest: the socket of Dial /blocked is ")
		assert.Contains(t, reports[0], "1m0s after Close")
		close(release)
		time.Sleep(time.Hour)
	})
}

func TestServerRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := edgewstest.New(t, http.HandlerFunc(echo))
		_, resp, err := srv.TryDial(t.Context(), "/", &edgews.DialOptions{Header: http.Header{"Origin": {"https://elsewhere.test"}}})
		var refused *edgews.HandshakeError
		require.ErrorAs(t, err, &refused)
		assert.Equal(t, http.StatusForbidden, refused.StatusCode)
		assert.Equal(t, http.StatusForbidden, resp.StatusCode)

		_, _, err = srv.TryDial(t.Context(), "no slash", nil)
		assert.EqualError(t, err, `edgewstest: the path "no slash" does not begin with a slash`)

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, _, err = srv.TryDial(ctx, "/", nil)
		assert.ErrorIs(t, err, context.Canceled)

		reports := runTest(func(t testing.TB) {
			edgewstest.New(t, http.NotFoundHandler()).Dial("/missing", nil)
			t.Error("goes on")
		})
		require.Len(t, reports, 1)
		assert.Contains(t, reports[0], "edgewstest: Dial /missing: ")
		assert.Contains(t, reports[0], "404")
		reports = runTest(func(t testing.TB) { edgewstest.New(t, nil) })
		assert.Equal(t, []string{"edgewstest: New: the handler is nil"}, reports)
	})
}

// Options and HTTP clients of the test are used; only the Transport is the server's.
func TestServerDialOptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := edgewstest.New(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.SetCookie(w, &http.Cookie{Name: "session", Value: "1"})
			s, err := edgews.Upgrade(w, r, &edgews.UpgradeOptions{Protocols: []string{"chat"}})
			if err != nil {
				return
			}
			s.Accept()
			s.Send(r.Header.Get("X-Test") + " " + r.Header.Get("Cookie"))
		}))
		jar, err := cookiejar.New(nil)
		require.NoError(t, err)
		opts := &edgews.DialOptions{Protocols: []string{"chat"}, Header: http.Header{"X-Test": {"yes"}}, HTTPClient: &http.Client{Jar: jar}}
		for _, want := range []string{`text "yes "`, `text "yes session=1"`} {
			s := srv.Dial("/", opts)
			assert.Equal(t, "chat", s.Protocol())
			rec := edgewstest.Record(t, s)
			require.NoError(t, s.Accept())
			rec.Want(want)
		}
		assert.Nil(t, opts.HTTPClient.Transport)
	})
}

// The server is net/http's: a test can change it, send plain requests, and write requests by hand.
func TestServerIsAnHTTPServer(t *testing.T) {
	type who struct{} // the key of the client's address
	synctest.Test(t, func(t *testing.T) {
		states := make(chan http.ConnState, 100)
		srv := edgewstest.New(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, r.Context().Value(who{}).(string)+" "+r.Host)
		}))
		srv.Config.ReadHeaderTimeout = time.Minute
		srv.Config.ConnState = func(_ net.Conn, state http.ConnState) { states <- state }
		srv.Config.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
			return context.WithValue(ctx, who{}, conn.RemoteAddr().String())
		}
		resp, err := srv.Client().Get("http://elsewhere.test/")
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		assert.Equal(t, "192.0.2.1:1025 elsewhere.test", string(body))
		assert.Equal(t, http.StateNew, <-states)

		conn, err := srv.DialConn(t.Context())
		require.NoError(t, err)
		_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: by.hand\r\n\r\n")
		require.NoError(t, err)
		r := bufio.NewReader(conn)
		resp, err = http.ReadResponse(r, nil)
		require.NoError(t, err)
		body, err = io.ReadAll(resp.Body)
		require.NoError(t, err)
		assert.Equal(t, "192.0.2.1:1026 by.hand", string(body))

		slow, err := srv.DialConn(t.Context())
		require.NoError(t, err)
		start := time.Now()
		_, err = io.WriteString(slow, "GET / HT")
		require.NoError(t, err)
		_, err = io.ReadAll(slow)
		require.NoError(t, err)
		assert.Equal(t, time.Minute, time.Since(start), "ReadHeaderTimeout")
	})
}

func TestServerClosedTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := edgewstest.New(t, http.HandlerFunc(echo))
		s := srv.Dial("/", nil)
		rec := edgewstest.Record(t, s)
		require.NoError(t, s.Accept())
		srv.Close()
		rec.WantEnd(`close 1001 "the test is over" clean=true`)
		srv.Close()
		_, _, err := srv.TryDial(t.Context(), "/", nil)
		assert.ErrorIs(t, err, net.ErrClosed)
		edgewstest.New(t, http.HandlerFunc(echo)).Close() // without a connection
	})
}

// A connection can fail at any byte of the opening handshake, and of the messages: the socket ends as lost, and nothing is left.
func TestServerCutAtEachByte(t *testing.T) {
	for _, reset := range []bool{false, true} {
		for at := int64(1); at < 500; at += 7 {
			synctest.Test(t, func(t *testing.T) {
				srv := edgewstest.New(t, http.HandlerFunc(echo))
				srv.OnConnect = func(client *edgewstest.Conn) {
					if reset {
						client.Incoming().Set(edgewstest.Faults{ResetAt: at})
					} else {
						client.Incoming().Set(edgewstest.Faults{CutAt: at})
					}
				}
				opts := &edgews.DialOptions{Options: edgews.Options{Compression: &edgews.Compression{Disable: true}}}
				s, _, err := srv.TryDial(t.Context(), "/", opts)
				if err != nil {
					assert.Less(t, at, int64(200), "in the answer to the handshake")
					return
				}
				rec := edgewstest.Record(t, s)
				require.NoError(t, s.Accept())
				require.NoError(t, s.Send(strings.Repeat("x", 400)))
				<-s.Done()
				lines := rec.Lines() // an error may come before the end, if the client was still sending
				assert.Equal(t, lost, lines[len(lines)-1])
			})
		}
	}
}

// The faults of a socket's connection begin where the test sets them.
func TestServerFaultsOfASocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := edgewstest.New(t, http.HandlerFunc(listening))
		s := srv.Dial("/", nil)
		rec := edgewstest.Record(t, s)
		require.NoError(t, s.Accept())
		conn := srv.Conn(s)
		start := time.Now()
		conn.Incoming().Set(edgewstest.Faults{Delay: 2 * time.Second, ReadSize: 1})
		conn.Outgoing().Set(edgewstest.Faults{Delay: time.Second})
		require.NoError(t, s.Send("round trip"))
		rec.Want(`text "round trip"`)
		assert.Equal(t, 3*time.Second, time.Since(start))

		conn.Incoming().Set(edgewstest.Faults{})
		conn.Outgoing().Drop() // a dead network: keep-alive finds it
		rec.WantEnd(lost)
		assert.Equal(t, 46*time.Second, time.Since(start).Round(time.Second), "45 s after the server has received the message")
		assert.Nil(t, srv.Conn(new(edgews.Socket)))
	})
}

// Every fault of a connection is over at the end of the test, so that it is not mistaken for a leak of the handler.
func TestServerEndsThroughFaults(t *testing.T) {
	for name, faults := range map[string]edgewstest.Faults{
		"delayed": {Delay: time.Hour}, "stalled": {StallAt: 1}, "dropped": {DropAt: 1}, "cut": {CutAt: 3}, "reset": {ResetAt: 3},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				opts := &edgews.UpgradeOptions{Options: edgews.Options{KeepAlive: -1}}
				assert.Empty(t, runTest(func(t testing.TB) {
					srv := edgewstest.New(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if s, err := edgews.Upgrade(w, r, opts); err == nil {
							s.Accept()
						}
					}))
					s := srv.Dial("/", nil)
					s.Accept()
					srv.Conn(s).Outgoing().Set(faults)
					s.Send("hello")
					p := srv.DialPeer("/", nil)
					p.Conn().Outgoing().Set(faults)
					p.Write(edgewstest.TextFrame("x"))
				}))
			})
		})
	}
}

// A namespace's object is a handler as any other. It hibernates while its sockets stay open, in virtual time.
func TestServerOfAnObject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		constructed := 0
		rooms := edgews.NewNamespace("rooms of edgewstest", func(_ context.Context, st *edgews.State) (edgews.Object, error) {
			constructed++
			return &room{st, constructed}, nil
		}, nil)
		srv := edgewstest.New(t, rooms.Get(rooms.IDFromName("lobby")))
		a, b := edgewstest.Record(t, srv.Dial("/", nil)), edgewstest.Record(t, srv.Dial("/", nil))
		a.Socket().Accept()
		b.Socket().Accept()
		a.Send("hello")
		a.Want(`sent text "hello"`, `text "hello, says value 1"`)
		b.Want(`text "hello, says value 1"`)
		a.WantNothing(time.Hour)
		b.Send("an hour later")
		a.Want(`text "an hour later, says value 2"`)
		b.Want(`sent text "an hour later"`, `text "an hour later, says value 2"`)
		require.NoError(t, rooms.Shutdown(t.Context()))
		a.WantEnd(`close 1012 "service restart" clean=true`)
	})
}

type room struct {
	st    *edgews.State
	value int
}

func (r *room) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if s, err := edgews.Upgrade(w, req, nil); err == nil {
		r.st.AcceptWebSocket(s)
	}
}

func (r *room) WebSocketMessage(_ context.Context, _ *edgews.Socket, m edgews.Message) error {
	r.st.Broadcast(edgews.Prepare(edgews.Text, fmt.Appendf(nil, "%s, says value %d", m.Data, r.value)))
	return nil
}

// Redirects are followed, also to another host and back; Conn knows the connection that the socket has.
func TestServerOfRedirects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := edgewstest.New(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/":
				http.Redirect(w, r, "http://elsewhere.test/2", http.StatusFound)
			case "/2":
				http.Redirect(w, r, "http://edgews.test/3", http.StatusFound)
			default:
				listening(w, r)
			}
		}))
		s := srv.Dial("/", nil)
		rec := edgewstest.Record(t, s)
		require.NoError(t, s.Accept())
		srv.Conn(s).Cut()
		rec.WantEnd(lost)
	})
}

// A handler may answer with one end of a pair.
func TestServerOfAPair(t *testing.T) {
	inAndOutOfABubble(t, func(t *testing.T) {
		srv := edgewstest.New(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			client, server := edgews.NewPair()
			server.OnMessage(func(e edgews.MessageEvent) { server.Send("from the pair: " + e.Text()) })
			server.Accept()
			edgews.Respond(w, r, client, nil)
		}))
		rec := edgewstest.Record(t, srv.Dial("/", nil))
		rec.Socket().Accept()
		rec.Send("hello")
		rec.Want(`sent text "hello"`, `text "from the pair: hello"`)
	})
}
