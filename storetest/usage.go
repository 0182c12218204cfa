package storetest

import (
	"context"
	"errors"
	"io"
	"iter"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/edgews/edgews"
)

var usageTests = []test{
	{"a meter counts what an object uses", func(t *testing.T, s edgews.Store) {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		m := &usageModel{t: t, s: s, rng: rand.New(rand.NewPCG(seed, 1)), entries: map[string]string{}}
		m.start()
		for range times(400) {
			m.step()
		}
		m.storeForAWhile()
		m.deleteAll() // counts what has been stored until then
		m.check()
		m.checkStored()
		m.stop()
	}},
}

// usageModel makes random calls of an object's Storage and counts naively what they use.
type usageModel struct {
	t       *testing.T
	s       edgews.Store
	rng     *rand.Rand
	n       *edgews.Namespace
	meter   *edgews.Meter
	st      *edgews.Storage // of the object's present value
	id      edgews.ID
	entries map[string]string
	want    edgews.Usage // of storage, by all meters, without StoredByteHours
	earlier edgews.Usage // by the meters before this one

	// What has been stored, in byte-milliseconds, is at least and at most this, up to a moment between began and ended.
	least, most  int64
	began, ended time.Time
	emptied      int64 // how often nothing was stored any more: each time the fraction of a byte-hour is dropped
}

// usageObject is an object that has an alarm, which never goes off.
type usageObject struct{}

func (usageObject) ServeHTTP(http.ResponseWriter, *http.Request) {}
func (usageObject) Alarm(context.Context) error                  { return nil }

// start begins a run of the program.
func (m *usageModel) start() {
	m.meter = edgews.NewMeter(nil)
	m.n = edgews.NewNamespace("usage", func(_ context.Context, st *edgews.State) (edgews.Object, error) {
		m.st = st.Storage()
		return usageObject{}, nil
	}, &edgews.NamespaceOptions{
		Options: edgews.Options{Meter: m.meter, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}, Store: m.s, HibernateAfter: time.Hour,
	})
	m.id = m.n.IDFromName("usage")
	m.wake()
}

// wake has the object constructed if it has no value.
func (m *usageModel) wake() {
	m.n.Get(m.id).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
}

// stop ends the run.
func (m *usageModel) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := m.n.Shutdown(ctx); err != nil {
		m.t.Fatalf("Shutdown: %v", err)
	}
	m.earlier = m.earlier.Add(m.meter.Usage())
}

func (m *usageModel) hibernate() {
	if err := m.n.Hibernate(context.Background(), m.id); err != nil {
		m.t.Fatalf("Hibernate: %v", err)
	}
	m.wake()
}

// check compares what the meters have counted with what the model has.
func (m *usageModel) check() {
	m.t.Helper()
	got := m.earlier.Add(m.meter.Usage())
	got = edgews.Usage{
		RowsRead: got.RowsRead, RowsWritten: got.RowsWritten, ReadUnits: got.ReadUnits, WriteUnits: got.WriteUnits, Deletes: got.Deletes,
	}
	if got != m.want {
		m.t.Fatalf("Usage is %+v, want %+v", got, m.want)
	}
}

// hour is an hour in milliseconds.
const hour = int64(time.Hour / time.Millisecond)

// storeForAWhile stores enough, for long enough, that checkStored has something to check.
func (m *usageModel) storeForAWhile() {
	m.t.Helper()
	for k := 'a'; k < 'm'; k++ {
		v := strings.Repeat("x", 1<<20)
		m.commit(func() error { return m.st.Put(context.Background(), string(k), []byte(v)) }, map[string]*string{string(k): &v}, false)
	}
	for m.stored()*time.Since(m.ended).Milliseconds() < (m.emptied+30)*hour {
		m.read(m.st.Get)
	}
}

