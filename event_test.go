package edgews_test

import (
	"bytes"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestListenersRunInOrder(t *testing.T) {
	both(t, edgews.Options{}, func(t *testing.T, a, b *edgews.Socket) {
		order := make(chan string, 100)
		say := func(s string) func(edgews.MessageEvent) {
			return func(e edgews.MessageEvent) { order <- s + e.Text() }
		}
		twice := say("twice ")
		b.OnMessage(say("first "))
		b.OnMessage(twice)
		b.OnMessage(twice)
		b.OnMessage(nil)()
		removeLast := b.OnMessage(say("last "))
		var removeSelf func()
		removeSelf = b.OnMessage(func(e edgews.MessageEvent) {
			order <- "once " + e.Text()
			removeSelf()
			removeSelf()
		})
		b.OnMessage(func(e edgews.MessageEvent) {
			if e.Text() == "2" {
				removeLast()
				b.OnMessage(say("late "))
			}
			order <- "."
		})
		acceptBoth(t, a, b)
		for _, s := range []string{"1", "2", "3"} {
			require.NoError(t, a.Send(s))
		}
		for _, want := range strings.Split("first 1,twice 1,twice 1,last 1,once 1,.,"+
			"first 2,twice 2,twice 2,last 2,.,first 3,twice 3,twice 3,.,late 3", ",") {
			require.Equal(t, want, <-order)
		}
	})
}

func TestListenerRemovedDuringDispatchDoesNotRun(t *testing.T) {
	both(t, edgews.Options{}, func(t *testing.T, a, b *edgews.Socket) {
		var removeNext func()
		b.OnMessage(func(edgews.MessageEvent) { removeNext() })
		removeNext = b.OnMessage(func(edgews.MessageEvent) { t.Error("was removed") })
		events := record(t, b)
		acceptBoth(t, a, b)
		require.NoError(t, a.Send("x"))
		events.wants(message("x"))
	})
}

// A socket whose only listener is for messages stores it in a field, and not in the list.
func TestOnlyListener(t *testing.T) {
	nothing := func(edgews.CloseEvent) {}
	cases := []struct {
		name string
		do   func(s *edgews.Socket, add func(name string) (remove func()))
		want string
	}{
		{"stays", func(s *edgews.Socket, add func(string) func()) { add("a") }, "a."},
		{"is joined", func(s *edgews.Socket, add func(string) func()) { add("a"); add("b") }, "ab."},
		{"is removed", func(s *edgews.Socket, add func(string) func()) { add("a")() }, "."},
		{"is replaced", func(s *edgews.Socket, add func(string) func()) {
			remove := add("a")
			remove()
			add("b")
			remove()
		}, "b."},
		{"is removed after others came", func(s *edgews.Socket, add func(string) func()) {
			remove := add("a")
			add("b")
			s.OnClose(nothing)
			remove()
			remove()
		}, "b."},
		{"is not removed with others", func(s *edgews.Socket, add func(string) func()) {
			add("a")
			add("b")()
		}, "a."},
		{"follows one of another kind", func(s *edgews.Socket, add func(string) func()) {
			remove := s.OnClose(nothing)
			removeA := add("a")
			add("b")
			remove()
			removeA()
		}, "b."},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			both(t, edgews.Options{}, func(t *testing.T, a, b *edgews.Socket) {
				called := make(chan string, 10)
				c.do(b, func(name string) func() {
					return b.OnMessage(func(edgews.MessageEvent) { called <- name })
				})
				acceptBoth(t, a, b)
				require.NoError(t, a.Send("x"))
				require.NoError(t, a.Close(1000, ""))
				waitDone(t, b)
				close(called)
				got := ""
				for name := range called {
					got += name
				}
				assert.Equal(t, c.want, got+".")
			})
		})
	}
}

func TestListenerAddedDuringDispatchOfTheOnlyOne(t *testing.T) {
	both(t, edgews.Options{}, func(t *testing.T, a, b *edgews.Socket) {
		got := make(chan string, 10)
		var remove func()
		remove = b.OnMessage(func(e edgews.MessageEvent) {
			got <- "first " + e.Text()
			b.OnMessage(func(e edgews.MessageEvent) { got <- "second " + e.Text() })
			remove()
		})
		acceptBoth(t, a, b)
		require.NoError(t, a.Send("1"))
		require.NoError(t, a.Send("2"))
		assert.Equal(t, "first 1", <-got)
		assert.Equal(t, "second 2", <-got)
	})
}

