package edgews_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
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

// Here objects take sockets otherwise than with AcceptWebSocket: their listeners are events of the object.

// pinningObject is an object that takes sockets in its ServeHTTP.
type pinningObject struct {
	*rooms
	id      edgews.ID
	way     string
	connect func(prepare func(*edgews.Socket)) (s, other *edgews.Socket) // s is the object's; other is to be accepted
}

// pinningWay is one of the ways in which an object takes a socket. take runs in its ServeHTTP.
type pinningWay struct {
	name string
	only func(network) bool // nil: everywhere
	// connect has the object's ServeHTTP do what it gives to serve.
	connect func(t *testing.T, g *pinningObject, where network, serve func(take)) (s, other *edgews.Socket)
}

type take func(st *edgews.State, w http.ResponseWriter, r *http.Request) *edgews.Socket

var pinningWays = []pinningWay{
	{"Upgrade", nil, func(t *testing.T, g *pinningObject, where network, serve func(take)) (s, other *edgews.Socket) {
		return g.asked(t, where, serve, func(_ *edgews.State, w http.ResponseWriter, r *http.Request) *edgews.Socket {
			s, err := edgews.Upgrade(w, r, nil)
			assert.NoError(t, err)
			return s
		})
	}},
	{"Respond", nil, func(t *testing.T, g *pinningObject, where network, serve func(take)) (s, other *edgews.Socket) {
		return g.asked(t, where, serve, func(_ *edgews.State, w http.ResponseWriter, r *http.Request) *edgews.Socket {
			client, s := edgews.NewPair()
			assert.NoError(t, s.Accept())
			assert.NoError(t, edgews.Respond(w, r, client, nil))
			return s
		})
	}},
	{"Dial", nil, func(t *testing.T, g *pinningObject, where network, serve func(take)) (s, other *edgews.Socket) {
		sockets := make(chan *edgews.Socket, 1)
		_, url, client := where.serve(t, upgradeInto(t, sockets, edgews.Options{}))
		serve(func(_ *edgews.State, _ http.ResponseWriter, r *http.Request) *edgews.Socket {
			var err error
			s, _, err = edgews.Dial(r.Context(), url, &edgews.DialOptions{HTTPClient: client})
			assert.NoError(t, err)
			return s
		})
		g.get(g.id)
		return s, <-sockets
	}},
	{"NewWebSocket", func(p network) bool { return p.name == "tcp" }, func(t *testing.T, g *pinningObject, where network, serve func(take)) (s, other *edgews.Socket) {
		sockets := make(chan *edgews.Socket, 1)
		url, listening := heldServer(t, where, upgradeInto(t, sockets, edgews.Options{}))
		serve(func(st *edgews.State, _ http.ResponseWriter, _ *http.Request) *edgews.Socket {
			var err error
			s, err = edgews.NewWebSocket(url)
			assert.NoError(t, err)
			st.Hold(s)
			return s
		})
		g.get(g.id)
		listening()
		return s, <-sockets
	}},
	{"Hold", func(p network) bool { return p.name == "pipe" }, func(t *testing.T, g *pinningObject, _ network, serve func(take)) (s, other *edgews.Socket) {
		serve(func(st *edgews.State, _ http.ResponseWriter, _ *http.Request) *edgews.Socket {
			other, s = edgews.NewPair()
			st.Hold(s)
			assert.NoError(t, other.Accept())
			return s
		})
		g.get(g.id)
		return s, other
	}},
}

// heldServer starts a server for NewWebSocket that answers when listening has been called: an event waits no more than 10 ms for a
// listener, which may be added later than that on a busy machine.
func heldServer(t *testing.T, where network, handler http.HandlerFunc) (url string, listening func()) {
	held := make(chan struct{})
	listening = sync.OnceFunc(func() { close(held) })
	_, url, _ = where.serve(t, func(w http.ResponseWriter, r *http.Request) {
		<-held
		handler(w, r)
	})
	t.Cleanup(listening)
	return strings.Replace(url, "http", "ws", 1), listening
}

