package storetest

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edgews/edgews"
)

var modelTests = []test{
	{"random calls give the same results as a map", func(t *testing.T, s edgews.Store) {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		m := &model{rng: rand.New(rand.NewPCG(seed, 0)), t: t, s: s, references: map[edgews.ObjectKey]*reference{}}
		for range times(2000) {
			m.step()
		}
	}},
}

// model makes random calls and compares the results with those of references.
type model struct {
	rng        *rand.Rand
	t          *testing.T
	s          edgews.Store
	references map[edgews.ObjectKey]*reference
}

// reference is the expected content of an object.
type reference struct {
	entries map[string]string
	alarm   time.Time
	epoch   uint64
	newest  *object   // opened with epoch
	stale   []*object // opened with older epochs
}

func (m *model) step() {
	m.t.Helper()
	key := m.key()
	w := m.references[key]
	if w == nil {
		w = &reference{entries: map[string]string{}, epoch: 1, newest: openKey(m.t, m.s, key, 1)}
		m.references[key] = w
	}
	switch p := m.rng.IntN(100); {
	case p < 45:
		b := m.batch()
		w.newest.commit(b)
		w.apply(b)
	case p < 60:
		k := m.entryKey()
		if v, ok := w.entries[k]; ok {
			w.newest.wantValue(k, v)
		} else {
			w.newest.wantNone(k)
		}
	case p < 75:
		m.scan(w)
	case p < 88:
		m.dueAlarms(key.Namespace)
	case p < 94:
		w.newest.Release()
		w.newest = openKey(m.t, m.s, key, w.epoch)
	case p < 96:
		w.stale = append(w.stale, w.newest)
		w.epoch += 1 + m.rng.Uint64N(3)
		w.newest = openKey(m.t, m.s, key, w.epoch)
	case len(w.stale) > 0:
		w.stale[m.rng.IntN(len(w.stale))].wantFenced(m.batch())
		wantNotOpened(m.t, m.s, key, m.rng.Uint64N(w.epoch))
	}
}

func (m *model) key() edgews.ObjectKey {
	var raw [32]byte
	raw[m.rng.IntN(2)*31] = byte(m.rng.IntN(3)) * 127
	return edgews.ObjectKey{Namespace: strings.Repeat("n", m.rng.IntN(3)), ID: newID(raw)}
}

// entryKey returns a key of few letters, so that equal keys and keys with a common prefix are frequent.
func (m *model) entryKey() string {
	const letters = "\x00a\xff"
	key := make([]byte, 1+m.rng.IntN(3))
	for i := range key {
		key[i] = letters[m.rng.IntN(len(letters))]
	}
	return string(key)
}

func (m *model) batch() (b edgews.Batch) {
	b.DeleteAll = m.rng.IntN(12) == 0
	for range m.rng.IntN(4) {
		b.Deletes = append(b.Deletes, m.entryKey())
	}
	for range m.rng.IntN(6) {
		size := m.rng.IntN(10)
		if m.rng.IntN(50) == 0 {
			size = m.rng.IntN(50_000)
		}
		b.Puts = append(b.Puts, entries(m.entryKey(), strings.Repeat(string(rune('a'+m.rng.IntN(26))), size))...)
	}
	switch m.rng.IntN(6) {
	case 0:
		b.Alarm = &edgews.AlarmChange{}
	case 1, 2:
		b.Alarm = &edgews.AlarmChange{Time: m.time()}
	}
	return b
}

func (m *model) time() time.Time {
	return time.UnixMilli(1_700_000_000_000 + m.rng.Int64N(50))
}

func (w *reference) apply(b edgews.Batch) {
	if b.DeleteAll {
		clear(w.entries)
	}
	for _, key := range b.Deletes {
		delete(w.entries, key)
	}
	for _, e := range b.Puts {
		w.entries[e.Key] = string(e.Value)
	}
	if b.Alarm != nil {
		w.alarm = b.Alarm.Time
	}
}

// scan compares entries as they were when the loop began, and sometimes commits meanwhile.
func (m *model) scan(w *reference) {
	m.t.Helper()
	r := m.randomRange()
	want := w.selected(r)
	var got []edgews.Entry
	leave := -1
	if m.rng.IntN(4) == 0 {
		leave = m.rng.IntN(len(want) + 1)
	}
	for e, err := range w.newest.Scan(context.Background(), r) {
		if err != nil {
			m.t.Fatal(err)
		}
		if len(got) == leave {
			want = want[:leave]
			break
		}
		got = append(got, e)
		if m.rng.IntN(4) == 0 {
			b := m.batch()
			w.newest.commit(b)
			w.apply(b)
		}
	}
	wantEntries(m.t, fmt.Sprintf("Scan of %+v", r), got, want)
}

// randomRange returns a range with some of its fields.
func (m *model) randomRange() (r edgews.Range) {
	if m.rng.IntN(2) == 0 {
		r.Prefix = m.entryKey()[m.rng.IntN(2):]
	}
	switch m.rng.IntN(4) {
	case 0:
		r.Start = m.entryKey()
	case 1:
		r.After = m.entryKey()
	}
	if m.rng.IntN(3) == 0 {
		r.End = m.entryKey()
	}
	if m.rng.IntN(3) == 0 {
		r.Limit = 1 + m.rng.IntN(8)
	}
	r.Reverse, r.KeysOnly = m.rng.IntN(2) == 0, m.rng.IntN(4) == 0
	return r
}

// selected returns what r selects, found in another way than by r.Bounds.
func (w *reference) selected(r edgews.Range) (all []edgews.Entry) {
	inOrder := slices.Sorted(maps.Keys(w.entries))
	if r.Reverse {
		slices.Reverse(inOrder)
	}
	for _, key := range inOrder {
		selected := strings.HasPrefix(key, r.Prefix) && key >= r.Start && (r.After == "" || key > r.After) && (r.End == "" || key < r.End)
		if !selected || r.Limit > 0 && len(all) == r.Limit {
			continue
		}
		e := edgews.Entry{Key: key}
		if !r.KeysOnly {
			e.Value = []byte(w.entries[key])
		}
		all = append(all, e)
	}
	return all
}

// dueAlarms accepts alarms of the same time in any order, and any of them may be beyond the limit.
func (m *model) dueAlarms(namespace string) {
	m.t.Helper()
	until, limit := m.time(), m.rng.IntN(20)
	set := map[edgews.ID]time.Time{}
	var times []time.Time
	for key, w := range m.references {
		if key.Namespace == namespace && !w.alarm.IsZero() && !w.alarm.After(until) {
			set[key.ID] = w.alarm
			times = append(times, w.alarm)
		}
	}
	slices.SortFunc(times, func(a, b time.Time) int { return cmp.Compare(a.UnixNano(), b.UnixNano()) })
	times = times[:min(limit, len(times))]
	got := due(m.t, m.s, namespace, until, limit)
	if len(got) != len(times) {
		m.t.Fatalf("got %d alarms, want %d", len(got), len(times))
	}
	for i, a := range got {
		if !a.Time.Equal(times[i]) || !a.Time.Equal(set[a.ID]) {
			m.t.Fatalf("alarm %d is that of %v at %v, want one of %v", i, a.ID, a.Time, times[i])
		}
		delete(set, a.ID) // once only
	}
}
