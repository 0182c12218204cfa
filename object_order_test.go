package edgews_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// ledger is what a test of order knows of one socket: what has been sent on it and what the object has seen.
type ledger struct {
	name   string
	client *edgews.Socket
	sent   int
	seen   int
	closed int
}

// schedule is a random run of one object: several clients, requests, Do, hibernation, panics, and handlers that take
// their time. For every schedule, each message takes effect once, in the order of its socket, no two events
// overlap, and each socket's close event comes once, after all its messages.
type schedule struct {
	t       *testing.T
	rand    *rand.Rand
	n       *edgews.Namespace
	id      edgews.ID
	inEvent atomic.Bool
	lates   sync.WaitGroup

	mu      sync.Mutex // guards everything in the ledgers that the object writes, and st
	st      *edgews.State
	ledgers map[string]*ledger
}

func (r *schedule) event(seed uint64, fn func()) {
	assert.False(r.t, r.inEvent.Swap(true), "two events at a time")
	if seed%3 > 0 {
		time.Sleep(time.Duration(seed%20) * 100 * time.Millisecond)
	}
	r.mu.Lock()
	fn()
	r.mu.Unlock()
	r.inEvent.Store(false)
}

func (r *schedule) room(st *edgews.State) *room {
	of := func(s *edgews.Socket) *ledger {
		var name string
		require.NoError(r.t, s.Attachment(&name))
		return r.ledgers[name]
	}
	return &room{
		st:    st,
		serve: func(http.ResponseWriter, *http.Request) { r.event(4, func() {}) },
		message: func(_ context.Context, s *edgews.Socket, m edgews.Message) error {
			var seed uint64
			r.mu.Lock()
			l := of(s)
			r.mu.Unlock()
			_, err := fmt.Sscanf(m.Text(), "%d", &seed)
			require.NoError(r.t, err)
			r.event(seed, func() {
				assert.Equal(r.t, fmt.Sprint(seed, " ", l.seen), m.Text(), "order of %s", l.name)
				assert.Zero(r.t, l.closed)
				l.seen++
			})
			switch seed % 17 {
			case 0:
				panic("by design")
			case 1:
				return errors.New("by design")
			case 2:
				st.WaitUntil(func(ctx context.Context) {
					time.Sleep(time.Duration(seed%7) * time.Second)
					err := st.Do(ctx, func() error { r.event(seed, func() {}); return nil })
					if err != nil { // another handler has panicked, and the value has gone
						assert.ErrorIs(r.t, err, edgews.ErrAborted)
						assert.ErrorIs(r.t, context.Cause(ctx), edgews.ErrAborted)
					}
				})
			}
			return nil
		},
		close: func(_ context.Context, s *edgews.Socket, e edgews.CloseEvent) error {
			r.mu.Lock()
			l := of(s)
			r.mu.Unlock()
			r.event(uint64(l.seen), func() {
				assert.Equal(r.t, l.sent, l.seen, "messages of %s before its close event", l.name)
				l.closed++
			})
			return nil
		},
	}
}

func (r *schedule) join() {
	client, server := edgews.NewPair()
	l := &ledger{name: fmt.Sprint("socket ", len(r.ledgers)), client: client}
	require.NoError(r.t, server.SetAttachment(l.name))
	r.mu.Lock()
	r.ledgers[l.name] = l
	st := r.st
	r.mu.Unlock()
	require.NoError(r.t, client.Accept())
	for st.AcceptWebSocket(server) != nil { // it hibernated, or panicked: the State is the old one
		r.n.Get(r.id).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
		r.mu.Lock()
		st = r.st
		r.mu.Unlock()
	}
}

// step does one random thing.
func (r *schedule) step(open []*ledger) []*ledger {
	switch i := r.rand.IntN(20); {
	case len(open) < 2 || i == 0 && len(open) < 6:
		r.join()
		return r.open()
	case i < 12:
		l := open[r.rand.IntN(len(open))]
		for range r.rand.IntN(4) {
			require.NoError(r.t, l.client.Send(fmt.Sprint(r.rand.Uint32N(1000), " ", l.sent)))
			l.sent++
		}
	case i < 13:
		l := open[r.rand.IntN(len(open))]
		require.NoError(r.t, l.client.Close(1000, l.name))
		return r.open()
	case i < 15:
		r.lates.Go(func() {
			r.n.Get(r.id).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
		})
	case i < 17:
		r.lates.Go(func() { _ = r.n.Hibernate(context.Background(), r.id) })
	default:
		time.Sleep(time.Duration(r.rand.IntN(30)) * time.Second)
	}
	return open
}

func (r *schedule) open() (open []*ledger) {
	for i := range len(r.ledgers) {
		if l := r.ledgers[fmt.Sprint("socket ", i)]; l.client.ReadyState() == edgews.Open {
			open = append(open, l)
		}
	}
	return open
}

func (r *schedule) run(steps int) {
	var open []*ledger
	for range steps {
		open = r.step(open)
	}
	for _, l := range r.open() {
		require.NoError(r.t, l.client.Close(1000, ""))
	}
	time.Sleep(24 * time.Hour)
	r.lates.Wait()
	synctest.Wait()
	for _, l := range r.ledgers {
		assert.Equal(r.t, l.sent, l.seen, "every message of %s", l.name)
		assert.Equal(r.t, 1, l.closed, "close events of %s", l.name)
		assert.Equal(r.t, edgews.Closed, l.client.ReadyState())
	}
	for range r.n.Objects() {
		assert.Fail(r.t, "the object is still there")
	}
}

func newSchedule(t *testing.T, seed uint64) *schedule {
	r := &schedule{t: t, rand: rand.New(rand.NewPCG(seed, 0)), ledgers: make(map[string]*ledger)}
	r.n = edgews.NewNamespace("order", func(_ context.Context, st *edgews.State) (edgews.Object, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.st = st
		return r.room(st), nil
	}, &edgews.NamespaceOptions{Options: edgews.Options{Logger: quiet, CloseTimeout: time.Hour, SendBuffer: 1 << 24}})
	r.id = r.n.NewUniqueID()
	r.n.Get(r.id).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	return r
}

func TestObjectOrder(t *testing.T) {
	seeds := uint64(100)
	if testing.Short() {
		seeds = 10
	}
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) {
			r := newSchedule(t, seed)
			r.run(200)
			require.NoError(t, r.n.Shutdown(t.Context()))
		})
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}
