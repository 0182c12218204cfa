package cluster_test

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
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

// wallClockUses are the only functions of this package that read the wall clock or make times of it, and what for. The Node, its leases and the
// waiting of requests use the monotonic clock.
var wallClockUses = map[string]string{
	"clock.go newClock time.Now":           "the beginning of the Node's clock, of which only differences are used",
	"clock.go clock.now time.Since":        "the difference of two readings of the monotonic clock",
	"edge.go Cluster.Call time.Until":      "how long the deadline of the caller's context is away",
	"edge_body.go edgeBody.stop time.Unix": "a deadline that is over",

	// What programs are told, as a date.
	"edge.go edgeRequest.upgrade time.Now":       "socketHead.Opened",
	"edge_socket.go edgeSocket.message time.Now": "when an auto-response was sent",
	"home_socket.go homeConn.restored time.Unix": "the same",
	"home_receive.go homeConn.receive time.Unix": "the same",
	"log_queue.go logQueue.next time.Now":        "the time of a log record",
	"node_events.go past.add time.Now":           "ClusterEvent.At",
	"node_events.go past.renewed time.Now":       "when the last renewal failed",
}

// The wall clock may jump: nothing that decides who owns a shard, or how long something waits, reads it.
func TestNothingReadsTheWallClock(t *testing.T) {
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	uses := make(map[string]bool)
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		require.NoError(t, err)
		for _, decl := range f.Decls {
			for _, use := range wallClockUsesIn(decl) {
				uses[name+" "+use] = true
			}
		}
	}
	assert.ElementsMatch(t, slices.Collect(maps.Keys(wallClockUses)), slices.Collect(maps.Keys(uses)))
}

// wallClockUsesIn returns the functions of package time about the present time and dates that decl names, each behind the name of decl.
func wallClockUsesIn(decl ast.Decl) (uses []string) {
	where := "var"
	if f, ok := decl.(*ast.FuncDecl); ok {
		where = f.Name.Name
		if f.Recv != nil {
			of := f.Recv.List[0].Type
			if star, ok := of.(*ast.StarExpr); ok {
				of = star.X
			}
			where = of.(*ast.Ident).Name + "." + where
		}
	}
	ast.Inspect(decl, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			pkg, ok := s.X.(*ast.Ident)
			if ok && pkg.Name == "time" && slices.Contains([]string{"Now", "Since", "Until", "Unix", "UnixMilli", "UnixMicro", "Date", "Parse"}, s.Sel.Name) {
				uses = append(uses, where+" time."+s.Sel.Name)
			}
		}
		return true
	})
	return uses
}
