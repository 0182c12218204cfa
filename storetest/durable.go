package storetest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/edgews/edgews"
)

// RunDurable checks that commits are still there when the store of a folder is opened again, also after the process that made
// them was killed. open opens the store of a folder, which is empty at first. RunDurable closes a store before it opens another
// one of the same folder. It cannot check a power cut.
//
// For the kills the test binary starts itself with a pattern that selects the same test. In that process RunDurable does not
// return, and everything that the test does before it calls RunDurable happens there too.
func RunDurable(t *testing.T, open func(t *testing.T, dir string) edgews.Store) {
	runChild(t, open)
	for _, test := range durableTests {
		t.Run(test.name, func(t *testing.T) {
			f := &folder{t: t, dir: t.TempDir(), opener: open}
			defer f.close()
			test.run(f)
		})
	}
	t.Run("acknowledged commits survive a kill", func(t *testing.T) { testKills(t, open) })
}

// folder is a folder with a store, of which at most one is open at a time.
type folder struct {
	t      *testing.T
	dir    string
	opener func(t *testing.T, dir string) edgews.Store
	s      edgews.Store
}

func (f *folder) reopen() edgews.Store {
	f.t.Helper()
	f.close()
	f.s = f.opener(f.t, f.dir)
	return f.s
}

func (f *folder) close() {
	f.t.Helper()
	if f.s == nil {
		return
	}
	if err := f.s.Close(); err != nil {
		f.t.Errorf("Close: %v", err)
	}
	f.s = nil
}

var durableTests = []struct {
	name string
	run  func(f *folder)
}{
	{"entries and alarms survive a reopening", func(f *folder) {
		at := time.UnixMilli(1_700_000_000_000)
		want := map[byte][]string{}
		for round := range byte(4) {
			s := f.reopen()
			for n := range byte(20) {
				o := open(f.t, s, "room", n)
				o.wantList("", want[n]...)
				v := fmt.Sprint(round)
				switch {
				case n%5 == round:
					o.commit(edgews.Batch{DeleteAll: true, Puts: entries("again", v)})
					want[n] = []string{"again", v}
				default:
					o.commit(edgews.Batch{Deletes: []string{"again"}, Puts: entries("\x00", v, "k"+v, v), Alarm: &edgews.AlarmChange{Time: at.Add(time.Duration(n) * time.Second)}})
					o.wantList("\x00", "\x00", v)
					want[n] = want[n][:0]
					for _, e := range o.list("") {
						want[n] = append(want[n], e.Key, string(e.Value))
					}
				}
			}
		}
		s := f.reopen()
		var alarms []edgews.DueAlarm
		for n := range byte(20) {
			open(f.t, s, "room", n).wantList("", want[n]...)
			alarms = append(alarms, edgews.DueAlarm{ID: numbered("room", n).ID, Time: at.Add(time.Duration(n) * time.Second)})
		}
		wantDue(f.t, due(f.t, s, "room", at.Add(time.Hour), all), alarms...)
		open(f.t, s, "room", 3).setAlarm(time.Time{}) // the alarms of an earlier store are found
		open(f.t, s, "room", 4).setAlarm(at.Add(-time.Second))
		moved := edgews.DueAlarm{ID: alarms[4].ID, Time: at.Add(-time.Second)}
		wantDue(f.t, due(f.t, f.reopen(), "room", at.Add(time.Hour), all), slices.Concat([]edgews.DueAlarm{moved}, alarms[:3], alarms[5:])...)
	}},
	{"large values and many keys survive a reopening", func(f *folder) {
		o := open(f.t, f.reopen(), "room", 1)
		large := string(make([]byte, 3<<20)) + "end"
		o.put("large", large)
		putMany(o, "old")
		o = open(f.t, f.reopen(), "room", 1)
		o.wantValue("large", large)
		wantEntries(f.t, "Scan", o.list("0"), manyEntries("old"))
		o.commit(edgews.Batch{DeleteAll: true})
		open(f.t, f.reopen(), "room", 1).wantList("")
	}},
	{"a fence survives a reopening", func(f *folder) {
		key := numbered("room", 1)
		openKey(f.t, f.reopen(), key, 1).put("a", "1")
		openKey(f.t, f.reopen(), key, 7) // and nothing else
		s := f.reopen()
		wantNotOpened(f.t, s, key, 6)
		o := openKey(f.t, s, key, 7)
		o.commit(edgews.Batch{DeleteAll: true, Alarm: &edgews.AlarmChange{}})
		wantNotOpened(f.t, f.reopen(), key, 6)
		wantNotOpened(f.t, f.reopen(), key, 1)
		openKey(f.t, f.reopen(), key, 8).wantList("")
	}},
	{"Close waits for running commits", func(f *folder) {
		s := f.reopen()
		acknowledged := make(chan map[string]string)
		begun := make(chan struct{}, 8)
		for n := range byte(8) {
			o := open(f.t, s, "room", n)
			go func() {
				entries := map[string]string{}
				for i := 0; ; i++ {
					key := fmt.Sprintf("%d/%05d", n, i)
					if o.Commit(context.Background(), edgews.Batch{Puts: []edgews.Entry{{Key: key, Value: []byte(key)}}}) != nil {
						break
					}
					entries[key] = key
					if i == 3 {
						begun <- struct{}{}
					}
				}
				acknowledged <- entries
			}()
		}
		for range 8 {
			<-begun
		}
		f.close()
		want := map[string]string{}
		for range 8 {
			maps.Copy(want, <-acknowledged)
		}
		got := map[string]string{}
		s = f.reopen()
		for n := range byte(8) {
			for _, e := range open(f.t, s, "room", n).list("") {
				got[e.Key] = string(e.Value)
			}
		}
		if !maps.Equal(got, want) { // a commit that failed is not there
			f.t.Fatalf("%d entries are there, %d were acknowledged", len(got), len(want))
		}
	}},
}
