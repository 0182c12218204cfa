package edgews_test

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func total(t testing.TB, m *edgews.Meter) edgews.Usage {
	t.Helper()
	u, err := m.Total(t.Context())
	require.NoError(t, err)
	return u
}

func TestLedger(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := watch(t, edgews.NewMemoryStore())
		run := func(store edgews.Store, messages int) *edgews.Meter {
			m := edgews.NewMeter(&edgews.MeterOptions{Store: store, Logger: quiet})
			s, p := overPipe.serverAndPeer(t, edgews.Options{Meter: m.Tenant("acme").Tenant("eu"), KeepAlive: -1})
			s.OnMessage(func(edgews.MessageEvent) {})
			require.NoError(t, s.Accept())
			for range messages {
				p.sends(text("x"))
			}
			time.Sleep(90 * time.Second)
			p.hangsUp()
			synctest.Wait()
			assert.EqualValues(t, messages, m.Usage().MessagesIn, "since the start")
			return m
		}
		run(&mortalStore{Store: store, commits: 1, before: true}, 3) // after a minute it was written, and half a minute is lost
		m := run(store, 4)
		want := edgews.Usage{Connections: 2, MessagesIn: 7, BytesIn: 7, Connected: 60*time.Second + 90*time.Second}
		assert.Equal(t, want, total(t, m))
		assert.Equal(t, want, total(t, m.Tenant("acme")))
		require.NoError(t, m.Flush(t.Context()))
		require.NoError(t, m.Flush(t.Context()), "nothing is new")

		m = edgews.NewMeter(&edgews.MeterOptions{Store: store})
		assert.Equal(t, want, total(t, m))
		for name := range m.Tenants() {
			assert.Equal(t, "acme", name, "the ledger knows it")
		}
		assert.Zero(t, m.Usage())
		other := edgews.NewMeter(&edgews.MeterOptions{Store: store, Ledger: "another"})
		assert.Zero(t, total(t, other))
		assert.Equal(t, want.Connections, total(t, m.Tenant("acme").Tenant("eu")).Connections)
	})
}

// Two programs that follow each other may overlap.
func TestLedgerIsHandedOver(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := edgews.NewMemoryStore()
		count := func(m *edgews.Meter, n int) {
			for range n {
				s, p := overPipe.serverAndPeer(t, edgews.Options{Meter: m, KeepAlive: -1})
				require.NoError(t, s.Accept())
				p.hangsUp()
			}
			synctest.Wait()
		}
		first := edgews.NewMeter(&edgews.MeterOptions{Store: store})
		second := edgews.NewMeter(&edgews.MeterOptions{Store: store})
		count(first, 1)
		assert.Zero(t, total(t, second).Connections)
		require.NoError(t, first.Flush(t.Context()))
		count(second, 2)
		require.NoError(t, second.Flush(t.Context()))
		count(first, 4)
		require.NoError(t, first.Flush(t.Context()))
		count(second, 8)
		require.NoError(t, second.Flush(t.Context()))
		assert.EqualValues(t, 15, total(t, second).Connections)
		assert.EqualValues(t, 15, total(t, edgews.NewMeter(&edgews.MeterOptions{Store: store})).Connections)
	})
}

// Shutdown writes what a namespace has used.
func TestShutdownWritesTheLedger(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := edgews.NewMemoryStore()
		n := newRooms(t, &edgews.NamespaceOptions{Options: edgews.Options{Meter: edgews.NewMeter(&edgews.MeterOptions{Store: store})}}, nil)
		n.get(n.NewUniqueID())
		require.NoError(t, n.Shutdown(t.Context()))
		assert.EqualValues(t, 1, total(t, edgews.NewMeter(&edgews.MeterOptions{Store: store})).HTTPRequests)
	})
}

// Whoever calls Shutdown once more, as main does, may end the program and close the store behind it.
func TestSecondShutdownWaitsForTheLedger(t *testing.T) {
	bubble(t, func(t *testing.T) {
		memory := edgews.NewMemoryStore()
		slow := &meanwhileStore{Store: memory, meanwhile: func() { time.Sleep(time.Second) }}
		n := newRooms(t, &edgews.NamespaceOptions{Options: edgews.Options{Meter: edgews.NewMeter(&edgews.MeterOptions{Store: slow})}}, nil)
		n.get(n.NewUniqueID())
		go n.Shutdown(t.Context())
		synctest.Wait()
		short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		assert.Equal(t, context.DeadlineExceeded, n.Shutdown(short))
		require.NoError(t, n.Shutdown(t.Context()))
		assert.EqualValues(t, 1, total(t, edgews.NewMeter(&edgews.MeterOptions{Store: memory})).HTTPRequests)
	})
}

