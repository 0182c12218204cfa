package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/cluster"
	"github.com/edgews/edgews/cluster/memory"
)

// ledger is an object that gives each entry the next number, and counts how often it gets each entry.
type ledger struct{ st *edgews.State }

func (o *ledger) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if edgews.IsUpgrade(r) {
		if s, err := edgews.Upgrade(w, r, nil); err == nil {
			_ = o.st.AcceptWebSocket(s)
		}
		return
	}
	id, err := io.ReadAll(r.Body)
	if err == nil {
		id, err = o.enter(r.Context(), string(id))
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Write(id)
}

func (o *ledger) WebSocketMessage(ctx context.Context, s *edgews.Socket, m edgews.Message) error {
	reply, err := o.enter(ctx, m.Text())
	if err != nil {
		return err
	}
	return s.Send(string(reply))
}

func (o *ledger) enter(ctx context.Context, id string) (reply []byte, err error) {
	err = o.st.Storage().Update(ctx, func(tx *edgews.Tx) error {
		n, err := increment(tx, "total")
		if err != nil {
			return err
		}
		reply = fmt.Appendf(nil, "%s %d", id, n)
		_, err = increment(tx, "entry "+id)
		return err
	})
	return reply, err
}

func increment(tx *edgews.Tx, key string) (n int, err error) {
	v, err := tx.Get(key)
	if err != nil && !errors.Is(err, edgews.ErrKeyNotFound) {
		return 0, err
	}
	_, _ = fmt.Sscan(string(v), &n)
	return n + 1, tx.Put(key, fmt.Append(nil, n+1))
}

// soak is load on a cluster whose members come and go, and what was wrong.
type soak struct {
	t     *testing.T
	m     *memory.Memory
	stay  []*site // they stay: sockets there must not break
	stop  chan struct{}
	load  sync.WaitGroup
	acked atomic.Int64
	lost  atomic.Int64 // replies

	mu         sync.Mutex
	numbers    map[string]string // who has got a number: by room and number
	entered    map[string]bool   // acknowledged: by room and entry
	violations []string
}

const soakRooms = 6

func newSoak(t *testing.T) *soak {
	s := &soak{t: t, m: memory.New(), stop: make(chan struct{}), numbers: make(map[string]string), entered: make(map[string]bool)}
	t.Cleanup(func() { s.m.Close() })
	return s
}

func (s *soak) start(id string, change func(*cluster.Options)) *site {
	return startSiteWith(s.t, s.m, id, func(_ context.Context, st *edgews.State) (edgews.Object, error) { return &ledger{st}, nil }, nil, change)
}

func (s *soak) violated(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.violations = append(s.violations, fmt.Sprintf(format, args...))
}

// note notes an acknowledged entry. The reply must be of that entry, and no other one may have its number.
func (s *soak) note(room, id, reply string) {
	got, number, _ := strings.Cut(reply, " ")
	if got != id {
		s.violated("%s: %s was answered with %q", room, id, reply)
	}
	s.mu.Lock()
	other := s.numbers[room+" "+number]
	s.numbers[room+" "+number] = id
	s.entered[room+" "+id] = true
	s.mu.Unlock()
	if other != "" {
		s.violated("%s: both %s and %s have number %s", room, other, id, number)
	}
	s.acked.Add(1)
}

func (s *soak) stopped() bool {
	select {
	case <-s.stop:
		return true
	default:
		return false
	}
}

