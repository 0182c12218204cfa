package enginetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/edgews/edgews/cluster"
)

var watchTests = []test{
	{"Watch shows what there is, and then what changes", func(t *testing.T, l *lab) {
		a, b := l.connect(), l.connect()
		empty := b.watchSynced()
		m, n := member("a", 1, 1), member("b", 1<<63+1, 4)
		a.join(m)
		o := a.claim(cluster.Ownership{Shard: 0}, m)
		empty.awaitMember(m)
		empty.awaitOwner(o)

		later := a.watch(nil)
		later.await("Synced with what there was", func() bool {
			return later.synced && later.atSync.members["a"] == m && later.atSync.owners[0] == o
		})
		b.join(n)
		n.Beat, n.Leaving = 5, true
		b.renew(n)
		p := b.claim(o, n)
		q := b.claim(cluster.Ownership{Shard: 15}, n)
		for _, v := range []*view{empty, later} {
			v.awaitMember(n)
			v.awaitOwner(p)
			v.awaitOwner(q)
		}
		a.remove(m)
		for _, v := range []*view{empty, later} {
			v.awaitGone("a")
			v.awaitState(state{map[string]cluster.Member{"b": n}, map[cluster.Shard]cluster.Ownership{0: p, 15: q}})
		}
	}},
	{"a member goes and comes again", func(t *testing.T, l *lab) {
		a, b := l.connect(), l.connect()
		v := b.watchSynced()
		for i := range uint64(5) {
			m := member("a", i%2+1, 10*i+1)
			a.join(m)
			v.awaitMember(m)
			m.Beat++
			a.renew(m)
			v.awaitMember(m)
			a.remove(m)
			v.awaitGone("a")
		}
	}},
	{"Watch has shown what was acknowledged before it began", func(t *testing.T, l *lab) {
		conns := l.connectMany(2)
		var o cluster.Ownership
		for beat := range uint64(times(40)) {
			c := conns[beat%2]
			m := member("a", 1, beat+1)
			c.join(m)
			o = c.claim(o, m)
			v := conns[(beat+1)%2].watchSynced()
			v.mu.Lock()
			got, owner := v.atSync.members["a"], v.atSync.owners[0]
			v.mu.Unlock()
			v.stop()
			if got != m || owner != o {
				t.Fatalf("Watch has synced with %+v and %+v, want %+v and %+v", got, owner, m, o)
			}
		}
	}},
	{"a record is not shown before the member that it names", func(t *testing.T, l *lab) {
		conns := l.connectMany(3)
		// Each view checks at each change, from Synced on, that all owners are members: they joined before they claimed.
		check := func(v *view, _ cluster.Change) {
			if !v.synced {
				return
			}
			for _, o := range v.owners {
				if m, exists := v.members[o.Owner]; !exists || m.Incarnation != o.Incarnation {
					v.t.Errorf("Watch shows %+v, but not its owner, which joined before; there is %+v", o, m)
				}
			}
		}
		views := []*view{conns[0].watch(check), conns[1].watch(check)}
		for _, v := range views { // so that they see the following as changes
			v.await("Synced", func() bool { return v.synced })
		}
		prev := make([]cluster.Ownership, 4)
		for round := range times(60) {
			c := conns[round%2]
			m := member(name(round), uint64(round+1), 1)
			c.join(m)
			s := round % len(prev)
			prev[s].Shard = cluster.Shard(s)
			prev[s] = conns[(round+1)%2].claim(prev[s], m)
			if round%5 == 0 {
				views = append(views, conns[2].watch(check))
			}
		}
		for _, v := range views {
			for _, o := range prev {
				v.awaitOwner(o)
			}
			v.stop()
		}
	}},
	{"changes during the beginning of a Watch are not lost", func(t *testing.T, l *lab) {
		conns := l.connectMany(3)
		want := newState()
		var views []*view
		for round := range times(60) {
			views = append(views, conns[round%3].watch(nil)) // while the following happens
			if round%10 == 0 {
				time.Sleep(time.Millisecond) // for the goroutines of Watch to begin
			}
			id := name(round % 7)
			m, exists := want.members[id]
			switch {
			case exists && round%3 == 0:
				conns[1].remove(m)
				delete(want.members, id)
			case exists:
				m.Beat++
				conns[2].renew(m)
				want.members[id] = m
			default:
				m = member(id, uint64(round+1), 1)
				conns[0].join(m)
				want.members[id] = m
			}
			s := cluster.Shard(round % 5)
			prev := want.owners[s]
			prev.Shard = s
			want.owners[s] = conns[round%2].claim(prev, m)
		}
		for _, v := range views {
			v.awaitState(state{maps.Clone(want.members), maps.Clone(want.owners)})
			v.stop()
		}
	}},
	{"changes of many are shown to all", func(t *testing.T, l *lab) {
		conns := l.connectMany(4)
		var views []*view
		for _, c := range conns {
			views = append(views, c.watchSynced())
		}
		want := newState()
		got := make([]state, len(conns))
		atOnce(conns, func(i int, c *conn) {
			got[i] = newState()
			m := member(name(i), uint64(i+1), 1)
			if err := c.Join(context.Background(), m); err != nil {
				t.Errorf("Join: %v", err)
			}
			o := cluster.Ownership{Shard: cluster.Shard(i)}
			for range times(40) {
				m.Beat++
				if err := c.Renew(context.Background(), m); err != nil {
					t.Errorf("Renew: %v", err)
				}
				var err error
				if o, err = c.Claim(context.Background(), o, m); err != nil {
					t.Errorf("Claim: %v", err)
				}
			}
			got[i].members[m.ID], got[i].owners[o.Shard] = m, o
		})
		for _, s := range got {
			maps.Copy(want.members, s.members)
			maps.Copy(want.owners, s.owners)
		}
		for _, v := range views {
			v.awaitState(want)
		}
	}},
	{"a slow Watch delays no other call", func(t *testing.T, l *lab) {
		a, b := l.connect(), l.connect()
		hold := make(chan struct{})
		slow := a.watch(func(*view, cluster.Change) { <-hold })
		quick := a.watchSynced()
		var o cluster.Ownership
		m := member("a", 1, 1)
		b.join(m)
		for range times(200) {
			m.Beat++
			a.renew(m)
			o = b.claim(o, m)
		}
		quick.awaitMember(m)
		quick.awaitOwner(o)
		close(hold)
		slow.awaitMember(m)
		slow.awaitOwner(o)
	}},
	{"Watch ends with its context", func(t *testing.T, l *lab) {
		a := l.connect()
		v := a.watchSynced()
		v.stop()
		v.wantEnd(context.Canceled)
		a.join(member("a", 1, 1)) // after the Watch
		v.mu.Lock()
		defer v.mu.Unlock()
		if len(v.members) > 0 {
			t.Fatal("Watch shows something after it has returned")
		}
	}},
	{"Watch ends with its connection", func(t *testing.T, l *lab) {
		a, b := l.connect(), l.connect()
		v, other := a.watchSynced(), b.watchSynced()
		a.close()
		v.wantEnd(nil)
		b.join(member("a", 1, 1))
		other.awaitMember(member("a", 1, 1))
	}},
}

// wantEnd waits until Watch has returned an error, which is want unless that is nil.
func (v *view) wantEnd(want error) {
	v.t.Helper()
	select {
	case err := <-v.err:
		if err == nil || want != nil && !errors.Is(err, want) {
			v.t.Fatalf("Watch: got error %v, want %s", err, fmt.Sprint(want))
		}
	case <-time.After(patience):
		v.t.Fatal("Watch does not return")
	}
}
