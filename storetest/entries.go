package storetest

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/edgews/edgews"
)

var entryTests = []test{
	{"a new object is empty", func(t *testing.T, s edgews.Store) {
		o := open(t, s, "room", 1)
		o.wantNone("key")
		o.wantList("")
		o.commit(edgews.Batch{})
		o.commit(edgews.Batch{DeleteAll: true, Deletes: []string{"key", "key"}})
		o.wantList("")
	}},
	{"put, get and delete", func(t *testing.T, s edgews.Store) {
		o := open(t, s, "room", 1)
		o.put("a", "1", "b", "2")
		o.put("b", "3")
		o.wantValue("a", "1")
		o.wantValue("b", "3")
		o.commit(edgews.Batch{Deletes: []string{"a", "not there"}})
		o.wantNone("a")
		o.wantList("", "b", "3")
	}},
	{"an empty value is a value", func(t *testing.T, s edgews.Store) {
		o := open(t, s, "room", 1)
		o.commit(edgews.Batch{Puts: []edgews.Entry{{Key: "nil"}, {Key: "empty", Value: []byte{}}}})
		o.wantValue("nil", "")
		o.wantValue("empty", "")
		o.wantList("", "empty", "", "nil", "")
	}},
	{"any bytes are a key and a value", func(t *testing.T, s edgews.Store) {
		o := open(t, s, "room", 1)
		keys := []string{"\x00", "\x00\x00", "\x00a", "a", "a\x00", "a\x00\xff", "a\xff", "b", "\xff", "\xff\x00", "\xff\xff", "ü", "\xc3", strings.Repeat("k", 2048)}
		for _, key := range keys {
			o.put(key, "value of "+key+"\x00\xff")
		}
		for _, key := range keys {
			o.wantValue(key, "value of "+key+"\x00\xff")
		}
		for i, key := range keys {
			o.commit(edgews.Batch{Deletes: []string{key}})
			o.wantNone(key)
			if got := len(o.list("")); got != len(keys)-i-1 {
				t.Fatalf("after deleting %q there are %d entries, want %d", key, got, len(keys)-i-1)
			}
		}
	}},
	{"values are copied", func(t *testing.T, s edgews.Store) {
		o := open(t, s, "room", 1)
		given := []edgews.Entry{{Key: "a", Value: []byte("one")}, {Key: "b", Value: []byte("two")}}
		o.commit(edgews.Batch{Puts: given})
		copy(given[0].Value, "XXX")
		copy(given[1].Value, "XXX")
		given[0], given[1] = edgews.Entry{}, edgews.Entry{}

		got, err := o.Get(context.Background(), "a")
		if err != nil {
			t.Fatal(err)
		}
		listed := o.list("")
		copy(got, "YYY")
		for i := range listed {
			copy(listed[i].Value, "ZZZ")
			_ = append(listed[i].Value, "ZZZ"...)
		}
		o.wantList("", "a", "one", "b", "two")
	}},
	{"returned values do not change", func(t *testing.T, s edgews.Store) {
		o := open(t, s, "room", 1)
		o.put("a", "old", "b", "old")
		got, err := o.Get(context.Background(), "a")
		if err != nil {
			t.Fatal(err)
		}
		listed := o.list("")
		o.put("a", "new", "b", "new")
		o.commit(edgews.Batch{DeleteAll: true})
		if string(got) != "old" {
			t.Fatalf("the value that Get returned has become %q", got)
		}
		wantEntries(t, "listed entries", listed, entries("a", "old", "b", "old"))
	}},
	{"large values", func(t *testing.T, s edgews.Store) {
		o := open(t, s, "room", 1)
		large := func(seed byte) string {
			b := bytes.Repeat([]byte("0123456789abcde"), 8<<20/15) // 8 MiB, with a period that divides no page size
			b[0], b[len(b)-1] = seed, seed
			return string(b)
		}
		o.put("small", "s", "large", large(1))
		o.wantValue("large", large(1))
		o.put("large", large(2), "other", large(3))
		o.wantList("", "large", large(2), "other", large(3), "small", "s")
		o.put("large", "not any more")
		o.commit(edgews.Batch{Deletes: []string{"other"}})
		o.wantList("", "large", "not any more", "small", "s")
	}},
	{"many keys", func(t *testing.T, s edgews.Store) {
		o, other := open(t, s, "room", 1), open(t, s, "room", 2)
		other.put("key", "of another")
		n := times(24_000)
		for at := 0; at < n; at += 3000 {
			var b edgews.Batch
			for i := at; i < min(at+3000, n); i++ {
				b.Puts = append(b.Puts, entries(fmt.Sprintf("%06d", i*7%n), fmt.Sprint(i*7%n))...)
			}
			o.commit(b)
		}
		listed := o.list("")
		if len(listed) != n {
			t.Fatalf("listed %d keys, want %d", len(listed), n)
		}
		for i, e := range listed {
			if e.Key != fmt.Sprintf("%06d", i) || string(e.Value) != fmt.Sprint(i) {
				t.Fatalf("entry %d is %q=%q", i, e.Key, e.Value)
			}
		}
		o.wantList("00010", "000100", "100", "000101", "101", "000102", "102", "000103", "103", "000104", "104",
			"000105", "105", "000106", "106", "000107", "107", "000108", "108", "000109", "109")
		var odd edgews.Batch
		for i := 1; i < n; i += 2 {
			odd.Deletes = append(odd.Deletes, fmt.Sprintf("%06d", i))
		}
		o.commit(odd)
		if got := len(o.list("")); got != n/2 {
			t.Fatalf("%d keys are left, want %d", got, n/2)
		}
		o.commit(edgews.Batch{DeleteAll: true, Puts: entries("last", "one")})
		o.wantList("", "last", "one")
		other.wantList("", "key", "of another")
	}},
	{"a batch has an order", func(t *testing.T, s edgews.Store) {
		o := open(t, s, "room", 1)
		at := time.UnixMilli(1_700_000_000_000)
		o.put("a", "1", "b", "1", "c", "1")
		o.commit(edgews.Batch{ // a delete comes before a put of the same key
			Deletes: []string{"a", "b", "b"},
			Puts:    entries("b", "2", "d", "2"),
		})
		o.wantList("", "b", "2", "c", "1", "d", "2")
		o.commit(edgews.Batch{ // DeleteAll comes before both, and does not remove the alarm
			DeleteAll: true,
			Deletes:   []string{"d"},
			Puts:      entries("c", "3", "e", "3"),
			Alarm:     &edgews.AlarmChange{Time: at},
		})
		o.wantList("", "c", "3", "e", "3")
		wantDue(t, due(t, s, "room", at, all), edgews.DueAlarm{ID: o.key.ID, Time: at})
		o.put("twice", "first", "twice", "second", "c", "4", "twice", "last")
		o.wantList("", "c", "4", "e", "3", "twice", "last")
	}},
	{"objects are isolated", isolated},
	{"a released object can be opened again", func(t *testing.T, s edgews.Store) {
		for i := range 5 {
			o := open(t, s, "room", 1)
			if i > 0 {
				o.wantValue("key", fmt.Sprint(i-1))
			}
			o.put("key", fmt.Sprint(i))
			o.Release()
		}
	}},
}