// asked has a client ask the object, which answers with a socket.
func (g *pinningObject) asked(t *testing.T, where network, serve func(take), answer func(*edgews.State, http.ResponseWriter, *http.Request) *edgews.Socket) (s, other *edgews.Socket) {
	served := make(chan struct{})
	serve(func(st *edgews.State, w http.ResponseWriter, r *http.Request) *edgews.Socket {
		s = answer(st, w, r)
		return s
	})
	_, url, client := where.serve(t, func(w http.ResponseWriter, r *http.Request) {
		g.Get(g.id).ServeHTTP(w, r)
		close(served)
	})
	other, _, err := edgews.Dial(t.Context(), url, &edgews.DialOptions{HTTPClient: client})
	require.NoError(t, err)
	<-served
	return s, other
}

// overPinningWays runs f with each way, over a pipe in a bubble, TCP and TLS.
func overPinningWays(t *testing.T, f func(t *testing.T, g *pinningObject)) {
	t.Helper()
	for _, way := range pinningWays {
		t.Run(way.name, func(t *testing.T) {
			for _, where := range []network{overPipe, overTCP, overTLS} {
				if way.only == nil || way.only(where) {
					where.run(t, func(t *testing.T, where network) { f(t, newPinningObject(t, way, where, nil)) })
				}
			}
		})
	}
}

// inPinningWays is overPinningWays in bubbles only.
func inPinningWays(t *testing.T, f func(t *testing.T, g *pinningObject)) {
	t.Helper()
	for _, way := range pinningWays {
		if way.only == nil || way.only(overPipe) {
			t.Run(way.name, func(t *testing.T) {
				bubble(t, func(t *testing.T) { f(t, newPinningObject(t, way, overPipe, nil)) })
			})
		}
	}
}

func newPinningObject(t *testing.T, way pinningWay, where network, opts *edgews.NamespaceOptions) *pinningObject {
	g := &pinningObject{way: way.name}
	var serve take
	g.rooms = newRooms(t, opts, func(r *room) {
		r.serve = func(w http.ResponseWriter, req *http.Request) {
			if fn := serve; fn != nil {
				serve = nil
				fn(r.st, w, req)
			}
		}
	})
	g.id = g.NewUniqueID()
	g.connect = func(prepare func(*edgews.Socket)) (s, other *edgews.Socket) {
		s, other = way.connect(t, g, where, func(fn take) {
			serve = func(st *edgews.State, w http.ResponseWriter, r *http.Request) *edgews.Socket {
				s := fn(st, w, r)
				prepare(s)
				return s
			}
		})
		endWith(t, other)
		return s, other
	}
	return g
}

// does runs fn as an event of the object.
func (g *pinningObject) does(t testing.TB, fn func()) {
	t.Helper()
	require.NoError(t, g.wake(g.id).Do(within(t), func() error { fn(); return nil }))
}

// accept accepts s, if it does not do so itself.
func accept(t testing.TB, s *edgews.Socket) {
	t.Helper()
	if s.ReadyState() != edgews.Connecting {
		assert.NoError(t, s.Accept())
	}
}

// keepsBusy has an event run until release is called.
func (g *pinningObject) keepsBusy(t testing.TB) (release func()) {
	began, end, over := make(chan struct{}), make(chan struct{}), make(chan struct{})
	st := g.wake(g.id)
	go func() {
		defer close(over)
		st.Do(context.Background(), func() error { close(began); <-end; return nil })
	}()
	<-began
	return func() { close(end); <-over }
}

// single notices when two events run at the same time. The race detector does, too.
type single struct {
	t     testing.TB
	busy  atomic.Bool
	count int
}

func (o *single) event() {
	assert.True(o.t, o.busy.CompareAndSwap(false, true), "two events of one object at the same time")
	o.count++
	runtime.Gosched()
	assert.True(o.t, o.busy.CompareAndSwap(true, false))
}