func TestPanickingOnlyListener(t *testing.T) {
	both(t, edgews.Options{}, func(t *testing.T, a, b *edgews.Socket) {
		logged := captureDefaultLog(t)
		got := 0
		b.OnMessage(func(edgews.MessageEvent) {
			got++
			panic(errors.New("boom"))
		})
		other := record(t, a)
		acceptBoth(t, a, b)
		require.NoError(t, a.Send("x"))
		_ = a.Send("never seen") // ErrClosed if the other end was faster
		waitDone(t, b)
		other.wantsEnd(closed(1011, "internal error", true))
		assert.Equal(t, 1, got)
		assert.ErrorContains(t, b.Err(), "1011")
		assert.Contains(t, logged(), "boom")
		assert.Contains(t, logged(), "TestPanickingOnlyListener", "the stack")
	})
}

func TestGoexitInOnlyListener(t *testing.T) {
	overWires(t, edgews.Options{}, func(t *testing.T, a, b *edgews.Socket) {
		b.OnMessage(func(edgews.MessageEvent) {
			b.Send("before")
			runtime.Goexit()
		})
		events := record(t, a)
		acceptBoth(t, a, b)
		require.NoError(t, a.Send("exit"))
		_ = a.Send("never seen")
		waitDone(t, b)
		events.wants(message("before"))
		waitDone(t, a)
	})
}

func TestEventsComeOneAtATime(t *testing.T) {
	const n = 2000
	both(t, edgews.Options{}, func(t *testing.T, a, b *edgews.Socket) {
		var inside atomic.Int32
		next := 0
		done := make(chan struct{})
		b.OnMessage(func(e edgews.MessageEvent) {
			assert.EqualValues(t, 1, inside.Add(1))
			assert.Equal(t, byte(next), e.Data[0])
			next++
			inside.Add(-1)
			if next == n {
				close(done)
			}
		})
		acceptBoth(t, a, b)
		for i := range n {
			require.NoError(t, a.Write(t.Context(), edgews.Binary, []byte{byte(i)}))
		}
		<-done
	})
}

// The goroutine that delivers the events of a pair ends when none is left. A message that arrives at that moment must be delivered, and
// by one goroutine only.
func TestPairNeverDeliversTwiceAtOnce(t *testing.T) {
	var inside, received atomic.Int32
	a, b := edgews.NewPair()
	b.OnMessage(func(edgews.MessageEvent) {
		if inside.Add(1) != 1 {
			t.Error("two events at once")
		}
		inside.Add(-1)
		received.Add(1)
	})
	acceptBoth(t, a, b)
	const n = 20_000
	for i := range n {
		require.NoError(t, a.Send("x"))
		if i%3 == 0 {
			runtime.Gosched()
		}
	}
	eventually(t, func() bool { return received.Load() == n }, "all messages received")
}

func TestPanickingListener(t *testing.T) {
	both(t, edgews.Options{}, func(t *testing.T, a, b *edgews.Socket) {
		logged := captureDefaultLog(t)
		b.OnMessage(func(edgews.MessageEvent) { panic(errors.New("boom")) })
		events, other := record(t, b), record(t, a)
		acceptBoth(t, a, b)
		require.NoError(t, a.Send("x"))
		_ = a.Send("never seen") // ErrClosed if the other end was faster
		events.wantsEnd(message("x"), failed("listener panicked: boom"), closed(1011, "internal error", false))
		other.wantsEnd(closed(1011, "internal error", true))
		assert.Contains(t, logged(), "boom")
		assert.Contains(t, logged(), "TestPanickingListener", "the stack")
	})
}

func TestPanicInCloseListenerIsOnlyLogged(t *testing.T) {
	both(t, edgews.Options{}, func(t *testing.T, a, b *edgews.Socket) {
		logged := captureDefaultLog(t)
		b.OnClose(func(edgews.CloseEvent) { panic("at the end") })
		events := record(t, b)
		acceptBoth(t, a, b)
		require.NoError(t, a.Close(1000, ""))
		events.wantsEnd(closed(1000, "", true))
		waitDone(t, a)
		assert.Contains(t, logged(), "at the end")
	})
}

