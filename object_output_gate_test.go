package edgews_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// gateTest is an object with one socket, and an engine that commits when the test says so.
type gateTest struct {
	*rooms
	st             *edgews.State
	client, server *edgews.Socket
	events         *recorder // of client
	store          *watchedStore

	begun chan struct{}
	ends  chan error
	done  chan error
}

func newGateTest(t testing.TB, client, server *edgews.Socket, design func(*room)) *gateTest {
	g := newGate(t, server, edgews.Options{}, design)
	g.client, g.events = client, record(t, client)
	require.NoError(t, client.Accept())
	return g
}

// newGate is newGateTest without a socket at the other end.
func newGate(t testing.TB, server *edgews.Socket, opts edgews.Options, design func(*room)) *gateTest {
	g := &gateTest{server: server, begun: make(chan struct{}), ends: make(chan error), done: make(chan error)}
	g.store = watch(t, edgews.NewMemoryStore())
	g.store.interfere(func(ctx context.Context, b edgews.Batch) error {
		g.begun <- struct{}{}
		return <-g.ends
	})
	g.rooms = newRooms(t, &edgews.NamespaceOptions{Options: opts, Store: g.store}, design)
	g.st = g.wake(g.NewUniqueID())
	require.NoError(t, g.st.AcceptWebSocket(server, "all"))
	return g
}

// overGates runs f over a pair, a pipe, TCP and TLS.
func overGates(t *testing.T, opts edgews.Options, f func(t *testing.T, g *gateTest)) {
	t.Helper()
	both(t, opts, func(t *testing.T, client, server *edgews.Socket) { f(t, newGateTest(t, client, server, nil)) })
}

// commits begins a commit.
func (g *gateTest) commits() {
	go func() { g.done <- g.st.Storage().Put(context.Background(), "a", nil) }()
	<-g.begun
}

// committed ends it.
func (g *gateTest) committed(with error) {
	g.t.Helper()
	g.ends <- with
	require.ErrorIs(g.t, <-g.done, with)
}

// receivesNothing says that nothing of what the object has sent has reached the client.
func (g *gateTest) receivesNothing() {
	g.t.Helper()
	_, err := g.client.Ping(g.t.(*testing.T).Context()) // what was on its way is there before the pong
	require.NoError(g.t, err)
	assert.Empty(g.t, g.events.Rest(), "it has got through the gate")
}

func TestOutputGateHoldsBack(t *testing.T) {
	large := strings.Repeat("compressible ", 100)
	longMessage := messageOf(edgews.Message{Kind: edgews.Text, Data: []byte(large)})
	overGates(t, edgews.Options{}, func(t *testing.T, g *gateTest) {
		s := g.server
		require.NoError(t, s.Send("before"))
		require.NoError(t, s.Send(large))
		g.events.wants(message("before"), longMessage)
		require.NoError(t, flushFor(t, s, patience))
		g.commits()
		require.NoError(t, s.Send("one"))
		require.NoError(t, s.SendBytes([]byte("two")))
		require.NoError(t, s.Send(large))
		require.NoError(t, s.SendPrepared(edgews.Prepare(edgews.Text, []byte("three"))))
		assert.Equal(t, 1, g.st.Broadcast(edgews.Prepare(edgews.Text, []byte(large)), "all"))
		require.NoError(t, s.Write(t.Context(), edgews.Text, []byte("four")))
		w, err := s.NextWriter(t.Context(), edgews.Text)
		require.NoError(t, err)
		_, err = io.WriteString(w, "five")
		require.NoError(t, err)
		require.NoError(t, s.Send("six"), "behind the writer")
		require.NoError(t, w.Close())
		require.NoError(t, s.Send("seven"))
		assert.Equal(t, 2*len(large)+len("onetwothreefourfivesixseven"), s.BufferedAmount())
		g.receivesNothing()
		assert.ErrorIs(t, flushFor(t, s, 10*time.Millisecond), context.DeadlineExceeded)
		require.NoError(t, s.Close(4001, "bye"))
		assert.ErrorIs(t, s.Send("late"), edgews.ErrClosed)
		assert.Equal(t, edgews.Closing, s.ReadyState())
		assert.Equal(t, edgews.Open, g.client.ReadyState())
		g.committed(nil)
		g.events.wantsEnd(message("one"), bytesMessage("two"), longMessage, message("three"), longMessage, message("four"),
			message("five"), message("six"), message("seven"), closed(4001, "bye", true))
		waitDone(t, s)
	})
}

