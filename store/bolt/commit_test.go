package bolt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"
)

func TestBusyWritersShareTransactions(t *testing.T) {
	s := openStore(t, nil)
	before := transactions(t, s)
	var wg sync.WaitGroup
	for n := range 64 {
		o := openObject(t, s, "room", n)
		wg.Go(func() {
			for i := range 20 {
				assert.NoError(t, o.Commit(context.Background(), put("i", fmt.Sprint(i))))
			}
		})
	}
	wg.Wait()
	assert.Less(t, transactions(t, s)-before, 64*20/4)
}

func TestGroupsAreBounded(t *testing.T) {
	for name, c := range map[string]struct{ waiting, size, want int }{
		"few":            {10, 1, 10},
		"many":           {maxGroup + 10, 1, maxGroup},
		"large":          {10, maxGroupBytes/2 + 1, 2},
		"larger than it": {10, maxGroupBytes, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &Store{requests: make(chan *request)}
				for range c.waiting {
					go func() { s.requests <- &request{size: c.size} }()
				}
				synctest.Wait()
				group := s.gather([]*request{<-s.requests})
				assert.Len(t, group, c.want)
				for range c.waiting - len(group) {
					<-s.requests
				}
			})
		})
	}
}

// A request that is refused or too large does not affect the others of its group.
func TestGroupOfGoodAndBad(t *testing.T) {
	s := openStore(t, &bbolt.Options{MaxSize: 1 << 20})
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	bad := []struct {
		r    *request
		want error
	}{
		{&request{o: roomObject(t, s, 1), batch: put("large", strings.Repeat("x", 2<<20))}, bbolterrors.ErrMaxSizeReached},
		{&request{o: roomObject(t, s, 2), batch: put("a", "1")}, edgews.ErrFenced},
		{&request{o: roomObject(t, s, 3), batch: put("a", "1"), ctx: cancelled}, context.Canceled},
		{&request{o: roomObject(t, s, 4), batch: edgews.Batch{DeleteAll: true, Puts: []edgews.Entry{{Key: "b"}, {Key: strings.Repeat("k", bbolt.MaxKeySize)}}}}, bbolterrors.ErrKeyTooLarge},
	}
	for n := range 5 {
		require.NoError(t, roomObject(t, s, n).Commit(context.Background(), put("was", "there")))
	}
	_, err := s.Open(context.Background(), bad[1].r.o.key, edgews.Fence{Epoch: 2})
	require.NoError(t, err)

	var group []*request
	add := func(r *request) {
		if r.ctx == nil {
			r.ctx = context.Background()
		}
		r.done = make(chan error, 1)
		group = append(group, r)
	}
	for n, b := range bad {
		add(&request{o: roomObject(t, s, 10+n), batch: put("good", "one")})
		add(b.r)
	}
	s.commit(group)
	for n, b := range bad {
		require.ErrorIs(t, <-b.r.done, b.want)
		require.Equal(t, []string{"was=there"}, list(t, b.r.o))
		require.NoError(t, <-group[2*n].done)
		require.Equal(t, []string{"good=one"}, list(t, group[2*n].o))
	}
	require.NoError(t, roomObject(t, s, 1).Commit(context.Background(), put("small", "one")))
}

func TestKeysAreBounded(t *testing.T) {
	s := openStore(t, nil)
	o := openObject(t, s, "room", 1)
	longest := strings.Repeat("k", maxKeyLen)
	require.NoError(t, o.Commit(context.Background(), put(longest, "v")))
	value, err := o.Get(context.Background(), longest)
	require.NoError(t, err)
	require.Equal(t, "v", string(value))
	require.EqualError(t, o.Commit(context.Background(), put(longest+"k", "v")), "edgews: bolt store: key has 32737 bytes; the limit is 32736")
	_, err = o.Get(context.Background(), longest+"k")
	require.ErrorIs(t, err, edgews.ErrKeyNotFound)
}