// An object's fields need no mutex, however it takes its sockets.
func TestListenersAreEvents(t *testing.T) {
	const sockets, messages = 4, 50
	overPinningWays(t, func(t *testing.T, g *pinningObject) {
		only := &single{t: t}
		var ours, others []*edgews.Socket
		for range sockets {
			s, other := g.connect(func(s *edgews.Socket) {
				s.OnOpen(func(edgews.OpenEvent) { only.event() })
				s.OnMessage(func(edgews.MessageEvent) { only.event() })
				edgews.OnJSON(s, func(int) error { only.event(); return nil })
				s.OnError(func(edgews.ErrorEvent) { only.event() })
				s.OnClose(func(edgews.CloseEvent) { only.event() })
				accept(t, s)
			})
			require.NoError(t, other.Accept())
			ours, others = append(ours, s), append(others, other)
		}
		for _, other := range others {
			go func() {
				for i := range messages {
					assert.NoError(t, other.Write(t.Context(), edgews.Text, fmt.Append(nil, i)))
				}
				other.Close(1000, "")
			}()
		}
		for range messages {
			g.does(t, only.event)
		}
		for _, s := range ours {
			waitDone(t, s)
		}
		g.does(t, func() {
			assert.GreaterOrEqual(t, only.count, sockets*(2*messages+1)+messages)
		})
		assert.EqualValues(t, 1, g.made.Load())
	})
}

// What arrives while the object is busy is delivered in order afterwards, and can be answered: the Close waits behind it.
func TestPinnedOrder(t *testing.T) {
	overPinningWays(t, func(t *testing.T, g *pinningObject) {
		var events *recorder
		s, other := g.connect(func(s *edgews.Socket) {
			events = record(t, s)
			s.OnMessage(func(e edgews.MessageEvent) { assert.NoError(t, s.Send("echo "+e.Text())) })
			accept(t, s)
		})
		outside := record(t, other)
		require.NoError(t, other.Accept())
		if g.hasOpened(s) {
			events.wants("open")
		}
		release := g.keepsBusy(t)
		require.NoError(t, other.Send("one"))
		require.NoError(t, other.Send("two"))
		require.NoError(t, other.Close(4001, "bye"))
		eventually(t, func() bool { return s.ReadyState() != edgews.Open || s.BufferedAmount() == 0 }, "arrival")
		assert.Empty(t, events.Rest())
		release()
		events.wantsEnd(message("one"), message("two"), closed(4001, "bye", true))
		outside.wantsEnd(message("echo one"), message("echo two"), closed(4001, "bye", true))
	})
}

// hasOpened says whether s fires an open event.
func (g *pinningObject) hasOpened(s *edgews.Socket) bool {
	return strings.HasPrefix(s.URL(), "ws://127")
}

// A peer's Close is answered even if the object is busy for long.
func TestPinnedCloseBehindALongEvent(t *testing.T) {
	inPinningWays(t, func(t *testing.T, g *pinningObject) {
		var events *recorder
		s, other := g.connect(func(s *edgews.Socket) {
			events = record(t, s)
			accept(t, s)
		})
		outside := record(t, other)
		require.NoError(t, other.Accept())
		release := g.keepsBusy(t)
		require.NoError(t, other.Send("waits"))
		require.NoError(t, other.Close(1000, "bye"))
		outside.wantsEnd(closed(1000, "bye", true))
		assert.Empty(t, events.Rest())
		assert.ErrorIs(t, s.Send("too late"), edgews.ErrClosed)
		release()
		events.wantsEnd(message("waits"), closed(1000, "bye", true))
	})
}

// AcceptHalfOpen is the manual mode, in objects too.
func TestPinnedHalfOpen(t *testing.T) {
	overPinningWays(t, func(t *testing.T, g *pinningObject) {
		if g.way == "NewWebSocket" || g.way == "Respond" {
			t.Skip("it is accepted already")
		}
		var events *recorder
		s, other := g.connect(func(s *edgews.Socket) {
			events = record(t, s)
			require.NoError(t, s.AcceptHalfOpen())
		})
		outside := record(t, other)
		require.NoError(t, other.Accept())
		release := g.keepsBusy(t)
		require.NoError(t, other.Send("one"))
		require.NoError(t, other.Close(4001, "bye"))
		release()
		events.wantsEnd(message("one"), closed(4001, "bye", true))
		assert.Equal(t, edgews.Closing, s.ReadyState())
		require.NoError(t, s.Send("still here"))
		require.NoError(t, s.Close(4002, "now"))
		outside.wantsEnd(message("still here"), closed(4002, "now", true))
	})
}