func flushFor(t testing.TB, s *edgews.Socket, d time.Duration) error {
	ctx, cancel := context.WithTimeout(t.(*testing.T).Context(), d)
	defer cancel()
	return s.Flush(ctx)
}

// What was sent before the commit does not wait for it, and a message that had begun is ended after it.
func TestOutputGateAndWhatIsBeforeIt(t *testing.T) {
	overGates(t, edgews.Options{}, func(t *testing.T, g *gateTest) {
		s := g.server
		require.NoError(t, s.Send("before"))
		w, err := s.NextWriter(t.Context(), edgews.Text)
		require.NoError(t, err)
		_, err = io.WriteString(w, "begun, ")
		require.NoError(t, err)
		require.NoError(t, s.Send("behind the writer"))
		g.commits()
		g.events.wants(message("before"))
		require.NoError(t, s.Send("behind it too"))
		_, err = io.WriteString(w, "ended")
		require.NoError(t, err)
		require.NoError(t, w.Close())
		g.receivesNothing()
		require.NoError(t, s.Send("last"))
		g.committed(nil)
		g.events.wants(message("begun, ended"), message("behind the writer"), message("behind it too"), message("last"))
		require.NoError(t, s.Send("after"))
		g.events.wants(message("after"))
		require.NoError(t, flushFor(t, s, patience))
	})
}

// Each commit holds back what is sent during it, and no longer.
func TestOutputGateOpensBetweenCommits(t *testing.T) {
	overGates(t, edgews.Options{}, func(t *testing.T, g *gateTest) {
		g.commits()
		require.NoError(t, g.server.Send("one"))
		go func() { g.done <- g.st.Storage().Put(context.Background(), "b", nil) }()
		g.ends <- nil
		<-g.begun
		require.NoError(t, <-g.done)
		g.events.wants(message("one"))
		require.NoError(t, g.server.Send("two"))
		g.receivesNothing()
		g.committed(nil)
		g.events.wants(message("two"))
	})
}

// What depends on a commit that fails is never seen: not even a Close.
func TestOutputGateDrops(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, s *edgews.Socket){
		"message": func(t *testing.T, s *edgews.Socket) { require.NoError(t, s.Send("never")) },
		"Close":   func(t *testing.T, s *edgews.Socket) { require.NoError(t, s.Close(4001, "never")) },
		"writer": func(t *testing.T, s *edgews.Socket) {
			w, err := s.NextWriter(t.Context(), edgews.Text)
			require.NoError(t, err)
			_, err = io.WriteString(w, "never")
			require.NoError(t, err)
			require.NoError(t, s.Send("never"))
		},
		"large": func(t *testing.T, s *edgews.Socket) {
			require.NoError(t, s.SendPrepared(edgews.Prepare(edgews.Binary, make([]byte, 100_000))))
			require.NoError(t, s.Send(strings.Repeat("never", 1000)))
		},
		"nothing": func(t *testing.T, s *edgews.Socket) {},
	} {
		t.Run(name, func(t *testing.T) {
			overGates(t, edgews.Options{}, func(t *testing.T, g *gateTest) {
				require.NoError(t, g.server.Send("before"))
				g.commits()
				end(t, g.server)
				g.events.wants(message("before"))
				if g.server.ReadyState() == edgews.Open {
					g.receivesNothing()
				}
				g.committed(io.ErrClosedPipe)
				g.events.wantsEnd(closed(1011, "storage failed", true))
				waitDone(t, g.server)
				assert.ErrorIs(t, g.server.Send("x"), edgews.ErrClosed)
			})
		})
	}
}

