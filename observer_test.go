package edgews_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// observations is an Observer that keeps what it is told, one line for each call.
type observations struct {
	edgews.NopObserver
	mu     sync.Mutex
	lines  map[*edgews.Socket][]string
	closed map[*edgews.Socket]edgews.SocketObservation
	inCall map[*edgews.Socket]bool
	faults []string

	refusals []edgews.RefusalObservation
	objects  []edgews.ObjectObservation
}

func newObservations() *observations {
	return &observations{
		lines: map[*edgews.Socket][]string{}, closed: map[*edgews.Socket]edgews.SocketObservation{}, inCall: map[*edgews.Socket]bool{},
	}
}

// add notes a line, and that no other call for the same socket is under way.
func (o *observations) add(s *edgews.Socket, line string) {
	o.mu.Lock()
	if o.inCall[s] {
		o.faults = append(o.faults, "two calls at a time: "+line)
	}
	o.inCall[s] = true
	o.lines[s] = append(o.lines[s], line)
	o.mu.Unlock()
	s.ReadyState() // needs the socket's mutex
	o.mu.Lock()
	defer o.mu.Unlock()
	o.inCall[s] = false
}

func (o *observations) ObserveSocket(e edgews.SocketObservation) {
	line := e.Event.String()
	if e.Event == edgews.SocketClosed {
		line = fmt.Sprintf("closed %d %v %v", uint16(e.Code), e.WasClean, e.Cause)
		o.mu.Lock()
		if _, twice := o.closed[e.Socket]; twice {
			o.faults = append(o.faults, "closed twice")
		}
		o.closed[e.Socket] = e
		o.mu.Unlock()
	}
	o.add(e.Socket, line)
}

func (o *observations) ObserveMessage(m edgews.MessageObservation) {
	line := fmt.Sprintf("%v %v %d/%d", m.Direction, m.Kind, m.Bytes, m.WireBytes)
	if m.Dropped {
		line += " dropped"
	}
	if m.Auto {
		line += " auto"
	}
	if m.Latency < 0 || m.Direction == edgews.Outbound && m.Latency != 0 {
		line += fmt.Sprintf(" latency %v", m.Latency)
	}
	o.add(m.Socket, line)
}

func (o *observations) ObserveRefusal(r edgews.RefusalObservation) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.refusals = append(o.refusals, r)
}

func (o *observations) ObserveObject(e edgews.ObjectObservation) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.objects = append(o.objects, e)
}

// of returns what was told of s.
func (o *observations) of(s *edgews.Socket) []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]string(nil), o.lines[s]...)
}

// wants waits until exactly those lines have been told of s.
func (o *observations) wants(t testing.TB, s *edgews.Socket, lines ...string) {
	t.Helper()
	eventually(t, func() bool { return len(o.of(s)) >= len(lines) }, fmt.Sprintf("%d observations: %q", len(lines), o.of(s)))
	assert.Equal(t, lines, o.of(s))
	o.mu.Lock()
	defer o.mu.Unlock()
	assert.Empty(t, o.faults)
}

func TestAnObserverIsToldOfListenersAndSends(t *testing.T) {
	seen := newObservations()
	overWires(t, edgews.Options{Observer: seen, Compression: &edgews.Compression{Disable: true}}, func(t *testing.T, client, server *edgews.Socket) {
		server.OnMessage(func(m edgews.MessageEvent) { assert.NoError(t, server.Send(string(m.Data)+"!")) })
		answered := make(chan string, 1)
		client.OnMessage(func(m edgews.MessageEvent) { answered <- string(m.Data) })
		acceptBoth(t, client, server)
		require.NoError(t, client.Send("hello"))
		assert.Equal(t, "hello!", <-answered)
		require.NoError(t, client.Close(1000, "bye"))
		waitDone(t, client)
		waitDone(t, server)
		seen.wants(t, server, "opened", "out text 6/8", "in text 5/11", "closed 1000 true peer")
		seen.wants(t, client, "opened", "out text 5/11", "in text 6/8", "closed 1000 true local")
		assert.Equal(t, "bye", seen.closed[server].Reason)
		assert.NoError(t, seen.closed[server].Err)
	})
}