// Two programs share a ledger while its store fails for half an hour. Whichever writes first when it works again, nothing is
// lost and nothing is there twice.
func TestLedgerOfTwoOutlivesAnOutage(t *testing.T) {
	for _, liar := range []bool{false, true} {
		bubble(t, func(t *testing.T) {
			memory := edgews.NewMemoryStore()
			var stores []*mortalStore
			var meters []*edgews.Meter
			count := func(i, n int) {
				for range n {
					s, p := overPipe.serverAndPeer(t, edgews.Options{Meter: meters[i].Tenant("acme"), KeepAlive: -1})
					require.NoError(t, s.Accept())
					p.hangsUp()
				}
				synctest.Wait()
			}
			for range 2 {
				stores = append(stores, &mortalStore{Store: memory, commits: 1 << 30, before: !liar})
				meters = append(meters, edgews.NewMeter(&edgews.MeterOptions{Store: stores[len(stores)-1], Logger: quiet, Interval: 24 * time.Hour}))
			}
			used := 0
			for round := range 6 {
				for i, m := range meters {
					stores[i].fails()
					count(i, 1+round)
					used += 1 + round
					require.Error(t, m.Flush(t.Context()), "and nobody knows whether it has happened")
					stores[i].heal()
				}
				for i := range meters {
					m := meters[(i+round)%2]
					count((i+round)%2, 10)
					used += 10
					require.NoError(t, m.Flush(t.Context()))
				}
				for _, m := range append(meters, edgews.NewMeter(&edgews.MeterOptions{Store: memory})) {
					require.NoError(t, m.Flush(t.Context()))
				}
				require.EqualValues(t, used, total(t, edgews.NewMeter(&edgews.MeterOptions{Store: memory})).Connections)
			}
		})
	}
}

// Names may be any bytes: two that differ in bytes that are not UTF-8 are two tenants in the ledger, too.
func TestLedgerKeepsTenantsApart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		names := []string{"\xfe", "\xff", "\ufffd", "%FF", "100%", "a/b", "a b", "\x00é"}
		opts := &edgews.MeterOptions{Store: edgews.NewMemoryStore(), Logger: quiet}
		m := edgews.NewMeter(opts)
		for i, name := range names {
			for range i + 1 {
				_, p := overPipe.serverAndPeer(t, edgews.Options{Meter: m.Tenant(name).Tenant(name), KeepAlive: -1})
				p.hangsUp()
			}
		}
		synctest.Wait()
		require.NoError(t, m.Flush(t.Context()))

		m = edgews.NewMeter(opts)
		assert.EqualValues(t, len(names)*(len(names)+1)/2, total(t, m).Connections)
		for i, name := range names {
			assert.EqualValues(t, i+1, total(t, m.Tenant(name).Tenant(name)).Connections, "%q", name)
		}
	})
}

var errCrash = errors.New("the machine is off")

// A program dies at any moment, before a commit, behind it, or between two, and begins again. The bill is never more than what
// was used, and short by no more than what was used in the minute before each crash. Commits that say that they have failed,
// and have not, change nothing.
func TestLedgerSurvivesCrashes(t *testing.T) {
	for seed := range uint64(15) {
		bubble(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 3))
			store := edgews.NewMemoryStore()
			used, safe := make(map[string]int64), make(map[string]int64)
			for range 5 {
				oneLife(t, r, store, used, safe)
				m := edgews.NewMeter(&edgews.MeterOptions{Store: store})
				for name, most := range used {
					got := total(t, m.Tenant(name)).Connections
					require.LessOrEqual(t, got, most, "%q is billed twice", name)
					require.GreaterOrEqual(t, got, safe[name], "%q is not billed", name)
				}
				u := total(t, m)
				require.Equal(t, u.Connections, total(t, m.Tenant("a")).Connections+total(t, m.Tenant("b")).Connections)
				require.Equal(t, u.MessagesIn, u.BytesIn, "each commit is of one moment")
			}
		})
	}
}