// Abort while a commit is under way: the Close follows what was sent.
func TestOutputGateAndAbort(t *testing.T) {
	for _, with := range []error{nil, io.ErrClosedPipe} {
		overGates(t, edgews.Options{}, func(t *testing.T, g *gateTest) {
			g.commits()
			require.NoError(t, g.server.Send("one"))
			g.receivesNothing()
			g.st.Abort(io.ErrNoProgress)
			g.committed(with)
			if with == nil {
				g.events.wantsEnd(message("one"), closed(1011, io.ErrNoProgress.Error(), true))
			} else {
				g.events.wantsEnd(closed(1011, "storage failed", true))
			}
			waitDone(t, g.server)
		})
	}
}

// Pings and auto-responses know nothing of what is stored. An answer only stays behind the messages before it.
func TestOutputGateAndAutoResponse(t *testing.T) {
	overGates(t, edgews.Options{}, func(t *testing.T, g *gateTest) {
		require.NoError(t, g.st.SetAutoResponse(edgews.AutoResponse{Request: "ping", Response: "pong"}))
		g.commits()
		require.NoError(t, g.client.Send("ping"))
		g.events.wants(message("pong"))
		require.NoError(t, g.server.Send("held"))
		require.NoError(t, g.client.Send("ping"))
		g.receivesNothing()
		g.committed(nil)
		g.events.wants(message("held"), message("pong"))
	})
}

// The peer's Close is answered when the object's WebSocketClose has returned, and nothing that it knows waits.
func TestOutputGateAndTheAnswerToAClose(t *testing.T) {
	for _, with := range []error{nil, io.ErrClosedPipe} {
		both(t, edgews.Options{}, func(t *testing.T, client, server *edgews.Socket) {
			var g *gateTest
			ended := make(chan struct{})
			g = newGateTest(t, client, server, func(r *room) {
				r.close = func(_ context.Context, s *edgews.Socket, e edgews.CloseEvent) error {
					defer close(ended)
					return s.Send("last words")
				}
			})
			g.commits()
			require.NoError(t, client.Close(4001, "bye"))
			<-ended
			waitDone(t, server)
			assert.Empty(t, g.st.WebSockets())
			assert.Empty(t, g.events.Rest())
			g.committed(with)
			if with == nil {
				g.events.wantsEnd(message("last words"), closed(4001, "bye", true))
			} else {
				g.events.wantsEnd(closed(1011, "storage failed", true))
			}
		})
	}
}

// The time for a Close to be answered begins when it leaves.
func TestOutputGateAndCloseTimeout(t *testing.T) {
	connect := map[string]func(t *testing.T) (client, server *edgews.Socket){
		"pair": func(t *testing.T) (client, server *edgews.Socket) { return edgews.NewPair() },
		"pipe": func(t *testing.T) (client, server *edgews.Socket) { return overPipe.connect(t, edgews.Options{}) },
	}
	for name, connect := range connect {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				client, server := connect(t)
				g := newGateTest(t, client, server, nil)
				g.commits()
				require.NoError(t, server.Close(4001, "bye"))
				time.Sleep(time.Hour)
				assert.Equal(t, edgews.Open, client.ReadyState())
				assert.Equal(t, edgews.Closing, server.ReadyState())
				g.committed(nil)
				g.events.wantsEnd(closed(4001, "bye", true))
				waitDone(t, server)
				assert.True(t, closeErrorOf(server).WasClean)
			})
		})
	}
}

func closeErrorOf(s *edgews.Socket) *edgews.CloseError { return s.Err().(*edgews.CloseError) }

