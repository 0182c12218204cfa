package storetest

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/edgews/edgews"
)

var scanTests = []test{
	{"Scan is in key order and within its prefix", func(t *testing.T, s edgews.Store) {
		o := open(t, s, "room", 1)
		all := []string{"\x00", "\x00\xff", "\x01", "a", "a\x00", "a\x00b", "a\xff", "a\xffb", "a\xff\xff", "b", "\xff", "\xff\x00", "\xff\xff", "\xff\xff\xff"}
		for i := range all {
			o.put(all[(i*5)%len(all)], "v")
		}
		for prefix, want := range map[string][]string{
			"":             all,
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
			got := keys(o.list(prefix))
			if !slices.Equal(got, want) {
				t.Errorf("Scan of %q: got %q, want %q", prefix, got, want)
			}
		}
	}},
	{"a range has bounds, an order and a limit", func(t *testing.T, s edgews.Store) {
		o := open(t, s, "room", 1)
		o.put("a", "1", "b", "2", "ba", "3", "bb", "4", "c", "5", "\xfe", "8", "\xfe\xff", "9", "\xff", "6", "\xff\xff", "7")
		before, behind := open(t, s, "room", 0), open(t, s, "room", 2)
		before.put("b", "of another")
		behind.put("b", "of another")
		for _, c := range []struct {
			r    edgews.Range
			want string
		}{
			{edgews.Range{Start: "b"}, "b ba bb c \xfe \xfe\xff \xff \xff\xff"},
			{edgews.Range{Start: "b\x00"}, "ba bb c \xfe \xfe\xff \xff \xff\xff"},
			{edgews.Range{After: "b"}, "ba bb c \xfe \xfe\xff \xff \xff\xff"},
			{edgews.Range{After: "aa"}, "b ba bb c \xfe \xfe\xff \xff \xff\xff"},
			{edgews.Range{End: "b"}, "a"},
			{edgews.Range{End: "b\x00"}, "a b"},
			{edgews.Range{Start: "a", End: "bb"}, "a b ba"},
			{edgews.Range{After: "a", End: "bb"}, "b ba"},
			{edgews.Range{Start: "b", End: "b"}, ""},
			{edgews.Range{Start: "c", End: "b"}, ""},
			{edgews.Range{After: "c", End: "b"}, ""},
			{edgews.Range{After: "b", End: "b\x00"}, ""},
			{edgews.Range{Start: "\xff\xff\xff"}, ""},
			{edgews.Range{End: "\x00"}, ""},
			{edgews.Range{Prefix: "b", Start: "ba"}, "ba bb"},
			{edgews.Range{Prefix: "b", After: "ba"}, "bb"},
			{edgews.Range{Prefix: "b", End: "bb"}, "b ba"},
			{edgews.Range{Prefix: "b", Start: "a", End: "z"}, "b ba bb"},
			{edgews.Range{Prefix: "b", Start: "c"}, ""},
			{edgews.Range{Prefix: "b", After: "c"}, ""},
			{edgews.Range{Prefix: "b", End: "a"}, ""},
			{edgews.Range{Prefix: "\xff"}, "\xff \xff\xff"},
			{edgews.Range{Prefix: "\xfe"}, "\xfe \xfe\xff"},
			{edgews.Range{Prefix: "\xfe\xff"}, "\xfe\xff"},
			{edgews.Range{Prefix: "\xff", After: "\xff"}, "\xff\xff"},
			{edgews.Range{Prefix: "\xff\xff"}, "\xff\xff"},
		} {
			want := strings.Fields(c.want)
			for range 2 {
				for c.r.Limit = range len(want) + 2 {
					limited := want
					if c.r.Limit != 0 {
						limited = want[:min(c.r.Limit, len(want))]
					}
					if got := keys(o.scan(c.r)); !slices.Equal(got, limited) {
						t.Errorf("Scan of %+v: got %q, want %q", c.r, got, limited)
					}
				}
				c.r.Reverse = true
				slices.Reverse(want)
			}
		}
	}},
	{"KeysOnly leaves the values out", func(t *testing.T, s edgews.Store) {
		o := open(t, s, "room", 1)
		putMany(o, "v")
		for _, r := range []edgews.Range{{KeysOnly: true}, {KeysOnly: true, Reverse: true}} {
			got := o.scan(r)
			if len(got) != manyCount {
				t.Fatalf("got %d keys, want %d", len(got), manyCount)
			}
			for i, e := range got {
				if r.Reverse {
					i = manyCount - 1 - i
				}
				if e.Key != manyKey(i) || e.Value != nil {
					t.Fatalf("got %q=%s, want %q without a value", e.Key, shortened(e.Value), manyKey(i))
				}
			}
		}
	}},
	{"the last object of a namespace is read backwards", func(t *testing.T, s edgews.Store) {
		var last [32]byte
		for i := range last {
			last[i] = 0xff
		}
		o := openKey(t, s, edgews.ObjectKey{Namespace: "room", ID: newID(last)}, 1)
		if got := o.scan(edgews.Range{Reverse: true}); len(got) != 0 {
			t.Fatalf("got %d entries of an empty object", len(got))
		}
		o.put("a", "1", "\xff", "2")
		if got := keys(o.scan(edgews.Range{Reverse: true})); !slices.Equal(got, []string{"\xff", "a"}) {
			t.Fatalf("got %q, want the keys backwards", got)
		}
	}},
	{"GetMany, if there is one, gets the values that exist", func(t *testing.T, s edgews.Store) {
		o := open(t, s, "room", 1)
		many, ok := o.ObjectStore.(edgews.ManyGetter)
		if !ok {
			t.Skip("there is none, which is allowed")
		}
		open(t, s, "room", 2).put("c", "of another")
		for _, want := range []map[string]string{{}, {"a": "1", "b": "2", "e": ""}} {
			for key, value := range want {
				o.put(key, value)
			}
			got, err := many.GetMany(context.Background(), []string{"e", "c", "a", "b", "a"})
			if err != nil || len(got) != len(want) {
				t.Fatalf("got %d values of %d, error %v", len(got), len(want), err)
			}
			for key, value := range want {
				if string(got[key]) != value {
					t.Fatalf("got %s for %q, want %q", shortened(got[key]), key, value)
				}
				copy(got[key], "X") // it is the caller's
			}
		}
		o.wantValue("a", "1")
	}},
	{"a loop over a Scan may end early and begin again", func(t *testing.T, s edgews.Store) {
		o := open(t, s, "room", 1)
		putMany(o, "old")
		list := o.Scan(context.Background(), edgews.Range{})
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
				t.Fatalf("begun again after a commit, Scan shows %q, error %v", e.Key, err)
			}
		}
	}},
	{"Scan shows one moment", func(t *testing.T, s edgews.Store) {
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
				got := o.scanWhile(edgews.Range{}, after, change)
				wantEntries(t, fmt.Sprintf("%s after %d", name, after), got, manyEntries("old"))

				o.commit(edgews.Batch{DeleteAll: true, Puts: manyEntries("old")})
				got = o.scanWhile(edgews.Range{Reverse: true}, after, change)
				slices.Reverse(got)
				wantEntries(t, fmt.Sprintf("%s after %d, backwards", name, after), got, manyEntries("old"))

				o.commit(edgews.Batch{DeleteAll: true, Puts: manyEntries("old")})
				got = o.scanWhile(edgews.Range{After: manyKey(0), End: manyKey(manyCount - 1), Limit: manyCount/2 + 1}, after, change)
				wantEntries(t, fmt.Sprintf("%s after %d, between bounds", name, after), got, manyEntries("old")[1:manyCount/2+2])
			}
		}
	}},
	{"Scan shows one moment during many commits", func(t *testing.T, s edgews.Store) {
		o := open(t, s, "room", 1)
		putMany(o, "old")
		n := 0
		for e, err := range o.Scan(context.Background(), edgews.Range{}) {
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
	{"each Scan shows the moment at which it began", func(t *testing.T, s edgews.Store) {
		o := open(t, s, "room", 1)
		putMany(o, "1st")
		var lists []func() (edgews.Entry, error, bool)
		for _, next := range []string{"2nd", "3rd", "4th"} {
			pull, stop := iter.Pull2(o.Scan(context.Background(), edgews.Range{Prefix: "0"}))
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
	{"a Scan within a Scan", func(t *testing.T, s edgews.Store) {
		o := open(t, s, "room", 1)
		o.put("a", "1", "b", "2", "c", "3")
		n := 0
		for range o.Scan(context.Background(), edgews.Range{}) {
			for range o.Scan(context.Background(), edgews.Range{}) {
				o.put("d", fmt.Sprint(n))
				n++
			}
		}
		if n != 3+4+4 {
			t.Fatalf("%d iterations, want 3+4+4", n)
		}
	}},
}

// scanWhile returns the entries that a loop gets that commits change after it has got a number of them.
func (o *object) scanWhile(r edgews.Range, after int, change edgews.Batch) (all []edgews.Entry) {
	o.t.Helper()
	for e, err := range o.Scan(context.Background(), r) {
		if err != nil {
			o.t.Fatal(err)
		}
		if len(all) == after {
			o.commit(change)
		}
		all = append(all, e)
	}
	return all
}

func keys(entries []edgews.Entry) (all []string) {
	for _, e := range entries {
		all = append(all, e.Key)
	}
	return all
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