// oneLife is a run that ends with a crash. It adds what was used, and what of it has to survive.
func oneLife(t *testing.T, r *rand.Rand, memory edgews.Store, used, safe map[string]int64) {
	type use struct {
		name string
		at   time.Time
	}
	store := &mortalStore{Store: memory, commits: r.IntN(8), before: r.IntN(2) == 0, liar: r.IntN(2) == 0}
	m := edgews.NewMeter(&edgews.MeterOptions{Store: store, Logger: quiet})
	var uses []use
	for range 20 {
		name := []string{"a", "b"}[r.IntN(2)]
		s, p := overPipe.serverAndPeer(t, edgews.Options{Meter: m.Tenant(name), KeepAlive: -1})
		require.NoError(t, s.Accept())
		uses = append(uses, use{name, time.Now()})
		p.sends(text("x"))
		p.hangsUp()
		time.Sleep(time.Duration(r.IntN(50)) * time.Second)
		synctest.Wait()
		if store.isDead() {
			break
		}
	}
	crash := store.die()
	for _, u := range uses {
		used[u.name]++
		if u.at.Before(crash.Add(-time.Minute)) {
			safe[u.name]++
		}
	}
}

// mortalStore dies at a commit.
type mortalStore struct {
	edgews.Store
	before bool // before the commit that it dies at, not behind it
	liar   bool // every commit is said to fail

	mu      sync.Mutex
	commits int       // that it lives through
	died    time.Time // zero: it lives
}

func (s *mortalStore) isDead() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.died.IsZero()
}

// die returns the moment of death.
func (s *mortalStore) die() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.died.IsZero() {
		s.died = time.Now()
	}
	return s.died
}

func (s *mortalStore) Open(ctx context.Context, key edgews.ObjectKey, f edgews.Fence) (edgews.ObjectStore, error) {
	if s.isDead() {
		return nil, errCrash
	}
	o, err := s.Store.Open(ctx, key, f)
	return &mortalObject{o, s}, err
}

type mortalObject struct {
	edgews.ObjectStore
	s *mortalStore
}

func (o *mortalObject) Commit(ctx context.Context, b edgews.Batch) error {
	o.s.mu.Lock()
	o.s.commits--
	last := o.s.commits < 0
	o.s.mu.Unlock()
	if last && o.s.before {
		o.s.die()
		return errCrash
	}
	err := o.ObjectStore.Commit(ctx, b)
	if last {
		o.s.die()
	}
	if last || o.s.liar {
		return errCrash
	}
	return err
}

// heal has the store live again, for as long as nothing happens.
func (s *mortalStore) heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.died, s.commits = time.Time{}, 1<<30
}

// fails has it die at the next commit.
func (s *mortalStore) fails() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commits = 0
}

// A store that fails for an hour: nothing is lost and nothing is there twice, once it works again.
func TestLedgerOutlivesAnOutage(t *testing.T) {
	for _, liar := range []bool{false, true} {
		bubble(t, func(t *testing.T) {
			memory := edgews.NewMemoryStore()
			store := &mortalStore{Store: memory, commits: 1, before: !liar}
			m := edgews.NewMeter(&edgews.MeterOptions{Store: store, Logger: quiet})
			for i := range 12 {
				s, p := overPipe.serverAndPeer(t, edgews.Options{Meter: m.Tenant([]string{"a", "b"}[i%2]), KeepAlive: -1})
				require.NoError(t, s.Accept())
				p.sends(text("x"))
				time.Sleep(7 * time.Minute)
				p.hangsUp()
				synctest.Wait()
				if i == 8 {
					require.True(t, store.isDead())
					store.heal()
				}
			}
			time.Sleep(2 * time.Minute) // nobody flushes
			kept := edgews.NewMeter(&edgews.MeterOptions{Store: memory})
			want := edgews.Usage{Connections: 12, MessagesIn: 12, BytesIn: 12, Connected: 12 * 7 * time.Minute}
			assert.Equal(t, want, total(t, kept))
			assert.Equal(t, total(t, m.Tenant("a")), total(t, kept.Tenant("a")))
			assert.Equal(t, want, m.Usage())
		})
	}
}

// meanwhileStore does something in the middle of each commit.
type meanwhileStore struct {
	edgews.Store
	meanwhile func()
}