func TestAnObserverIsToldOfReceivedMessages(t *testing.T) {
	seen := newObservations()
	overWires(t, edgews.Options{Observer: seen, Compression: &edgews.Compression{Disable: true}}, func(t *testing.T, client, server *edgews.Socket) {
		ctx := within(t)
		require.NoError(t, client.Write(ctx, edgews.Binary, make([]byte, 200)))
		_, err := server.Receive(ctx)
		require.NoError(t, err)
		seen.wants(t, server, "opened")
		require.NoError(t, client.Write(ctx, edgews.Text, []byte("two")))
		kind, r, err := server.NextReader(ctx)
		require.NoError(t, err)
		assert.Equal(t, edgews.Text, kind)
		seen.wants(t, server, "opened", "in binary 200/208")
		require.NoError(t, client.Close(1000, ""))
		_, err = r.Read(make([]byte, 8))
		require.NoError(t, err)
		_, err = server.Receive(ctx)
		require.Error(t, err)
		_, err = client.Receive(ctx)
		require.Error(t, err)
		seen.wants(t, server, "opened", "in binary 200/208", "in text 3/9", "closed 1000 true peer")
		seen.wants(t, client, "opened", "out binary 200/208", "out text 3/9", "closed 1000 true local")
	})
}

func TestLatencyIsTheTimeOfTheHandler(t *testing.T) {
	var latencies chan time.Duration
	seen := observerFunc(func(m edgews.MessageObservation) {
		if m.Direction == edgews.Inbound {
			latencies <- m.Latency
		}
	})
	bubble(t, func(t *testing.T) {
		latencies = make(chan time.Duration, 10) // in the bubble
		client, server := overPipe.connect(t, edgews.Options{Observer: seen})
		server.OnMessage(func(edgews.MessageEvent) { <-time.After(time.Second) })
		acceptBoth(t, client, server)
		require.NoError(t, client.Send("slow"))
		assert.Equal(t, time.Second, <-latencies)

		require.NoError(t, server.Send("taken"))
		_, err := client.Receive(context.Background())
		require.NoError(t, err)
		<-time.After(time.Minute)
		require.NoError(t, client.Close(1000, ""))
		_, err = client.Receive(context.Background())
		require.Error(t, err)
		assert.Equal(t, time.Minute, <-latencies)
	})
}

// observerFunc is an Observer of messages.
type observerFunc func(edgews.MessageObservation)

func (observerFunc) ObserveSocket(edgews.SocketObservation)       {}
func (f observerFunc) ObserveMessage(m edgews.MessageObservation) { f(m) }
func (observerFunc) ObserveObject(edgews.ObjectObservation)       {}
func (observerFunc) ObserveRefusal(edgews.RefusalObservation)     {}

