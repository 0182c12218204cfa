package memory_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/cluster"
	"github.com/edgews/edgews/cluster/memory"
)

var errInjected = errors.New("injected")

// inBubble runs a test in virtual time, with two connections to one Memory.
func inBubble(t *testing.T, run func(t *testing.T, a, b *memory.Engine)) {
	synctest.Test(t, func(t *testing.T) {
		m := memory.New()
		defer m.Close()
		a, b := m.Connect(), m.Connect()
		_, err := a.Setup(t.Context(), cluster.Config{Shards: 4, Generation: 1})
		require.NoError(t, err)
		run(t, a, b)
	})
}

func always(f memory.Fault) memory.Plan { return func(string) memory.Fault { return f } }

func joined(t *testing.T, e *memory.Engine, id string) bool {
	err := e.Renew(t.Context(), cluster.Member{ID: id, Incarnation: 1})
	if err != nil {
		require.ErrorIs(t, err, cluster.ErrNotMember)
	}
	return err == nil
}

func TestDelays(t *testing.T) {
	inBubble(t, func(t *testing.T, a, b *memory.Engine) {
		a.SetPlan(always(memory.Fault{Before: 2 * time.Second, After: 3 * time.Second}))
		begin := time.Now()
		go func() {
			time.Sleep(2*time.Second - 1)
			assert.False(t, joined(t, b, "a"))
			time.Sleep(2 * time.Nanosecond)
			assert.True(t, joined(t, b, "a"))
		}()
		require.NoError(t, a.Join(t.Context(), cluster.Member{ID: "a", Incarnation: 1, Beat: 1}))
		assert.Equal(t, 5*time.Second, time.Since(begin))
	})
}

func TestLostCallsWait(t *testing.T) {
	for name, f := range map[string]memory.Fault{"request": {LoseRequest: true}, "answer": {LoseAnswer: true}} {
		inBubble(t, func(t *testing.T, a, b *memory.Engine) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			begin := time.Now()
			a.SetPlan(always(f))
			assert.ErrorIs(t, a.Join(ctx, cluster.Member{ID: "a", Incarnation: 1, Beat: 1}), context.DeadlineExceeded)
			assert.Equal(t, time.Minute, time.Since(begin))
			assert.Equal(t, f.LoseAnswer, joined(t, b, "a"), name)

			f.Err = errInjected
			a.SetPlan(always(f))
			assert.ErrorIs(t, a.Join(t.Context(), cluster.Member{ID: "x", Incarnation: 1, Beat: 1}), errInjected)
			assert.Equal(t, time.Minute, time.Since(begin))
			synctest.Wait()
			assert.Equal(t, f.LoseAnswer, joined(t, b, "x"), name)
		})
	}
}

func TestRequestArrivesLate(t *testing.T) {
	inBubble(t, func(t *testing.T, a, b *memory.Engine) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		a.SetPlan(always(memory.Fault{Before: time.Minute}))
		assert.ErrorIs(t, a.Join(ctx, cluster.Member{ID: "a", Incarnation: 1, Beat: 1}), context.DeadlineExceeded)
		require.NoError(t, a.Close()) // the process is killed
		assert.False(t, joined(t, b, "a"))
		time.Sleep(time.Minute)
		assert.True(t, joined(t, b, "a"))
	})
}

// Commits keep the promise of edgews.Store: with an error they have changed nothing.
func TestFaultsOfTheStorage(t *testing.T) {
	inBubble(t, func(t *testing.T, a, b *memory.Engine) {
		var key edgews.ObjectKey
		put := func(value string) edgews.Batch {
			return edgews.Batch{Puts: []edgews.Entry{{Key: "k", Value: []byte(value)}}}
		}
		o, err := a.Open(t.Context(), key, edgews.Fence{Epoch: 1})
		require.NoError(t, err)
		other, err := b.Open(t.Context(), key, edgews.Fence{Epoch: 1})
		require.NoError(t, err)
		value := func() string {
			v, err := other.Get(t.Context(), "k")
			require.NoError(t, err)
			return string(v)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.NoError(t, o.Commit(ctx, put("1")))

		a.SetPlan(always(memory.Fault{Before: time.Minute}))
		assert.ErrorIs(t, o.Commit(ctx, put("2")), context.DeadlineExceeded)
		time.Sleep(time.Minute)
		assert.Equal(t, "1", value())

		a.SetPlan(always(memory.Fault{After: time.Minute}))
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		assert.NoError(t, o.Commit(ctx, put("3")))
		assert.Equal(t, "3", value())

		a.SetPlan(always(memory.Fault{LoseRequest: true, Err: errInjected}))
		assert.ErrorIs(t, o.Commit(t.Context(), put("4")), errInjected)
		assert.Equal(t, "3", value())

		a.SetPlan(nil)
		a.Partition(true)
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		assert.ErrorIs(t, o.Commit(ctx, put("5")), context.DeadlineExceeded)
		_, err = o.Get(ctx, "k")
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		a.Partition(false)
		assert.Equal(t, "3", value())
		assert.NoError(t, o.Commit(t.Context(), put("6")))
	})
}

func TestPartitionAndHeldWatch(t *testing.T) {
	inBubble(t, func(t *testing.T, a, b *memory.Engine) {
		var seen []string
		ended := make(chan error, 1)
		go func() {
			ended <- a.Watch(t.Context(), func(c cluster.Change) {
				if c.Member != nil {
					seen = append(seen, c.Member.ID)
				}
			})
		}()
		join := func(id string) {
			require.NoError(t, b.Join(t.Context(), cluster.Member{ID: id, Incarnation: 1, Beat: 1}))
			synctest.Wait()
		}
		join("x")
		assert.Equal(t, []string{"x"}, seen)
		a.HoldWatch(true)
		join("y")
		assert.Equal(t, []string{"x"}, seen)
		assert.True(t, joined(t, a, "y"), "calls are not held")
		a.HoldWatch(false)
		synctest.Wait()
		assert.Equal(t, []string{"x", "y"}, seen)

		a.Partition(true)
		join("z")
		assert.Equal(t, []string{"x", "y"}, seen)
		a.Partition(false)
		synctest.Wait()
		assert.Equal(t, []string{"x", "y", "z"}, seen)
		a.BreakWatch()
		assert.ErrorIs(t, <-ended, memory.ErrWatchBroken)
	})
}

func TestClosedMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := memory.New()
		a := m.Connect()
		a.SetPlan(always(memory.Fault{Before: time.Hour}))
		ended := make(chan error, 2)
		go func() { ended <- a.Join(t.Context(), cluster.Member{ID: "a"}) }()
		go func() { ended <- a.Watch(t.Context(), func(cluster.Change) {}) }()
		synctest.Wait()
		require.NoError(t, m.Close())
		assert.ErrorIs(t, <-ended, memory.ErrClosed)
		assert.ErrorIs(t, <-ended, memory.ErrClosed)
		assert.NoError(t, m.Close())
		_, err := m.Connect().Setup(t.Context(), cluster.Config{Shards: 1, Generation: 1})
		assert.ErrorIs(t, err, memory.ErrClosed)
	})
}