// An object that was opened with the first epoch, as all are on one machine, and that is empty again takes no space.
func TestNothingIsLeft(t *testing.T) {
	s := openStore(t, nil)
	o := openObject(t, s, "room", 1)
	before := transactions(t, s)
	openObject(t, s, "room", 1)
	assert.Equal(t, before, transactions(t, s), "an Open that has nothing to remember writes nothing")

	require.NoError(t, o.Commit(context.Background(), edgews.Batch{Puts: put("a", "1").Puts, Alarm: &edgews.AlarmChange{Time: time.Unix(1, 0)}}))
	require.NoError(t, o.Commit(context.Background(), edgews.Batch{DeleteAll: true, Alarm: &edgews.AlarmChange{}}))
	require.NoError(t, s.db.View(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{entriesName("room"), alarmsName("room"), objectsName("room")} {
			k, _ := tx.Bucket(name).Cursor().First()
			assert.Nil(t, k, "%s", name)
		}
		return nil
	}))
}

// A write that fails before the meta page is written changes nothing, and the store keeps working.
func TestDiskThatRefuses(t *testing.T) {
	var file *os.File
	s := openStore(t, &bbolt.Options{OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
		var err error
		file, err = os.OpenFile(name, flag, mode)
		return file, err
	}})
	o := openObject(t, s, "room", 1)
	require.NoError(t, o.Commit(context.Background(), put("a", "1")))
	require.NoError(t, file.Close())
	for range 3 {
		require.ErrorIs(t, o.Commit(context.Background(), put("a", "2")), os.ErrClosed)
		require.Equal(t, []string{"a=1"}, list(t, o))
	}
}

func TestFailedStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "objects.db")
	s, err := Open(path, nil)
	require.NoError(t, err)
	o := openObject(t, s, "room", 1)
	require.NoError(t, o.Commit(context.Background(), put("a", "1")))
	assert.False(t, s.mayBeOnDisk(transactions(t, s)+1))
	assert.True(t, s.mayBeOnDisk(transactions(t, s)))

	cause := errors.New("input/output error")
	s.fail(cause)
	wantFailed := func(err error) {
		t.Helper()
		require.ErrorIs(t, err, cause)
		require.ErrorContains(t, err, "must be opened again")
	}
	wantFailed(o.Commit(context.Background(), put("a", "2")))
	_, err = o.Get(context.Background(), "a")
	wantFailed(err)
	for _, err := range o.Scan(context.Background(), edgews.Range{}) {
		wantFailed(err)
	}
	_, err = s.DueAlarms(context.Background(), "room", time.Now(), 1)
	wantFailed(err)
	_, err = s.Open(context.Background(), edgews.ObjectKey{}, edgews.Fence{Epoch: 1})
	wantFailed(err)

	require.NoError(t, s.Close())
	s, err = Open(path, nil)
	require.NoError(t, err)
	require.Equal(t, []string{"a=1"}, list(t, openObject(t, s, "room", 1)))
	require.NoError(t, s.Close())
}

// A damaged file leads to errors and not to a panic.
func TestDamagedFile(t *testing.T) {
	for name, call := range map[string]func(o edgews.ObjectStore) error{
		"Get":    func(o edgews.ObjectStore) error { _, err := o.Get(context.Background(), "a"); return err },
		"Commit": func(o edgews.ObjectStore) error { return o.Commit(context.Background(), put("a", "2")) },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "objects.db")
			s, err := Open(path, nil)
			require.NoError(t, err)
			defer s.Close()
			o := openObject(t, s, "room", 1)
			require.NoError(t, o.Commit(context.Background(), put("a", "1")))

			info, err := os.Stat(path)
			require.NoError(t, err)
			file, err := os.OpenFile(path, os.O_WRONLY, 0)
			require.NoError(t, err)
			metas := int64(2 * os.Getpagesize())
			_, err = file.WriteAt(make([]byte, info.Size()-metas), metas)
			require.NoError(t, file.Close())
			require.NoError(t, err)

			require.ErrorContains(t, call(o), "the file is damaged")
			require.ErrorContains(t, call(o), "must be opened again")
		})
	}
}
