package edgews_test

import (
	"context"
	"fmt"
	"math"
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

// overSlowLinks runs f over a pair, a wrapped connection, TCP and TLS. The server's socket is accepted, and nothing reads at the other end.
func overSlowLinks(t *testing.T, f func(t *testing.T, client, server *edgews.Socket)) {
	t.Run("pair", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			client, server := edgews.NewPair()
			require.NoError(t, server.Accept())
			f(t, client, server)
		})
	})
	for _, where := range slowReaderNetworks() {
		where.run(t, func(t *testing.T, where network) {
			client, server := where.connect(t, edgews.Options{Compression: &edgews.Compression{Disable: true}, KeepAlive: -1, WriteTimeout: -1})
			require.NoError(t, server.Accept())
			f(t, client, server)
		})
	}
}

// fills sends n messages of 8000 bytes.
func fills(t *testing.T, s *edgews.Socket, n int) {
	for range n {
		require.NoError(t, s.Send(strings.Repeat("x", 8000)))
	}
}

func receivesAll(t *testing.T, s *edgews.Socket, n int) {
	for range n {
		_, err := s.Receive(within(t))
		require.NoError(t, err)
	}
}

// acceptsToReceive accepts s, which takes no message before its next Receive.
func acceptsToReceive(t *testing.T, s *edgews.Socket) {
	_, err := receiveFor(s, time.Microsecond)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestOnDrain(t *testing.T) {
	overSlowLinks(t, func(t *testing.T, client, server *edgews.Socket) {
		calls := make(chan string, 100)
		listen := func(name string, low int) (remove func()) {
			return server.OnDrain(low, func(s *edgews.Socket) {
				assert.Same(t, server, s)
				calls <- name
			})
		}
		server.OnDrain(1, nil)()
		fills(t, server, 50)
		require.Greater(t, server.BufferedAmount(), 5000)
		listen("5000", 5000)
		listen("5000 again", 5000)
		listen("0", 0)
		remove := listen("removed", 0)
		removeNegative := listen("negative", -1)
		listen("more than ever", math.MaxInt)
		remove()
		remove()
		assert.Empty(t, calls, "it is not low")
		receivesAll(t, client, 50)
		for _, name := range []string{"5000", "5000 again", "0", "negative"} {
			require.Equal(t, name, <-calls)
		}
		require.NoError(t, flushFor(t, server, patience))
		removeNegative()

		fills(t, server, 50) // each fall leads to calls
		received := make(chan struct{})
		go func() { defer close(received); receivesAll(t, client, 50) }()
		last := ""
		for seen := make(map[string]bool); len(seen) < 3; seen[last] = true {
			last = <-calls
			require.NotEqual(t, "removed", last)
			require.NotEqual(t, "negative", last)
		}
		<-received
	})
}

// A producer that goes on in OnDrain sends everything, and never queues more than it wants to.
func TestOnDrainDrivesAProducer(t *testing.T) {
	overSlowLinks(t, func(t *testing.T, client, server *edgews.Socket) {
		const count, low, high = 500, 10_000, 40_000
		var mu sync.Mutex
		next := 0
		produce := func(s *edgews.Socket) {
			mu.Lock()
			defer mu.Unlock()
			for ; next < count && s.BufferedAmount() < high; next++ {
				assert.NoError(t, s.Send(fmt.Sprint(next, strings.Repeat(" ", next*7))))
			}
		}
		server.OnDrain(low, produce)
		produce(server)
		for i := range count {
			m, err := client.Receive(within(t))
			require.NoError(t, err)
			require.Equal(t, fmt.Sprint(i), strings.TrimRight(m.Text(), " "))
			require.Less(t, server.BufferedAmount(), high+count*7+10)
		}
	})
}

// After Close, what is queued still leaves, and is reported. After the close event nothing is.
func TestOnDrainAndClose(t *testing.T) {
	overSlowLinks(t, func(t *testing.T, client, server *edgews.Socket) {
		fills(t, server, 50)
		drained := make(chan struct{}, 10)
		server.OnDrain(0, func(*edgews.Socket) { drained <- struct{}{} })
		require.NoError(t, server.Close(4000, ""))
		receivesAll(t, client, 50)
		<-drained
		_, err := client.Receive(within(t))
		var end *edgews.CloseError
		require.ErrorAs(t, err, &end)
		require.Equal(t, edgews.StatusCode(4000), end.Code)
		waitDone(t, server)
		assert.Empty(t, drained)
		remove := server.OnDrain(0, func(*edgews.Socket) { assert.Fail(t, "called after the end") })
		require.ErrorIs(t, server.Send("late"), edgews.ErrClosed)
		remove()
	})
}

// What is dropped because the socket is lost leads to no call.
func TestOnDrainOfALostSocket(t *testing.T) {
	overAPipe(t, edgews.Options{Logger: quiet}, func(t *testing.T, s *edgews.Socket, p *peer) {
		require.NoError(t, s.Accept())
		fills(t, s, 3)
		s.OnDrain(0, func(*edgews.Socket) { assert.Fail(t, "called") })
		p.hangsUp()
		waitDone(t, s)
		synctest.Wait()
		assert.NotZero(t, s.BufferedAmount())
	})
}

// A listener that fails ends its socket with 1011; one that ends its goroutine does not keep others from being called.
func TestOnDrainFaults(t *testing.T) {
	for _, goexit := range []bool{false, true} {
		overAPipe(t, edgews.Options{Logger: quiet}, func(t *testing.T, s *edgews.Socket, p *peer) {
			require.NoError(t, s.Accept())
			fills(t, s, 1)
			called := make(chan struct{}, 1)
			s.OnDrain(0, func(*edgews.Socket) {
				if goexit {
					runtime.Goexit()
				}
				panic("a fault of the program")
			})
			s.OnDrain(0, func(*edgews.Socket) { called <- struct{}{} })
			p.next()
			<-called
			if !goexit {
				p.expectsClose(1011)
				p.hangsUp()
			}
		})
	}
}

// drainWays are the ways in which an object gets a socket, with messages as its events.
var drainWays = map[string]func(t *testing.T, st *edgews.State, s *edgews.Socket){
	"AcceptWebSocket": func(t *testing.T, st *edgews.State, s *edgews.Socket) { assert.NoError(t, st.AcceptWebSocket(s)) },
	"Hold": func(t *testing.T, st *edgews.State, s *edgews.Socket) {
		st.Hold(s)
		assert.NoError(t, s.Accept())
	},
}

// In an object the calls are events, one at a time with the others, and do not keep its value.
func TestOnDrainInObjects(t *testing.T) {
	for name, take := range drainWays {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				client, server := edgews.NewPair()
				acceptsToReceive(t, client)
				n := newRooms(t, nil, func(r *room) {
					r.serve = func(_ http.ResponseWriter, req *http.Request) {
						server.OnDrain(0, func(*edgews.Socket) { /* added before the object takes the socket */ })
						take(t, r.st, server)
					}
				})
				id := n.NewUniqueID()
				st := n.wake(id)
				server.OnDrain(0, func(*edgews.Socket) { n.notes("drained") })
				fills(t, server, 1)
				held := make(chan struct{})
				busy := make(chan error, 1)
				go func() {
					busy <- st.Do(context.Background(), func() error {
						<-held
						n.notes("event over")
						return nil
					})
				}()
				synctest.Wait()
				receivesAll(t, client, 1)
				synctest.Wait()
				assert.Empty(t, n.diary, "another event runs")
				close(held)
				require.NoError(t, <-busy)
				synctest.Wait()
				assert.Equal(t, "event over", <-n.diary)
				assert.Equal(t, "drained", <-n.diary)
				assert.Empty(t, n.diary)
				assert.NoError(t, client.Close(1000, ""))
			})
		})
	}
}

