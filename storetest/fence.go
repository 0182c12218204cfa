package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/edgews/edgews"
)

var fenceTests = []test{
	{"a newer epoch fences an older one", func(t *testing.T, s edgews.Store) {
		at := time.UnixMilli(1_700_000_000_000)
		old := open(t, s, "room", 1)
		old.commit(edgews.Batch{Puts: entries("a", "1"), Alarm: &edgews.AlarmChange{Time: at}})
		newer := openKey(t, s, old.key, 2)
		newer.wantList("", "a", "1")
		for range 3 { // each time
			old.wantFenced(edgews.Batch{DeleteAll: true, Puts: entries("a", "2", "b", "2"), Alarm: &edgews.AlarmChange{Time: at.Add(-time.Hour)}})
			old.wantFenced(edgews.Batch{Deletes: []string{"a"}, Alarm: &edgews.AlarmChange{}})
			newer.wantList("", "a", "1")
			wantDue(t, due(t, s, "room", at, all), edgews.DueAlarm{ID: old.key.ID, Time: at})
		}
		newer.put("a", "3")
		old.wantFenced(edgews.Batch{Puts: entries("a", "2")})
		newer.wantList("", "a", "3")
		old.Release()
		newer.put("a", "4")
	}},
	{"a Scan of the older owner shows one moment, or ErrFenced", func(t *testing.T, s edgews.Store) {
		n := byte(0)
		for _, r := range []edgews.Range{{}, {Reverse: true}, {Reverse: true, Limit: manyCount / 2}} {
			for _, after := range []int{1, manyCount / 3} { // the number of entries that the loop has seen before the newer owner comes
				n++
				old := open(t, s, "room", n)
				putMany(old, "old")
				old.wantMomentOrFenced(r, after, func() {
					openKey(t, s, old.key, 2).commit(edgews.Batch{DeleteAll: true, Puts: manyEntries("new")[:10]})
				})
			}
		}
	}},
	{"an older epoch is not opened", func(t *testing.T, s edgews.Store) {
		o := openKey(t, s, numbered("room", 1), 5)
		o.Release()
		wantNotOpened(t, s, o.key, 4)
		wantNotOpened(t, s, o.key, 1)
		wantNotOpened(t, s, o.key, 0)
		openKey(t, s, o.key, 5).put("a", "5") // the same epoch is
		openKey(t, s, o.key, 1<<63).put("a", "6")
		wantNotOpened(t, s, o.key, 5)
	}},
	{"a fence outlives all entries of its object", func(t *testing.T, s edgews.Store) {
		o := openKey(t, s, numbered("room", 1), 3)
		o.commit(edgews.Batch{Puts: entries("a", "1"), Alarm: &edgews.AlarmChange{Time: time.UnixMilli(1)}})
		o.commit(edgews.Batch{DeleteAll: true})
		o.setAlarm(time.Time{})
		o.Release()
		wantNotOpened(t, s, o.key, 2)
		openKey(t, s, o.key, 3).wantList("") // a fence is not an entry
	}},
	{"a fence concerns one object", func(t *testing.T, s edgews.Store) {
		a, b, c := open(t, s, "room", 1), open(t, s, "room", 2), open(t, s, "other", 1)
		openKey(t, s, a.key, 2)
		a.wantFenced(edgews.Batch{Puts: entries("a", "1")})
		b.put("b", "1")
		c.put("c", "1")
	}},
	{"the zero Fence is epoch 1", func(t *testing.T, s edgews.Store) {
		o := openKey(t, s, numbered("room", 1), 0)
		o.put("a", "0")
		openKey(t, s, o.key, 1).wantValue("a", "0")
		openKey(t, s, o.key, 0).put("a", "1")
		openKey(t, s, o.key, 2).wantValue("a", "1")
		o.wantFenced(edgews.Batch{Puts: entries("a", "2")})
	}},
	{"no commit of the older owner succeeds after Open", func(t *testing.T, s edgews.Store) {
		for epoch := uint64(1); epoch < uint64(times(20)+2); epoch++ {
			old := openKey(t, s, numbered("room", 1), epoch)
			ctx, cancel := context.WithCancel(context.Background())
			ended := make(chan error)
			go func() {
				for {
					if err := old.Commit(ctx, edgews.Batch{Puts: entries("by", "the older")}); err != nil {
						ended <- err
						return
					}
				}
			}()
			newer := openKey(t, s, old.key, epoch+1)
			newer.put("by", "the newer")
			old.wantFenced(edgews.Batch{Puts: entries("by", "the older")})
			cancel()
			if err := <-ended; !errors.Is(err, edgews.ErrFenced) && !errors.Is(err, context.Canceled) {
				t.Errorf("the older owner got error %v, want ErrFenced", err)
			}
			newer.wantValue("by", "the newer")
		}
	}},
}

// wantMomentOrFenced calls change after a number of entries. The others are as they were before, unless the loop ends with ErrFenced.
func (o *object) wantMomentOrFenced(r edgews.Range, after int, change func()) {
	o.t.Helper()
	want := o.scan(r)
	var got []edgews.Entry
	for e, err := range o.Scan(context.Background(), r) {
		if errors.Is(err, edgews.ErrFenced) {
			want = want[:len(got)]
			break
		}
		if err != nil {
			o.t.Fatal(err)
		}
		if got = append(got, e); len(got) == after {
			change()
		}
	}
	wantEntries(o.t, fmt.Sprintf("Scan of %+v, fenced after %d", r, after), got, want)
}

func (o *object) wantFenced(b edgews.Batch) {
	o.t.Helper()
	if err := o.Commit(context.Background(), b); !errors.Is(err, edgews.ErrFenced) {
		o.t.Fatalf("Commit: got error %v, want ErrFenced", err)
	}
}

func wantNotOpened(t *testing.T, s edgews.Store, key edgews.ObjectKey, epoch uint64) {
	t.Helper()
	if _, err := s.Open(context.Background(), key, edgews.Fence{Epoch: epoch}); !errors.Is(err, edgews.ErrFenced) {
		t.Fatalf("Open with epoch %d: got error %v, want ErrFenced", epoch, err)
	}
}
