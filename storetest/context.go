package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/edgews/edgews"
)

var contextTests = []test{
	{"no call begins after its context has ended", func(t *testing.T, s edgews.Store) {
		o := open(t, s, "room", 1)
		at := time.UnixMilli(1_700_000_000_000)
		o.commit(edgews.Batch{Puts: entries("a", "1"), Alarm: &edgews.AlarmChange{Time: at}})
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		for name, err := range everyCall(ctx, s, o) {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%s: got error %v, want context.Canceled", name, err)
			}
		}
		o.wantList("", "a", "1")
		wantDue(t, due(t, s, "room", at, all), edgews.DueAlarm{ID: o.key.ID, Time: at})
		open(t, s, "room", 1).put("a", "2") // the Open that failed has not fenced this epoch
	}},
	{"a Scan ends with its context", func(t *testing.T, s edgews.Store) {
		o := open(t, s, "room", 1)
		putMany(o, "v")
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		n := 0
		var last error
		for _, err := range o.Scan(ctx, edgews.Range{}) {
			if last != nil {
				t.Fatalf("Scan went on after error %v", last)
			}
			if last = err; err == nil {
				n++
			}
			if n == 10 {
				cancel()
			}
		}
		if !errors.Is(last, context.Canceled) || n == manyCount {
			t.Fatalf("Scan ended after %d entries with error %v, want context.Canceled", n, last)
		}
		o.commit(edgews.Batch{DeleteAll: true})
	}},
	{"a commit happens or fails, also when its context ends meanwhile", func(t *testing.T, s edgews.Store) {
		o := open(t, s, "room", 1)
		begin := time.Now()
		o.put("first", "v")
		took := time.Since(begin)
		for i := range times(200) {
			ctx, cancel := context.WithTimeout(context.Background(), rand.N(2*took+1))
			key := fmt.Sprint(i)
			switch err := o.Commit(ctx, edgews.Batch{Puts: entries(key, "v")}); {
			case err == nil:
				o.wantValue(key, "v")
			case errors.Is(err, context.DeadlineExceeded):
				o.put("next", "v") // if the commit has happened nevertheless, then before this one
				o.wantNone(key)
			default:
				t.Fatal(err)
			}
			cancel()
		}
	}},
	{"every call fails after Close", func(t *testing.T, s edgews.Store) {
		o := open(t, s, "room", 1)
		o.put("a", "1")
		list := o.Scan(context.Background(), edgews.Range{})
		if err := s.Close(); err != nil {
			t.Fatalf("Close: %v", err)
		}
		for name, err := range everyCall(context.Background(), s, o) {
			if err == nil || errors.Is(err, edgews.ErrKeyNotFound) || errors.Is(err, edgews.ErrFenced) {
				t.Errorf("%s after Close: got error %v, want an error that says so", name, err)
			}
		}
		for _, err := range list {
			if err == nil {
				t.Error("a loop over a Scan that begins after Close shows entries")
			}
		}
		o.Release()
	}},
}

// everyCall makes every call that can fail, and returns the errors by name.
func everyCall(ctx context.Context, s edgews.Store, o *object) map[string]error {
	errs := map[string]error{}
	_, errs["Open"] = s.Open(ctx, o.key, edgews.Fence{Epoch: 2})
	_, errs["DueAlarms"] = s.DueAlarms(ctx, o.key.Namespace, time.UnixMilli(1_700_000_000_000), all)
	_, errs["Get"] = o.Get(ctx, "a")
	errs["Commit"] = o.Commit(ctx, edgews.Batch{DeleteAll: true, Alarm: &edgews.AlarmChange{}})
	errs["Scan"] = nil
	for _, err := range o.Scan(ctx, edgews.Range{}) {
		errs["Scan"] = err
	}
	return errs
}
