package bolt

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fill puts entries of more than two portions.
func fill(t *testing.T, o edgews.ObjectStore) (n int) {
	t.Helper()
	var b edgews.Batch
	for size := 0; size < 2*portionBytes+1; size += 1000 {
		b.Puts = append(b.Puts, edgews.Entry{Key: fmt.Sprintf("%05d", n), Value: make([]byte, 1000)})
		n++
	}
	require.NoError(t, o.Commit(context.Background(), b))
	return n
}

func TestCommitInALoopMapsTheGrownFile(t *testing.T) {
	s := openStore(t, nil)
	o := openObject(t, s, "room", 1)
	n := fill(t, o)
	for e, err := range o.Scan(context.Background(), edgews.Range{}) {
		require.NoError(t, err)
		n--
		if e.Key == "00001" {
			require.NoError(t, o.Commit(context.Background(), put("large", strings.Repeat("x", 8<<20))))
		}
	}
	assert.Zero(t, n)
}

func TestLongLoopDoesNotLetTheFileGrow(t *testing.T) {
	s := openStore(t, nil)
	o, other := openObject(t, s, "room", 1), openObject(t, s, "room", 2)
	fill(t, o)
	next, stop := iter.Pull2(o.Scan(context.Background(), edgews.Range{}))
	defer stop()
	next()
	large := strings.Repeat("x", 1<<20)
	for i := range 64 {
		require.NoError(t, other.Commit(context.Background(), put("large", large+fmt.Sprint(i))))
	}
	info, err := os.Stat(s.db.Path())
	require.NoError(t, err)
	assert.LessOrEqual(t, info.Size(), int64(16<<20), "64 MiB have been written, all but 1 of which is free")
}

func TestLoopsLeaveNothingBehind(t *testing.T) {
	s := openStore(t, nil)
	o := openObject(t, s, "room", 1)
	fill(t, o)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for range o.Scan(ctx, edgews.Range{}) { // left
		break
	}
	for range o.Scan(ctx, edgews.Range{}) { // to its end
	}
	for _, err := range o.Scan(ctx, edgews.Range{}) { // to an error
		cancel()
		_ = err
	}
	assert.Panics(t, func() {
		for range o.Scan(context.Background(), edgews.Range{}) {
			assert.Len(t, s.scans, 1)
			panic("of the caller")
		}
	})
	assert.Empty(t, s.scans)
	assert.Empty(t, s.changing)
}

func TestAlarmsAreExact(t *testing.T) {
	s := openStore(t, nil)
	o := openObject(t, s, "room", 1)
	for _, at := range []time.Time{time.Unix(1_700_000_000, 123_456_789), time.Unix(-1, 999_999_999), time.Date(9999, 1, 1, 0, 0, 0, 1, time.UTC)} {
		require.NoError(t, o.Commit(context.Background(), edgews.Batch{Alarm: &edgews.AlarmChange{Time: at}}))
		due, err := s.DueAlarms(context.Background(), "room", at.Add(-1), 10)
		require.NoError(t, err)
		require.Empty(t, due)
		due, err = s.DueAlarms(context.Background(), "room", at, 10)
		require.NoError(t, err)
		require.Len(t, due, 1)
		require.True(t, at.Equal(due[0].Time), "%v is not %v", due[0].Time, at)
	}
}

func TestDueAlarmsCostWhatTheyReturn(t *testing.T) {
	s := openStore(t, nil)
	now := time.Unix(1_700_000_000, 0)
	set := func(from, to int) {
		var group []*request
		for n := from; n < to; n++ {
			r := &request{ctx: context.Background(), o: roomObject(t, s, n), done: make(chan error, 1)}
			r.batch.Alarm = &edgews.AlarmChange{Time: now.Add(time.Duration(n) * time.Second)}
			group = append(group, r)
		}
		s.commit(group)
		for _, r := range group {
			require.NoError(t, <-r.done)
		}
	}
	cost := func() float64 {
		return testing.AllocsPerRun(100, func() {
			due, err := s.DueAlarms(context.Background(), "room", now.Add(10*time.Second), 5)
			require.NoError(t, err)
			require.Len(t, due, 5)
		})
	}
	set(0, 10)
	few := cost()
	set(10, 5000)
	assert.LessOrEqual(t, cost(), few+10, "some more for the depth of the tree")
}

// manyKeys puts n entries with the keys of numbered.
func manyKeys(t testing.TB, o edgews.ObjectStore, n int) {
	var b edgews.Batch
	for i := range n {
		b.Puts = append(b.Puts, edgews.Entry{Key: numbered(i), Value: []byte("value")})
		if len(b.Puts) == 50_000 || i == n-1 {
			require.NoError(t, o.Commit(context.Background(), b))
			b.Puts = nil
		}
	}
}

func numbered(i int) string { return fmt.Sprintf("%07d", i) }