func (s *meanwhileStore) Open(ctx context.Context, key edgews.ObjectKey, f edgews.Fence) (edgews.ObjectStore, error) {
	o, err := s.Store.Open(ctx, key, f)
	return &meanwhileObject{o, s}, err
}

type meanwhileObject struct {
	edgews.ObjectStore
	s *meanwhileStore
}

func (o *meanwhileObject) Commit(ctx context.Context, b edgews.Batch) error {
	o.s.meanwhile()
	return o.ObjectStore.Commit(ctx, b)
}

// The last connection ends, and a tenant is made, while the ledger is written: the next round has them, though nothing goes on.
func TestLedgerHasWhatEndsWhileItIsWritten(t *testing.T) {
	bubble(t, func(t *testing.T) {
		memory := edgews.NewMemoryStore()
		once := make(chan func(), 1)
		store := &meanwhileStore{Store: memory, meanwhile: func() {
			select {
			case f := <-once:
				f()
			default:
			}
		}}
		m := edgews.NewMeter(&edgews.MeterOptions{Store: store, Logger: quiet})
		s, p := overPipe.serverAndPeer(t, edgews.Options{Meter: m.Tenant("a"), KeepAlive: -1})
		require.NoError(t, s.Accept())
		once <- func() {
			m.Tenant("b")
			time.Sleep(time.Second)
			p.hangsUp()
			<-s.Done()
		}
		time.Sleep(10 * time.Minute)
		require.Empty(t, once)
		assert.Equal(t, m.Usage(), total(t, edgews.NewMeter(&edgews.MeterOptions{Store: memory})))
	})
}

// Traffic, Flush from many sides, readings and new tenants, in real time; then the ledger has what was used.
func TestLedgerIsWrittenInATumult(t *testing.T) {
	memory := edgews.NewMemoryStore()
	m := edgews.NewMeter(&edgews.MeterOptions{Store: memory, Interval: time.Millisecond})
	n := newRooms(t, &edgews.NamespaceOptions{Options: edgews.Options{Meter: m}, Tenant: func(id edgews.ID) string { return id.String()[:1] }}, nil)
	var all sync.WaitGroup
	const workers, requests = 4, 100
	for range workers {
		all.Go(func() {
			for range requests {
				n.get(n.NewUniqueID())
			}
		})
		all.Go(func() {
			for range 20 {
				assert.NoError(t, m.Flush(t.Context()))
				m.Usage()
			}
		})
	}
	all.Go(func() { assert.NoError(t, m.Flush(t.Context())) })
	all.Wait()
	require.NoError(t, n.Shutdown(t.Context()))
	kept := edgews.NewMeter(&edgews.MeterOptions{Store: memory})
	assert.Equal(t, m.Usage(), total(t, kept))
	assert.EqualValues(t, workers*requests, total(t, kept).HTTPRequests)
}

// A store that hangs has one round wait for it, however short the interval is, and nobody else.
func TestLedgerOfAStoreThatHangs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var lines atomic.Int32
		memory := edgews.NewMemoryStore()
		var hangs atomic.Bool
		hangs.Store(true)
		store := &meanwhileStore{Store: memory, meanwhile: func() {
			if hangs.Load() {
				time.Sleep(31 * time.Second) // its context ends before
			}
		}}
		logger := slog.New(countingHandler{slog.DiscardHandler, &lines})
		m := edgews.NewMeter(&edgews.MeterOptions{Store: store, Interval: 100 * time.Millisecond, Logger: logger})
		for range 60 {
			s, p := overPipe.serverAndPeer(t, edgews.Options{Meter: m, KeepAlive: -1})
			require.NoError(t, s.Accept())
			time.Sleep(time.Second)
			p.hangsUp()
		}
		synctest.Wait()
		assert.EqualValues(t, 1, lines.Load())
		assert.Equal(t, time.Minute, m.Usage().Connected)
		hangs.Store(false)
		time.Sleep(2 * time.Minute)
		assert.EqualValues(t, 2, lines.Load())
		assert.Equal(t, m.Usage(), total(t, edgews.NewMeter(&edgews.MeterOptions{Store: memory})))
	})
}

// countingHandler counts what is logged.
type countingHandler struct {
	slog.Handler
	lines *atomic.Int32
}

func (h countingHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h countingHandler) Handle(context.Context, slog.Record) error { h.lines.Add(1); return nil }
