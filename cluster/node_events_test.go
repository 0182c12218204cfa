package cluster_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews/cluster"
	"github.com/edgews/edgews/cluster/memory"
)

// logged is what a node logs.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// to has a node log here.
func (l *logged) to(o *cluster.Options) { o.Logger = slog.New(slog.NewTextHandler(l, nil)) }

// lines returns the lines with a text.
func (l *logged) lines(text string) (found []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.text.String()) {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found
}

const shardsChanged = "shards of this cluster node have changed"

// A wave of changes is one line in the log and one event.
func TestChangesOfShardsAreToldTogether(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		var logA, logB logged
		a := l.start("a", logA.to)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		lines := logA.lines(shardsChanged)
		require.Len(t, lines, 1)
		assert.Contains(t, lines[0], "level=INFO")
		assert.Contains(t, lines[0], "gained=32 given=0 lost=0 owned=32")

		b := l.start("b", logB.to)
		time.Sleep(5 * time.Second)
		l.wantOwners(a, b)
		n := b.ownedNow()
		lines = logA.lines(shardsChanged)
		require.Len(t, lines, 2)
		assert.Contains(t, lines[1], "lost=0")
		require.Len(t, logB.lines(shardsChanged), 1)
		events := b.Describe().Events
		last := events[len(events)-1]
		assert.Equal(t, []any{"shards changed", n, 0, 0}, []any{last.Kind, last.Gained, last.Given, last.Lost})
		assert.Equal(t, []string{"lease begun", "shards changed", "member joined b", "shards changed"}, kinds(a.Describe()))
		assert.EqualValues(t, n, a.Describe().Moves.Given)

		require.NoError(t, b.Leave(context.Background()))
		assert.Contains(t, kinds(a.Describe()), "member leaving b")
		require.Len(t, logB.lines(shardsChanged), 2, "also at the end")
	})
}

// Shards that are lost are a warning.
func TestLostShardsAreAWarning(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		var log logged
		a := l.start("a", log.to)
		time.Sleep(5 * time.Second)
		a.engine.Partition(true)
		time.Sleep(3 * ttl)
		synctest.Wait()
		lines := log.lines(shardsChanged)
		require.Len(t, lines, 2)
		assert.Contains(t, lines[1], "level=WARN")
		assert.Contains(t, lines[1], "gained=0 given=0 lost=32 owned=0")
		info := a.Describe()
		assert.Equal(t, []string{"lease begun", "shards changed", "lease ended", "shards changed"}, kinds(info))
		assert.Equal(t, "it was not renewed in time", info.Events[2].Reason)
		assert.Error(t, info.Lease.Err)
		assert.Positive(t, info.Lease.Failures)
	})
}

// While the engine changes no records, the log says so once for each renewal, not once for each shard.
func TestFailingEngineDoesNotFloodTheLog(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		var log logged
		l.start("a", func(o *cluster.Options) {
			log.to(o)
			o.Engine.(*memory.Engine).SetPlan(func(method string) memory.Fault {
				return memory.Fault{LoseRequest: method == "Claim", Err: errors.New("it fails")}
			})
		})
		time.Sleep(2 * ttl)
		synctest.Wait()
		lines := log.lines("cannot be changed")
		assert.NotEmpty(t, lines)
		assert.LessOrEqual(t, len(lines), 2*4+1)
		assert.Contains(t, lines[1], "attempts=")
	})
}

// The events of a node are bounded, and the last ones are kept.
func TestEventsAreBounded(t *testing.T) {
	events := cluster.RememberEvents(250)
	require.Len(t, events, 100)
	assert.Equal(t, []string{"150", "249"}, []string{events[0].Member, events[99].Member})
}
