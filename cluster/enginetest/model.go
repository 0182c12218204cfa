package enginetest

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/edgews/edgews/cluster"
)

var modelTests = []test{
	{"random calls give the same results as maps", func(t *testing.T, l *lab) {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		m := &model{t: t, rng: rand.New(rand.NewPCG(seed, 1)), conns: l.connectMany(3), state: newState()}
		v := m.conns[0].watchSynced()
		for range times(400) {
			m.step()
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

func (m *model) step() {
	m.t.Helper()
	c := m.conns[m.rng.IntN(len(m.conns))]
	arg := member(name(m.rng.IntN(4)), m.rng.Uint64N(2)+1, m.rng.Uint64N(12)+1)
	arg.Leaving = m.rng.IntN(2) == 0
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
