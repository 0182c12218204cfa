package enginetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/edgews/edgews/cluster"
)

var modelTests = []test{
	{"random calls give the same results as maps", func(t *testing.T, l *lab) {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		m := &model{t: t, rng: rand.New(rand.NewPCG(seed, 1)), conns: l.connectMany(3), state: newState()}
		v := m.conns[0].watchOrdered()
		for n := range times(400) {
			m.step(n)
		}
		v.awaitState(m.state)
		again := m.conns[1].watchSynced()
		again.awaitState(m.state)
	}},
}

// model makes random calls, one after the other, and knows what they must return.
type model struct {
	t     *testing.T
	rng   *rand.Rand
	conns []*conn
	state
}

// step makes the n-th call. Its record has n as address, for watchOrdered.
func (m *model) step(n int) {
	m.t.Helper()
	c := m.conns[m.rng.IntN(len(m.conns))]
	arg := member(name(m.rng.IntN(4)), m.rng.Uint64N(2)+1, m.rng.Uint64N(12)+1)
	arg.Leaving, arg.Addr = m.rng.IntN(2) == 0, fmt.Sprint(n)
	present, exists := m.members[arg.ID]
	same := exists && present.Incarnation == arg.Incarnation
	switch m.rng.IntN(6) {
	case 0, 1:
		want := error(nil)
		if exists && !same {
			want = cluster.ErrMemberExists
		}
		m.check("Join", c.Join(context.Background(), arg), want)
		if !exists || same && arg.Beat > present.Beat {
			m.members[arg.ID] = arg
		}
	case 2, 3:
		want := error(nil)
		if !same {
			want = cluster.ErrNotMember
		}
		m.check("Renew", c.Renew(context.Background(), arg), want)
		if same && arg.Beat > present.Beat {
			m.members[arg.ID] = arg
		}
	case 4:
		if m.rng.IntN(2) == 0 {
			arg.Beat = present.Beat // 0, which is any, if there is none
		}
		want := error(nil)
		if same && arg.Beat != present.Beat {
			want = cluster.ErrConflict
		}
		m.check("Remove", c.Remove(context.Background(), arg), want)
		if same && want == nil {
			delete(m.members, arg.ID)
		}
	case 5:
		m.claim(c, arg)
	}
}

// watchOrdered is watchSynced for records whose addresses are numbers in the order in which they were stored. A removed member joins again with
// any beat, and Watch may leave out that it had gone: beats say nothing about the order then.
func (c *conn) watchOrdered() *view {
	c.t.Helper()
	newest := make(map[string]int)
	v := c.watchWith(func(v *view, change cluster.Change) {
		if change.Member == nil || change.Gone {
			return
		}
		n, err := strconv.Atoi(change.Member.Addr)
		if err != nil || n < newest[change.Member.ID] {
			v.t.Errorf("Watch shows the record %+v after the one of call %d", *change.Member, newest[change.Member.ID])
		}
		newest[change.Member.ID] = n
	}, true)
	v.await("Synced", func() bool { return v.synced })
	return v
}

func (m *model) claim(c *conn, to cluster.Member) {
	m.t.Helper()
	s := cluster.Shard(m.rng.IntN(3))
	prev := m.owners[s]
	prev.Shard = s
	if m.rng.IntN(3) > 0 {
		m.owners[s] = c.claim(prev, to)
		return
	}
	wrong := prev
	wrong.Epoch += 1 + m.rng.Uint64N(2)
	c.wantConflict(wrong, to, prev)
}

func (m *model) check(call string, err, want error) {
	m.t.Helper()
	if !errors.Is(err, want) {
		m.t.Fatalf("%s: got error %v, want %v; there are %+v", call, err, want, m.members)
	}
}
