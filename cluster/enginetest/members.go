package enginetest

import (
	"context"
	"errors"
	"testing"

	"github.com/edgews/edgews/cluster"
)

var setupTests = []test{
	{"the first configuration stays", func(t *testing.T, l *lab) {
		a, b := l.connect(), l.bare()
		for _, c := range []cluster.Config{{Shards: 32, Generation: 3}, {Shards: 16, Generation: 4}, config} {
			got, err := b.Setup(context.Background(), c)
			if err != nil || got != config {
				t.Fatalf("Setup with %+v: got %+v and error %v, want %+v", c, got, err, config)
			}
		}
		a.close()
		l.connect() // it outlives the connection that created it
	}},
	{"one of several configurations is taken", func(t *testing.T, l *lab) {
		conns := make([]*conn, 8)
		for i := range conns {
			conns[i] = l.bare()
		}
		got := make([]cluster.Config, len(conns))
		atOnce(conns, func(i int, c *conn) {
			var err error
			if got[i], err = c.Setup(context.Background(), cluster.Config{Shards: 16 + i, Generation: 1}); err != nil {
				t.Errorf("Setup: %v", err)
			}
		})
		for _, c := range got {
			if c != got[0] || c.Validate() != nil {
				t.Fatalf("Setup returns different configurations: %+v", got)
			}
		}
	}},
}

var memberTests = []test{
	{"Join stores a member", func(t *testing.T, l *lab) {
		a, b := l.connect(), l.connect()
		m := member("a", 1<<63+1, 1)
		m.EdgeOnly, m.Leaving = true, true
		a.join(m)
		odd := cluster.Member{ID: "b/ü \"'*>. ", Incarnation: 1, Beat: 1<<40 + 5}
		b.join(odd)
		a.wantMembers(m, odd)
		b.wantMembers(m, odd)
	}},
	{"another incarnation cannot join", func(t *testing.T, l *lab) {
		a, b := l.connect(), l.connect()
		a.join(member("a", 1, 5))
		b.want("Join", b.Join(context.Background(), member("a", 2, 9)), cluster.ErrMemberExists)
		b.want("Join", b.Join(context.Background(), member("a", 2, 1)), cluster.ErrMemberExists)
		b.wantMembers(member("a", 1, 5))
	}},
	{"Join is repeated", func(t *testing.T, l *lab) {
		a := l.connect()
		a.join(member("a", 1, 5))
		a.join(member("a", 1, 5))
		a.wantMembers(member("a", 1, 5))
		later := member("a", 1, 6)
		later.Addr = "elsewhere:1"
		a.join(later)
		a.wantMembers(later)
		a.join(member("a", 1, 5)) // late
		a.wantMembers(later)
	}},
	{"Renew replaces the record", func(t *testing.T, l *lab) {
		a, b := l.connect(), l.connect()
		a.join(member("a", 1, 1))
		b.join(member("b", 1, 1))
		renewed := member("a", 1, 2)
		renewed.Leaving = true
		a.renew(renewed)
		b.wantMembers(renewed, member("b", 1, 1))
		b.renew(member("a", 1, 7)) // whatever connection it comes from
		a.wantMembers(member("a", 1, 7), member("b", 1, 1))
	}},
	{"a late renewal changes nothing", func(t *testing.T, l *lab) {
		a := l.connect()
		a.join(member("a", 1, 5))
		for beat := range uint64(6) {
			late := member("a", 1, beat)
			late.Addr = "late"
			a.renew(late)
		}
		a.wantMembers(member("a", 1, 5))
	}},
	{"only members renew", func(t *testing.T, l *lab) {
		a := l.connect()
		a.want("Renew", a.Renew(context.Background(), member("a", 1, 1)), cluster.ErrNotMember)
		a.wantMembers()
		a.join(member("a", 1, 1))
		a.want("Renew", a.Renew(context.Background(), member("a", 2, 2)), cluster.ErrNotMember)
		a.remove(member("a", 1, 1))
		a.want("Renew", a.Renew(context.Background(), member("a", 1, 2)), cluster.ErrNotMember)
		a.wantMembers()
	}},
	{"Remove looks at the beat", func(t *testing.T, l *lab) {
		a, b := l.connect(), l.connect()
		a.join(member("a", 1, 1))
		a.renew(member("a", 1, 2))
		b.want("Remove", b.Remove(context.Background(), member("a", 1, 1)), cluster.ErrConflict)
		b.want("Remove", b.Remove(context.Background(), member("a", 1, 3)), cluster.ErrConflict)
		b.wantMembers(member("a", 1, 2))
		b.remove(member("a", 1, 2))
		b.wantMembers()
		b.remove(member("a", 1, 2)) // again
		a.join(member("a", 1, 3))
		b.remove(cluster.Member{ID: "a", Incarnation: 1}) // any beat
		b.wantMembers()
	}},
	{"Remove looks at the incarnation", func(t *testing.T, l *lab) {
		a := l.connect()
		a.join(member("a", 2, 1))
		a.remove(member("a", 1, 1))
		a.remove(member("a", 1, 0))
		a.remove(member("b", 1, 1))
		a.wantMembers(member("a", 2, 1))
		a.remove(member("a", 2, 1))
		a.join(member("a", 3, 1)) // now another one may
		a.wantMembers(member("a", 3, 1))
	}},
	{"one of several processes joins", func(t *testing.T, l *lab) {
		conns := l.connectMany(6)
		for round := range times(20) {
			errs := make([]error, len(conns))
			atOnce(conns, func(i int, c *conn) {
				errs[i] = c.Join(context.Background(), member(name(round), uint64(i+1), 1))
			})
			joined := 0
			for _, err := range errs {
				if err == nil {
					joined++
				} else if !errors.Is(err, cluster.ErrMemberExists) {
					t.Fatalf("Join: got error %v, want ErrMemberExists", err)
				}
			}
			if joined != 1 {
				t.Fatalf("%d processes have joined under one ID", joined)
			}
		}
	}},
	{"a member is either renewed or removed", func(t *testing.T, l *lab) {
		conns := l.connectMany(2)
		for round := range times(50) {
			m := member(name(round), 1, 1)
			conns[0].join(m)
			errs := make([]error, 2)
			atOnce(conns, func(i int, c *conn) {
				if i == round%2 { // the scheduler may prefer one of the two
					errs[0] = c.Renew(context.Background(), member(m.ID, 1, 2))
				} else {
					errs[1] = c.Remove(context.Background(), m)
				}
			})
			renewed := errs[0] == nil && errors.Is(errs[1], cluster.ErrConflict)
			removed := errs[1] == nil && errors.Is(errs[0], cluster.ErrNotMember)
			if !renewed && !removed {
				t.Fatalf("Renew: error %v; Remove: error %v; want that one of them succeeds", errs[0], errs[1])
			}
		}
	}},
}
