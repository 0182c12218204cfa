package edgews_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"math"
	"math/rand/v2"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRangeBounds(t *testing.T) {
	for _, c := range []struct {
		r          edgews.Range
		first, end string
	}{
		{edgews.Range{}, "", ""},
		{edgews.Range{Prefix: "a"}, "a", "b"},
		{edgews.Range{Prefix: "a\xff"}, "a\xff", "b"},
		{edgews.Range{Prefix: "a\xff\xff\xff"}, "a\xff\xff\xff", "b"},
		{edgews.Range{Prefix: "a\xfe\xff"}, "a\xfe\xff", "a\xff"},
		{edgews.Range{Prefix: "\xff"}, "\xff", ""},
		{edgews.Range{Prefix: "\xff\xff"}, "\xff\xff", ""},
		{edgews.Range{Prefix: "\xff\xfe"}, "\xff\xfe", "\xff\xff"},
		{edgews.Range{Prefix: "\x00"}, "\x00", "\x01"},
		{edgews.Range{Prefix: "é"}, "é", "\xc3\xaa"},
		{edgews.Range{Start: "m"}, "m", ""},
		{edgews.Range{After: "m"}, "m\x00", ""},
		{edgews.Range{End: "m"}, "", "m"},
		{edgews.Range{Start: "m", End: "m"}, "m", "m"},
		{edgews.Range{After: "m", End: "m\x00"}, "m\x00", "m\x00"},
		{edgews.Range{After: "z", End: "a"}, "z\x00", "a"},
		{edgews.Range{Prefix: "m", Start: "a"}, "m", "n"},
		{edgews.Range{Prefix: "m", Start: "mm"}, "mm", "n"},
		{edgews.Range{Prefix: "m", After: "m"}, "m\x00", "n"},
		{edgews.Range{Prefix: "m", After: "a"}, "m", "n"},
		{edgews.Range{Prefix: "m", Start: "z"}, "z", "n"},
		{edgews.Range{Prefix: "m", End: "mm"}, "m", "mm"},
		{edgews.Range{Prefix: "m", End: "z"}, "m", "n"},
		{edgews.Range{Prefix: "m", End: "a"}, "m", "a"},
		{edgews.Range{Prefix: "\xff", End: "\xff\x01"}, "\xff", "\xff\x01"},
		{edgews.Range{Prefix: "m", Reverse: true, Limit: 3, KeysOnly: true}, "m", "n"},
	} {
		first, end := c.r.Bounds()
		assert.Equal(t, c.first, first, "%+v", c.r)
		assert.Equal(t, c.end, end, "%+v", c.r)
	}
}

// keysOf writes down the keys that a Scan yields.
func keysOf(t testing.TB, scan iter.Seq2[edgews.Entry, error]) string {
	t.Helper()
	var keys []string
	for e, err := range scan {
		require.NoError(t, err)
		keys = append(keys, e.Key)
	}
	return strings.Join(keys, " ")
}

// scanner is a Storage or a Tx.
type scanner func(r edgews.Range) iter.Seq2[edgews.Entry, error]

// inBoth runs check with what is stored and with the same in a transaction that has written it, or some of it.
func inBoth(t *testing.T, st *edgews.State, puts []string, check func(t *testing.T, scan scanner)) {
	ctx, s := t.Context(), st.Storage()
	for stored := range 3 {
		require.NoError(t, s.DeleteAll(ctx))
		require.NoError(t, s.SetAlarm(ctx, time.Now().Add(time.Hour))) // a reserved entry
		require.NoError(t, s.Update(ctx, func(tx *edgews.Tx) error {
			for i, key := range puts {
				if i%2 < stored {
					require.NoError(t, tx.Put(key, []byte(key)))
				}
			}
			return nil
		}))
		require.NoError(t, s.Update(ctx, func(tx *edgews.Tx) error {
			for i, key := range puts {
				if i%2 >= stored {
					require.NoError(t, tx.Put(key, []byte(key)))
				}
			}
			check(t, tx.Scan)
			return nil
		}))
		check(t, func(r edgews.Range) iter.Seq2[edgews.Entry, error] { return s.Scan(ctx, r) })
	}
}

