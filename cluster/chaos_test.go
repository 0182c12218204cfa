package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/cluster"
	"github.com/edgews/edgews/cluster/memory"
)

// chaos is a cluster whose nodes die, are cut off, see the past, and whose calls are late or lost, while objects are written to.
type chaos struct {
	*lab
	rng       *lockedRand
	fenced    bool // the nodes fence themselves
	stopped   chan struct{}
	running   sync.WaitGroup
	writers   sync.WaitGroup
	mu        sync.Mutex
	violation []string

	gainedEpochs map[cluster.Shard]uint64
	acknowledged map[cluster.Shard]map[int]string // by counter: the writer
}

const (
	chaosShards = 6
	chaosNodes  = 4
)

// lockedRand is a source of random numbers that goroutines share.
type lockedRand struct {
	mu sync.Mutex
	r  *rand.Rand
}

func (r *lockedRand) intN(n int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.r.IntN(n)
}

func (r *lockedRand) upTo(d time.Duration) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Duration(r.r.Int64N(int64(d) + 1))
}

// runChaos lets a cluster run for some virtual minutes, and returns what was wrong.
func runChaos(t *testing.T, seed uint64, fenced, storageFenced bool) (violations []string) {
	inLab(t, func(t *testing.T, l *lab) {
		c := &chaos{
			lab: l, rng: &lockedRand{r: rand.New(rand.NewPCG(seed, 1))}, fenced: fenced, stopped: make(chan struct{}),
			gainedEpochs: make(map[cluster.Shard]uint64), acknowledged: make(map[cluster.Shard]map[int]string),
		}
		if !storageFenced {
			l.m.UnsafeIgnoreFences()
		}
		for i := range chaosNodes {
			c.running.Go(func() { c.live(fmt.Sprint("n", i)) })
		}
		if fenced {
			c.running.Go(c.watchOwners)
		}
		time.Sleep(5 * time.Minute)
		close(c.stopped)
		c.running.Wait()
		c.checkHealed()
		c.checkStorage()
		violations = c.violation
	})
	return violations
}

func (c *chaos) violated(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.violation = append(c.violation, fmt.Sprintf(format, args...))
}

// wait reports whether the chaos goes on after d.
func (c *chaos) wait(d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-c.stopped:
		return false
	}
}

// plan makes faults.
func (c *chaos) plan(method string) (f memory.Fault) {
	f.Before, f.After = c.rng.upTo(20*time.Millisecond), c.rng.upTo(20*time.Millisecond)
	switch p := c.rng.intN(100); method {
	case "Watch":
		f.Before /= 4
		if p == 0 && c.rng.intN(10) == 0 {
			f.Before = c.rng.upTo(2 * ttl)
		}
	case "Open", "Get", "Commit":
		if p < 5 {
			f.Before = c.rng.upTo(2 * ttl)
		}
	default:
		switch {
		case p < 8:
			f.LoseRequest = true
		case p < 16:
			f.LoseAnswer = true
		case p < 24:
			f.Before = c.rng.upTo(2 * ttl)
		case p < 30:
			f.After = c.rng.upTo(ttl)
		}
		if p%3 == 0 {
			f.Err = errInjected
		}
	}
	return f
}

// live runs the nodes of one ID, one after the other.
func (c *chaos) live(id string) {
	for {
		n, err := c.tryStart(context.Background(), id, func(o *cluster.Options) {
			rate := 0.95 + float64(c.rng.intN(101))/1000 // two clocks differ by 10.5 % at the most
			o.SetClockRate(rate)
			o.Config.Shards, o.UnsafeWithoutSelfFencing = chaosShards, !c.fenced
			gained := o.Gained
			o.Gained = func(ctx context.Context, o cluster.Ownership) {
				gained(ctx, o)
				c.checkEpoch(id, o)
			}
			losing := o.Losing
			o.Losing = func(ctx context.Context, o cluster.Ownership) {
				losing(ctx, o)
				time.Sleep(c.rng.upTo(time.Second))
			}
			o.Engine.(*memory.Engine).SetPlan(c.plan)
		})
		if errors.Is(err, cluster.ErrMemberExists) && c.wait(ttl) { // renewals that are late by more than a TTL look like another process
			continue
		}
		if err != nil {
			c.violated("%s does not start: %v", id, err)
			return
		}
		stop := make(chan struct{})
		for s := range cluster.Shard(chaosShards) {
			c.writers.Go(func() { c.write(n, s, stop) })
		}
		goesOn := c.disturb(n)
		close(stop)
		if !goesOn {
			return
		}
	}
}