// A listener's panic ends its socket and nothing else; what is behind it is dropped.
func TestPinnedPanics(t *testing.T) {
	ends := map[string]func(){
		"panic":  func() { panic("boom") },
		"Goexit": runtime.Goexit,
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			overPinningWays(t, func(t *testing.T, g *pinningObject) {
				events := make(chan string, 10)
				s, other := g.connect(func(s *edgews.Socket) {
					s.OnMessage(func(e edgews.MessageEvent) { events <- e.Text(); end() })
					s.OnError(func(edgews.ErrorEvent) { events <- "error" })
					s.OnClose(func(e edgews.CloseEvent) { events <- fmt.Sprint("close ", int(e.Code)) })
					accept(t, s)
				})
				outside := record(t, other)
				require.NoError(t, other.Accept())
				release := g.keepsBusy(t)
				require.NoError(t, other.Send("one"))
				require.NoError(t, other.Send("two"))
				require.NoError(t, other.Close(1000, ""))
				release()
				waitDone(t, s)
				for _, want := range []string{"one", "error", "close 1011"} {
					assert.Equal(t, want, <-events)
				}
				assert.Empty(t, events)
				outside.wantsEnd(closed(1011, "internal error", true))
				g.does(t, func() {})
				assert.EqualValues(t, 1, g.made.Load(), "the value is as it was")
			})
		})
	}
}

// With 64 KiB waiting for a busy object the peer has to wait, and nothing is lost.
func TestPinnedBackPressure(t *testing.T) {
	const count, size = 256, 64 << 10 // more than the buffers of the system take
	overPinningWays(t, func(t *testing.T, g *pinningObject) {
		var got int
		s, other := g.connect(func(s *edgews.Socket) {
			s.OnMessage(func(edgews.MessageEvent) { got++ })
			accept(t, s)
		})
		require.NoError(t, other.Accept())
		release := g.keepsBusy(t)
		incompressible := make([]byte, size)
		rand.NewChaCha8([32]byte{}).Read(incompressible)
		var sent atomic.Int32
		over := make(chan struct{})
		go func() {
			defer close(over)
			for range count {
				if other.Write(t.Context(), edgews.Binary, incompressible) == nil {
					sent.Add(1)
				}
			}
			other.Close(1000, "")
		}()
		eventually(t, func() bool { return other.BufferedAmount() > size }, "the peer waits")
		assert.Less(t, sent.Load(), int32(count))
		release()
		<-over
		waitDone(t, s)
		g.does(t, func() { assert.Equal(t, count, got) })
	})
}

// Compressed messages wait for a busy object, too, and none of them is too large for it.
func TestPinnedCompressedMessages(t *testing.T) {
	const count, large = 300, 1 << 20
	inPinningWays(t, func(t *testing.T, g *pinningObject) {
		var got []int
		s, other := g.connect(func(s *edgews.Socket) {
			s.OnMessage(func(e edgews.MessageEvent) { got = append(got, len(e.Data)) })
			accept(t, s)
		})
		require.NoError(t, other.Accept())
		time.Sleep(time.Second)
		release := g.keepsBusy(t)
		var want []int
		for i := range count {
			size := 1000 + i
			if i%100 == 0 {
				size = large
			}
			want = append(want, size)
		}
		go func() {
			for _, size := range want {
				assert.NoError(t, other.Write(t.Context(), edgews.Text, bytes.Repeat([]byte("x"), size)))
			}
			assert.NoError(t, other.Close(1000, ""))
		}()
		time.Sleep(time.Second)
		release()
		waitDone(t, s)
		g.does(t, func() { assert.Equal(t, want, got) })
	})
}