// checkStored is check for StoredByteHours, when nothing is stored any more.
func (m *usageModel) checkStored() {
	m.t.Helper()
	got, least, most := m.earlier.Add(m.meter.Usage()).StoredByteHours, m.least/hour-m.emptied-1, m.most/hour
	if got < max(least, 1) || got > most {
		m.t.Fatalf("Usage has %d byte-hours, want %d to %d", got, max(least, 1), most)
	}
}

func (m *usageModel) step() {
	m.t.Helper()
	switch p := m.rng.IntN(100); {
	case p < 15:
		m.read(m.st.Get)
	case p < 22:
		m.getMany(m.st.GetMany)
	case p < 35:
		m.scan(m.st.Scan, m.entries)
	case p < 55:
		k, v := m.key(), m.value()
		m.commit(func() error { return m.st.Put(context.Background(), k, []byte(v)) }, map[string]*string{k: &v}, false)
	case p < 65:
		k := m.key()
		m.commit(func() error { return m.st.Delete(context.Background(), k) }, map[string]*string{k: nil}, false)
	case p < 85:
		m.update()
	case p < 88:
		m.alarm()
	case p < 90:
		m.deleteAll()
	case p < 96:
		m.hibernate()
	default:
		m.check()
		m.stop()
		m.start()
	}
}

func (m *usageModel) key() string { return string(rune('a' + m.rng.IntN(12))) }

// value returns one of up to 20 KB, and sometimes an empty one or a large one.
func (m *usageModel) value() string {
	switch m.rng.IntN(10) {
	case 0:
		return ""
	case 1:
		return strings.Repeat("x", 1<<20)
	}
	return strings.Repeat("v", m.rng.IntN(20_000))
}

// units returns how many blocks of 4 KB n bytes take.
func units(n int) (blocks int64) {
	for blocks = 1; n > 4096; n -= 4096 {
		blocks++
	}
	return blocks
}

func (m *usageModel) read(get func(context.Context, string) ([]byte, error)) {
	k := m.key()
	value, err := get(context.Background(), k)
	if err != nil && !errors.Is(err, edgews.ErrKeyNotFound) {
		m.t.Fatalf("Get: %v", err)
	}
	m.want.RowsRead++
	m.want.ReadUnits += units(len(value))
}

func (m *usageModel) getMany(get func(context.Context, ...string) (map[string][]byte, error)) {
	var keys []string
	for range m.rng.IntN(6) {
		keys = append(keys, m.key())
	}
	values, err := get(context.Background(), keys...)
	if err != nil {
		m.t.Fatalf("GetMany: %v", err)
	}
	for _, k := range keys {
		m.want.RowsRead++
		if value, ok := values[k]; ok {
			m.want.ReadUnits += units(len(k) + len(value))
		} else {
			m.want.ReadUnits++
		}
	}
}

// scan takes some of a range of entries, which are what is stored.
func (m *usageModel) scan(scan func(context.Context, edgews.Range) iter.Seq2[edgews.Entry, error], entries map[string]string) {
	r := edgews.Range{Start: m.key(), Reverse: m.rng.IntN(2) == 0, KeysOnly: m.rng.IntN(3) == 0, Limit: m.rng.IntN(4)}
	rows, bytes, stop := 0, 0, 1+m.rng.IntN(8)
	for e, err := range scan(context.Background(), r) {
		if err != nil {
			m.t.Fatalf("Scan: %v", err)
		}
		bytes += len(e.Key)
		if !r.KeysOnly {
			bytes += len(entries[e.Key])
		}
		if rows++; rows == stop {
			break
		}
	}
	m.want.RowsRead += int64(max(rows, 1))
	m.want.ReadUnits += units(bytes)
}

// stored returns how many bytes are stored.
func (m *usageModel) stored() (n int64) {
	for k, v := range m.entries {
		n += int64(len(k) + len(v))
	}
	return n
}

// commit has fn commit changes.
func (m *usageModel) commit(fn func() error, changes map[string]*string, all bool) {
	m.t.Helper()
	before := time.Now()
	if err := fn(); err != nil {
		m.t.Fatalf("a commit failed: %v", err)
	}
	m.committed(before, changes, all)
}