func TestCloseCauses(t *testing.T) {
	cases := []struct {
		name string
		opts edgews.Options
		end  func(t *testing.T, s *edgews.Socket, p *peer)
		want edgews.CloseCause
	}{
		{name: "peer", want: edgews.ClosedByPeer, end: func(t *testing.T, s *edgews.Socket, p *peer) { p.closesCleanly(1001, "") }},
		{name: "local", want: edgews.ClosedLocally, end: func(t *testing.T, s *edgews.Socket, p *peer) {
			require.NoError(t, s.Close(1000, ""))
			p.expects(closing(1000, ""))
			p.sends(closing(1000, ""))
		}},
		{name: "lost", want: edgews.ClosedAsLost, end: func(t *testing.T, s *edgews.Socket, p *peer) { p.hangsUp() }},
		{name: "no pong", want: edgews.ClosedAsSilent, end: func(t *testing.T, s *edgews.Socket, p *peer) { p.ignores() }},
		{name: "no Close", want: edgews.ClosedAsSilent, end: func(t *testing.T, s *edgews.Socket, p *peer) {
			p.ignores()
			require.NoError(t, s.Close(1000, ""))
		}},
		{name: "write timeout", want: edgews.ClosedAsSlow, end: func(t *testing.T, s *edgews.Socket, p *peer) {
			require.NoError(t, s.SendBytes(make([]byte, 1<<20)))
		}},
		{name: "overflow", opts: edgews.Options{SendBuffer: 100, Overflow: edgews.OverflowClose}, want: edgews.ClosedAsSlow,
			end: func(t *testing.T, s *edgews.Socket, p *peer) {
				require.NoError(t, s.SendBytes(make([]byte, 200)))
				require.ErrorIs(t, s.SendBytes(make([]byte, 200)), edgews.ErrBufferFull)
				p.ignores()
			}},
		{name: "protocol", want: edgews.ClosedForProtocol, end: func(t *testing.T, s *edgews.Socket, p *peer) {
			p.sends(aFrame{bits: fin, opcode: 3})
			p.ignores()
		}},
		{name: "text", want: edgews.ClosedForProtocol, end: func(t *testing.T, s *edgews.Socket, p *peer) {
			p.sends(text("\xff"))
			p.ignores()
		}},
		{name: "size", opts: edgews.Options{MaxMessageSize: 3}, want: edgews.ClosedForLimit, end: func(t *testing.T, s *edgews.Socket, p *peer) {
			p.sends(text("four"))
			p.ignores()
		}},
		{name: "rate", opts: edgews.Options{RateLimit: edgews.RateLimit{Messages: 1}}, want: edgews.ClosedForLimit,
			end: func(t *testing.T, s *edgews.Socket, p *peer) {
				p.sends(text("1"), text("2"))
				p.ignores()
			}},
		{name: "panic", want: edgews.ClosedAfterFailure, end: func(t *testing.T, s *edgews.Socket, p *peer) {
			p.sends(text("panic"))
			p.ignores()
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			seen := newObservations()
			c.opts.Observer, c.opts.Logger = seen, quiet
			overAPipe(t, c.opts, func(t *testing.T, s *edgews.Socket, p *peer) {
				s.OnMessage(func(e edgews.MessageEvent) {
					if string(e.Data) == "panic" {
						panic("a listener")
					}
				})
				require.NoError(t, s.Accept())
				c.end(t, s, p)
				waitDone(t, s)
				synctest.Wait()
				got := seen.closed[s]
				assert.Equal(t, c.want, got.Cause, "%+v", got)
				lines := seen.of(s)
				assert.Equal(t, "opened", lines[0])
				assert.True(t, strings.HasPrefix(lines[len(lines)-1], "closed"), lines)
				assert.Empty(t, seen.faults)
			})
		})
	}
}

func TestShutdownIsACloseCause(t *testing.T) {
	bubble(t, func(t *testing.T) {
		seen := newObservations()
		n := newRooms(t, &edgews.NamespaceOptions{Options: edgews.Options{Observer: seen}}, nil)
		_, server, _ := n.joins(n.NewUniqueID())
		require.NoError(t, n.Shutdown(t.Context()))
		synctest.Wait()
		assert.Equal(t, edgews.ClosedByShutdown, seen.closed[server].Cause)
	})
}