// A handler may use a socket of the object that has listeners, which wait until it returns.
func TestPinnedUsedInAnEvent(t *testing.T) {
	overPinningWays(t, func(t *testing.T, g *pinningObject) {
		var got []string
		s, other := g.connect(func(s *edgews.Socket) {
			s.OnMessage(func(e edgews.MessageEvent) { got = append(got, e.Text()) })
			accept(t, s)
		})
		require.NoError(t, other.Accept())
		_, err := other.Ping(within(t)) // s is open
		require.NoError(t, err)
		g.does(t, func() {
			assert.NoError(t, other.Send("waits"))
			assert.NoError(t, s.Send("x"))
			assert.NoError(t, s.Flush(within(t)))
			_, err := s.Ping(within(t))
			assert.NoError(t, err)
			assert.Empty(t, got)
		})
		eventually(t, func() bool { n := 0; g.does(t, func() { n = len(got) }); return n == 1 }, "the message")
		g.does(t, func() {
			assert.NoError(t, s.Close(1000, ""))
			waitDone(t, s) // there is no close listener, and no message before it
		})
	})
}

// Receiving is part of the handler; the other events are the object's all the same.
func TestPinnedReceives(t *testing.T) {
	overPinningWays(t, func(t *testing.T, g *pinningObject) {
		only := &single{t: t}
		s, other := g.connect(func(s *edgews.Socket) {
			s.OnClose(func(edgews.CloseEvent) { only.event() })
		})
		require.NoError(t, other.Accept())
		g.does(t, func() { // before anything has come: the close event would not wait for Receive longer than for a listener
			only.busy.Store(true)
			assert.NoError(t, other.Send("hello"))
			assert.NoError(t, other.Close(1000, ""))
			m, err := s.Receive(within(t))
			assert.NoError(t, err)
			assert.Equal(t, "hello", m.Text())
			_, err = s.Receive(within(t))
			assert.Error(t, err)
			assert.Zero(t, only.count)
			only.busy.Store(false)
		})
		waitDone(t, s)
		g.does(t, func() { assert.Equal(t, 1, only.count) })
	})
}

// Listeners may come a little later than Accept.
func TestPinnedLateListeners(t *testing.T) {
	inPinningWays(t, func(t *testing.T, g *pinningObject) {
		s, other := g.connect(func(s *edgews.Socket) { accept(t, s) })
		require.NoError(t, other.Accept())
		require.NoError(t, other.Send("one"))
		require.NoError(t, other.Close(1000, ""))
		time.Sleep(5 * time.Millisecond)
		release := g.keepsBusy(t)
		events := record(t, s)
		time.Sleep(time.Second)
		assert.Empty(t, events.Rest())
		release()
		events.wantsEnd(message("one"), closed(1000, "", true))
	})
	inPinningWays(t, func(t *testing.T, g *pinningObject) {
		s, other := g.connect(func(s *edgews.Socket) { accept(t, s) })
		require.NoError(t, other.Accept())
		require.NoError(t, other.Close(1000, "")) // nothing is before it
		waitDone(t, s)
		release := g.keepsBusy(t)
		events := record(t, s)
		time.Sleep(time.Second)
		assert.Empty(t, events.Rest())
		release()
		events.wantsEnd(closed(1000, "", true))
	})
	inPinningWays(t, func(t *testing.T, g *pinningObject) { // too late: it is for a receive method
		s, other := g.connect(func(s *edgews.Socket) { accept(t, s) })
		require.NoError(t, other.Accept())
		require.NoError(t, other.Send("one"))
		large := make([]byte, 30<<10)
		rand.NewChaCha8([32]byte{}).Read(large) // nothing that can be compressed
		for range 10 {
			require.NoError(t, other.Write(t.Context(), edgews.Binary, large))
		}
		time.Sleep(time.Second)
		assert.Zero(t, other.BufferedAmount(), "it is taken")
		require.NoError(t, other.Send("last"))
		time.Sleep(time.Second)
		for {
			m, err := s.Receive(within(t))
			require.NoError(t, err)
			assert.NotEqual(t, "one", m.Text(), "there is no room for all")
			if m.Text() == "last" {
				break
			}
		}
		require.NoError(t, other.Close(1000, ""))
	})
}