// What is held back counts like everything else that has not been taken.
func TestOutputGateAndSendBuffer(t *testing.T) {
	const room = 1000
	for _, overflow := range []edgews.Overflow{edgews.OverflowError, edgews.OverflowClose, edgews.OverflowDrop} {
		overWires(t, edgews.Options{SendBuffer: room, Overflow: overflow, Compression: &edgews.Compression{Disable: true}}, func(t *testing.T, client, server *edgews.Socket) {
			g := newGateTest(t, client, server, nil)
			g.commits()
			full := strings.Repeat("x", room)
			require.NoError(t, server.Send(full))
			written := make(chan error, 1)
			if overflow == edgews.OverflowError {
				go func() { written <- server.Write(t.Context(), edgews.Text, []byte("waits")) }()
			}
			err := server.Send("too much")
			if overflow != edgews.OverflowClose {
				g.receivesNothing()
			}
			switch overflow {
			case edgews.OverflowError:
				assert.ErrorIs(t, err, edgews.ErrBufferFull)
				g.committed(nil)
				g.events.wants("text of 1000 bytes", message("waits"))
				require.NoError(t, <-written)
			case edgews.OverflowDrop:
				assert.NoError(t, err)
				g.committed(nil)
				g.events.wants("text of 1000 bytes")
				require.NoError(t, flushFor(t, server, patience))
				require.NoError(t, server.Send("next"))
				g.events.wants(message("next"))
			case edgews.OverflowClose:
				assert.ErrorIs(t, err, edgews.ErrBufferFull)
				g.committed(nil)
				g.events.wantsEnd(closed(1013, "receiver is too slow", true))
			}
		})
	}
}

// A pair's end gets its connection while something is held back.
func TestOutputGateAndRespond(t *testing.T) {
	for _, with := range []error{nil, io.ErrClosedPipe} {
		overBoth(t, func(t *testing.T, where network) {
			client, server := edgews.NewPair()
			g := newGate(t, server, edgews.Options{}, nil)
			require.NoError(t, server.Send("before"))
			g.commits()
			require.NoError(t, server.Send("one"))
			w, err := server.NextWriter(t.Context(), edgews.Text)
			require.NoError(t, err)
			_, err = io.WriteString(w, "two")
			require.NoError(t, err)
			require.NoError(t, server.Send("three"))
			p := where.respond(t, client, server)
			p.expects(text("before"))
			require.NoError(t, w.Close())
			require.NoError(t, server.Send("four"))
			p.sends(ping("through?"))
			p.expects(pong("through?"))
			g.committed(with)
			if with != nil {
				p.expectsClose(1011)
				return
			}
			p.expects(text("one"), part(text("two"), false), continuation("", true), text("three"), text("four"))
		})
	}
}

// A commit of one object is nothing to another, nor to a socket without one.
func TestOutputGateIsTheObjects(t *testing.T) {
	overGates(t, edgews.Options{}, func(t *testing.T, g *gateTest) {
		another := g.wake(g.NewUniqueID())
		theirs, ours := edgews.NewPair()
		require.NoError(t, another.AcceptWebSocket(ours))
		theirEvents := record(t, theirs)
		require.NoError(t, theirs.Accept())
		a, b := edgews.NewPair()
		bEvents := record(t, b)
		acceptBoth(t, a, b)

		g.commits()
		require.NoError(t, ours.Send("another's"))
		require.NoError(t, a.Send("nobody's"))
		theirEvents.wants(message("another's"))
		bEvents.wants(message("nobody's"))
		require.NoError(t, g.server.Send("its own"))
		g.receivesNothing()
		g.committed(nil)
		g.events.wants(message("its own"))
	})
}

