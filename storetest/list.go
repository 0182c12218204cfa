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
	{"List may be left, and begun again", func(t *testing.T, s edgews.Store) {
		o := open(t, s, "room", 1)
		fillPages(o, "old")
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
		o.commit(edgews.Batch{DeleteAll: true, Puts: entries("only", "one")}) // nothing waits for lists that were left
		for e, err := range list {
			if err != nil || e.Key != "only" {
				t.Fatalf("begun again after a commit, List shows %q, error %v", e.Key, err)
			}
		}
	}},
	{"List shows one moment", func(t *testing.T, s edgews.Store) {
		for name, change := range map[string]edgews.Batch{
			"changed":    {Puts: pages("new")},
			"deleted":    {DeleteAll: true},
			"replaced":   {DeleteAll: true, Puts: entries("00000x", "new", "99", "new")},
			"thinned":    {Deletes: []string{"00001", "01234", pageKey(pageEntries - 1)}},
			"interwoven": {Puts: entries("00000x", "new", "01000x", "new", "99", "new")},
		} {
			for _, after := range []int{0, 1, pageEntries / 2, pageEntries - 1} { // commits when so many have been seen
				o := open(t, s, "room", 1)
				o.commit(edgews.Batch{DeleteAll: true, Puts: pages("old")})
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
				wantEntries(t, fmt.Sprintf("%s after %d", name, after), got, pages("old"))
			}
		}
	}},
	{"List shows one moment however much is committed", func(t *testing.T, s edgews.Store) {
		o := open(t, s, "room", 1)
		fillPages(o, "old")
		n := 0
		for e, err := range o.List(context.Background(), "") {
			if err != nil {
				t.Fatal(err)
			}
			if e.Key != pageKey(n) || string(e.Value[:3]) != "old" {
				t.Fatalf("entry %d is %q=%s", n, e.Key, brief(e.Value))
			}
			if n%100 == 0 {
				o.put(pageKey(n+50), "new", pageKey(n)+"x", "new")
				o.commit(edgews.Batch{Deletes: []string{pageKey(n + 150), pageKey(n)}})
			}
			n++
		}
		if n != pageEntries {
			t.Fatalf("got %d entries, want %d", n, pageEntries)
		}
		o.wantNone(pageKey(0))
		o.wantValue(pageKey(50), "new")
	}},
	{"each List has a moment of its own", func(t *testing.T, s edgews.Store) {
		o := open(t, s, "room", 1)
		fillPages(o, "1st")
		var lists []func() (edgews.Entry, error, bool)
		for _, next := range []string{"2nd", "3rd", "4th"} {
			pull, stop := iter.Pull2(o.List(context.Background(), "0"))
			defer stop()
			lists = append(lists, pull)
			pull() // begins
			fillPages(o, next)
		}
		for i, want := range []string{"1st", "2nd", "3rd"} {
			got := pages(want)[:1] // seen already
			for e, err, ok := lists[i](); ok; e, err, ok = lists[i]() {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, e)
			}
			wantEntries(t, want, got, pages(want))
		}
		wantEntries(t, "at last", o.list(""), pages("4th"))
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
			t.Fatalf("%d turns, want 3+4+4", n)
		}
	}},
}

// Entries that do not fit into what an engine might read at once.
const pageEntries = 3000

func pageKey(i int) string { return fmt.Sprintf("%05d", i) }

func pages(value string) []edgews.Entry {
	list := make([]edgews.Entry, pageEntries)
	for i := range list {
		list[i] = edgews.Entry{Key: pageKey(i), Value: fmt.Appendf(nil, "%s%200d", value, i)}
	}
	return list
}

func fillPages(o *object, value string) {
	o.t.Helper()
	o.commit(edgews.Batch{Puts: pages(value)})
}
