package bolt

import (
	"context"
	"encoding/binary"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
)

func TestOpenRefuses(t *testing.T) {
	bboltFile := func(t *testing.T, path string, fill func(tx *bbolt.Tx) error) {
		db, err := bbolt.Open(path, 0o600, nil)
		require.NoError(t, err)
		require.NoError(t, db.Update(fill))
		require.NoError(t, db.Close())
	}
	version := func(v []byte) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			bboltFile(t, path, func(tx *bbolt.Tx) error {
				meta, err := tx.CreateBucket(metaBucket)
				require.NoError(t, err)
				return meta.Put(versionKey, v)
			})
		}
	}
	cases := []struct {
		name    string
		prepare func(t *testing.T, path string)
		want    string
	}{
		{"a folder", func(t *testing.T, path string) { require.NoError(t, os.Mkdir(path, 0o700)) }, "is a directory"},
		{"some other file", func(t *testing.T, path string) {
			require.NoError(t, os.WriteFile(path, make([]byte, 1<<16), 0o600))
		}, "is not a bbolt file"},
		{"a bbolt file of somebody else", func(t *testing.T, path string) {
			bboltFile(t, path, func(tx *bbolt.Tx) error {
				_, err := tx.CreateBucket([]byte("theirs"))
				return err
			})
		}, "of somebody else"},
		{"a layout of the future", version(binary.BigEndian.AppendUint32(nil, 2)), "layout 2, and this version of the program knows only layout 1"},
		{"no version", version(nil), "no version"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "objects.db")
			c.prepare(t, path)
			before, _ := os.ReadFile(path)
			for range 2 { // the second time it is not locked either
				_, err := Open(path, &Options{LockTimeout: -1})
				require.ErrorContains(t, err, path)
				if runtime.GOOS != "windows" {
					require.ErrorContains(t, err, c.want)
				}
			}
			after, _ := os.ReadFile(path)
			assert.True(t, string(before) == string(after), "it was changed")
		})
	}
	_, err := Open(filepath.Join(t.TempDir(), "no", "folder"), nil)
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestOpenTakesAnEmptyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "objects.db")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	s, err := Open(path, nil)
	require.NoError(t, err)
	require.NoError(t, s.Close())
}

func TestFileMode(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no modes")
	}
	for want, opts := range map[fs.FileMode]*Options{0o600: nil, 0o640: {FileMode: 0o640}} {
		path := filepath.Join(t.TempDir(), "objects.db")
		s, err := Open(path, opts)
		require.NoError(t, err)
		info, err := os.Stat(path)
		require.NoError(t, err)
		assert.Equal(t, want, info.Mode())
		require.NoError(t, s.Close())
	}
}

func TestOneProcessOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "objects.db")
	first, err := Open(path, nil)
	require.NoError(t, err)

	_, err = Open(path, &Options{LockTimeout: -1})
	require.ErrorIs(t, err, ErrLocked)
	require.ErrorContains(t, err, path)

	opened := make(chan error)
	go func() {
		second, err := Open(path, &Options{LockTimeout: time.Minute})
		if err == nil {
			err = second.Close()
		}
		opened <- err
	}()
	require.NoError(t, first.Close())
	require.NoError(t, <-opened)
}

func TestClosed(t *testing.T) {
	s, err := Open(filepath.Join(t.TempDir(), "objects.db"), nil)
	require.NoError(t, err)
	o := openObject(t, s, "room", 1)
	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
	require.ErrorIs(t, o.Commit(context.Background(), edgews.Batch{}), ErrClosed)
	_, err = o.Get(context.Background(), "key")
	require.ErrorIs(t, err, ErrClosed)
	_, err = s.DueAlarms(context.Background(), "room", time.Now(), 1)
	require.ErrorIs(t, err, ErrClosed)
}

// Programs that use the store are tested in bubbles.
func TestInABubble(t *testing.T) {
	path := filepath.Join(t.TempDir(), "objects.db")
	synctest.Test(t, func(t *testing.T) {
		s, err := Open(path, nil)
		require.NoError(t, err)
		o := openObject(t, s, "room", 1)
		begin := time.Now()
		require.NoError(t, o.Commit(context.Background(), put("a", "1")))
		synctest.Wait()
		assert.Equal(t, begin, time.Now(), "no timer is waited for")
		require.Equal(t, []string{"a=1"}, list(t, o))
		require.NoError(t, s.Close())
	})
}

// A file that was being made when the disk became full, or the power failed, is made anew: nothing was ever committed to it.
func TestOpenTakesAnUnfinishedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "objects.db")
	db, err := bbolt.Open(path, 0o600, nil)
	require.NoError(t, err)
	require.NoError(t, db.Close())
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	page := os.Getpagesize()
	for _, size := range []int{100, page, page + 1, 2 * page, 3 * page, 4*page - 1, 4 * page} {
		require.NoError(t, os.WriteFile(path, whole[:size], 0o600))
		if size == 4*page {
			require.NoError(t, Check(path), "nothing is in it yet")
		}
		s, err := Open(path, nil)
		if !locksFirst && size < 4*page {
			require.ErrorIs(t, err, ErrDamaged)
			continue
		}
		require.NoError(t, err, size)
		require.NoError(t, openObject(t, s, "room", 1).Commit(t.Context(), put("a", "1")))
		require.NoError(t, s.Close())
		require.NoError(t, Check(path))
	}
	committed, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, committed[:3*page], 0o600))
	_, err = Open(path, nil)
	require.ErrorIs(t, err, ErrDamaged, "something was committed to it")
}

// What is not a file is refused, before anything is waited for.
func TestOpenAndCheckOfOtherThings(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no such things")
	}
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	things := []string{"/dev/null", "/dev/zero", pipe}
	if err := exec.Command("mkfifo", pipe).Run(); err != nil {
		things = things[:2]
	}
	for _, path := range things {
		_, err := Open(path, nil)
		require.ErrorContains(t, err, path+": it is not a regular file")
		require.ErrorContains(t, Check(path), path+": it is not a regular file")
	}
	require.ErrorContains(t, Check(dir), dir+": it is not a regular file")
	empty := filepath.Join(dir, "empty")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	require.NoError(t, Check(empty), "Open takes it")
}