func TestRefusalCauses(t *testing.T) {
	plain := func(r *http.Request) {}
	cases := []struct {
		name   string
		edit   func(*http.Request)
		opts   edgews.UpgradeOptions
		writer http.ResponseWriter
		status int
		want   edgews.RefusalCause
	}{
		{name: "no upgrade", edit: func(r *http.Request) { r.Header.Del("Upgrade") }, status: 426, want: edgews.RefusedHandshake},
		{name: "origin", edit: func(r *http.Request) { r.Header.Set("Origin", "https://elsewhere.example") }, status: 403, want: edgews.RefusedOrigin},
		{name: "options", edit: plain, opts: edgews.UpgradeOptions{Options: edgews.Options{SendBuffer: -1}}, status: 500, want: edgews.RefusedOptions},
		{name: "no hijacking", edit: plain, status: 500, want: edgews.RefusedOptions},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			seen := newObservations()
			c.opts.Observer = seen
			r := refusedRequest(c.edit)
			w := httptest.NewRecorder()
			_, err := edgews.Upgrade(w, r, &c.opts)
			require.Error(t, err)
			require.Len(t, seen.refusals, 1)
			got := seen.refusals[0]
			assert.Equal(t, c.want, got.Cause)
			assert.Equal(t, c.status, got.Status)
			assert.Equal(t, c.status, w.Code)
			assert.Equal(t, err, got.Err)
			assert.Same(t, r, got.Request)
		})
	}
	t.Run("target", func(t *testing.T) {
		seen := newObservations()
		target := httptest.NewServer(http.NotFoundHandler())
		defer target.Close()
		w := httptest.NewRecorder()
		edgews.Proxy(target.URL, &edgews.ProxyOptions{Options: edgews.Options{Observer: seen}}).ServeHTTP(w, refusedRequest(plain))
		require.Len(t, seen.refusals, 1)
		assert.Equal(t, edgews.RefusedTarget, seen.refusals[0].Cause)
		assert.Equal(t, 404, seen.refusals[0].Status)
	})
	t.Run("limit", func(t *testing.T) {
		seen := newObservations()
		hub := edgews.NewHub(&edgews.HubOptions{Options: edgews.Options{Observer: seen}, MaxSockets: 1})
		full, _ := edgews.NewPair()
		require.NoError(t, hub.Add(full))
		_, err := hub.Upgrade(httptest.NewRecorder(), refusedRequest(plain), nil)
		require.ErrorIs(t, err, edgews.ErrConnectionLimit)
		require.Len(t, seen.refusals, 1)
		assert.Equal(t, edgews.RefusedLimit, seen.refusals[0].Cause)
		assert.Equal(t, 503, seen.refusals[0].Status)
	})
	t.Run("shutdown", func(t *testing.T) {
		seen := newObservations()
		hub := edgews.NewHub(&edgews.HubOptions{Options: edgews.Options{Observer: seen}})
		require.NoError(t, hub.Shutdown(t.Context()))
		_, err := hub.Upgrade(httptest.NewRecorder(), refusedRequest(plain), nil)
		require.Error(t, err)
		require.Len(t, seen.refusals, 1)
		assert.Equal(t, edgews.RefusedShutdown, seen.refusals[0].Cause)
	})
}

func TestAnObserverIsToldOfSlowReaders(t *testing.T) {
	seen := newObservations()
	opts := edgews.Options{Observer: seen, SendBuffer: 1000, Overflow: edgews.OverflowDropOldest, Compression: &edgews.Compression{Disable: true}}
	overAPipe(t, opts, func(t *testing.T, s *edgews.Socket, p *peer) {
		require.NoError(t, s.Accept())
		require.NoError(t, s.Send(strings.Repeat("a", 600)))
		synctest.Wait() // a goroutine is writing it: the pipe takes nothing
		require.NoError(t, s.SendLatest("k", edgews.Text, []byte("old")))
		require.NoError(t, s.SendLatest("k", edgews.Text, []byte("newer")))
		require.NoError(t, s.Send("dropped"))
		require.NoError(t, s.Send(strings.Repeat("b", 100)))
		p.expects(text(strings.Repeat("a", 600)), text("newer"), text(strings.Repeat("b", 100)))
		synctest.Wait()
		seen.wants(t, s, "opened", "out text 600/604", "slow", "out text 3/0 dropped", "out text 7/0 dropped", "out text 5/7", "out text 100/102", "drained")
		p.closesCleanly(1000, "")
	})
}

