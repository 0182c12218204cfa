package edgews_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
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
