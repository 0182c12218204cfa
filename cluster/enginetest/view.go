package enginetest

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/edgews/edgews/cluster"
)

// view is what a Watch shows.
type view struct {
	t    *testing.T
	stop context.CancelFunc
	err  chan error // has what Watch has returned

	rejoins bool // members that have been removed may join again with lower beats

	mu      sync.Mutex
	changed chan struct{} // closed, and replaced, at each change
	state
	synced bool
	atSync state // what had been shown then
}

// state is what a cluster's records are.
type state struct {
	members map[string]cluster.Member
	owners  map[cluster.Shard]cluster.Ownership
}

func newState() state {
	return state{members: make(map[string]cluster.Member), owners: make(map[cluster.Shard]cluster.Ownership)}
}

func (s state) equal(other state) bool {
	return maps.Equal(s.members, other.members) && maps.Equal(s.owners, other.owners)
}

// watch begins to watch. each, which may be nil, is called with the view after each change, with its mutex held.
func (c *conn) watch(each func(v *view, change cluster.Change)) *view {
	return c.watchWith(each, false)
}

func (c *conn) watchWith(each func(v *view, change cluster.Change), rejoins bool) *view {
	ctx, cancel := context.WithCancel(context.Background())
	v := &view{t: c.t, stop: cancel, err: make(chan error, 1), rejoins: rejoins, changed: make(chan struct{}), state: newState()}
	c.l.watches.Go(func() {
		v.err <- c.Watch(ctx, func(change cluster.Change) { v.see(change, each) })
		cancel()
	})
	return v
}

// watchSynced begins to watch, and returns when the view has been synced.
func (c *conn) watchSynced() *view {
	c.t.Helper()
	v := c.watch(nil)
	v.await("Synced", func() bool { return v.synced })
	return v
}

// see takes note of a change, and checks the order of the changes.
func (v *view) see(c cluster.Change, each func(v *view, change cluster.Change)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	set := 0
	if c.Synced {
		set++
		if v.synced {
			v.t.Error("Watch shows Synced twice")
		}
		v.synced = true
		v.atSync = state{maps.Clone(v.members), maps.Clone(v.owners)}
	}
	if m := c.Member; m != nil {
		set++
		v.seeMember(*m, c.Gone)
	}
	if o := c.Ownership; o != nil {
		set++
		if o.Epoch < v.owners[o.Shard].Epoch {
			v.t.Errorf("Watch shows the record %+v after %+v", *o, v.owners[o.Shard])
		}
		v.owners[o.Shard] = *o
	}
	if set != 1 || c.Gone && c.Member == nil {
		v.t.Errorf("Watch shows a Change with %d things in it: %+v", set, c)
	}
	if each != nil {
		each(v, c)
	}
	close(v.changed)
	v.changed = make(chan struct{})
}

func (v *view) seeMember(m cluster.Member, gone bool) {
	known, exists := v.members[m.ID]
	switch {
	case gone:
		delete(v.members, m.ID)
	case exists && known.Incarnation == m.Incarnation && m.Beat < known.Beat && !v.rejoins:
		v.t.Errorf("Watch shows beat %d of %s after %d", m.Beat, m.ID, known.Beat)
	default:
		v.members[m.ID] = m
	}
}

// await waits until cond, which is called with the mutex held, returns true.
func (v *view) await(what string, cond func() bool) {
	v.t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		v.mu.Lock()
		done, changed, shown := cond(), v.changed, fmt.Sprint(v.state)
		v.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case err := <-v.err:
			v.t.Fatalf("Watch has ended with error %v before it has shown %s", err, what)
		case <-timeout.C:
			v.t.Fatalf("Watch does not show %s, only %s", what, shown)
		}
	}
}

// awaitMember waits until Watch shows exactly this record of a member.
func (v *view) awaitMember(m cluster.Member) {
	v.t.Helper()
	v.await(fmt.Sprintf("%+v", m), func() bool { return v.members[m.ID] == m })
}

func (v *view) awaitGone(id string) {
	v.t.Helper()
	v.await("that "+id+" has gone", func() bool { _, exists := v.members[id]; return !exists })
}

func (v *view) awaitOwner(o cluster.Ownership) {
	v.t.Helper()
	v.await(fmt.Sprintf("%+v", o), func() bool { return v.owners[o.Shard] == o })
}

func (v *view) awaitState(s state) {
	v.t.Helper()
	v.await(fmt.Sprint(s), func() bool { return v.state.equal(s) })
}

// wantMembers checks what a new Watch shows. A record that has not been changed must be there as it was.
func (c *conn) wantMembers(members ...cluster.Member) {
	c.t.Helper()
	want := make(map[string]cluster.Member)
	for _, m := range members {
		want[m.ID] = m
	}
	v := c.watchSynced()
	defer v.stop()
	v.mu.Lock()
	defer v.mu.Unlock()
	if !maps.Equal(v.atSync.members, want) {
		c.t.Fatalf("there are the members %+v, want %+v", v.atSync.members, want)
	}
}
