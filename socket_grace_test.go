package edgews_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Here events arrive before the program has added the listeners for them.

// graceLinks are the kinds of sockets that wait for listeners. accepted returns a socket that has just been accepted, and the other end.
var graceLinks = func() (links []graceLink) {
	links = []graceLink{
		{"pair", "pair", func(t *testing.T) (s, other *edgews.Socket) {
			other, s = edgews.NewPair()
			require.NoError(t, s.Accept())
			return s, other
		}},
		{"server", "wire", func(t *testing.T) (s, other *edgews.Socket) {
			other, s = overPipe.connect(t, edgews.Options{})
			require.NoError(t, s.Accept())
			return s, other
		}},
		{"client", "wire", func(t *testing.T) (s, other *edgews.Socket) {
			s, other = overPipe.connect(t, edgews.Options{Compression: &edgews.Compression{Threshold: 1}})
			require.NoError(t, s.Accept())
			return s, other
		}},
	}
	for _, way := range pinningWays {
		if way.only == nil || way.only(overPipe) {
			links = append(links, graceLink{"object's " + way.name, "object", func(t *testing.T) (s, other *edgews.Socket) {
				return newPinningObject(t, way, overPipe, nil).connect(func(s *edgews.Socket) { accept(t, s) })
			}})
		}
	}
	return links
}()

type graceLink struct {
	name, kind string
	accepted   func(t *testing.T) (s, other *edgews.Socket)
}

// overGraceLinks runs f in a bubble with each kind of socket.
func overGraceLinks(t *testing.T, f func(t *testing.T, l graceLink, s, other *edgews.Socket)) {
	t.Helper()
	for _, l := range graceLinks {
		t.Run(l.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s, other := l.accepted(t)
				require.NoError(t, other.Accept())
				f(t, l, s, other)
			})
		})
	}
}

// graceRun is one socket, and what has happened to it.
type graceRun struct {
	t  *testing.T
	s  *edgews.Socket
	mu sync.Mutex
	// Guarded by mu.
	got []string
}

func (g *graceRun) notes(format string, args ...any) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.got = append(g.got, fmt.Sprintf(format, args...))
}

// graceStep is what the program does at some time after Accept.
type graceStep struct {
	at time.Duration
	do func(g *graceRun)
}

func at(ms time.Duration, do func(g *graceRun)) graceStep {
	return graceStep{ms * time.Millisecond, do}
}

func onMessage(name string) func(*graceRun) {
	return func(g *graceRun) { g.s.OnMessage(func(e edgews.MessageEvent) { g.notes("%s %s", name, e.Text()) }) }
}

func onMessageThen(then func()) func(*graceRun) {
	return func(g *graceRun) { g.s.OnMessage(func(e edgews.MessageEvent) { g.notes("m %s", e.Text()); then() }) }
}

func onClose(name string) func(*graceRun) {
	return func(g *graceRun) { g.s.OnClose(func(e edgews.CloseEvent) { g.notes("%s %d", name, uint16(e.Code)) }) }
}

func removedListener(g *graceRun) {
	remove := g.s.OnClose(func(edgews.CloseEvent) { g.notes("removed") })
	time.AfterFunc(time.Millisecond, remove)
}

func receives(n int) func(*graceRun) {
	return func(g *graceRun) {
		for range n {
			m, err := g.s.Receive(within(g.t))
			if err != nil {
				g.notes("received %v", err)
				continue
			}
			g.notes("received %s", m.Text())
		}
	}
}

var (
	m, m2 = onMessage("m"), onMessage("m2")
	c, c2 = onClose("c"), onClose("c2")
)

