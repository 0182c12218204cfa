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
		run(&crashingStore{Store: store, commits: 1, beforeCommit: true}, 3) // written after a minute; the usage of the last half minute is lost
		m := run(store, 4)
		want := edgews.Usage{Connections: 2, MessagesIn: 7, BytesIn: 7, Connected: 60*time.Second + 90*time.Second}
		assert.Equal(t, want, total(t, m))
		assert.Equal(t, want, total(t, m.Tenant("acme")))
		require.NoError(t, m.Flush(t.Context()))
		require.NoError(t, m.Flush(t.Context()), "nothing is new")

		m = edgews.NewMeter(&edgews.MeterOptions{Store: store})
		assert.Equal(t, want, total(t, m))
		for name := range m.Tenants() {
			assert.Equal(t, "acme", name, "a tenant that only the ledger knows")
		}
		assert.Zero(t, m.Usage())
		other := edgews.NewMeter(&edgews.MeterOptions{Store: store, Ledger: "another"})
		assert.Zero(t, total(t, other))
		assert.Equal(t, want.Connections, total(t, m.Tenant("acme").Tenant("eu")).Connections)
	})
}

// The ledger stays right when a program starts before its predecessor has ended.
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

// Shutdown of a namespace writes the ledger.
func TestShutdownWritesTheLedger(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := edgews.NewMemoryStore()
		n := newRooms(t, &edgews.NamespaceOptions{Options: edgews.Options{Meter: edgews.NewMeter(&edgews.MeterOptions{Store: store})}}, nil)
		n.get(n.NewUniqueID())
		require.NoError(t, n.Shutdown(t.Context()))
		assert.EqualValues(t, 1, total(t, edgews.NewMeter(&edgews.MeterOptions{Store: store})).HTTPRequests)
	})
}

// A second call of Shutdown returns after the ledger has been written: the caller may then close the store.
func TestSecondShutdownWaitsForTheLedger(t *testing.T) {
	bubble(t, func(t *testing.T) {
		memory := edgews.NewMemoryStore()
		slow := &commitHookStore{Store: memory, meanwhile: func() { time.Sleep(time.Second) }}
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

// Two programs share a ledger while its store fails for half an hour. Nothing is lost or counted twice, whichever of them writes
// first when the store works again.
func TestLedgerOfTwoOutlivesAnOutage(t *testing.T) {
	for _, committed := range []bool{false, true} {
		bubble(t, func(t *testing.T) {
			memory := edgews.NewMemoryStore()
			var stores []*crashingStore
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
				stores = append(stores, &crashingStore{Store: memory, commits: 1 << 30, beforeCommit: !committed})
				meters = append(meters, edgews.NewMeter(&edgews.MeterOptions{Store: stores[len(stores)-1], Logger: quiet, Interval: 24 * time.Hour}))
			}
			used := 0
			for round := range 6 {
				for i, m := range meters {
					stores[i].failNextCommit()
					count(i, 1+round)
					used += 1 + round
					require.Error(t, m.Flush(t.Context()), "the commit may or may not have happened")
					stores[i].restart()
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

// Names may be any bytes: two names that differ only in invalid UTF-8 are two tenants, in the ledger too.
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

// A program crashes at any moment, before, after or between commits, and restarts. The ledger never has more than what was used,
// and lacks at most what was used in the minute before each crash. Commits that return an error although they have succeeded
// make no difference.
func TestLedgerSurvivesCrashes(t *testing.T) {
	for seed := range uint64(15) {
		bubble(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 3))
			store := edgews.NewMemoryStore()
			used, safe := make(map[string]int64), make(map[string]int64)
			for range 5 {
				runUntilCrash(t, r, store, used, safe)
				m := edgews.NewMeter(&edgews.MeterOptions{Store: store})
				for name, most := range used {
					got := total(t, m.Tenant(name)).Connections
					require.LessOrEqual(t, got, most, "%q is billed twice", name)
					require.GreaterOrEqual(t, got, safe[name], "%q is not billed", name)
				}
				u := total(t, m)
				require.Equal(t, u.Connections, total(t, m.Tenant("a")).Connections+total(t, m.Tenant("b")).Connections)
				require.Equal(t, u.MessagesIn, u.BytesIn, "all figures of a commit are from one moment")
			}
		})
	}
}

// runUntilCrash runs a program until a crash. It adds what was used to used, and the part that must survive to safe.
func runUntilCrash(t *testing.T, r *rand.Rand, memory edgews.Store, used, safe map[string]int64) {
	type use struct {
		name string
		at   time.Time
	}
	store := &crashingStore{Store: memory, commits: r.IntN(8), beforeCommit: r.IntN(2) == 0, reportsFailure: r.IntN(2) == 0}
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
		if store.hasCrashed() {
			break
		}
	}
	crash := store.crash()
	for _, u := range uses {
		used[u.name]++
		if u.at.Before(crash.Add(-time.Minute)) {
			safe[u.name]++
		}
	}
}

// crashingStore crashes at a commit.
type crashingStore struct {
	edgews.Store
	beforeCommit   bool // it crashes before the commit, not after it
	reportsFailure bool // every commit returns an error

	mu        sync.Mutex
	commits   int       // that succeed before the crash
	crashedAt time.Time // zero: it has not crashed
}

func (s *crashingStore) hasCrashed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.crashedAt.IsZero()
}

// crash crashes the store, and returns when it crashed first.
func (s *crashingStore) crash() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.crashedAt.IsZero() {
		s.crashedAt = time.Now()
	}
	return s.crashedAt
}

func (s *crashingStore) Open(ctx context.Context, key edgews.ObjectKey, f edgews.Fence) (edgews.ObjectStore, error) {
	if s.hasCrashed() {
		return nil, errCrash
	}
	o, err := s.Store.Open(ctx, key, f)
	return &crashingObject{o, s}, err
}

type crashingObject struct {
	edgews.ObjectStore
	s *crashingStore
}

func (o *crashingObject) Commit(ctx context.Context, b edgews.Batch) error {
	o.s.mu.Lock()
	o.s.commits--
	last := o.s.commits < 0
	o.s.mu.Unlock()
	if last && o.s.beforeCommit {
		o.s.crash()
		return errCrash
	}
	err := o.ObjectStore.Commit(ctx, b)
	if last {
		o.s.crash()
	}
	if last || o.s.reportsFailure {
		return errCrash
	}
	return err
}

// restart makes the store work again, until failNextCommit.
func (s *crashingStore) restart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.crashedAt, s.commits = time.Time{}, 1<<30
}

// failNextCommit makes it crash at the next commit.
func (s *crashingStore) failNextCommit() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commits = 0
}