// committed notes a commit that began after before and is over; a nil value deletes the key. With all it has removed everything first.
func (m *usageModel) committed(before time.Time, changes map[string]*string, all bool) {
	after := time.Now()
	m.least += m.stored() * max(before.UnixMilli()-m.ended.UnixMilli(), 0)
	m.most += m.stored() * (after.UnixMilli() - m.began.UnixMilli())
	m.began, m.ended = before, after
	if all {
		m.want.Deletes += max(int64(len(m.entries)), 1)
		m.want.RowsWritten += max(int64(len(m.entries)), 1)
		clear(m.entries)
	}
	for k, v := range changes {
		m.want.RowsWritten++
		if v == nil {
			m.want.Deletes++
			delete(m.entries, k)
			continue
		}
		m.want.WriteUnits += units(len(k) + len(*v))
		m.entries[k] = *v
	}
	if len(m.entries) == 0 {
		m.emptied++
	}
}

func (m *usageModel) deleteAll() {
	m.commit(func() error { return m.st.DeleteAll(context.Background()) }, nil, true)
}

func (m *usageModel) alarm() {
	if err := m.st.SetAlarm(context.Background(), time.Now().Add(time.Hour*1000)); err != nil {
		m.t.Fatalf("SetAlarm: %v", err)
	}
	m.want.RowsWritten++
	m.want.WriteUnits++
	if m.rng.IntN(2) == 0 {
		if err := m.st.DeleteAlarm(context.Background()); err != nil {
			m.t.Fatalf("DeleteAlarm: %v", err)
		}
	}
}

// errNotCommitted ends an Update whose writes do not count.
var errNotCommitted = errors.New("not committed")

// update makes several calls in an Update, which may fail. Its reads count in any case, its writes only if it does not.
func (m *usageModel) update() {
	fails, all := m.rng.IntN(3) == 0, false
	changes, view := map[string]*string{}, maps.Clone(m.entries)
	run := func() error {
		return m.st.Update(context.Background(), func(tx *edgews.Tx) error {
			for range m.rng.IntN(8) {
				all = m.callTx(tx, changes, view) || all
			}
			if fails {
				return errNotCommitted
			}
			return nil
		})
	}
	before := time.Now()
	switch err := run(); {
	case fails && !errors.Is(err, errNotCommitted), !fails && err != nil:
		m.t.Fatalf("Update: %v", err)
	case fails:
		return
	}
	if all { // what has been removed already is not deleted
		maps.DeleteFunc(changes, func(_ string, v *string) bool { return v == nil })
	}
	if len(changes) > 0 || all {
		m.committed(before, changes, all)
	}
}

// callTx makes a random call of tx, and reports whether it was DeleteAll. view is what the transaction sees.
func (m *usageModel) callTx(tx *edgews.Tx, changes map[string]*string, view map[string]string) (all bool) {
	switch m.rng.IntN(12) {
	case 0, 1:
		m.read(func(_ context.Context, k string) ([]byte, error) { return tx.Get(k) })
	case 2:
		m.getMany(func(_ context.Context, keys ...string) (map[string][]byte, error) { return tx.GetMany(keys...) })
	case 3, 4:
		m.scan(func(_ context.Context, r edgews.Range) iter.Seq2[edgews.Entry, error] { return tx.Scan(r) }, view)
	case 5, 6:
		k := m.key()
		m.must(tx.Delete(k))
		changes[k] = nil
		delete(view, k)
	case 7:
		if m.rng.IntN(3) == 0 {
			m.must(tx.DeleteAll())
			clear(changes)
			clear(view)
			return true
		}
	default:
		k, v := m.key(), m.value()
		m.must(tx.Put(k, []byte(v)))
		changes[k], view[k] = &v, v
	}
	return false
}

func (m *usageModel) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatalf("Tx: %v", err)
	}
}
