package edgews_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews"
)

// stuck is an object whose first handler does not return before its context ends, as one does whose engine does not answer.
type stuck struct {
	counting
	ended chan error // gets the cause
}

func (o *stuck) WebSocketMessage(ctx context.Context, _ *edgews.Socket, _ edgews.Message) error {
	<-ctx.Done()
	o.ended <- context.Cause(ctx)
	return ctx.Err()
}

func (o *stuck) Call(ctx context.Context, method string, _ json.RawMessage) (any, error) {
	return method, ctx.Err()
}

// TestClusterAbandon: a handler does not return while its object gets another home. What waits for it fails at once, so that the edges ask the
// next home, and the handler is told by its context.
func TestClusterAbandon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan error, 1)
		c := newTwoNodes(t, func(_ context.Context, st *edgews.State) (edgews.Object, error) {
			return &stuck{counting{st: st, events: new([]string)}, ended}, nil
		})
		first := c.at()
		id := first.ns.IDFromName("lobby")
		ann := first.dial(t, id, "ann")
		ann.take()
		ann.s.Deliver(edgews.Text, []byte("x"))
		answers := make(chan error)
		go func() {
			w := httptest.NewRecorder()
			answers <- first.host.ServeHTTP(id, w, httptest.NewRequest(http.MethodGet, "/", nil), nil)
			assert.Zero(t, w.Body.Len(), "nothing is answered: the edge asks the next home")
		}()
		go func() {
			_, err := first.host.Call(context.Background(), id, "echo", nil)
			answers <- err
		}()
		synctest.Wait()

		c.fail()
		first.host.Abandon(func(edgews.ID) bool { return true })
		for range 2 {
			assert.ErrorIs(t, <-answers, edgews.ErrNotHome)
		}
		assert.ErrorIs(t, <-ended, edgews.ErrNotHome)
		assert.Empty(t, ann.take(), "the socket goes on at its edge")
		assert.Zero(t, ann.handledNow(), "the next home gets the message")

		c.mu.Lock()
		c.home = first.i
		c.mu.Unlock()
		answer, err := first.host.Call(context.Background(), id, "echo", nil)
		require.NoError(t, err)
		assert.Equal(t, `"echo"`, string(answer))
	})
}

// TestClusterAbandonedCall: a call whose handler has begun is not made again, and the caller is not told that its own context has ended.
func TestClusterAbandonedCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTwoNodes(t, func(context.Context, *edgews.State) (edgews.Object, error) { return waitingCall{}, nil })
		first := c.at()
		answer := make(chan error)
		go func() {
			_, err := first.host.Call(context.Background(), first.ns.IDFromName("lobby"), "wait", nil)
			answer <- err
		}()
		synctest.Wait()
		c.fail()
		first.host.Abandon(func(edgews.ID) bool { return true })
		err := <-answer
		assert.ErrorIs(t, err, edgews.ErrAborted)
		assert.NotErrorIs(t, err, context.Canceled)
		assert.NotErrorIs(t, err, edgews.ErrNotHome)
	})
}

// waitingCall is an object whose calls return when their context ends.
type waitingCall struct{}

func (waitingCall) ServeHTTP(http.ResponseWriter, *http.Request) {}
func (waitingCall) Call(ctx context.Context, _ string, _ json.RawMessage) (any, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestClusterAbandonWhileLeaving: a node that gives its objects away stops being their home while a handler still runs.
func TestClusterAbandonWhileLeaving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan error, 1)
		c := newTwoNodes(t, func(_ context.Context, st *edgews.State) (edgews.Object, error) {
			return &stuck{counting{st: st, events: new([]string)}, ended}, nil
		})
		first := c.at()
		id := first.ns.IDFromName("lobby")
		ann := first.dial(t, id, "ann")
		ann.take()
		ann.s.Deliver(edgews.Text, []byte("x"))
		answer := make(chan error)
		go func() {
			_, err := first.host.Call(context.Background(), id, "echo", nil)
			answer <- err
		}()
		synctest.Wait()
		ctx, cancel := context.WithCancel(context.Background())
		left := make(chan error)
		go func() { left <- first.host.Leave(ctx, func(edgews.ID) bool { return true }) }()
		synctest.Wait()
		c.fail()
		cancel()
		assert.ErrorIs(t, <-left, context.Canceled)
		assert.ErrorIs(t, <-answer, edgews.ErrNotHome)
		assert.ErrorIs(t, <-ended, edgews.ErrNotHome)
	})
}

// slowClose is an object whose close event lasts until the value is dropped.
type slowClose struct {
	st      *edgews.State
	begun   chan struct{}
	dropped <-chan struct{}
}

func (o *slowClose) WebSocketClose(context.Context, *edgews.Socket, edgews.CloseEvent) error {
	close(o.begun)
	<-o.dropped
	return nil
}

// ServeHTTP makes the channel that is closed when the socket has ended.
func (o *slowClose) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s, err := edgews.Upgrade(w, r, nil); err == nil {
		_ = o.st.AcceptWebSocket(s)
		s.Done()
	}
}

// TestClusterAbandonDuringClose: an object gets another home while the close event of a socket returns. Both end the socket, once.
func TestClusterAbandonDuringClose(t *testing.T) {
	for range 20 {
		testAbandonDuringClose(t)
	}
}

func testAbandonDuringClose(t *testing.T) {
	const sockets = 60 // so that the event returns before the last one is reset
	var value *slowClose
	c := newTwoNodes(t, func(_ context.Context, st *edgews.State) (edgews.Object, error) {
		dropped := make(chan struct{})
		value = &slowClose{st: st, begun: make(chan struct{}), dropped: dropped}
		st.WaitUntil(func(ctx context.Context) {
			<-ctx.Done()
			close(dropped)
		})
		return value, nil
	})
	first := c.at()
	id := first.ns.IDFromName("lobby")
	var last *edgeConn
	for i := range sockets {
		last = first.dial(t, id, fmt.Sprint(i))
	}
	last.s.Lost(nil)
	<-value.begun
	c.fail()
	first.host.Abandon(func(edgews.ID) bool { return true })
	ended := make(chan struct{})
	last.s.AfterClose(func() { close(ended) })
	<-ended
}

// TestClusterRefusedEvents: the home stops being it after it has taken a message, or the end of a socket, from the queue, and before the handler
// begins. The next home gets what has not been handled.
func TestClusterRefusedEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, events, _ := newCounting(t)
		home := c.at()
		id := home.ns.IDFromName("lobby")
		ann, bob := home.dial(t, id, "ann"), home.dial(t, id, "bob")
		times := 0
		c.mu.Lock()
		c.asked = func() bool { times++; return times == 1 }
		c.mu.Unlock()
		ann.s.Deliver(edgews.Text, []byte("x"))
		assert.Zero(t, ann.handledNow())
		assert.Equal(t, 2, times, "the message was taken from the queue")
		assert.NotContains(t, c.keys(t, id), "x", "the handler has not run")

		told := false
		bob.s.Closed(1000, "bye")
		bob.s.AfterClose(func() { told = true })
		synctest.Wait()
		assert.Empty(t, *events, "the close handler has not run")
		assert.False(t, told)
	})
}

// TestClusterWrongCounts: another node tells of auto-responses and published messages that there cannot be.
func TestClusterWrongCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _, _ := newCounting(t)
		home := c.at()
		ann := home.dial(t, home.ns.IDFromName("lobby"), "ann")
		ann.s.AutoResponded(-1, time.Now())
		ann.s.AutoResponded(math.MaxInt, time.Now())
		ann.s.Published(math.MaxInt, 1)
		ann.s.Published(1, math.MinInt)
	})
}