// disturb makes faults at a node until it dies, or the test ends.
func (c *chaos) disturb(n *member) (dead bool) {
	for c.wait(c.rng.upTo(2 * ttl)) {
		if !c.fenced && c.rng.intN(4) == 0 { // a false report breaks what self-fencing promises, but not the storage
			c.reportRefused(n.Self())
		}
		switch c.rng.intN(8) {
		case 0, 1:
			n.engine.Partition(true)
			goesOn := c.wait(c.rng.upTo(3 * ttl))
			n.engine.Partition(false)
			if !goesOn {
				return false
			}
		case 2, 3:
			n.engine.HoldWatch(true)
			goesOn := c.wait(c.rng.upTo(4 * ttl))
			n.engine.HoldWatch(false)
			if !goesOn {
				return false
			}
		case 4, 5:
			n.engine.BreakWatch()
		case 6:
			n.kill()
			c.reportRefused(n.Self())
			return true
		case 7:
			ctx, cancel := context.WithTimeout(context.Background(), c.rng.upTo(2*ttl))
			n.Leave(ctx)
			cancel()
			return true
		}
	}
	return false
}

// reportRefused has some of the nodes find out that another one is dead.
func (c *chaos) reportRefused(dead cluster.Member) {
	c.lab.mu.Lock()
	defer c.lab.mu.Unlock()
	for _, n := range c.nodes {
		if c.rng.intN(2) == 0 {
			n.ReportRefused(dead.ID, dead.Incarnation)
		}
	}
}

func (c *chaos) checkEpoch(id string, o cluster.Ownership) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if o.Epoch <= c.gainedEpochs[o.Shard] && c.fenced {
		c.violation = append(c.violation, fmt.Sprintf("%s gained shard %d with epoch %x after another node gained it with %x",
			id, o.Shard, o.Epoch, c.gainedEpochs[o.Shard]))
	}
	c.gainedEpochs[o.Shard] = o.Epoch
}

// watchOwners checks at each moment that no shard has two owners.
func (c *chaos) watchOwners() {
	for c.wait(20 * time.Millisecond) {
		c.lab.mu.Lock()
		nodes := c.nodes
		c.lab.mu.Unlock()
		for s := range cluster.Shard(chaosShards) {
			owner := ""
			for _, n := range nodes {
				if _, owns := n.Owns(s); owns {
					if owner != "" {
						c.violated("shard %d has the owners %s and %s", s, owner, n.Self().ID)
					}
					owner = n.Self().ID
				}
			}
		}
	}
}

func chaosKey(s cluster.Shard) edgews.ObjectKey {
	for i := 0; ; i++ {
		var id edgews.ID
		id.UnmarshalText(fmt.Appendf(nil, "%064x", i))
		if key := (edgews.ObjectKey{Namespace: "counters", ID: id}); cluster.ShardOf(key, chaosShards) == s {
			return key
		}
	}
}

// write increments a counter as long as the node owns its shard. Now and then the process is suspended before it commits.
func (c *chaos) write(n *member, s cluster.Shard, stop chan struct{}) {
	key := chaosKey(s)
	var open edgews.ObjectStore
	var opened uint64 // the epoch
	for {
		select {
		case <-stop:
			return
		case <-time.After(c.rng.upTo(300 * time.Millisecond)):
		}
		epoch, owns := n.Owns(s)
		if !owns {
			continue
		}
		if epoch != opened {
			ctx, cancel := context.WithTimeout(context.Background(), ttl)
			o, err := n.engine.Open(ctx, key, edgews.Fence{Epoch: epoch})
			cancel()
			if err != nil {
				continue
			}
			open, opened = o, epoch
		}
		if c.increment(n, s, open) != nil {
			opened = 0
		}
	}
}