// captureDefaultLog makes logged return what has been logged to slog.Default since the call, until the end of the test.
func captureDefaultLog(t *testing.T) (logged func() string) {
	before := slog.Default()
	var mu sync.Mutex
	var b bytes.Buffer
	slog.SetDefault(slog.New(slog.NewTextHandler(lockedWriter{&mu, &b}, nil)))
	t.Cleanup(func() { slog.SetDefault(before) })
	return func() string {
		mu.Lock()
		defer mu.Unlock()
		return b.String()
	}
}

// lockedWriter is a buffer for several goroutines.
type lockedWriter struct {
	mu *sync.Mutex
	b  *bytes.Buffer
}

func (w lockedWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}

func TestLoggerOfTheOptions(t *testing.T) {
	overWires(t, edgews.Options{}, func(t *testing.T, a, b *edgews.Socket) {})
	var mu sync.Mutex
	var b bytes.Buffer
	logger := slog.New(slog.NewTextHandler(lockedWriter{&mu, &b}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	overAPipe(t, edgews.Options{Logger: logger}, func(t *testing.T, s *edgews.Socket, p *peer) {
		s.OnMessage(func(edgews.MessageEvent) { panic("mine") })
		require.NoError(t, s.Accept())
		p.sends(text("x"))
		p.expects(closing(1011, "internal error"))
		p.hangsUp()
		waitDone(t, s)
	})
	for _, want := range []string{"level=ERROR", "panic=mine", "level=WARN", "socket failed", "level=DEBUG", "code=1011"} {
		assert.Contains(t, b.String(), want)
	}
}

// A listener that ends its goroutine, as t.FailNow does, must not stop the delivery of events.
func TestGoexitInListener(t *testing.T) {
	both(t, edgews.Options{}, func(t *testing.T, a, b *edgews.Socket) {
		b.OnMessage(func(e edgews.MessageEvent) {
			if e.Text() == "exit" {
				runtime.Goexit()
			}
		})
		ends := make(chan edgews.CloseEvent, 10)
		b.OnClose(func(e edgews.CloseEvent) { ends <- e })
		acceptBoth(t, a, b)
		require.NoError(t, a.Send("exit"))
		_ = a.Close(1000, "") // ErrClosed if the other end was faster
		waitDone(t, a)
		waitDone(t, b)
		assert.Len(t, ends, 1)
	})
}

func TestGoexitInErrorListenerKeepsTheCloseEvent(t *testing.T) {
	withPeer(t, edgews.Options{}, func(t *testing.T, s *edgews.Socket, p *peer) {
		closes := make(chan edgews.CloseEvent, 2)
		s.OnError(func(edgews.ErrorEvent) { runtime.Goexit() })
		s.OnClose(func(e edgews.CloseEvent) { closes <- e })
		require.NoError(t, s.Accept())
		p.sends(aFrame{bits: fin, opcode: 3})
		p.expectsClose(1002)
		waitDone(t, s)
		require.Len(t, closes, 1)
	})
}

func TestGoexitInCloseListener(t *testing.T) {
	both(t, edgews.Options{}, func(t *testing.T, a, b *edgews.Socket) {
		b.OnClose(func(edgews.CloseEvent) { runtime.Goexit() })
		acceptBoth(t, a, b)
		require.NoError(t, a.Close(1000, ""))
		waitDone(t, a)
		waitDone(t, b)
	})
}

// Workers deliver a message to a listener that is added in the same turn of the event loop, edgews to one that is added within 10 ms
// after Accept.
func TestListenerAddedAfterAcceptGetsTheMessage(t *testing.T) {
	both(t, edgews.Options{KeepAlive: -1}, func(t *testing.T, a, b *edgews.Socket) {
		require.NoError(t, a.Accept())
		require.NoError(t, a.Send("early"))
		accepted := time.Now()
		require.NoError(t, b.Accept())
		events := record(t, b)
		late := time.Since(accepted) > 9*time.Millisecond // on a busy machine
		require.NoError(t, a.Send("later"))
		if first := events.next(); !late || first != message("later") {
			require.Equal(t, message("early"), first)
			events.wants(message("later"))
		}
	})
}

func TestMessageWithoutListenerIsNotKeptForLater(t *testing.T) {
	bubble(t, func(t *testing.T) {
		for _, connect := range []func() (a, b *edgews.Socket){
			edgews.NewPair,
			func() (a, b *edgews.Socket) { return overPipe.connect(t, edgews.Options{}) },
		} {
			a, b := connect()
			acceptBoth(t, a, b)
			require.NoError(t, a.Send("no listener yet"))
			time.Sleep(time.Second)
			events := record(t, b)
			require.NoError(t, a.Send("with listener"))
			events.wants(message("with listener"))
			require.NoError(t, a.Flush(t.Context()))
		}
	})
}

func TestPartOfAMessageWithoutListenerIsNotDelivered(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, b := edgews.NewPair()
		acceptBoth(t, a, b)
		require.NoError(t, a.Send("unheard"))
		w, err := a.NextWriter(t.Context(), edgews.Text)
		require.NoError(t, err)
		w.Write([]byte("begin"))
		time.Sleep(time.Second)
		events := record(t, b)
		w.Write([]byte("end"))
		require.NoError(t, w.Close())
		require.NoError(t, a.Send("next"))
		events.wants(message("beginend"), message("next"))
	})
}