// A connection that is lost while something is held back. Flush does not say that the peer has it, neither then nor after the commit.
func TestOutputGateAndLoss(t *testing.T) {
	withPeer(t, edgews.Options{}, func(t *testing.T, s *edgews.Socket, p *peer) {
		g := newGate(t, s, edgews.Options{}, nil)
		g.commits()
		require.NoError(t, s.Send("held"))
		p.hangsUp()
		waitDone(t, s)
		eventually(t, func() bool { return flushFor(t, s, time.Millisecond) != nil }, "the connection is closed")
		g.committed(nil)
		assert.Equal(t, edgews.Closed, s.ReadyState())
		assert.Equal(t, len("held"), s.BufferedAmount())
		assert.ErrorIs(t, flushFor(t, s, patience), edgews.ErrClosed)
	})
}

// The other end of a pair is lost meanwhile.
func TestOutputGateAndLossOfAPair(t *testing.T) {
	bubble(t, func(t *testing.T) {
		client, server := edgews.NewPair()
		g := newGateTest(t, client, server, nil)
		g.commits()
		require.NoError(t, server.Send("held"))
		require.NoError(t, client.Close(4001, "gone"))
		waitDone(t, server)
		time.Sleep(time.Minute) // the Close is not answered in time
		g.events.wantsEnd(cut)
		g.committed(nil)
		assert.Equal(t, edgews.Closed, server.ReadyState())
		assert.Equal(t, len("held"), server.BufferedAmount())
		assert.ErrorIs(t, flushFor(t, server, patience), edgews.ErrClosed)
	})
}

// Shutdown cuts a connection although a commit, for which its output waits, never ends.
func TestOutputGateAndShutdownDuringACommitThatHangs(t *testing.T) {
	overBoth(t, func(t *testing.T, where network) {
		s, p := where.serverAndPeer(t, edgews.Options{CloseTimeout: time.Second})
		g := newGate(t, s, edgews.Options{}, nil)
		g.commits()
		require.NoError(t, s.Send("held"))
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		require.ErrorIs(t, g.Shutdown(ctx), context.DeadlineExceeded)
		p.expectsEOF()
		waitDone(t, s)
		g.committed(context.Canceled)
		eventually(t, func() bool { return g.store.inUse() == 0 }, "storage is released")
		assert.ErrorIs(t, flushFor(t, s, patience), edgews.ErrClosed)
	})
}

// Flush does not say that the peer has what a failed commit has dropped, not even if it waits meanwhile.
func TestOutputGateDropsWhatIsFlushed(t *testing.T) {
	overGates(t, edgews.Options{}, func(t *testing.T, g *gateTest) {
		g.commits()
		require.NoError(t, g.server.Send("never"))
		flushed := make(chan error)
		go func() { flushed <- flushFor(t, g.server, patience) }()
		assert.ErrorIs(t, flushFor(t, g.server, 10*time.Millisecond), context.DeadlineExceeded)
		g.committed(io.ErrClosedPipe)
		assert.ErrorIs(t, <-flushed, edgews.ErrClosed)
		waitDone(t, g.server)
		assert.ErrorIs(t, flushFor(t, g.server, patience), edgews.ErrClosed)
	})
}

// A message that is held back counts for more than one that is not. So when the gate opens, there is room for a Write that waits.
func TestOutputGateMakesRoom(t *testing.T) {
	bubble(t, func(t *testing.T) {
		client, server := edgews.NewPair()
		g := newGate(t, server, edgews.Options{}, nil)
		g.commits()
		for server.Send("x") == nil {
		}
		written := make(chan error)
		go func() { written <- server.Write(t.Context(), edgews.Text, []byte("waits")) }()
		synctest.Wait()
		g.committed(nil)
		select {
		case err := <-written:
			require.NoError(t, err)
		case <-time.After(patience):
			require.FailNow(t, "Write waits", "%v", server.Send("there is room"))
		}
		require.NoError(t, client.Accept())
	})
}

