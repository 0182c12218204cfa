package storetest

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"testing"

	"github.com/edgews/edgews"
)

var listTests = []test{
	{"List is in key order and within its prefix", func(t *testing.T, s edgews.Store) {
		o := open(t, s, "room", 1)
		keys := []string{"\x00", "\x00\xff", "\x01", "a", "a\x00", "a\x00b", "a\xff", "a\xffb", "a\xff\xff", "b", "\xff", "\xff\x00", "\xff\xff", "\xff\xff\xff"}
		for i := range keys {
			o.put(keys[(i*5)%len(keys)], "v")
		}
		for prefix, want := range map[string][]string{
			"":             keys,
			"\x00":         {"\x00", "\x00\xff"},
			"\x00\x00":     nil,
			"a":            {"a", "a\x00", "a\x00b", "a\xff", "a\xffb", "a\xff\xff"},
			"a\x00":        {"a\x00", "a\x00b"},
			"a\xff":        {"a\xff", "a\xffb", "a\xff\xff"},
			"a\xff\xff":    {"a\xff\xff"},
			"aa":           nil,
			"b":            {"b"},
			"bb":           nil,
			"\xff":         {"\xff", "\xff\x00", "\xff\xff", "\xff\xff\xff"},
			"\xff\xff\xff": {"\xff\xff\xff"},
		} {
			var got []string
			for _, e := range o.list(prefix) {
				got = append(got, e.Key)
			}
			if !slices.Equal(got, want) {
				t.Errorf("List %q: got %q, want %q", prefix, got, want)
			}
		}
	}},
	{"a loop over a List may end early and begin again", func(t *testing.T, s edgews.Store) {
		o := open(t, s, "room", 1)
		putMany(o, "old")
		list := o.List(context.Background(), "")
		for range 3 {
			n := 0
			for _, err := range list {
				if err != nil {
					t.Fatal(err)
				}
				if n++; n == 10 {
					break
				}
			}
		}
		o.commit(edgews.Batch{DeleteAll: true, Puts: entries("only", "one")}) // no commit waits for a loop that has ended
		for e, err := range list {
			if err != nil || e.Key != "only" {
				t.Fatalf("begun again after a commit, List shows %q, error %v", e.Key, err)
			}
		}
	}},
	{"List shows one moment", func(t *testing.T, s edgews.Store) {
		for name, change := range map[string]edgews.Batch{
			"changed":    {Puts: manyEntries("new")},
			"deleted":    {DeleteAll: true},
			"replaced":   {DeleteAll: true, Puts: entries("00000x", "new", "99", "new")},
			"thinned":    {Deletes: []string{"00001", "01234", manyKey(manyCount - 1)}},
			"interwoven": {Puts: entries("00000x", "new", "01000x", "new", "99", "new")},
		} {
			for _, after := range []int{0, 1, manyCount / 2, manyCount - 1} { // the number of entries that the loop has seen before the commit
				o := open(t, s, "room", 1)
				o.commit(edgews.Batch{DeleteAll: true, Puts: manyEntries("old")})
				var got []edgews.Entry
				for e, err := range o.List(context.Background(), "") {
					if err != nil {
						t.Fatal(err)
					}
					if len(got) == after {
						o.commit(change)
					}
					got = append(got, e)
				}
				wantEntries(t, fmt.Sprintf("%s after %d", name, after), got, manyEntries("old"))
			}
		}
	}},
	{"List shows one moment during many commits", func(t *testing.T, s edgews.Store) {
		o := open(t, s, "room", 1)
		putMany(o, "old")
		n := 0
		for e, err := range o.List(context.Background(), "") {
			if err != nil {
				t.Fatal(err)
			}
			if e.Key != manyKey(n) || string(e.Value[:3]) != "old" {
				t.Fatalf("entry %d is %q=%s", n, e.Key, shortened(e.Value))
			}
			if n%100 == 0 {
				o.put(manyKey(n+50), "new", manyKey(n)+"x", "new")
				o.commit(edgews.Batch{Deletes: []string{manyKey(n + 150), manyKey(n)}})
			}
			n++
		}
		if n != manyCount {
			t.Fatalf("got %d entries, want %d", n, manyCount)
		}
		o.wantNone(manyKey(0))
		o.wantValue(manyKey(50), "new")
	}},
	{"each List shows the moment at which it began", func(t *testing.T, s edgews.Store) {
		o := open(t, s, "room", 1)
		putMany(o, "1st")
		var lists []func() (edgews.Entry, error, bool)
		for _, next := range []string{"2nd", "3rd", "4th"} {
			pull, stop := iter.Pull2(o.List(context.Background(), "0"))
			defer stop()
			lists = append(lists, pull)
			pull() // begins
			putMany(o, next)
		}
		for i, want := range []string{"1st", "2nd", "3rd"} {
			got := manyEntries(want)[:1] // seen already
			for e, err, ok := lists[i](); ok; e, err, ok = lists[i]() {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, e)
			}
			wantEntries(t, want, got, manyEntries(want))
		}
		wantEntries(t, "at last", o.list(""), manyEntries("4th"))
	}},
	{"a List within a List", func(t *testing.T, s edgews.Store) {
		o := open(t, s, "room", 1)
		o.put("a", "1", "b", "2", "c", "3")
		n := 0
		for range o.List(context.Background(), "") {
			for range o.List(context.Background(), "") {
				o.put("d", fmt.Sprint(n))
				n++
			}
		}
		if n != 3+4+4 {
			t.Fatalf("%d iterations, want 3+4+4", n)
		}
	}},
}

// manyCount is the number of entries that manyEntries returns: more than an engine reads at once.
const manyCount = 3000

func manyKey(i int) string { return fmt.Sprintf("%05d", i) }

func manyEntries(value string) []edgews.Entry {
	list := make([]edgews.Entry, manyCount)
	for i := range list {
		list[i] = edgews.Entry{Key: manyKey(i), Value: fmt.Appendf(nil, "%s%200d", value, i)}
	}
	return list
}

func putMany(o *object, value string) {
	o.t.Helper()
	o.commit(edgews.Batch{Puts: manyEntries(value)})
}