func TestScan(t *testing.T) {
	inStorage(t, func(t *testing.T, _ *rooms, _ *watchedStore, st *edgews.State) {
		inBoth(t, st, []string{"a", "b/1", "b/2", "b/3", "c", "\xff"}, func(t *testing.T, scan scanner) {
			for _, c := range []struct {
				r    edgews.Range
				want string
			}{
				{edgews.Range{}, "a b/1 b/2 b/3 c \xff"},
				{edgews.Range{Reverse: true}, "\xff c b/3 b/2 b/1 a"},
				{edgews.Range{Limit: 1}, "a"}, // not the reserved entry of the alarm
				{edgews.Range{Limit: 6, Reverse: true}, "\xff c b/3 b/2 b/1 a"},
				{edgews.Range{Limit: math.MaxInt}, "a b/1 b/2 b/3 c \xff"},
				{edgews.Range{End: "b", Reverse: true}, "a"},
				{edgews.Range{Start: "\x00", End: "b"}, "a"},
				{edgews.Range{After: "\x00alarm", Limit: 1}, "a"},
				{edgews.Range{Prefix: "\x00"}, ""},
				{edgews.Range{Prefix: "\x00", Reverse: true, Limit: 1}, ""},
				{edgews.Range{End: "\x00\xff"}, ""},
				{edgews.Range{Prefix: "b/", Limit: 2}, "b/1 b/2"},
				{edgews.Range{Prefix: "b/", Limit: 2, Reverse: true}, "b/3 b/2"},
				{edgews.Range{Prefix: "b/", After: "b/2"}, "b/3"},
				{edgews.Range{Prefix: "b/", After: "b/1", Reverse: true}, "b/3 b/2"},
				{edgews.Range{Prefix: "b/", End: "b/3", Reverse: true, Limit: 1}, "b/2"},
				{edgews.Range{Prefix: "b/", Start: "c"}, ""},
				{edgews.Range{Prefix: "b/", End: "b"}, ""},
				{edgews.Range{Start: "b/1", End: "b/3"}, "b/1 b/2"},
				{edgews.Range{Start: "b/1", End: "b/3", Reverse: true}, "b/2 b/1"},
				{edgews.Range{Start: "c", End: "b"}, ""},
				{edgews.Range{After: "c", End: "b", Reverse: true}, ""},
				{edgews.Range{Prefix: "\xff"}, "\xff"},
				{edgews.Range{Prefix: "\xff\xff", Reverse: true}, ""},
			} {
				require.Equal(t, c.want, keysOf(t, scan(c.r)), "%+v", c.r)
				for e, err := range scan(c.r) {
					require.NoError(t, err)
					require.Equal(t, e.Key, string(e.Value))
					copy(e.Value, "x") // it is the caller's
				}
				c.r.KeysOnly = true
				require.Equal(t, c.want, keysOf(t, scan(c.r)), "%+v", c.r)
				for e, err := range scan(c.r) {
					require.NoError(t, err)
					require.Nil(t, e.Value)
				}
			}
			for r, text := range map[edgews.Range]string{
				{Start: "a", After: "b"}: `edgews: invalid range: it has both Start "a" and After "b"`,
				{Limit: -1}:              "edgews: invalid range: Limit is -1; 0 means all",
			} {
				n := 0
				for e, err := range scan(r) {
					n++
					assert.Zero(t, e)
					assert.ErrorIs(t, err, edgews.ErrInvalidRange)
					assert.EqualError(t, err, text)
				}
				assert.Equal(t, 1, n)
			}
			left := 0
			for range scan(edgews.Range{}) {
				left++
				break
			}
			assert.Equal(t, 1, left)
		})
	})
}

