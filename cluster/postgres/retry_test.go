//go:build unix

package postgres_test

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/cluster"
	"github.com/edgews/edgews/cluster/postgres"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// objectCalls are the calls that wait for a server that is down. Each is for an object of its own, which has an entry and an alarm.
var objectCalls = map[string]func(ctx context.Context, t *testing.T, e *postgres.Engine, o edgews.ObjectStore, n int) error{
	"Open": func(ctx context.Context, t *testing.T, e *postgres.Engine, _ edgews.ObjectStore, n int) error {
		_, err := e.Open(ctx, key(t, n), edgews.Fence{Epoch: 3})
		return err
	},
	"Get": func(ctx context.Context, t *testing.T, _ *postgres.Engine, o edgews.ObjectStore, _ int) error {
		value, err := o.Get(ctx, "k")
		assert.True(t, err != nil || string(value) == "v")
		return err
	},
	"GetMany": func(ctx context.Context, t *testing.T, _ *postgres.Engine, o edgews.ObjectStore, _ int) error {
		values, err := o.(edgews.ManyGetter).GetMany(ctx, []string{"k", "none"})
		assert.True(t, err != nil || len(values) == 1)
		return err
	},
	"Scan": func(ctx context.Context, t *testing.T, _ *postgres.Engine, o edgews.ObjectStore, _ int) (err error) {
		n := 0
		for _, err = range o.Scan(ctx, edgews.Range{}) {
			n++
		}
		assert.Equal(t, 1, n, "an entry or an error")
		return err
	},
	"Commit": func(ctx context.Context, _ *testing.T, _ *postgres.Engine, o edgews.ObjectStore, _ int) error {
		return o.Commit(ctx, put("k", "w"))
	},
	"DueAlarms": func(ctx context.Context, t *testing.T, e *postgres.Engine, _ edgews.ObjectStore, _ int) error {
		due, err := e.DueAlarms(ctx, "room", time.UnixMilli(1), math.MaxInt)
		assert.True(t, err != nil || len(due) > 0)
		return err
	},
	"DueShardAlarms": func(ctx context.Context, t *testing.T, e *postgres.Engine, _ edgews.ObjectStore, n int) error {
		due, err := e.DueShardAlarms(ctx, "room", cluster.ShardOf(key(t, n), testConfig.Shards), time.UnixMilli(1), math.MaxInt)
		assert.True(t, err != nil || len(due) > 0)
		return err
	},
}

// beginObjectCalls begins each of objectCalls, and returns where their errors come. The objects have the numbers from first on.
func beginObjectCalls(ctx context.Context, t *testing.T, e *postgres.Engine, opened []edgews.ObjectStore, first int) map[string]chan error {
	errs := make(map[string]chan error)
	n := first
	for name, call := range objectCalls {
		ended, o, i := make(chan error, 1), opened[n], n
		errs[name] = ended
		go func() { ended <- call(ctx, t, e, o, i) }()
		n++
	}
	return errs
}

// wantEnded checks that calls end with an error. A commit may have been sent through a connection that was lost: its outcome is unknown.
func wantEnded(t *testing.T, calls map[string]chan error, want error) {
	t.Helper()
	for name, ended := range calls {
		err := <-ended
		if name != "Commit" || err == nil || !strings.Contains(err.Error(), "unknown") {
			assert.ErrorIs(t, err, want, name)
		}
	}
}

func TestCallsForObjectsWaitForTheServer(t *testing.T) {
	s := ownServer(t)
	e := openWith(t, s.conn(), &postgres.Options{CommitTimeout: 4 * time.Second})
	const groups = 3 // of objects: one for each time that the calls are made
	var opened []edgews.ObjectStore
	for n := range groups * len(objectCalls) {
		o := openObject(t, e, n, 2)
		b := put("k", "v")
		b.Alarm = &edgews.AlarmChange{Time: time.UnixMilli(1)}
		require.NoError(t, o.Commit(t.Context(), b))
		opened = append(opened, o)
	}
	m := member("a", 1, 1)
	require.NoError(t, e.Join(t.Context(), m))
	owned, err := e.Claim(t.Context(), cluster.Ownership{Shard: 1}, m)
	require.NoError(t, err)

	s.crash()
	ctx, cancel := context.WithCancel(t.Context())
	ending := beginObjectCalls(ctx, t, e, opened, 0)

	// What a node repeats itself fails.
	require.Error(t, e.Renew(t.Context(), member("a", 1, 2)))
	_, err = e.Claim(t.Context(), owned, m)
	require.Error(t, err)
	require.NotErrorIs(t, err, cluster.ErrConflict)
	require.Error(t, e.Watch(t.Context(), func(cluster.Change) {}))

	for name, ended := range ending {
		select {
		case err := <-ended:
			assert.Fail(t, name+" has ended", "%v", err)
			ended <- err
		default:
		}
	}
	cancel()
	wantEnded(t, ending, context.Canceled)

	waiting := beginObjectCalls(t.Context(), t, e, opened, len(objectCalls))
	require.NoError(t, s.start())
	for name, ended := range waiting {
		assert.NoError(t, <-ended, name)
	}

	s.crash()
	closing := beginObjectCalls(t.Context(), t, e, opened, 2*len(objectCalls))
	require.NoError(t, e.Close())
	wantEnded(t, closing, postgres.ErrClosed)
	require.NoError(t, s.start()) // so that the end of the test stops a server
}
