package bolt

import (
	"context"
	"fmt"
	"iter"
	"os"
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