// talk makes entries through one socket. With short it opens another one for every third entry.
func (s *soak) talk(at *site, room, name string, short, mayBreak bool) {
	ctx := context.Background()
	var c *edgews.Socket
	for n := 0; !s.stopped(); n++ {
		if c == nil || short && n%3 == 0 {
			if c != nil {
				c.Close(1000, "")
			}
			dialing, cancel := context.WithTimeout(ctx, 30*time.Second)
			next, _, err := edgews.Dial(dialing, at.url+"/"+room, nil)
			cancel()
			if err != nil {
				if mayBreak {
					return
				}
				s.violated("%s: %s cannot connect: %v", room, name, err)
				c = nil
				continue
			}
			c = next
		}
		id := fmt.Sprintf("%s.%d", name, n)
		if err := c.Write(ctx, edgews.Text, []byte(id)); err != nil {
			if mayBreak {
				return
			}
			s.violated("%s: socket of %s broke: %v", room, name, err)
			c = nil
			continue
		}
		for {
			waiting, cancel := context.WithTimeout(ctx, 6*time.Second)
			m, err := c.Receive(waiting)
			cancel()
			if errors.Is(err, context.DeadlineExceeded) {
				s.lost.Add(1)
				break
			}
			if err != nil {
				if mayBreak {
					return
				}
				s.violated("%s: socket of %s broke: %v", room, name, err)
				c = nil
				break
			}
			if got, _, _ := strings.Cut(m.Text(), " "); got != id && strings.HasPrefix(got, name+".") {
				s.note(room, got, m.Text()) // of an earlier entry, late
				continue
			}
			s.note(room, id, m.Text())
			break
		}
	}
	if c != nil {
		c.Close(1000, "")
	}
}