// A store fails for an hour. When it works again, nothing is lost or counted twice.
func TestLedgerOutlivesAnOutage(t *testing.T) {
	for _, committed := range []bool{false, true} {
		bubble(t, func(t *testing.T) {
			memory := edgews.NewMemoryStore()
			store := &crashingStore{Store: memory, commits: 1, beforeCommit: !committed}
			m := edgews.NewMeter(&edgews.MeterOptions{Store: store, Logger: quiet})
			for i := range 12 {
				s, p := overPipe.serverAndPeer(t, edgews.Options{Meter: m.Tenant([]string{"a", "b"}[i%2]), KeepAlive: -1})
				require.NoError(t, s.Accept())
				p.sends(text("x"))
				time.Sleep(7 * time.Minute)
				p.hangsUp()
				synctest.Wait()
				if i == 8 {
					require.True(t, store.hasCrashed())
					store.restart()
				}
			}
			time.Sleep(2 * time.Minute) // without Flush
			kept := edgews.NewMeter(&edgews.MeterOptions{Store: memory})
			want := edgews.Usage{Connections: 12, MessagesIn: 12, BytesIn: 12, Connected: 12 * 7 * time.Minute}
			assert.Equal(t, want, total(t, kept))
			assert.Equal(t, total(t, m.Tenant("a")), total(t, kept.Tenant("a")))
			assert.Equal(t, want, m.Usage())
		})
	}
}

// commitHookStore calls a function in the middle of each commit.
type commitHookStore struct {
	edgews.Store
	meanwhile func()
}

func (s *commitHookStore) Open(ctx context.Context, key edgews.ObjectKey, f edgews.Fence) (edgews.ObjectStore, error) {
	o, err := s.Store.Open(ctx, key, f)
	return &commitHookObject{o, s}, err
}

type commitHookObject struct {
	edgews.ObjectStore
	s *commitHookStore
}

func (o *commitHookObject) Commit(ctx context.Context, b edgews.Batch) error {
	o.s.meanwhile()
	return o.ObjectStore.Commit(ctx, b)
}

// The last connection ends, and a tenant is created, while the ledger is written: the next flush writes them, although nothing
// is going on.
func TestLedgerHasWhatEndsWhileItIsWritten(t *testing.T) {
	bubble(t, func(t *testing.T) {
		memory := edgews.NewMemoryStore()
		once := make(chan func(), 1)
		store := &commitHookStore{Store: memory, meanwhile: func() {
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

// Traffic, concurrent Flush calls, readings and new tenants in real time: in the end the ledger has what was used.
func TestLedgerUnderConcurrentUse(t *testing.T) {
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

// While a store hangs, one flush waits for it, however short the interval is; everything else goes on.
func TestLedgerOfAStoreThatHangs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var lines atomic.Int32
		memory := edgews.NewMemoryStore()
		var hangs atomic.Bool
		hangs.Store(true)
		store := &commitHookStore{Store: memory, meanwhile: func() {
			if hangs.Load() {
				time.Sleep(31 * time.Second) // longer than the timeout of the flush
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

// countingHandler counts log records.
type countingHandler struct {
	slog.Handler
	lines *atomic.Int32
}

func (h countingHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h countingHandler) Handle(context.Context, slog.Record) error { h.lines.Add(1); return nil }