func TestAnObserverIsToldOfPongs(t *testing.T) {
	var rtt []time.Duration
	seen := socketObserver(func(e edgews.SocketObservation) {
		if e.Event == edgews.SocketPong {
			rtt = append(rtt, e.RoundTrip)
		}
	})
	overAPipe(t, edgews.Options{Observer: seen}, func(t *testing.T, s *edgews.Socket, p *peer) {
		require.NoError(t, s.Accept())
		p.expects(ping("")) // keep-alive
		passTime(time.Second)
		p.sends(pong(""), pong("")) // the second one answers none
		go func() {
			passTime(2 * time.Second)
			f := p.next()
			p.sends(pong(f.payload))
		}()
		_, err := s.Ping(t.Context())
		require.NoError(t, err)
		synctest.Wait()
		assert.Equal(t, []time.Duration{time.Second, 2 * time.Second}, rtt)
		p.closesCleanly(1000, "")
	})
}

// socketObserver is an Observer of sockets.
type socketObserver func(edgews.SocketObservation)

func (f socketObserver) ObserveSocket(e edgews.SocketObservation) { f(e) }
func (socketObserver) ObserveMessage(edgews.MessageObservation)   {}
func (socketObserver) ObserveObject(edgews.ObjectObservation)     {}
func (socketObserver) ObserveRefusal(edgews.RefusalObservation)   {}

func TestAnObserverMayDoAnything(t *testing.T) {
	cases := map[string]func(m edgews.MessageObservation){
		"panic": func(edgews.MessageObservation) { panic("an observer") },
		"exit":  func(edgews.MessageObservation) { runtime.Goexit() },
		"send": func(m edgews.MessageObservation) {
			if m.Direction == edgews.Inbound {
				m.Socket.Send("from the observer")
			}
		},
		"close": func(m edgews.MessageObservation) { m.Socket.Close(1000, "") },
	}
	for name, f := range cases {
		t.Run(name, func(t *testing.T) {
			seen := newObservations()
			opts := edgews.Options{Logger: quiet, Observer: edgews.Observers(nil, seen, observerFunc(f))}
			overAPipe(t, opts, func(t *testing.T, s *edgews.Socket, p *peer) {
				require.NoError(t, s.Accept())
				if name != "exit" { // it would end the goroutine that reads, as a listener that exits does
					p.sends(text("hello"))
				}
				s.OnMessage(func(edgews.MessageEvent) {})
				synctest.Wait()
				if name == "send" {
					p.expects(text("from the observer"))
				}
				done := make(chan struct{})
				go func() {
					defer close(done)
					s.Send("bye")
				}()
				<-done
				p.ignores()
				s.Close(1000, "")
				waitDone(t, s)
				synctest.Wait()
				lines := seen.of(s)
				assert.True(t, strings.HasPrefix(lines[len(lines)-1], "closed 1006"), lines)
				assert.Empty(t, seen.faults)
			})
		})
	}
}

func TestObservers(t *testing.T) {
	assert.Nil(t, edgews.Observers())
	assert.Nil(t, edgews.Observers(nil, nil))
	var calls []string
	named := func(name string) edgews.Observer {
		return observerFunc(func(edgews.MessageObservation) { calls = append(calls, name) })
	}
	edgews.Observers(named("a"), nil, named("b")).ObserveMessage(edgews.MessageObservation{})
	assert.Equal(t, []string{"a", "b"}, calls)
}