// A loop sees what was there when it began, in both orders, and may write; the same iterator reads anew in the next loop.
func TestScanLoopMayWrite(t *testing.T) {
	inStorage(t, func(t *testing.T, _ *rooms, _ *watchedStore, st *edgews.State) {
		ctx, s := t.Context(), st.Storage()
		for _, reverse := range []bool{false, true} {
			want := "a b c"
			if reverse {
				want = "c b a"
			}
			write := func(tx *edgews.Tx, key string) {
				require.NoError(t, tx.Delete(key))
				require.NoError(t, tx.Put(key+"+", nil))
				require.NoError(t, tx.Delete("b"))
			}
			seen := func(scan iter.Seq2[edgews.Entry, error], write func(key string)) (keys string) {
				for e, err := range scan {
					require.NoError(t, err)
					keys += " " + e.Key
					write(e.Key)
				}
				return keys[1:]
			}
			put := func(tx *edgews.Tx) {
				require.NoError(t, tx.DeleteAll())
				for _, key := range []string{"a", "b", "c"} {
					require.NoError(t, tx.Put(key, nil))
				}
			}
			require.NoError(t, s.Update(ctx, func(tx *edgews.Tx) error { put(tx); return nil }))
			scan := s.Scan(ctx, edgews.Range{Reverse: reverse})
			assert.Equal(t, want, seen(scan, func(key string) {
				require.NoError(t, s.Update(ctx, func(tx *edgews.Tx) error { write(tx, key); return nil }))
			}))
			assert.Len(t, keysOf(t, scan), len("a+ b+ c+"))

			require.NoError(t, s.Update(ctx, func(tx *edgews.Tx) error {
				put(tx)
				scan := tx.Scan(edgews.Range{Reverse: reverse})
				assert.Equal(t, want, seen(scan, func(key string) { write(tx, key) }))
				assert.Len(t, keysOf(t, scan), len("a+ b+ c+"))
				return nil
			}))
		}
	})
}

// A loop that is still running when its transaction ends, ends too.
func TestTxScanEndsWithTx(t *testing.T) {
	inStorage(t, func(t *testing.T, _ *rooms, _ *watchedStore, st *edgews.State) {
		ctx, s := t.Context(), st.Storage()
		require.NoError(t, s.Put(ctx, "a", nil))
		require.NoError(t, s.Put(ctx, "b", nil))
		for _, writes := range []bool{false, true} {
			var next func() (edgews.Entry, error, bool)
			var stop func()
			require.NoError(t, s.Update(ctx, func(tx *edgews.Tx) error {
				if writes {
					require.NoError(t, tx.DeleteAll())
					require.NoError(t, tx.Put("a", nil))
					require.NoError(t, tx.Put("b", nil))
				}
				next, stop = iter.Pull2(tx.Scan(edgews.Range{}))
				e, err, _ := next()
				require.NoError(t, err)
				require.Equal(t, "a", e.Key)
				return nil
			}))
			_, err, _ := next()
			assert.ErrorIs(t, err, edgews.ErrTxDone)
			_, _, more := next()
			assert.False(t, more)
			stop()
		}
	})
}

// faultyObject yields an error after a number of entries, and then what no engine may yield.
type faultyObject struct {
	edgews.ObjectStore
	after int
	err   error
}