// spoilPages overwrites the headers of the pages that no reader of an interval of keys has to visit, so that bbolt refuses them. It returns
// how many pages of entries it has left.
func spoilPages(t *testing.T, path string, first, last []byte) (left int) {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	defer file.Close()
	info, err := file.Stat()
	require.NoError(t, err)
	p, err := readPages(file, info.Size())
	require.NoError(t, err)
	for below := []subtree{{id: p.meta.root}}; len(below) > 0; {
		next := below[0]
		pg, err := p.read(next.id)
		require.NoError(t, err)
		found, err := pg.check(next)
		require.NoError(t, err)
		below = append(below[1:], found...)
		switch {
		case next.from == nil && next.until == nil: // the root of a bucket
		case bytes.Compare(next.from, last) > 0, next.until != nil && bytes.Compare(next.until, first) <= 0:
			_, err := file.WriteAt(make([]byte, pageHeaderSize), int64(next.id)*int64(p.meta.pageSize))
			require.NoError(t, err)
		default:
			left++
		}
	}
	return left
}

// A Scan visits the pages of its entries, and those on the way to them: all others may be unreadable.
func TestScanReadsThePagesItNeeds(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a file that is mapped cannot be written to")
	}
	if !inOwnProcess(t) {
		return
	}
	const size, wanted = 200_000, 10
	for _, at := range []int{0, size / 3, size - wanted} {
		s := openStore(t, nil)
		o := roomObject(t, s, 2)
		manyKeys(t, openObject(t, s, "room", 1), size/10)
		manyKeys(t, o, size)
		manyKeys(t, openObject(t, s, "room", 3), size/10)
		left := spoilPages(t, s.path, o.entryKey(numbered(max(at-1, 0))), o.entryKey(numbered(at+wanted)))
		assert.LessOrEqual(t, left, 12, "of thousands of pages")
		first, end := numbered(at), numbered(at+wanted)
		for _, r := range []edgews.Range{
			{Start: first, Limit: wanted},
			{After: numbered(at - 1), Limit: wanted, KeysOnly: true},
			{Start: first, End: end},
			{Prefix: "0", Start: first, End: end},
			{End: end, Limit: wanted, Reverse: true},
			{Start: first, End: end, Reverse: true},
		} {
			n := 0
			for e, err := range o.Scan(t.Context(), r) {
				require.NoError(t, err, "%+v at %d", r, at)
				i := at + n
				if r.Reverse {
					i = at + wanted - 1 - n
				}
				require.Equal(t, numbered(i), e.Key)
				n++
			}
			require.Equal(t, wanted, n, "%+v at %d", r, at)
		}
		for range o.Scan(t.Context(), edgews.Range{Start: first}) {
			break // a loop that is left early
		}
		for range o.Scan(t.Context(), edgews.Range{End: end, Reverse: true}) {
			break
		}
		var last error
		for _, err := range o.Scan(t.Context(), edgews.Range{}) {
			last = err
		}
		wantDamaged(t, s.path, last)
	}
}

// What a Scan allocates does not depend on how many entries are stored.
func TestScanAllocatesForWhatItYields(t *testing.T) {
	const wanted = 10
	for _, r := range []edgews.Range{{Limit: wanted}, {Limit: wanted, Reverse: true}, {Start: "0000001", Limit: wanted, KeysOnly: true}} {
		cost := func(size int) float64 {
			o := openObject(t, openStore(t, nil), "room", 1)
			manyKeys(t, o, size)
			return testing.AllocsPerRun(100, func() {
				n := 0
				for range o.Scan(context.Background(), r) {
					n++
				}
				if n != wanted {
					t.Errorf("%d entries", n)
				}
			})
		}
		few := cost(wanted + 1)
		assert.LessOrEqual(t, cost(50_000), few+3, "%+v: some more for the depth of the tree", r)
	}
}

// KeysOnly reads as many keys at once as values would fit, and does not copy them.
func TestKeysOnlyCopiesNoValues(t *testing.T) {
	o := openObject(t, openStore(t, nil), "room", 1)
	require.NoError(t, o.Commit(t.Context(), edgews.Batch{Puts: []edgews.Entry{{Key: "large", Value: make([]byte, 8<<20)}}}))
	read := func() {
		for e, err := range o.Scan(context.Background(), edgews.Range{KeysOnly: true}) {
			if err != nil || e.Value != nil {
				t.Error(e.Key, err)
			}
		}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 10 {
		read()
	}
	runtime.ReadMemStats(&after)
	assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<20), "of 80 MiB")
}

// If the store fails while a commit makes a Scan read its rest, the loop ends with an error, and not as if nothing more were there.
func TestScanFailsWithTheStore(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a file that is mapped cannot be written to")
	}
	if !inOwnProcess(t) {
		return
	}
	s := openStore(t, nil)
	o := roomObject(t, s, 1)
	manyKeys(t, o, 20_000)
	spoilPages(t, s.path, o.entryKey(""), o.entryKey(numbered(1000)))
	n := 0
	var last error
	for _, err := range o.Scan(t.Context(), edgews.Range{}) {
		if n == 0 {
			wantDamaged(t, s.path, o.Commit(t.Context(), put("z", "")))
		}
		n++
		last = err
	}
	wantDamaged(t, s.path, last)
}