// What is told adds up to what was sent, in order, whatever several goroutines do to a socket.
func TestObservationsAreInOrder(t *testing.T) {
	const senders, each = 4, 100
	seen := newObservations()
	overWires(t, edgews.Options{Observer: seen, SendBuffer: 4 << 10}, func(t *testing.T, client, server *edgews.Socket) {
		var got atomic.Int64
		server.OnMessage(func(edgews.MessageEvent) { got.Add(1) })
		acceptBoth(t, client, server)
		var wg sync.WaitGroup
		for range senders {
			wg.Go(func() {
				for i := range each {
					data := make([]byte, rand.IntN(2000))
					var err error
					if i%3 == 0 {
						w, e := client.NextWriter(context.Background(), edgews.Binary)
						assert.NoError(t, e)
						w.Write(data)
						err = w.Close()
					} else {
						err = client.Write(context.Background(), edgews.Binary, data)
					}
					assert.NoError(t, err)
				}
			})
		}
		wg.Wait()
		require.NoError(t, client.Close(1000, ""))
		waitDone(t, client)
		waitDone(t, server)
		count := func(lines []string, prefix string) (sizes []string) {
			for _, l := range lines {
				if strings.HasPrefix(l, prefix) {
					sizes = append(sizes, strings.TrimPrefix(l, prefix))
				}
			}
			return sizes
		}
		last := func(s *edgews.Socket) bool {
			lines := seen.of(s)
			return len(lines) > 0 && strings.HasPrefix(lines[len(lines)-1], "closed")
		}
		eventually(t, func() bool { return last(client) && last(server) }, "closed is told last")
		assert.Equal(t, "opened", seen.of(client)[0])
		sent, received := count(seen.of(client), "out "), count(seen.of(server), "in ")
		assert.Len(t, sent, senders*each)
		assert.Equal(t, sent, received, "in the order on the wire, with the same sizes")
		assert.Equal(t, int64(senders*each), got.Load())
		assert.Empty(t, seen.faults)
	})
}

func TestAnObserverIsToldOfObjects(t *testing.T) {
	bubble(t, func(t *testing.T) {
		seen := newObservations()
		n := newRooms(t, &edgews.NamespaceOptions{Options: edgews.Options{Observer: seen}, HibernateAfter: time.Minute}, func(r *room) {
			r.serve = func(w http.ResponseWriter, req *http.Request) {
				require.NoError(t, r.st.Storage().Put(req.Context(), "key", []byte("value")))
			}
			r.message = func(ctx context.Context, s *edgews.Socket, m edgews.Message) error {
				passTime(time.Second)
				if string(m.Data) == "panic" {
					panic("a handler")
				}
				return errors.New("refused")
			}
		})
		id := n.IDFromName("lobby")
		told := func() (lines []string) {
			synctest.Wait()
			seen.mu.Lock()
			defer seen.mu.Unlock()
			for _, e := range seen.objects {
				assert.Equal(t, id, e.ID)
				assert.Same(t, n.Namespace, e.Namespace)
				trigger := "-"
				if e.Trigger != 0 {
					trigger = e.Trigger.String()
				}
				lines = append(lines, fmt.Sprintf("%v %v %v %d %d %v", e.Event, trigger, e.Duration, e.Keys, e.Bytes, e.Err != nil))
			}
			seen.objects = nil
			return lines
		}
		client, server, _ := n.joins(id)
		assert.Equal(t, []string{
			"constructed request 0s 0 0 false", "committed - 0s 1 8 false", "handled request 0s 0 0 false",
		}, told())
		require.NoError(t, client.Send("hello"))
		passTime(2 * time.Second)
		assert.Equal(t, []string{"handled message 1s 0 0 true"}, told())
		passTime(2 * time.Minute)
		assert.Equal(t, []string{"hibernated - 1m1s 0 0 false"}, told()[:1])
		require.NoError(t, client.Send("panic"))
		passTime(2 * time.Second)
		assert.Equal(t, []string{
			"constructed message 0s 0 0 false", "crashed message 0s 0 0 true", "handled message 1s 0 0 true",
		}, told())
		seen.wants(t, server, "opened", "in text 5/5", "in text 5/5")
	})
}
