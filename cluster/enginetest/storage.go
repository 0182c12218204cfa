package enginetest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/cluster"
)

// key returns the n-th object of a namespace.
func key(t *testing.T, namespace string, n int) edgews.ObjectKey {
	t.Helper()
	k := edgews.ObjectKey{Namespace: namespace}
	if err := k.ID.UnmarshalText(fmt.Appendf(nil, "%064x", n)); err != nil {
		t.Fatal(err)
	}
	return k
}

// keyIn returns an object of a shard.
func keyIn(t *testing.T, s cluster.Shard) edgews.ObjectKey {
	t.Helper()
	for n := 0; ; n++ {
		if k := key(t, "rooms", n); cluster.ShardOf(k, config.Shards) == s {
			return k
		}
	}
}

func (c *conn) open(k edgews.ObjectKey, epoch uint64) edgews.ObjectStore {
	c.t.Helper()
	o, err := c.Open(context.Background(), k, edgews.Fence{Epoch: epoch})
	if err != nil {
		c.t.Fatalf("Open with epoch %d: %v", epoch, err)
	}
	return o
}

func put(key, value string) edgews.Batch {
	return edgews.Batch{Puts: []edgews.Entry{{Key: key, Value: []byte(value)}}}
}

var storageTests = []test{
	{"a new owner fences the one before, on another connection too", func(t *testing.T, l *lab) {
		a, b := l.connect(), l.connect()
		k := keyIn(t, 5)
		first := a.claim(cluster.Ownership{Shard: 5}, member("a", 1, 1))
		old := a.open(k, first.Epoch)
		a.want("Commit", old.Commit(context.Background(), put("k", "a")), nil)
		second := b.claim(first, member("b", 1, 1))
		a.want("Commit", old.Commit(context.Background(), put("k", "still a")), nil) // the fence is the object's, not the shard's
		newer := b.open(k, second.Epoch)
		for range 3 {
			a.want("Commit", old.Commit(context.Background(), put("k", "too late")), edgews.ErrFenced)
			_, err := a.Open(context.Background(), k, edgews.Fence{Epoch: first.Epoch})
			a.want("Open", err, edgews.ErrFenced)
			value, err := newer.Get(context.Background(), "k")
			if err != nil || string(value) != "still a" {
				t.Fatalf("Get: got %q and error %v, want what the first owner has committed", value, err)
			}
		}
		b.want("Commit", newer.Commit(context.Background(), edgews.Batch{DeleteAll: true}), nil)
		a.want("Commit", old.Commit(context.Background(), put("k", "too late")), edgews.ErrFenced)
	}},
	{"no commit of the owner before succeeds once the object has been opened", func(t *testing.T, l *lab) {
		conns := l.connectMany(2)
		k := keyIn(t, 1)
		o := conns[0].claim(cluster.Ownership{Shard: 1}, member("m0", 1, 1))
		for round := range times(20) {
			old, next := conns[round%2], conns[(round+1)%2]
			objects := old.open(k, o.Epoch)
			ended := make(chan error, 1)
			begun := make(chan struct{})
			go func() {
				for i := 0; ; i++ {
					if err := objects.Commit(context.Background(), put("by", "the older")); err != nil {
						ended <- err
						return
					}
					if i == 0 {
						close(begun)
					}
				}
			}()
			<-begun
			o = next.claim(o, member(name(round), 1, 1))
			newer := next.open(k, o.Epoch)
			next.want("Commit", newer.Commit(context.Background(), put("by", "the newer")), nil)
			old.want("Commit", <-ended, edgews.ErrFenced)
			if value, err := newer.Get(context.Background(), "by"); err != nil || string(value) != "the newer" {
				t.Fatalf("Get: got %q and error %v, want what the newer owner has committed", value, err)
			}
		}
	}},
	{"alarms by shard", func(t *testing.T, l *lab) {
		a, b := l.connect(), l.connect()
		at := time.UnixMilli(1_700_000_000_000)
		const objects = 60
		for n := range objects {
			for _, namespace := range []string{"rooms", "other"} {
				o := a.open(key(t, namespace, n), config.FirstEpoch())
				due := at.Add(time.Duration(n*7%objects) * time.Second)
				a.want("Commit", o.Commit(context.Background(), edgews.Batch{Alarm: &edgews.AlarmChange{Time: due}}), nil)
			}
		}
		until := at.Add(objects / 2 * time.Second)
		all, err := a.DueAlarms(context.Background(), "rooms", until, math.MaxInt)
		if err != nil || len(all) != objects/2+1 {
			t.Fatalf("DueAlarms: got %d alarms and error %v, want %d", len(all), err, objects/2+1)
		}
		found := 0
		for s := range cluster.Shard(config.Shards) {
			var want []edgews.DueAlarm
			for _, alarm := range all {
				if cluster.ShardOf(edgews.ObjectKey{Namespace: "rooms", ID: alarm.ID}, config.Shards) == s {
					want = append(want, alarm)
				}
			}
			found += len(want)
			for _, limit := range []int{1, 2, math.MaxInt} {
				b.wantShardAlarms(s, until, limit, want[:min(limit, len(want))])
			}
			b.wantShardAlarms(s, at.Add(-time.Second), math.MaxInt, nil)
		}
		if found != len(all) {
			t.Fatalf("%d of %d alarms are in a shard", found, len(all))
		}
	}},
	{"an alarm that has been removed is due no more", func(t *testing.T, l *lab) {
		a := l.connect()
		k := keyIn(t, 9)
		at := time.UnixMilli(1_700_000_000_000)
		o := a.open(k, config.FirstEpoch())
		a.want("Commit", o.Commit(context.Background(), edgews.Batch{Alarm: &edgews.AlarmChange{Time: at}}), nil)
		a.wantShardAlarms(9, at, 5, []edgews.DueAlarm{{ID: k.ID, Time: at}})
		a.want("Commit", o.Commit(context.Background(), edgews.Batch{Alarm: &edgews.AlarmChange{}}), nil)
		a.wantShardAlarms(9, at, 5, nil)
	}},
}