func (o *faultyObject) Scan(ctx context.Context, r edgews.Range) iter.Seq2[edgews.Entry, error] {
	return func(yield func(edgews.Entry, error) bool) {
		n := 0
		for e, err := range o.ObjectStore.Scan(ctx, r) {
			if n++; n > o.after && o.err != nil {
				_ = yield(edgews.Entry{}, o.err) && yield(e, nil)
				return
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// objectsAs is a store whose objects are wrapped.
type objectsAs struct {
	edgews.Store
	wrap func(edgews.ObjectStore) edgews.ObjectStore
}

func (s objectsAs) Open(ctx context.Context, key edgews.ObjectKey, f edgews.Fence) (edgews.ObjectStore, error) {
	o, err := s.Store.Open(ctx, key, f)
	if err != nil {
		return nil, err
	}
	return s.wrap(o), nil
}

// wrappedState returns the State of an object, whose storage is wrapped.
func wrappedState(t testing.TB, wrap func(edgews.ObjectStore) edgews.ObjectStore) *edgews.State {
	n := edgews.NewNamespace("wrapped", func(_ context.Context, st *edgews.State) (edgews.Object, error) {
		return &keeper{st}, nil
	}, &edgews.NamespaceOptions{Store: objectsAs{edgews.NewMemoryStore(), wrap}, HibernateAfter: math.MaxInt64, Options: edgews.Options{Logger: quiet}})
	t.Cleanup(func() { shutdownNow(n) })
	return keptState(n)
}

// keptState wakes a new object of keepers.
func keptState(n *edgews.Namespace) *edgews.State {
	k := &keeper{}
	n.Get(n.NewUniqueID()).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil).WithContext(context.WithValue(context.Background(), keeperKey{}, k)))
	return k.st
}

// An error of the engine is the last thing that a loop sees; if it is ErrFenced, the object stops.
func TestScanFaults(t *testing.T) {
	for _, failure := range []error{io.ErrUnexpectedEOF, fmt.Errorf("engine: %w", edgews.ErrFenced)} {
		for after := range 3 {
			for _, inTx := range []bool{false, true} {
				o := &faultyObject{after: after}
				st := wrappedState(t, func(s edgews.ObjectStore) edgews.ObjectStore { o.ObjectStore = s; return o })
				ctx, s := t.Context(), st.Storage()
				for _, key := range []string{"b", "c", "d"} {
					require.NoError(t, s.Put(ctx, key, nil))
				}
				o.err = failure
				var got []string
				read := func(scan iter.Seq2[edgews.Entry, error]) (last error) {
					for e, err := range scan {
						require.NoError(t, last, "nothing comes after an error")
						if last = err; err == nil {
							got = append(got, e.Key)
						} else {
							assert.Zero(t, e)
						}
					}
					return last
				}
				want := []string{"b", "c", "d"}[:after]
				var err error
				if inTx {
					want = append([]string{"a"}, want...)
					if after == 0 {
						want = nil // the order needs the first stored entry
					}
					err = s.Update(ctx, func(tx *edgews.Tx) error {
						require.NoError(t, tx.Put("a", nil))
						require.NoError(t, tx.Put("z", nil))
						return read(tx.Scan(edgews.Range{}))
					})
				} else {
					err = read(s.Scan(ctx, edgews.Range{}))
				}
				assert.ErrorIs(t, err, failure)
				assert.Equal(t, len(want), len(got), "%q", got)
				if errors.Is(failure, edgews.ErrFenced) && !inTx {
					assert.ErrorIs(t, s.Put(ctx, "e", nil), edgews.ErrFenced)
				} else if !errors.Is(failure, edgews.ErrFenced) {
					assert.NoError(t, s.Put(ctx, "e", nil), "the object goes on")
				}
			}
		}
	}
}

func TestScanEndsWithItsContext(t *testing.T) {
	inStorage(t, func(t *testing.T, _ *rooms, _ *watchedStore, st *edgews.State) {
		s := st.Storage()
		for i := range 5 {
			require.NoError(t, s.Put(t.Context(), fmt.Sprint(i), nil))
		}
		for _, reverse := range []bool{false, true} {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			n := 0
			var last error
			for _, err := range s.Scan(ctx, edgews.Range{Reverse: reverse}) {
				if last = err; err == nil {
					n++
				}
				if n == 2 {
					cancel()
				}
			}
			assert.ErrorIs(t, last, context.Canceled)
			assert.Equal(t, 2, n)
			for _, err := range s.Scan(ctx, edgews.Range{}) {
				assert.ErrorIs(t, err, context.Canceled)
			}
			_, err := s.GetMany(ctx, "1")
			assert.ErrorIs(t, err, context.Canceled)
		}
		st.Abort(nil)
		for _, err := range s.Scan(t.Context(), edgews.Range{}) {
			assert.ErrorIs(t, err, edgews.ErrAborted)
		}
		_, err := s.GetMany(t.Context(), "1")
		assert.ErrorIs(t, err, edgews.ErrAborted)
	})
}

// txCase is what is stored, what a transaction writes, and what it scans.
type txCase struct {
	stored, written string // operations of 3 bytes: P puts, D deletes, X deletes all; a key; a value
	r               edgews.Range
}

// check compares Tx.Scan, and Storage.Scan after the commit, with a map.
func (c txCase) check(t *testing.T, st *edgews.State) {
	model := make(map[string]string)
	apply := func(ops string) func(tx *edgews.Tx) error {
		return func(tx *edgews.Tx) error {
			for ; len(ops) >= 3; ops = ops[3:] {
				switch key := ops[1:2]; {
				case key == "\x00": // reserved
				case ops[0] == 'X':
					require.NoError(t, tx.DeleteAll())
					clear(model)
				case ops[0] == 'D':
					require.NoError(t, tx.Delete(key))
					delete(model, key)
				default:
					require.NoError(t, tx.Put(key, []byte(ops[2:3])))
					model[key] = ops[2:3]
				}
			}
			require.Equal(t, c.selected(model), entries(t, tx.Scan(c.r)), "%+v", c)
			return nil
		}
	}
	s := st.Storage()
	require.NoError(t, s.DeleteAll(t.Context()))
	require.NoError(t, s.Update(t.Context(), apply(c.stored)))
	require.NoError(t, s.Update(t.Context(), apply(c.written)))
	require.Equal(t, c.selected(model), entries(t, s.Scan(t.Context(), c.r)), "%+v", c)
}

// selected returns what the range selects, found in the obvious way.
func (c txCase) selected(model map[string]string) string {
	keys := slices.Sorted(maps.Keys(model))
	if c.r.Reverse {
		slices.Reverse(keys)
	}
	var all []string
	for _, key := range keys {
		selected := strings.HasPrefix(key, c.r.Prefix) && key >= c.r.Start && (c.r.After == "" || key > c.r.After) && (c.r.End == "" || key < c.r.End)
		switch {
		case !selected || c.r.Limit > 0 && len(all) == c.r.Limit:
		case c.r.KeysOnly:
			all = append(all, key+"=")
		default:
			all = append(all, key+"="+model[key])
		}
	}
	return strings.Join(all, " ")
}

func keepers(t testing.TB) *edgews.Namespace {
	n := edgews.NewNamespace("keepers", func(_ context.Context, st *edgews.State) (edgews.Object, error) {
		return &keeper{st}, nil
	}, &edgews.NamespaceOptions{HibernateAfter: math.MaxInt64})
	t.Cleanup(func() { shutdownNow(n) })
	return n
}

func TestTxScanAgainstAModel(t *testing.T) {
	st := keptState(keepers(t))
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	key := func() string { return string(rune('a' + rng.IntN(12))) }
	ops := func(kinds string) (all string) {
		for range rng.IntN(16) {
			all += string(kinds[rng.IntN(len(kinds))]) + key() + string(rune('0'+rng.IntN(10)))
		}
		return all
	}
	for range 3000 {
		c := txCase{stored: ops("P"), written: ops("PPPPPDDDDDDX"), r: edgews.Range{Reverse: rng.IntN(2) == 0, KeysOnly: rng.IntN(8) == 0}}
		for field, probability := range map[*string]int{&c.r.Prefix: 8, &c.r.Start: 3, &c.r.End: 3} {
			if rng.IntN(probability) == 0 {
				*field = key()
			}
		}
		if c.r.Start == "" && rng.IntN(3) == 0 {
			c.r.After = key()
		}
		if rng.IntN(2) == 0 {
			c.r.Limit = rng.IntN(9)
		}
		c.check(t, st)
	}
}

func FuzzTxScan(f *testing.F) {
	f.Add("Pa1Pb2Pc3|Db", "Pa9DbPd4|", "", "", "", "", false, false, uint8(0))
	f.Add("Pab1Pac2Pb3", "Dab|Pad1Xe0Pa1", "a", "", "a", "b", true, true, uint8(2))
	f.Add("Pa1Pb2Pc3Pd4", "Db0Dc0Pe5", "", "a", "", "e", true, false, uint8(2))
	n := keepers(f)
	f.Fuzz(func(t *testing.T, stored, written, prefix, start, after, end string, reverse, keysOnly bool, limit uint8) {
		if start != "" {
			after = ""
		}
		r := edgews.Range{Prefix: prefix, Start: start, After: after, End: end, Reverse: reverse, KeysOnly: keysOnly, Limit: int(limit)}
		txCase{stored, written, r}.check(t, keptState(n))
	})
}

// countedObject counts the entries that an engine yields.
type countedObject struct {
	edgews.ObjectStore
	yielded int
}

func (o *countedObject) Scan(ctx context.Context, r edgews.Range) iter.Seq2[edgews.Entry, error] {
	return func(yield func(edgews.Entry, error) bool) {
		for e, err := range o.ObjectStore.Scan(ctx, r) {
			if o.yielded++; !yield(e, err) {
				return
			}
		}
	}
}

func putNumbered(t testing.TB, s *edgews.Storage, n int) {
	require.NoError(t, s.Update(context.Background(), func(tx *edgews.Tx) error {
		for i := range n {
			if err := tx.Put(numberedKey(i), []byte("value")); err != nil {
				return err
			}
		}
		return nil
	}))
}

func numberedKey(i int) string { return fmt.Sprintf("%07d", i) }

// The engine yields no more than the loop needs, and the allocations do not depend on how many entries there are. The treap's own test
// counts the nodes, the test of store/bolt the pages.
func TestScanCostsWhatItYields(t *testing.T) {
	const wanted = 10
	allocations := map[string]float64{}
	for _, size := range []int{wanted + 2, 100_000} {
		o := &countedObject{}
		st := wrappedState(t, func(s edgews.ObjectStore) edgews.ObjectStore { o.ObjectStore = s; return o })
		ctx, s := context.Background(), st.Storage()
		putNumbered(t, s, size)
		for _, reverse := range []bool{false, true} {
			cost := func(name string, most int, r edgews.Range, scan scanner) {
				name = fmt.Sprint(name, " reverse=", reverse)
				r.Reverse = reverse
				read := func() {
					o.yielded = 0
					n := 0
					for _, err := range scan(r) {
						if err != nil {
							t.Error(err)
						}
						if n++; n == wanted {
							break
						}
					}
					if n != wanted {
						t.Errorf("%s: %d entries", name, n)
					}
				}
				allocs := testing.AllocsPerRun(50, read)
				assert.LessOrEqual(t, o.yielded, most, name)
				if few, ok := allocations[name]; ok {
					assert.LessOrEqual(t, allocs, few+2, name)
				} else {
					allocations[name] = allocs
				}
			}
			stored := func(r edgews.Range) iter.Seq2[edgews.Entry, error] { return s.Scan(ctx, r) }
			cost("limited", wanted, edgews.Range{Limit: wanted}, stored)
			cost("left", wanted, edgews.Range{}, stored)
			require.ErrorIs(t, s.Update(ctx, func(tx *edgews.Tx) error {
				cost("limited in a Tx", wanted, edgews.Range{Limit: wanted}, tx.Scan)
				require.NoError(t, tx.Delete(numberedKey(1)))
				require.NoError(t, tx.Delete(numberedKey(size-2)))
				require.NoError(t, tx.Put(numberedKey(2), []byte("new")))
				require.NoError(t, tx.Put(numberedKey(3)+"+", []byte("new")))
				cost("limited in a Tx with writes", wanted+2, edgews.Range{Limit: wanted}, tx.Scan)
				cost("left in a Tx with writes", wanted+2, edgews.Range{}, tx.Scan)
				return io.EOF
			}), io.EOF)
			require.ErrorIs(t, s.Update(ctx, func(tx *edgews.Tx) error {
				for i := range size {
					require.NoError(t, tx.Put(numberedKey(i)+"+", []byte("new")))
				}
				cost("limited in a Tx with many writes", wanted, edgews.Range{Limit: wanted}, tx.Scan)
				return io.EOF
			}), io.EOF)
		}
	}
}

func TestGetMany(t *testing.T) {
	for _, many := range []bool{false, true} { // whether the engine is a ManyGetter
		t.Run(fmt.Sprint(many), func(t *testing.T) {
			st := wrappedState(t, func(s edgews.ObjectStore) edgews.ObjectStore {
				_, ok := s.(edgews.ManyGetter)
				require.True(t, ok)
				if many {
					return s
				}
				return &countedObject{ObjectStore: s}
			})
			ctx, s := t.Context(), st.Storage()
			require.NoError(t, s.Put(ctx, "a", []byte("1")))
			require.NoError(t, s.Put(ctx, "b", []byte("2")))
			require.NoError(t, s.Put(ctx, "empty", nil))
			get := func(keys ...string) (map[string][]byte, error) { return s.GetMany(ctx, keys...) }
			checkGetMany(t, get, map[string]string{"a": "1", "b": "2", "empty": ""})
			require.NoError(t, s.Update(ctx, func(tx *edgews.Tx) error {
				checkGetMany(t, get, map[string]string{"a": "1", "b": "2", "empty": ""})
				checkGetMany(t, tx.GetMany, map[string]string{"a": "1", "b": "2", "empty": ""})
				require.NoError(t, tx.Put("c", []byte("3")))
				require.NoError(t, tx.Put("a", nil))
				require.NoError(t, tx.Delete("b"))
				checkGetMany(t, tx.GetMany, map[string]string{"a": "", "c": "3", "empty": ""})
				require.NoError(t, tx.DeleteAll())
				checkGetMany(t, tx.GetMany, map[string]string{})
				require.NoError(t, tx.Put("c", []byte("4")))
				checkGetMany(t, tx.GetMany, map[string]string{"c": "4"})
				return nil
			}))
			checkGetMany(t, get, map[string]string{"c": "4"})
			var late *edgews.Tx
			require.NoError(t, s.Update(ctx, func(tx *edgews.Tx) error { late = tx; return nil }))
			_, err := late.GetMany("a")
			assert.ErrorIs(t, err, edgews.ErrTxDone)
		})
	}
}

func checkGetMany(t *testing.T, get func(keys ...string) (map[string][]byte, error), want map[string]string) {
	t.Helper()
	for range 2 { // the caller may change what it gets
		got, err := get("none", "c", "a", "empty", "a", "b")
		require.NoError(t, err)
		assert.Len(t, got, len(want))
		for key, value := range want {
			require.NotNil(t, got[key], key)
			assert.Equal(t, value, string(got[key]), key)
			copy(got[key], "x")
		}
	}
	got, err := get()
	require.NoError(t, err)
	assert.NotNil(t, got)
	assert.Empty(t, got)
	_, err = get(make([]string, 129)...)
	assert.ErrorIs(t, err, edgews.ErrTooManyKeys)
	assert.EqualError(t, err, "edgews: too many keys for one GetMany: they are 129; the limit is 128")
	_, err = get("a", "\x00alarm")
	assert.ErrorIs(t, err, edgews.ErrInvalidKey)
	most := slices.Repeat([]string{"a"}, 128)
	got, err = get(most...)
	require.NoError(t, err)
	assert.LessOrEqual(t, len(got), 1)
	assert.Equal(t, "a", most[127], "it does not change its argument")
}

// watchedGets has a function called before each Get.
type watchedGets struct {
	edgews.ObjectStore
	before func(key string)
	after  func() // of a commit, before it returns
}

func (o *watchedGets) Get(ctx context.Context, key string) ([]byte, error) {
	o.before(key)
	return o.ObjectStore.Get(ctx, key)
}

func (o *watchedGets) Commit(ctx context.Context, b edgews.Batch) error {
	err := o.ObjectStore.Commit(ctx, b)
	o.after()
	return err
}

// GetMany shows one moment, also of an engine that gets one key at a time.
func TestGetManyShowsOneMoment(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := &watchedGets{before: func(string) {}, after: func() {}}
		st := wrappedState(t, func(s edgews.ObjectStore) edgews.ObjectStore { o.ObjectStore = s; return o })
		ctx, s := t.Context(), st.Storage()
		put := func(value string) {
			assert.NoError(t, s.Update(ctx, func(tx *edgews.Tx) error {
				return errors.Join(tx.Put("a", []byte(value)), tx.Put("b", []byte(value)))
			}))
		}
		put("old")
		var once, again sync.Once
		var others sync.WaitGroup
		o.before = func(key string) {
			if key == "b" { // between the two
				once.Do(func() { put("new") })
				again.Do(func() { others.Go(func() { put("newest") }) })
			}
		}
		got, err := s.GetMany(ctx, "a", "b")
		require.NoError(t, err)
		assert.Equal(t, string(got["a"]), string(got["b"]))
		others.Wait()

		// A commit that is visible, and still under way.
		o.before = func(string) {}
		free := make(chan struct{})
		o.after = func() { <-free }
		others.Go(func() { put("last") })
		synctest.Wait()
		over, cancel := context.WithCancel(ctx)
		others.Go(func() {
			_, err := s.GetMany(over, "a", "b")
			assert.ErrorIs(t, err, context.Canceled)
		})
		others.Go(func() {
			got, err := s.GetMany(ctx, "a", "b")
			assert.NoError(t, err)
			assert.Equal(t, "last", string(got["a"]))
			assert.Equal(t, "last", string(got["b"]))
		})
		synctest.Wait()
		cancel()
		synctest.Wait()
		close(free)
		others.Wait()
	})
}

// An error of the engine is that of GetMany.
func TestGetManyFails(t *testing.T) {
	st := wrappedState(t, func(s edgews.ObjectStore) edgews.ObjectStore { return failingGets{s} })
	_, err := st.Storage().GetMany(t.Context(), "a", "b")
	assert.ErrorIs(t, err, io.ErrNoProgress)
	assert.ErrorIs(t, st.Storage().Update(t.Context(), func(tx *edgews.Tx) error {
		_, err := tx.GetMany("a")
		return err
	}), io.ErrNoProgress)
}

type failingGets struct{ edgews.ObjectStore }

func (failingGets) Get(context.Context, string) ([]byte, error) { return nil, io.ErrNoProgress }