// TestListenerGrace has messages, and perhaps a Close, arrive directly after Accept. The program adds listeners and receives at other times.
func TestListenerGrace(t *testing.T) {
	type steps = []graceStep
	cases := []struct {
		name   string
		first  func(*graceRun) // a listener that is added before anything arrives
		sends  string          // 4000 is a Close with that code
		steps  steps
		want   string
		unlike map[string]string // what is different for a kind of socket
	}{
		{name: "at once", sends: "1 2 4000", steps: steps{at(0, m), at(0, c)}, want: "m 1, m 2, c 4000"},
		{name: "in time", sends: "1 2 4000", steps: steps{at(5, m), at(5, c)}, want: "m 1, m 2, c 4000"},
		{name: "the close listener first", sends: "1 2 4000", steps: steps{at(3, c), at(7, m)}, want: "m 1, m 2, c 4000"},
		{name: "the close listener last", sends: "1 2 4000", steps: steps{at(3, m), at(7, c)}, want: "m 1, m 2, c 4000"},
		{name: "too late", sends: "1 2 4000", steps: steps{at(15, m), at(15, c)}, want: ""},
		{name: "only messages in time", sends: "1 2 4000", steps: steps{at(5, m), at(15, c)}, want: "m 1, m 2"},
		{name: "only the close listener in time", sends: "1 2 4000", steps: steps{at(5, c), at(15, m)}, want: "c 4000"},
		{name: "no message", sends: "4000", steps: steps{at(5, c)}, want: "c 4000"},
		{name: "no message, too late", sends: "4000", steps: steps{at(15, c)}, want: ""},
		{name: "no close", sends: "1 2", steps: steps{at(5, m), at(5, c)}, want: "m 1, m 2"},
		{name: "no close, too late", sends: "1 2", steps: steps{at(15, m), at(15, c)}, want: ""},
		{name: "a close listener before", first: c, sends: "1 2 4000", steps: steps{at(5, m), at(6, c2)}, want: "m 1, m 2, c 4000"},
		{name: "a close listener long before", first: c, sends: "1 2 4000", steps: steps{at(15, m)}, want: "c 4000"},
		{name: "a close listener before receiving", first: c, sends: "1 2 4000", steps: steps{at(5, receives(2))}, want: "received 1, received 2, c 4000"},
		{name: "another close listener", sends: "4000", steps: steps{at(3, c), at(15, c2)}, want: "c 4000"},
		{name: "a second listener for messages", sends: "1 2 4000", steps: steps{at(3, m), at(5, m2)}, want: "m 1, m 2"},
		{name: "a second listener at the same time", sends: "1", steps: steps{at(0, m), at(0, c), at(15, m2)}, want: "m 1"},
		{name: "a removed listener", sends: "1 2 4000", steps: steps{at(3, removedListener)}, want: ""},
		{name: "a removed listener and others", sends: "1 2 4000", steps: steps{at(3, removedListener), at(5, c), at(6, m)}, want: "m 1, m 2, c 4000"},

		{name: "received in time", sends: "1 2 4000", steps: steps{at(5, receives(2)), at(6, c)}, want: "received 1, received 2, c 4000"},
		{name: "received to the end", sends: "1 2 4000", steps: steps{at(5, receives(3))}, want: "received 1, received 2, received edgews: connection closed: 4000"},
		{name: "received late", sends: "1 2 4000", steps: steps{at(15, receives(3))}, want: "received 1, received 2, received edgews: connection closed: 4000"},
		{name: "received late after a close listener", sends: "1 2 4000", steps: steps{at(5, c), at(15, receives(2))}, want: "c 4000, received 1, received 2"},
		{name: "received after a late listener", sends: "1 2 4000", steps: steps{at(15, m), at(16, receives(1))}, want: "received edgews: connection closed: 4000"},
		{name: "received before a listener", sends: "1 2", steps: steps{at(3, receives(1)), at(4, m), at(5, receives(1))}, want: "received 1, received 2"},

		{name: "a panic", sends: "1 2", steps: steps{at(5, onMessageThen(func() { panic("mine") })), at(6, c)}, want: "m 1, c 1011"},
		{name: "Goexit", sends: "1 2", steps: steps{at(5, onMessageThen(runtime.Goexit)), at(6, c)}, want: "m 1, c 1011",
			unlike: map[string]string{"pair": "m 1, m 2"}},
		{name: "Goexit before the Close", sends: "1 2 4000", steps: steps{at(5, onMessageThen(runtime.Goexit)), at(6, c)}, want: "m 1, c 1011",
			unlike: map[string]string{"pair": "m 1, m 2, c 4000"}},
		{name: "a long listener", sends: "1 2 4000", steps: steps{at(5, onMessageThen(func() { time.Sleep(time.Second) })), at(6, c)}, want: "m 1, m 2, c 4000"},
	}
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			overGraceLinks(t, func(t *testing.T, l graceLink, s, other *edgews.Socket) {
				captureDefaultLog(t)
				start := time.Now()
				g := &graceRun{t: t, s: s}
				if tt.first != nil {
					tt.first(g)
				}
				for word := range strings.FieldsSeq(tt.sends) {
					if word == "4000" {
						require.NoError(t, other.Close(4000, ""))
						continue
					}
					require.NoError(t, other.Send(word))
				}
				synctest.Wait()
				require.Zero(t, time.Since(start))
				for _, step := range tt.steps {
					time.Sleep(step.at - time.Since(start))
					step.do(g)
				}
				time.Sleep(10 * time.Second)
				g.mu.Lock()
				defer g.mu.Unlock()
				want := tt.want
				if unlike, ok := tt.unlike[l.kind]; ok {
					want = unlike
				}
				assert.Equal(t, want, strings.Join(g.got, ", "))
			})
		})
	}
}