// A listener that runs when the object takes the socket goes on where it is; the next event waits for it, and is one of the object's.
func TestHoldWhileAListenerRuns(t *testing.T) {
	both(t, edgews.Options{}, func(t *testing.T, client, server *edgews.Socket) {
		n := newRooms(t, nil, nil)
		st := n.wake(n.NewUniqueID())
		first, end := make(chan struct{}), make(chan struct{})
		only := &single{t: t}
		server.OnMessage(func(e edgews.MessageEvent) {
			if e.Text() == "first" {
				close(first)
				<-end
			}
			only.event()
		})
		server.OnClose(func(edgews.CloseEvent) { only.event() })
		acceptBoth(t, client, server)
		require.NoError(t, client.Send("first"))
		<-first
		st.Hold(server)
		require.NoError(t, client.Send("second"))
		require.NoError(t, client.Close(1000, ""))
		require.NoError(t, st.Do(within(t), func() error { return nil }))
		close(end)
		waitDone(t, server)
		require.NoError(t, st.Do(within(t), func() error { assert.Equal(t, 3, only.count); return nil }))
	})
}

// Abort drops what waits for the object.
func TestPinnedAborted(t *testing.T) {
	overPinningWays(t, func(t *testing.T, g *pinningObject) {
		var events *recorder
		_, other := g.connect(func(s *edgews.Socket) {
			events = record(t, s)
			accept(t, s)
		})
		outside := record(t, other)
		require.NoError(t, other.Accept())
		if g.hasOpened(events.s) {
			events.wants("open")
		}
		g.does(t, func() {
			assert.NoError(t, other.Send("waits"))
			g.state.Abort(fmt.Errorf("enough"))
			assert.Empty(t, events.Rest())
		})
		outside.wantsEnd(closed(1011, "enough", true))
		for e := events.next(); !strings.HasPrefix(e, "close"); e = events.next() {
			assert.NotEqual(t, message("waits"), e)
		}
	})
}

// Shutdown waits for the listeners of all sockets.
func TestPinnedShutdown(t *testing.T) {
	inPinningWays(t, func(t *testing.T, g *pinningObject) {
		closedAt := time.Time{}
		_, other := g.connect(func(s *edgews.Socket) {
			s.OnClose(func(e edgews.CloseEvent) {
				time.Sleep(time.Second)
				closedAt = time.Now()
			})
			accept(t, s)
		})
		require.NoError(t, other.Accept())
		require.NoError(t, g.Shutdown(within(t)))
		assert.False(t, closedAt.IsZero())
	})
}

// What listeners take is counted once.
func TestPinnedBusy(t *testing.T) {
	bubble(t, func(t *testing.T) {
		meter := edgews.NewMeter(nil)
		n := newRooms(t, &edgews.NamespaceOptions{Options: edgews.Options{Meter: meter}}, func(r *room) {
			r.serve = func(w http.ResponseWriter, req *http.Request) {
				s, err := edgews.Upgrade(w, req, nil)
				require.NoError(t, err)
				s.OnMessage(func(edgews.MessageEvent) { time.Sleep(time.Second) })
				accept(t, s)
			}
		})
		_, url, client := overPipe.serve(t, n.Get(n.NewUniqueID()).ServeHTTP)
		s, _, err := edgews.Dial(t.Context(), url, &edgews.DialOptions{HTTPClient: client})
		require.NoError(t, err)
		accept(t, s)
		require.NoError(t, s.Send("x"))
		require.NoError(t, s.Send("y"))
		time.Sleep(10 * time.Second)
		used := meter.Usage()
		assert.Equal(t, 2*time.Second, used.Busy)
		assert.EqualValues(t, 2, used.MessagesIn)
		require.NoError(t, s.Close(1000, ""))
	})
}

// The events of a handshake that fails are the object's, too.
func TestPinnedThatCannotConnect(t *testing.T) {
	url, listening := heldServer(t, overTCP, http.NotFound)
	only := &single{t: t}
	var n *rooms
	n = newRooms(t, nil, func(r *room) {
		r.serve = func(http.ResponseWriter, *http.Request) {
			only.busy.Store(true)
			defer only.busy.Store(false)
			s, err := edgews.NewWebSocket(url)
			assert.NoError(t, err)
			r.st.Hold(s)
			s.OnError(func(edgews.ErrorEvent) { only.event(); n.notes("error") })
			s.OnClose(func(e edgews.CloseEvent) { only.event(); n.notes("close %d", int(e.Code)) })
			listening()
			eventually(t, func() bool { return s.ReadyState() == edgews.Closed }, "refusal")
		}
	})
	n.get(n.NewUniqueID())
	n.wants("error", "close 1006")
}

