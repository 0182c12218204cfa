package enginetest

import (
	"context"
	"errors"
	"testing"

	"github.com/edgews/edgews/cluster"
)

var claimTests = []test{
	{"epochs grow from the generation's first", func(t *testing.T, l *lab) {
		a, b := l.connect(), l.connect()
		m, n := member("a", 1, 1), member("b", 1<<63+1, 1)
		o := a.claim(cluster.Ownership{Shard: 7}, m)
		for range 10 {
			o = b.claim(o, n)
			o = a.claim(o, m) // by the same as before, and by another
			o = a.claim(o, m)
		}
		a.claim(cluster.Ownership{Shard: 0}, m)
		a.claim(cluster.Ownership{Shard: 15}, m)
	}},
	{"a claim from another epoch conflicts", func(t *testing.T, l *lab) {
		a, b := l.connect(), l.connect()
		m, n := member("a", 1, 1), member("b", 1, 1)
		first := a.claim(cluster.Ownership{Shard: 3}, m)
		b.wantConflict(cluster.Ownership{Shard: 3}, n, first)
		second := a.claim(first, m)
		b.wantConflict(cluster.Ownership{Shard: 3}, n, second)
		b.wantConflict(first, n, second)
		b.wantConflict(cluster.Ownership{Shard: 3, Epoch: second.Epoch + 1}, n, second)
		b.wantConflict(cluster.Ownership{Shard: 4, Epoch: 1}, n, cluster.Ownership{Shard: 4})
		third := b.claim(second, n)
		a.wantConflict(second, m, third)
		a.wantConflict(second, m, third)
	}},
	{"a claim that is repeated shows what the first one did", func(t *testing.T, l *lab) {
		a := l.connect()
		m := member("a", 9, 1)
		o := a.claim(cluster.Ownership{Shard: 1}, m)
		a.wantConflict(cluster.Ownership{Shard: 1}, m, o)
	}},
	{"records outlive connections and members", func(t *testing.T, l *lab) {
		a, b := l.connect(), l.connect()
		a.join(member("a", 1, 1))
		o := a.claim(cluster.Ownership{Shard: 2}, member("a", 1, 1))
		a.remove(member("a", 1, 1))
		a.close()
		b.wantConflict(cluster.Ownership{Shard: 2}, member("b", 1, 1), o)
		b.claim(o, member("b", 1, 1)) // whether it is a member is no concern of Claim
	}},
	{"there is no other shard", func(t *testing.T, l *lab) {
		a := l.connect()
		for _, s := range []cluster.Shard{16, 1<<16 - 1} {
			if got, err := a.Claim(context.Background(), cluster.Ownership{Shard: s}, member("a", 1, 1)); err == nil {
				t.Fatalf("Claim of shard %d of 16: got %+v, want an error", s, got)
			}
		}
	}},
	{"one of several claims succeeds", func(t *testing.T, l *lab) {
		conns := l.connectMany(6)
		prev := make([]cluster.Ownership, 4)
		for s := range prev {
			prev[s].Shard = cluster.Shard(s)
		}
		seen := make(map[uint64]bool) // epochs of shard 0
		for range times(40) {
			for s := range prev {
				got, errs := make([]cluster.Ownership, len(conns)), make([]error, len(conns))
				atOnce(conns, func(i int, c *conn) {
					got[i], errs[i] = c.Claim(context.Background(), prev[s], member(name(i), 1, 1))
				})
				winner := -1
				for i, err := range errs {
					switch {
					case err == nil && winner >= 0:
						t.Fatalf("two claims from epoch %d have succeeded: %+v and %+v", prev[s].Epoch, got[winner], got[i])
					case err == nil:
						winner = i
					case !errors.Is(err, cluster.ErrConflict):
						t.Fatalf("Claim: got error %v, want ErrConflict", err)
					}
				}
				if winner < 0 {
					t.Fatal("of several claims none has succeeded")
				}
				checkClaim(t, prev[s], member(name(winner), 1, 1), got[winner])
				for i := range errs {
					if got[i] != got[winner] {
						t.Fatalf("a claim that has failed shows %+v, the one that has succeeded %+v", got[i], got[winner])
					}
				}
				prev[s] = got[winner]
			}
			if seen[prev[0].Epoch] {
				t.Fatalf("epoch %d is there again", prev[0].Epoch)
			}
			seen[prev[0].Epoch] = true
		}
	}},
}
