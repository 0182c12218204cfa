package cluster_test

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews/cluster"
	"github.com/edgews/edgews/cluster/memory"
)

// removals is an engine that looks, before it removes a dead member, whether the member is fenced.
type removals struct {
	cluster.Engine
	t       *testing.T
	member  atomic.Pointer[cluster.Node] // nil: not known yet
	removed atomic.Int32
}

func (r *removals) Remove(ctx context.Context, m cluster.Member) error {
	member := r.member.Load()
	fenced := member == nil || member.Fenced()
	err := r.Engine.Remove(ctx, m)
	if err == nil {
		r.removed.Add(1)
		assert.True(r.t, fenced, "a member was removed before it was fenced")
	}
	return err
}

// A member fences itself before another one removes it, whatever the delays of its calls and its view are, and if their clocks differ by 10 %.
func TestRemovalComesAfterSelfFencing(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for round := range uint64(60) {
		inLab(t, func(t *testing.T, l *lab) {
			rng := &lockedRand{r: rand.New(rand.NewPCG(seed, round))}
			rates := [][2]float64{{0.9, 1}, {1, 1.1}, {1, 1}, {1.1, 1}, {0.95, 1.05}}[round%5]
			var r *removals
			b := l.start("b", func(o *cluster.Options) {
				r = &removals{Engine: o.Engine, t: t}
				o.Engine = r
				o.SetClockRate(rates[1])
			})
			a := l.start("a", func(o *cluster.Options) { o.SetClockRate(rates[0]) })
			r.member.Store(a.Node)
			slow := func(method string) (f memory.Fault) {
				f.Before, f.After = rng.upTo(ttl/2), rng.upTo(ttl/2)
				if method == "Watch" {
					f.Before /= 8
				}
				return f
			}
			a.engine.SetPlan(slow)
			if round%2 == 0 {
				b.engine.SetPlan(slow)
			}
			time.Sleep(rng.upTo(5 * ttl))
			a.engine.Partition(true)
			b.engine.SetPlan(nil)
			time.Sleep(3 * ttl)
			assert.NotZero(t, r.removed.Load())
			r.member.Store(nil)
		})
	}
}

// The wall clock may jump: nothing reads it. What a clock shows is the difference of two readings of the monotonic clock.
func TestNothingReadsTheWallClock(t *testing.T) {
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	var uses []string
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		require.NoError(t, err)
		ast.Inspect(f, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				if pkg, ok := s.X.(*ast.Ident); ok && pkg.Name == "time" && slices.Contains([]string{"Now", "Since", "Until", "Unix", "UnixMilli"}, s.Sel.Name) {
					uses = append(uses, name+": time."+s.Sel.Name)
				}
			}
			return true
		})
	}
	assert.Equal(t, []string{"clock.go: time.Now", "clock.go: time.Since"}, uses)
}