// An object may have both ends of a pair.
func TestPairWithinAnObject(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const messages = 100
		only := &single{t: t}
		var a, b *edgews.Socket
		n := newRooms(t, nil, func(r *room) {
			r.serve = func(http.ResponseWriter, *http.Request) {
				a, b = edgews.NewPair()
				for _, s := range []*edgews.Socket{a, b} {
					r.st.Hold(s)
					s.OnMessage(func(e edgews.MessageEvent) {
						only.event()
						switch len(e.Data) {
						case messages:
							assert.NoError(t, s.Close(1000, ""))
						default:
							assert.NoError(t, s.Send(e.Text()+"x"))
						}
					})
					s.OnClose(func(e edgews.CloseEvent) { only.event(); assert.True(t, e.WasClean) })
				}
				acceptBoth(t, a, b)
				assert.NoError(t, a.Send("x"))
			}
		})
		id := n.NewUniqueID()
		n.get(id)
		waitDone(t, a)
		waitDone(t, b)
		time.Sleep(time.Second)
		assert.Equal(t, messages+2, only.count)
		n.wantsState(id, edgews.ObjectIdle)
	})
}

// What is sent in an open event leaves while the listener still runs.
func TestPinnedSendsInOpenEvent(t *testing.T) {
	sockets := make(chan *edgews.Socket, 1)
	url, listening := heldServer(t, overTCP, upgradeInto(t, sockets, edgews.Options{}))
	flushed := make(chan error, 1)
	n := newRooms(t, nil, func(r *room) {
		r.serve = func(http.ResponseWriter, *http.Request) {
			s, err := edgews.NewWebSocket(url)
			assert.NoError(t, err)
			r.st.Hold(s)
			defer listening()
			s.OnOpen(func(edgews.OpenEvent) {
				assert.NoError(t, s.Send("hello"))
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				flushed <- s.Flush(ctx)
			})
		}
	})
	n.get(n.NewUniqueID())
	server := <-sockets
	m, err := server.Receive(within(t))
	require.NoError(t, err)
	assert.Equal(t, "hello", m.Text())
	require.NoError(t, <-flushed)
	require.NoError(t, server.Close(1000, ""))
}

// A socket that is still connecting ends with its object, and not when the server answers.
func TestAbortWhileConnecting(t *testing.T) {
	s, release, _ := connecting(t)
	defer release()
	n := newRooms(t, nil, nil)
	id := n.NewUniqueID()
	st := n.wake(id)
	st.Hold(s)
	events := record(t, s)
	st.Abort(io.ErrNoProgress)
	events.wantsEnd(failed(io.ErrNoProgress.Error()), closed(1011, io.ErrNoProgress.Error(), false))
	assert.ErrorIs(t, s.Send("x"), edgews.ErrClosed)
}

// A half-open end of a pair becomes CLOSED if the other end is lost while the close event is being delivered.
func TestPeerOfAHalfOpenEndIsLostDuringItsCloseEvent(t *testing.T) {
	for _, pinned := range []bool{false, true} {
		bubble(t, func(t *testing.T) {
			n := newRooms(t, nil, nil)
			other, s := edgews.NewPair()
			if pinned {
				n.wake(n.NewUniqueID()).Hold(s)
			}
			free := make(chan struct{})
			s.OnClose(func(edgews.CloseEvent) { <-free })
			require.NoError(t, s.AcceptHalfOpen())
			require.NoError(t, other.Accept())
			require.NoError(t, other.Close(4001, ""))
			waitDone(t, other) // the Close has not been answered in time
			close(free)
			waitDone(t, s)
			synctest.Wait()
			assert.Equal(t, edgews.Closed, s.ReadyState())
			assert.ErrorIs(t, s.Send("x"), edgews.ErrClosed)
		})
	}
}