func (c *chaos) increment(n *member, s cluster.Shard, o edgews.ObjectStore) error {
	ctx, cancel := context.WithTimeout(context.Background(), 4*ttl) // what is lost has no answer
	defer cancel()
	counter := 0
	value, err := o.Get(ctx, "counter")
	switch {
	case err == nil:
		counter, _ = strconv.Atoi(string(value))
	case !errors.Is(err, edgews.ErrKeyNotFound):
		return err
	}
	if c.rng.intN(30) == 0 {
		time.Sleep(c.rng.upTo(3 * ttl))
	}
	counter++
	writer := fmt.Sprintf("%s/%x", n.Self().ID, n.Self().Incarnation)
	err = o.Commit(ctx, edgews.Batch{Puts: []edgews.Entry{
		{Key: "counter", Value: []byte(strconv.Itoa(counter))}, {Key: "by/" + strconv.Itoa(counter), Value: []byte(writer)},
	}})
	if err == nil {
		c.acknowledge(s, counter, writer)
	}
	return err
}

func (c *chaos) acknowledge(s cluster.Shard, counter int, writer string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.acknowledged[s] == nil {
		c.acknowledged[s] = make(map[int]string)
	}
	if other, twice := c.acknowledged[s][counter]; twice {
		c.violation = append(c.violation, fmt.Sprintf("value %d of shard %d was written twice: by %s and %s", counter, s, other, writer))
	}
	c.acknowledged[s][counter] = writer
}

// checkHealed checks that without faults each shard soon has one owner.
func (c *chaos) checkHealed() {
	c.lab.mu.Lock()
	nodes := c.nodes
	c.lab.mu.Unlock()
	for _, n := range nodes {
		n.engine.SetPlan(nil)
	}
	time.Sleep(6 * ttl)
	c.writers.Wait()
	for s := range cluster.Shard(chaosShards) {
		owners := 0
		for _, n := range nodes {
			if _, owns := n.Owns(s); owns {
				owners++
			}
		}
		if owners != 1 {
			c.violated("shard %d has %d owners in the end", s, owners)
		}
	}
}

// checkStorage checks that nothing that was acknowledged has been lost or overwritten.
func (c *chaos) checkStorage() {
	written := 0
	for s := range cluster.Shard(chaosShards) {
		o, err := c.m.Connect().Open(context.Background(), chaosKey(s), edgews.Fence{Epoch: 1<<64 - 1})
		require.NoError(c.t, err)
		for counter, writer := range c.acknowledged[s] {
			written++
			value, err := o.Get(context.Background(), "by/"+strconv.Itoa(counter))
			if err != nil || string(value) != writer {
				c.violated("value %d of shard %d was written by %s and acknowledged, but there is %q, error %v", counter, s, writer, value, err)
			}
		}
		value, _ := o.Get(context.Background(), "counter")
		last, _ := strconv.Atoi(string(value))
		if last < len(c.acknowledged[s]) {
			c.violated("the counter of shard %d is %d after %d acknowledged increments", s, last, len(c.acknowledged[s]))
		}
	}
	c.t.Logf("%d writes were acknowledged", written)
	assert.Greater(c.t, written, 100, "the test has tested something")
}

func chaosRounds() int {
	if testing.Short() {
		return 1
	}
	return 6
}

// While clocks are sane, no shard has two owners at any moment, and nothing is lost.
func TestChaos(t *testing.T) {
	for range chaosRounds() {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		for _, v := range runChaos(t, seed, true, true) {
			t.Error(v)
		}
	}
}

// Nodes that do not fence themselves are stopped by the fence of the storage.
func TestChaosWithoutSelfFencing(t *testing.T) {
	for range chaosRounds() {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		for _, v := range runChaos(t, seed, false, true) {
			t.Error(v)
		}
	}
}

// Without that fence too, the checks of the tests above find what goes wrong.
func TestChaosWithoutAnyFenceIsFound(t *testing.T) {
	for range 10 {
		if v := runChaos(t, rand.Uint64(), false, false); len(v) > 0 {
			t.Logf("%d violations, the first: %s", len(v), v[0])
			return
		}
	}
	t.Error("ten rounds without a fence have shown nothing wrong")
}
