package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/edgews/edgews"
)

var concurrencyTests = []test{
	{"many objects at once", func(t *testing.T, s edgews.Store) {
		objects, rounds := 64, times(40)
		at := time.UnixMilli(1_700_000_000_000)
		var wg sync.WaitGroup
		for n := range byte(objects) {
			o := open(t, s, fmt.Sprint("namespace ", n%3), n)
			wg.Go(func() { inRounds(o, rounds, at) })
		}
		wg.Wait()
		seen := 0
		for n := range 3 {
			seen += len(due(t, s, fmt.Sprint("namespace ", n), at.Add(time.Duration(rounds)*time.Second), all))
		}
		if seen != objects {
			t.Fatalf("%d alarms are left, want %d", seen, objects)
		}
	}},
	{"readers see all of a commit or nothing", func(t *testing.T, s edgews.Store) {
		o := open(t, s, "room", 1)
		o.put("a", "0", "z", "0")
		whileReading(t, times(300), func() error { return sameValues(o) }, func(i int) {
			v := fmt.Sprint(i)
			b := edgews.Batch{DeleteAll: i%2 == 0, Puts: entries("a", v, "z", v)}
			for range i % 5 {
				b.Puts = append(b.Puts, entries(fmt.Sprint("m", len(b.Puts)), v)...)
			}
			if i%2 == 1 {
				b.Deletes = []string{"m2", "m3", "m4", "m5"}
			}
			o.commit(b)
		})
	}},
	{"a long Scan shows one moment while others commit", func(t *testing.T, s edgews.Store) {
		o := open(t, s, "room", 1)
		putMany(o, "0000")
		whileReading(t, times(32), func() error { return sameEntries(o) }, func(i int) {
			putMany(o, fmt.Sprintf("%04d", i%10_000))
		})
	}},
	{"a failing commit does not affect others", func(t *testing.T, s edgews.Store) {
		var wg sync.WaitGroup
		for n := range byte(16) {
			o := open(t, s, "room", n)
			fenced := n%2 == 1
			if fenced {
				openKey(t, s, o.key, 2)
			}
			wg.Go(func() {
				for i := range times(80) {
					err := o.Commit(context.Background(), edgews.Batch{Puts: entries("i", fmt.Sprint(i), fmt.Sprint(i), "v")})
					if fenced && !errors.Is(err, edgews.ErrFenced) || !fenced && err != nil {
						t.Errorf("object %d: commit %d: got error %v", n, i, err)
						return
					}
				}
			})
		}
		wg.Wait()
		for n := range byte(16) {
			want := times(80) + 1
			if n%2 == 1 {
				want = 0
			}
			if got := len(openKey(t, s, numbered("room", n), 2).list("")); got != want {
				t.Errorf("object %d has %d entries, want %d", n, got, want)
			}
		}
	}},
	{"several commits to one object at once", func(t *testing.T, s edgews.Store) {
		o := open(t, s, "room", 1)
		at := time.UnixMilli(1_700_000_000_000)
		var wg sync.WaitGroup
		for n := range 16 {
			wg.Go(func() {
				for i := range times(40) {
					err := o.Commit(context.Background(), edgews.Batch{
						Puts:  entries(fmt.Sprint(n, "/", i), "v", "shared", fmt.Sprint(n)),
						Alarm: &edgews.AlarmChange{Time: at.Add(time.Duration(n) * time.Second)},
					})
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		if got, want := len(o.list("")), 16*times(40)+1; got != want {
			t.Fatalf("%d entries, want %d", got, want)
		}
		if alarms := due(t, s, "room", at.Add(time.Hour), all); len(alarms) != 1 {
			t.Fatalf("one object has %d alarms", len(alarms))
		}
	}},
	{"Close while others commit", func(t *testing.T, s edgews.Store) {
		var wg sync.WaitGroup
		begun := make(chan struct{}, 16)
		for n := range byte(16) {
			o := open(t, s, "room", n)
			wg.Go(func() {
				for i := 0; ; i++ {
					if err := o.Commit(context.Background(), edgews.Batch{Puts: entries("i", fmt.Sprint(i))}); err != nil {
						return
					}
					if i == 0 {
						begun <- struct{}{}
					}
				}
			})
		}
		for range 16 {
			<-begun
		}
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		wg.Wait() // all commits return
	}},
}

// inRounds commits to o and reads the result. No other goroutine uses o.
func inRounds(o *object, rounds int, at time.Time) {
	var want []string
	for i := range rounds {
		v := fmt.Sprint(i)
		b := edgews.Batch{
			Puts:  entries("i", v, fmt.Sprintf("k%03d", i), v),
			Alarm: &edgews.AlarmChange{Time: at.Add(time.Duration(i) * time.Second)},
		}
		if i%10 == 9 {
			b.DeleteAll, want = true, nil
		}
		want = append(want, fmt.Sprintf("k%03d", i), v)
		if err := o.Commit(context.Background(), b); err != nil {
			o.t.Error(err)
			return
		}
		got, err := o.Get(context.Background(), "i")
		if err != nil || string(got) != v {
			o.t.Errorf("after a commit of %s there is %q, error %v", v, got, err)
			return
		}
		listed := 0
		for e, err := range o.Scan(context.Background(), edgews.Range{Prefix: "k"}) {
			if err != nil || 2*listed >= len(want) || e.Key != want[2*listed] || string(e.Value) != want[2*listed+1] {
				o.t.Errorf("entry %d of %d is %q=%q, error %v", listed, len(want)/2, e.Key, e.Value, err)
				return
			}
			listed++
		}
		if listed != len(want)/2 {
			o.t.Errorf("listed %d entries, want %d", listed, len(want)/2)
		}
	}
}

// whileReading calls change repeatedly while two goroutines call read n times each.
func whileReading(t *testing.T, n int, read func() error, change func(i int)) {
	done := make(chan error)
	for range 2 {
		go func() {
			var err error
			for i := 0; i < n && err == nil; i++ {
				err = read()
			}
			done <- err
		}()
	}
	for i, readers := 0, 2; readers > 0; i++ {
		select {
		case err := <-done:
			readers--
			if err != nil {
				t.Error(err)
			}
		default:
			change(i)
		}
	}
}

// sameEntries returns an error if an entry of manyEntries is missing, or if their values are of different commits.
func sameEntries(o *object) error {
	n := 0
	var first string
	for e, err := range o.Scan(context.Background(), edgews.Range{}) {
		if err != nil {
			return err
		}
		if n == 0 {
			first = string(e.Value[:4])
		}
		if e.Key != manyKey(n) || string(e.Value[:4]) != first {
			return fmt.Errorf("entry %d is %q=%q in a Scan that began with %q", n, e.Key, e.Value[:4], first)
		}
		n++
	}
	if n != manyCount {
		return fmt.Errorf("a Scan shows %d entries, want %d", n, manyCount)
	}
	return nil
}

// sameValues returns an error if not all entries have the same value.
func sameValues(o *object) error {
	var first *edgews.Entry
	n := 0
	for e, err := range o.Scan(context.Background(), edgews.Range{}) {
		if err != nil {
			return err
		}
		if first == nil {
			first = &e
		}
		if e.Key[0] != 'm' && string(e.Value) != string(first.Value) {
			return fmt.Errorf("a Scan shows %q=%q beside %q=%q", first.Key, first.Value, e.Key, e.Value)
		}
		n++
	}
	if n < 2 {
		return fmt.Errorf("a Scan shows %d entries", n)
	}
	return nil
}