func (c *conn) wantShardAlarms(s cluster.Shard, until time.Time, limit int, want []edgews.DueAlarm) {
	c.t.Helper()
	got, err := c.DueShardAlarms(context.Background(), "rooms", s, until, limit)
	same := slices.EqualFunc(got, want, func(a, b edgews.DueAlarm) bool { return a.ID == b.ID && a.Time.Equal(b.Time) })
	if err != nil || !same {
		c.t.Fatalf("DueShardAlarms of shard %d with limit %d: got %v and error %v, want %v", s, limit, got, err, want)
	}
}

var callTests = []test{
	{"no call begins after its context has ended", func(t *testing.T, l *lab) {
		a := l.connect()
		m := member("a", 1, 1)
		a.join(m)
		o := a.claim(cluster.Ownership{Shard: 0}, m)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		for name, err := range a.everyCall(ctx, o) {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%s: got error %v, want context.Canceled", name, err)
			}
		}
		a.wantMembers(m)
		a.claim(o, m)
	}},
	{"every call fails after Close", func(t *testing.T, l *lab) {
		a, b := l.connect(), l.connect()
		m := member("a", 1, 1)
		a.join(m)
		o := a.claim(cluster.Ownership{Shard: 0}, m)
		a.close()
		for name, err := range a.everyCall(context.Background(), o) {
			named := []error{cluster.ErrConflict, cluster.ErrNotMember, cluster.ErrMemberExists, edgews.ErrFenced}
			if err == nil || slices.ContainsFunc(named, func(target error) bool { return errors.Is(err, target) }) {
				t.Errorf("%s after Close: got error %v, want an error that says so", name, err)
			}
		}
		b.wantMembers(m) // the connection was not the member
		b.claim(o, m)
	}},
}

// everyCall makes every call that could change something, or block, and returns the errors by name.
func (c *conn) everyCall(ctx context.Context, o cluster.Ownership) map[string]error {
	errs := map[string]error{
		"Join":   c.Join(ctx, member("b", 1, 1)),
		"Renew":  c.Renew(ctx, member("a", 1, 2)),
		"Remove": c.Remove(ctx, member("a", 1, 0)),
		"Watch":  c.Watch(ctx, func(cluster.Change) {}),
	}
	_, errs["Setup"] = c.Setup(ctx, config)
	_, errs["Claim"] = c.Claim(ctx, o, member("b", 1, 1))
	_, errs["DueShardAlarms"] = c.DueShardAlarms(ctx, "rooms", 0, time.UnixMilli(0), 1)
	return errs
}