// A commit fails and the object is reset. What the next value sends is not dropped, although the old sockets are still being closed.
func TestOutputGateAndTheNextValue(t *testing.T) {
	bubble(t, func(t *testing.T) {
		client, server := edgews.NewPair()
		g := newGateTest(t, client, server, nil)
		for range 3000 {
			_, another := edgews.NewPair()
			require.NoError(t, g.st.AcceptWebSocket(another))
		}
		theirs, ours := edgews.NewPair()
		theirEvents := record(t, theirs)
		require.NoError(t, theirs.Accept())
		sent := make(chan error)
		id := g.st.ID()
		g.st.WaitUntil(func(ctx context.Context) {
			<-ctx.Done() // the value is dropped
			assert.NoError(t, g.wake(id).AcceptWebSocket(ours))
			sent <- ours.Send("from the next value")
		})
		g.commits()
		g.ends <- io.ErrClosedPipe
		require.NoError(t, <-sent)
		require.ErrorIs(t, <-g.done, io.ErrClosedPipe)
		theirEvents.wants(message("from the next value"))
		assert.Equal(t, edgews.Open, ours.ReadyState())
	})
}

// For all results of the engine and all interleavings of commits and messages, no client receives a message that was sent during a commit
// before the commit has succeeded, or after it has failed; and what it receives is in order and without gaps.
func TestOutputGateProperty(t *testing.T) {
	for seed := range uint64(15) {
		for name, connect := range map[string]func(t *testing.T) (client, server *edgews.Socket){
			"pair": func(t *testing.T) (client, server *edgews.Socket) { return edgews.NewPair() },
			"pipe": func(t *testing.T) (client, server *edgews.Socket) { return overPipe.connect(t, edgews.Options{}) },
		} {
			bubble(t, func(t *testing.T) {
				d := &dice{random: rand.New(rand.NewPCG(seed, 2))}
				testOutputGateProperty(t, name, d, connect)
			})
		}
	}
}

func testOutputGateProperty(t *testing.T, name string, d *dice, connect func(t *testing.T) (client, server *edgews.Socket)) {
	// commits counts those that have begun; ends tells of each whether it has happened. A message names the commit that
	// was under way when it was sent, or 0.
	var mu sync.Mutex
	commits, running := 0, 0
	happened := make(map[int]bool)
	store := watch(t, edgews.NewMemoryStore())
	store.interfere(func(context.Context, edgews.Batch) error {
		mu.Lock()
		commits++
		running = commits
		mu.Unlock()
		time.Sleep(d.within(5 * time.Millisecond))
		mu.Lock()
		defer mu.Unlock()
		if d.chance(3) {
			return io.ErrClosedPipe
		}
		happened[running] = true
		running = 0
		return nil
	})
	n := newRooms(t, &edgews.NamespaceOptions{Store: store}, nil)
	st := n.wake(n.NewUniqueID())
	var all sync.WaitGroup
	for range 3 {
		client, server := connect(t)
		require.NoError(t, st.AcceptWebSocket(server))
		seen := -1
		client.OnMessage(func(e edgews.MessageEvent) {
			var commit, number int
			_, err := fmt.Sscanf(e.Text(), "%d %d", &commit, &number)
			assert.NoError(t, err)
			assert.Equal(t, seen+1, number, "order")
			seen = number
			mu.Lock()
			defer mu.Unlock()
			assert.True(t, commit == 0 || happened[commit], "%s: it was seen before its commit", name)
		})
		require.NoError(t, client.Accept())
		all.Go(func() {
			for i := range 100 {
				mu.Lock() // so that no commit begins or ends between
				err := server.Send(fmt.Sprintf("%d %d %s", running, i, strings.Repeat(" ", int(d.upTo(400)))))
				mu.Unlock()
				if err != nil {
					assert.ErrorIs(t, err, edgews.ErrClosed)
					return
				}
				time.Sleep(d.within(time.Millisecond))
			}
			_ = server.Close(1000, "")
		})
	}
	for range 2 {
		all.Go(func() {
			for range 20 {
				if st.Storage().Put(context.Background(), "a", nil) != nil {
					return
				}
				time.Sleep(d.within(2 * time.Millisecond))
			}
		})
	}
	all.Wait()
}