// isolated gives objects with similar names entries and alarms of their own, and removes them one after the other.
func isolated(t *testing.T, s edgews.Store) {
	var first, last, ones, text [32]byte
	first[0], last[31] = 1, 1
	for i := range ones {
		ones[i], text[i] = 0xff, 'a'
	}
	var objects []*object
	for _, namespace := range []string{"", "a", "ab", "a\x00", "a/", "\xff", strings.Repeat("n", 200)} {
		for _, raw := range [][32]byte{{}, first, last, ones, text} {
			objects = append(objects, openKey(t, s, edgews.ObjectKey{Namespace: namespace, ID: newID(raw)}, 1))
		}
	}
	at := time.UnixMilli(1_700_000_000_000)
	for i, o := range objects {
		o.commit(edgews.Batch{Puts: entries("key", fmt.Sprint(i), "\x00", "own"), Alarm: &edgews.AlarmChange{Time: at.Add(time.Duration(i) * time.Second)}})
		if i%2 == 0 {
			o.put("a", "x", "aa", "x", "\xff\xff", "x")
		}
	}
	for i, o := range objects {
		want := []string{"\x00", "own", "key", fmt.Sprint(i)}
		if i%2 == 0 {
			want = []string{"\x00", "own", "a", "x", "aa", "x", "key", fmt.Sprint(i), "\xff\xff", "x"}
		}
		o.wantList("", want...)
		alarms := due(t, s, o.key.Namespace, at.Add(time.Duration(i)*time.Second), all)
		if len(alarms) == 0 || alarms[len(alarms)-1].ID != o.key.ID {
			t.Fatalf("object %d: alarms until its own are %v", i, alarms)
		}
		o.commit(edgews.Batch{DeleteAll: true, Alarm: &edgews.AlarmChange{}})
		o.wantList("")
	}
}