// A program that only sends is not stopped by messages that it does not listen to, and they do not use its memory.
func TestMessagesWithoutListenerDoNotBlockTheSender(t *testing.T) {
	both(t, edgews.Options{}, func(t *testing.T, a, b *edgews.Socket) {
		acceptBoth(t, a, b)
		chunk := bytes.Repeat([]byte("x"), 16<<10)
		for range 200 {
			require.NoError(t, a.Write(within(t), edgews.Binary, chunk))
			require.NoError(t, a.Write(within(t), edgews.Binary, nil))
		}
		require.NoError(t, a.Flush(within(t)))
		require.NoError(t, a.Close(1000, "seen"))
		waitDone(t, a)
		waitDone(t, b)
		assert.EqualError(t, b.Err(), `edgews: connection closed: 1000 normal closure "seen"`)
	})
}

func TestReceiveGetsUndeliveredMessages(t *testing.T) {
	bubble(t, func(t *testing.T) {
		for _, connect := range []func() (a, b *edgews.Socket){
			edgews.NewPair,
			func() (a, b *edgews.Socket) { return overPipe.connect(t, edgews.Options{}) },
		} {
			a, b := connect()
			acceptBoth(t, a, b)
			require.NoError(t, a.Send("1"))
			require.NoError(t, a.Send("2"))
			require.NoError(t, a.Send("3"))
			time.Sleep(time.Second)
			m, err := b.Receive(t.Context())
			require.NoError(t, err)
			assert.Equal(t, "1", m.Text())
			b.OnMessage(func(edgews.MessageEvent) { t.Error("messages go to Receive") })
			for _, want := range []string{"2", "3"} {
				m, err = b.Receive(t.Context())
				require.NoError(t, err)
				assert.Equal(t, want, m.Text())
			}
		}
	})
}

// What a handler has sent is written although the handler then blocks.
func TestSlowHandlerDoesNotDelayItsReplies(t *testing.T) {
	overAPipe(t, edgews.Options{}, func(t *testing.T, s *edgews.Socket, p *peer) {
		s.OnMessage(func(e edgews.MessageEvent) {
			s.Send("re " + e.Text())
			time.Sleep(5 * time.Second)
		})
		require.NoError(t, s.Accept())
		start := time.Now()
		p.sends(text("1"), text("2"), text("3")) // in one read: replies to the first two are corked
		p.expects(text("re 1"))
		assert.LessOrEqual(t, time.Since(start), 2*time.Millisecond)
		p.expects(text("re 2"))
		assert.LessOrEqual(t, time.Since(start), 5*time.Second+2*time.Millisecond)
		p.expects(text("re 3"))
		p.hangsUp()
	})
}

func TestBlockedHandlerBlocksOnlyItsSocket(t *testing.T) {
	both(t, edgews.Options{}, func(t *testing.T, a, b *edgews.Socket) {
		release := make(chan struct{})
		b.OnMessage(func(edgews.MessageEvent) { <-release })
		acceptBoth(t, a, b)
		require.NoError(t, a.Send("x"))
		c, d := edgews.NewPair()
		events := record(t, d)
		acceptBoth(t, c, d)
		require.NoError(t, c.Send("y"))
		events.wants(message("y"))
		require.NoError(t, b.Send("out of the blocked one"))
		m, err := a.Receive(within(t))
		require.NoError(t, err)
		assert.Equal(t, "out of the blocked one", m.Text())
		close(release)
	})
}