// Hibernation is not prevented, drops the listeners of the value, and no fall wakes the object.
func TestOnDrainAndHibernation(t *testing.T) {
	bubble(t, func(t *testing.T) {
		client, server := edgews.NewPair()
		n := newRooms(t, nil, nil)
		id := n.NewUniqueID()
		require.NoError(t, n.wake(id).AcceptWebSocket(server))
		server.OnDrain(0, func(*edgews.Socket) { n.notes("the first value's") })
		require.NoError(t, client.Accept())
		fills(t, server, 1)
		synctest.Wait()
		require.Equal(t, "the first value's", <-n.diary)

		time.Sleep(time.Minute)
		fills(t, server, 1)
		synctest.Wait()
		assert.Empty(t, n.diary)
		assert.EqualValues(t, 1, n.made.Load(), "the object sleeps")

		n.wake(id)
		assert.EqualValues(t, 2, n.made.Load())
		server.OnDrain(0, func(*edgews.Socket) { n.notes("the second value's") })
		fills(t, server, 1)
		synctest.Wait()
		require.Equal(t, "the second value's", <-n.diary)
		assert.Empty(t, n.diary)
	})
}

// A producer that OnDrain drives for ever does not keep messages, or the end, waiting.
func TestOnDrainTakesTurns(t *testing.T) {
	for name, take := range drainWays {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				const most = 100
				client, server := edgews.NewPair()
				require.NoError(t, client.Accept()) // what it gets is dropped
				n := newRooms(t, nil, func(r *room) {
					r.serve = func(http.ResponseWriter, *http.Request) { take(t, r.st, server) }
					r.message = func(_ context.Context, s *edgews.Socket, m edgews.Message) error {
						return s.Send("got " + m.Text())
					}
				})
				handled := make(chan string, 2)
				client.OnMessage(func(e edgews.MessageEvent) {
					if text := e.Text(); text != "produced" {
						handled <- text
					}
				})
				// It runs only if the object has not accepted the socket with AcceptWebSocket.
				server.OnMessage(func(e edgews.MessageEvent) { assert.NoError(t, server.Send("got "+e.Text())) })
				n.wake(n.NewUniqueID())
				calls := 0
				server.OnDrain(0, func(s *edgews.Socket) {
					if calls++; calls < most && s.Send("produced") == nil {
						time.Sleep(time.Millisecond) // until it has been taken, and the next call is due
					}
				})
				require.NoError(t, server.Send("produced"))
				time.Sleep(10 * time.Millisecond)
				require.NoError(t, client.Send("stop"))
				assert.Equal(t, "got stop", <-handled)
				assert.NoError(t, client.Close(1000, ""))
				waitDone(t, server)
				assert.Less(t, calls, most)
			})
		})
	}
}