// All close listeners that are added in time get the event, in their order, and each gets it once.
func TestCloseListenersWithinTheGrace(t *testing.T) {
	overGraceLinks(t, func(t *testing.T, l graceLink, s, other *edgews.Socket) {
		captureDefaultLog(t)
		require.NoError(t, other.Close(4000, ""))
		waitDone(t, s)
		g := &graceRun{t: t, s: s}
		c(g)
		s.OnClose(func(edgews.CloseEvent) { panic("mine") })
		time.Sleep(5 * time.Millisecond)
		c2(g)
		time.Sleep(time.Second)
		g.mu.Lock()
		defer g.mu.Unlock()
		assert.Equal(t, []string{"c 4000", "c2 4000"}, g.got)
	})
}

// What arrives before a listener and is more than the 64 KiB that wait for a receive method is delivered to a listener that is added in time.
func TestManyMessagesWithinTheGrace(t *testing.T) {
	const n = 300
	overGraceLinks(t, func(t *testing.T, l graceLink, s, other *edgews.Socket) {
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			for i := range n {
				assert.NoError(t, other.Write(t.Context(), edgews.Text, fmt.Appendf(nil, "%05d %s", i, strings.Repeat("x", 1000))))
			}
		}()
		time.Sleep(5 * time.Millisecond)
		next := 0
		done := make(chan struct{})
		s.OnMessage(func(e edgews.MessageEvent) {
			assert.Equal(t, fmt.Sprintf("%05d", next), e.Text()[:5])
			if next++; next == n {
				close(done)
			}
		})
		<-done
		<-sent
		require.NoError(t, other.Close(1000, ""))
	})
}

// Without a listener, messages do not stop the sender, and a part of them is kept for a receive method: of a pair what arrived within the
// grace, of a connection the first 64 KiB, in an object the last ones.
func TestManyMessagesWithoutAListener(t *testing.T) {
	const n = 300
	overGraceLinks(t, func(t *testing.T, l graceLink, s, other *edgews.Socket) {
		incompressible := make([]byte, 1000)
		rand.NewChaCha8([32]byte{}).Read(incompressible)
		for i := range n {
			require.NoError(t, other.Write(t.Context(), edgews.Binary, fmt.Appendf(nil, "%05d %s", i, incompressible)))
		}
		require.NoError(t, other.Close(4000, ""))
		waitDone(t, s)
		time.Sleep(time.Second)
		var got []string
		for {
			m, err := s.Receive(t.Context())
			if err != nil {
				assert.EqualError(t, err, "edgews: connection closed: 4000")
				break
			}
			got = append(got, m.Text()[:5])
		}
		switch l.kind {
		case "pair":
			require.Len(t, got, n)
			assert.Equal(t, "00000", got[0])
		case "wire":
			assert.InDelta(t, 60, len(got), 20)
			assert.Equal(t, "00000", got[0])
		case "object":
			assert.InDelta(t, 60, len(got), 20)
			assert.Equal(t, fmt.Sprintf("%05d", n-1), got[len(got)-1])
		}
	})
}

// A socket that an object takes within the grace goes on waiting.
func TestHoldWithinTheGrace(t *testing.T) {
	for _, l := range graceLinks {
		if l.kind == "object" {
			continue
		}
		for _, late := range []time.Duration{0, 8 * time.Millisecond, 15 * time.Millisecond} {
			t.Run(fmt.Sprint(l.name, " ", late), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					n := newRooms(t, nil, nil)
					st := n.wake(n.NewUniqueID())
					s, other := l.accepted(t)
					require.NoError(t, other.Accept())
					require.NoError(t, other.Send("1"))
					synctest.Wait()
					time.Sleep(late / 2)
					st.Hold(s)
					time.Sleep(late / 2)
					g := &graceRun{t: t, s: s}
					m(g)
					c(g)
					time.Sleep(time.Second)
					require.NoError(t, other.Send("2"))
					require.NoError(t, other.Close(4000, ""))
					waitDone(t, s)
					want := []string{"m 1", "m 2", "c 4000"}
					if late > 10*time.Millisecond {
						want = want[1:]
					}
					g.mu.Lock()
					defer g.mu.Unlock()
					assert.Equal(t, want, g.got)
				})
			})
		}
	}
}

// hangsUp closes the connection of a request.
func hangsUp(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		conn.Close()
	}
}