// post makes entries with requests that have a body.
func (s *soak) post(at *site, room, name string) {
	client := &http.Client{Timeout: 30 * time.Second}
	defer client.CloseIdleConnections()
	for n := 0; !s.stopped(); n++ {
		id := fmt.Sprintf("%s.%d", name, n)
		resp, err := client.Post("http"+at.url[2:]+"/"+room, "text/plain", strings.NewReader(id))
		if err != nil { // the home has died in the middle of the answer
			continue
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err == nil && resp.StatusCode == http.StatusOK {
			s.note(room, id, string(body))
		}
	}
}

// begin begins the load on the sites that stay.
func (s *soak) begin() {
	for i := range soakRooms {
		room := fmt.Sprint("room", i)
		for j, at := range s.stay {
			s.load.Go(func() { s.talk(at, room, fmt.Sprintf("long%d", j), false, false) })
			s.load.Go(func() { s.talk(at, room, fmt.Sprintf("short%d", j), true, false) })
		}
		s.load.Go(func() { s.post(s.stay[i%len(s.stay)], room, "post") })
	}
}

// awaitEntries waits until n more entries are acknowledged.
func (s *soak) awaitEntries(n int64) {
	s.t.Helper()
	want := s.acked.Load() + n
	require.Eventually(s.t, func() bool { return s.acked.Load() >= want }, time.Minute, 5*time.Millisecond)
}

// end ends the load, and compares the storage with what was acknowledged.
func (s *soak) end() []string {
	close(s.stop)
	s.load.Wait()
	for i := range soakRooms {
		room := fmt.Sprint("room", i)
		var counts map[string]int
		require.NoError(s.t, s.readCounts(room, &counts))
		for id, n := range counts {
			if n != 1 {
				s.violated("%s: %s was entered %d times", room, id, n)
			}
		}
		s.mu.Lock()
		for entry := range s.entered {
			if in, id, _ := strings.Cut(entry, " "); in == room && counts[id] == 0 {
				s.violations = append(s.violations, fmt.Sprintf("%s: %s was acknowledged and is lost", room, id))
			}
		}
		s.mu.Unlock()
	}
	s.t.Logf("%d entries acknowledged, %d replies lost, %d violations", s.acked.Load(), s.lost.Load(), len(s.violations))
	return s.violations
}

// readCounts reads the storage of a room without its object.
func (s *soak) readCounts(room string, counts *map[string]int) error {
	store, err := s.m.Connect().Open(s.t.Context(), edgews.ObjectKey{Namespace: "rooms", ID: s.stay[0].rooms.IDFromName(room)}, edgews.Fence{Epoch: 1 << 62})
	if err != nil {
		return err
	}
	defer store.Release()
	*counts = make(map[string]int)
	for e, err := range store.Scan(s.t.Context(), edgews.Range{Prefix: "entry "}) {
		if err != nil {
			return err
		}
		n := 0
		fmt.Sscan(string(e.Value), &n)
		(*counts)[strings.TrimPrefix(e.Key, "entry ")] = n
	}
	return nil
}

// soakFor is how long a soak lasts.
func soakFor() time.Duration {
	if d, err := time.ParseDuration(os.Getenv("EDGEWS_HAMMER")); err == nil {
		return d
	}
	return 12 * time.Second
}

// TestSoak: members join, leave, die and are cut off from the engine under load. No acknowledged entry is lost, none is made twice, and no
// socket breaks at the members that stay.
func TestSoak(t *testing.T) {
	s := newSoak(t)
	s.stay = []*site{s.start("stay0", nil), s.start("stay1", nil)}
	s.begin()
	until := time.Now().Add(soakFor())
	for n := 0; time.Now().Before(until); n++ {
		guest := s.start(fmt.Sprint("guest", n), nil)
		s.load.Go(func() { s.talk(guest, "room0", fmt.Sprint("guest", n), false, true) })
		s.awaitEntries(100 + rand.Int64N(1000))
		switch n % 3 {
		case 0:
			assert.NoError(t, guest.Leave(context.Background()))
			guest.server.Close()
		case 1:
			guest.kill()
		case 2:
			guest.engine.Partition(true)
			require.Eventually(t, func() bool { return guest.Stats().Fenced > 0 }, 30*time.Second, 10*time.Millisecond)
			s.awaitEntries(100)
			guest.engine.Partition(false)
		}
	}
	assert.Empty(t, s.end())
}

// TestZombie: a member is taken for dead, does not notice and goes on. The fence of the storage keeps its entries out.
func TestZombie(t *testing.T) {
	s, zombie := soakWithZombie(t, true)
	require.Eventually(t, func() bool { return s.stay[0].Stats().Gained == shards }, 30*time.Second, 50*time.Millisecond)
	acked := s.acked.Load()
	require.Eventually(t, func() bool { return s.acked.Load() > acked+5000 }, 30*time.Second, 50*time.Millisecond)
	zombie.kill()
	assert.Empty(t, s.end())
}

// TestSoakCanFail: without the fence of the storage, the zombie breaks what TestSoak checks.
func TestSoakCanFail(t *testing.T) {
	s, zombie := soakWithZombie(t, false)
	assert.Eventually(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.violations) > 0
	}, 30*time.Second, 50*time.Millisecond)
	zombie.kill()
	require.NotEmpty(t, s.end())
	t.Log(s.violations[0])
}

// soakWithZombie begins a soak with a member that loses its connection to the engine, but for the storage, and does not fence itself.
func soakWithZombie(t *testing.T, fenced bool) (s *soak, zombie *site) {
	s = newSoak(t)
	if !fenced {
		s.m.UnsafeIgnoreFences()
	}
	zombie = s.start("zombie", func(o *cluster.Options) { o.UnsafeWithoutSelfFencing = true })
	for i := range soakRooms { // it is the home of all rooms, and never learns of others
		homeOf(t, []*site{zombie}, fmt.Sprint("room", i))
	}
	for i := range soakRooms {
		s.load.Go(func() { s.talk(zombie, fmt.Sprint("room", i), "zombie", false, true) })
	}
	zombie.engine.SetPlan(func(method string) (f memory.Fault) {
		switch method {
		case "Open", "Get", "Scan":
		case "Commit":
			f.Before = 20 * time.Millisecond
		case "Watch":
			f.Before = time.Hour
		default:
			f.LoseRequest = true
		}
		return f
	})
	s.stay = []*site{s.start("stay0", nil)}
	s.begin()
	return s, zombie
}