// The events of NewWebSocket wait for listeners until 10 ms after the call.
func TestGraceOfNewWebSocket(t *testing.T) {
	for _, opens := range []bool{true, false} {
		for _, held := range []bool{false, true} {
			for _, late := range []time.Duration{0, 5 * time.Millisecond, 15 * time.Millisecond} {
				t.Run(fmt.Sprintf("opens %t, held %t, %v", opens, held, late), func(t *testing.T) {
					bubble(t, func(t *testing.T) {
						sockets := make(chan *edgews.Socket, 1)
						handler := hangsUp
						if opens {
							handler = upgradeInto(t, sockets, edgews.Options{})
						}
						_, url, client := overPipe.serve(t, handler)
						defer func(before *http.Client) { http.DefaultClient = before }(http.DefaultClient)
						http.DefaultClient = client
						start := time.Now()
						s, err := edgews.NewWebSocket(url)
						require.NoError(t, err)
						if held {
							n := newRooms(t, nil, nil)
							n.wake(n.NewUniqueID()).Hold(s)
						}
						synctest.Wait()
						require.Zero(t, time.Since(start))
						time.Sleep(late)
						events := record(t, s)
						if !opens {
							waitDone(t, s)
							time.Sleep(time.Second)
							if late < 10*time.Millisecond {
								events.wantsEnd(failed("failed to establish the WebSocket connection"), closed(1006, "Failed to establish websocket connection", false))
							}
							assert.Empty(t, events.Rest())
							return
						}
						b := <-sockets
						require.NoError(t, b.Accept())
						require.NoError(t, b.Send("hello"))
						if late < 10*time.Millisecond {
							events.wants("open")
						}
						events.wants(message("hello"))
						require.NoError(t, b.Close(1000, ""))
						events.wantsEnd(closed(1000, "", true))
					})
				})
			}
		}
	}
}

// A message waits for a listener in whatever form it arrives, and what follows it waits behind it.
func TestFormsOfMessagesWithinTheGrace(t *testing.T) {
	large := strings.Repeat("0123456789", 30_000)
	compressed := func(s string) aFrame { return aFrame{bits: fin | rsv1, opcode: 1, payload: deflated(s)} }
	for _, tt := range []struct {
		name   string
		frames []aFrame
		want   string
	}{
		{"whole", []aFrame{text("whole")}, message("whole")},
		{"fragments", []aFrame{part(text("a "), false), continuation("fragment", true)}, message("a fragment")},
		{"large", []aFrame{text(large)}, message(large)},
		{"large fragments", []aFrame{part(text(large[:200_000]), false), continuation(large[200_000:], true)}, message(large)},
		{"compressed", []aFrame{compressed("compressed")}, message("compressed")},
		{"compressed, large", []aFrame{compressed(large)}, message(large)},
	} {
		for _, late := range []time.Duration{5 * time.Millisecond, 15 * time.Millisecond} {
			t.Run(fmt.Sprint(tt.name, " ", late), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					s, p := overPipe.serverAndPeer(t, edgews.Options{}, "permessage-deflate")
					require.NoError(t, s.Accept())
					start := time.Now()
					go p.sends(append(tt.frames, text("next"), ping(""))...)
					time.Sleep(late)
					events := record(t, s)
					if late < 10*time.Millisecond {
						events.wants(tt.want, message("next"))
						assert.Equal(t, late, time.Since(start))
					}
					p.expects(pong(""))
					p.closesCleanly(1000, "")
					events.wantsEnd(closed(1000, "", true))
				})
			})
		}
	}
}

// A connection is read again after the grace: a message without a listener is for a receive method, and the next one for the next listener.
func TestAfterTheGrace(t *testing.T) {
	for _, receives := range []bool{true, false} {
		t.Run(fmt.Sprintf("receives %t", receives), func(t *testing.T) {
			overWires(t, edgews.Options{}, func(t *testing.T, a, b *edgews.Socket) {
				acceptBoth(t, a, b)
				require.NoError(t, a.Send("1"))
				_, err := a.Ping(within(t)) // b reads it behind the message
				require.NoError(t, err)
				if receives {
					m, err := b.Receive(within(t))
					require.NoError(t, err)
					assert.Equal(t, "1", m.Text())
					return
				}
				events := record(t, b)
				require.NoError(t, a.Send("2"))
				require.NoError(t, a.Close(1000, ""))
				events.wantsEnd(message("2"), closed(1000, "", true))
			})
		})
	}
}

// The grace of an old socket does not begin again. The times of a socket wrap around after 50 days, and their difference has a sign.
func TestGraceOfAnOldSocket(t *testing.T) {
	overAPipe(t, edgews.Options{KeepAlive: -1}, func(t *testing.T, s *edgews.Socket, p *peer) {
		require.NoError(t, s.Accept())
		time.Sleep(30 * 24 * time.Hour)
		start := time.Now()
		p.sends(text("1"), ping("behind"))
		p.expects(pong("behind"))
		assert.Zero(t, time.Since(start))
		events := record(t, s)
		p.sends(text("2"))
		p.closesCleanly(1000, "")
		events.wantsEnd(message("2"), closed(1000, "", true))
	})
}
