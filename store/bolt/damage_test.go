package bolt

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/require"
)

// damagedEnv is set in the process in which TestDamagedFiles opens damaged files: a memory fault would end that process only.
const damagedEnv = "EDGEWS_BOLT_DAMAGED"

// wholeFile returns the content of a file with a few hundred entries and alarms.
func wholeFile(t *testing.T) []byte {
	path := filepath.Join(t.TempDir(), "whole.db")
	s, err := Open(path, nil)
	require.NoError(t, err)
	for n := range 40 {
		o := openObject(t, s, "room", n)
		b := edgews.Batch{Alarm: &edgews.AlarmChange{Time: time.Unix(int64(n), 0)}}
		for i := range 20 {
			b.Puts = append(b.Puts, edgews.Entry{Key: fmt.Sprint("key ", i), Value: []byte(strings.Repeat(fmt.Sprint(n), 40))})
		}
		require.NoError(t, o.Commit(context.Background(), b))
	}
	require.NoError(t, s.Close())
	require.NoError(t, Check(path))
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	return whole
}

// damagedFiles returns damaged variants of a file, by name.
func damagedFiles(whole []byte) map[string][]byte {
	files, random := map[string][]byte{}, rand.New(rand.NewPCG(1, 2))
	page := os.Getpagesize()
	for n := 1; n <= 72; n++ {
		size := n * len(whole) / 73
		if n%2 == 0 {
			size = size / page * page
		}
		files[fmt.Sprintf("cut to %d bytes", size)] = whole[:size]
	}
	damage := func(name string, change func(b []byte)) {
		b := append([]byte(nil), whole...)
		change(b)
		files[name] = b
	}
	for n := range 60 {
		damage(fmt.Sprint("bytes of the first pages changed ", n), func(b []byte) {
			for range 1 + n%4 {
				b[random.IntN(2*page)%(pageHeaderSize+metaSize)+page*random.IntN(2)] = byte(random.Uint32())
			}
		})
		damage(fmt.Sprint("bytes of other pages changed ", n), func(b []byte) {
			for range 1 + n {
				b[2*page+random.IntN(len(b)-2*page)] = byte(random.Uint32())
			}
		})
		damage(fmt.Sprint("headers of pages changed ", n), func(b []byte) {
			for range 1 + n%8 {
				b[page*(2+random.IntN(len(b)/page-2))+random.IntN(32)] = byte(random.Uint32())
			}
		})
	}
	for at := 0; at+page <= len(whole); at += page {
		damage(fmt.Sprint("a page of zeros at ", at), func(b []byte) { clear(b[at : at+page]) })
	}
	return files
}

// Damaged files are refused, or lead to errors of the calls that meet the damage. They never end the process.
func TestDamagedFiles(t *testing.T) {
	if dir := os.Getenv(damagedEnv); dir != "" {
		useDamaged(t, dir)
		return
	}
	dir := t.TempDir()
	n := 0
	for name, b := range damagedFiles(wholeFile(t)) {
		if n++; raceEnabled && n%5 != 0 { // with -race all files take a minute, and there is no race to find
			continue
		}
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), b, 0o600))
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestDamagedFiles$", "-test.v", "-test.timeout=2m")
	cmd.Env = append(os.Environ(), damagedEnv+"="+dir)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "the process that opened the files: %s", out[max(len(out)-4000, 0):])
}

func useDamaged(t *testing.T, dir string) {
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	refused, used := 0, 0
	for _, file := range files {
		path := filepath.Join(dir, file.Name())
		fmt.Println(file.Name())
		if err := Check(path); err != nil {
			require.ErrorContains(t, err, path)
		}
		s, err := Open(path, &Options{LockTimeout: -1})
		if err != nil {
			require.ErrorContains(t, err, path)
			require.NotErrorIs(t, err, ErrLocked)
			refused++
			continue
		}
		used++
		useAll(t, s, path)
	}
	fmt.Printf("refused: %d, used: %d\n", refused, used)
	require.True(t, raceEnabled || refused >= 72, "%d of the files are refused, fewer than are truncated", refused)
	require.True(t, raceEnabled || used >= 40, "%d of the files are used: those with changes that no check of pages can find", used)
}

// useAll calls all methods. Each error names the file, or is one that an undamaged file would give too.
func useAll(t *testing.T, s *Store, path string) {
	ctx := context.Background()
	check := func(err error) {
		if errors.Is(err, ErrDamaged) {
			require.ErrorContains(t, err, path)
		}
	}
	for n := range 40 {
		o, err := s.Open(ctx, roomKey(t, n), edgews.Fence{Epoch: 1})
		if check(err); err != nil {
			continue
		}
		_, err = o.Get(ctx, "key 7")
		check(err)
		for _, err := range o.Scan(ctx, edgews.Range{}) {
			check(err)
		}
		check(o.Commit(ctx, edgews.Batch{Puts: []edgews.Entry{{Key: "new", Value: []byte("value")}}, Deletes: []string{"key 3"}}))
	}
	_, err := s.DueAlarms(ctx, "room", time.Unix(1000, 0), 100)
	check(err)
	_ = s.Close() // a failed store may not be able to
}

// roomKey returns the key of the object that openObject opens.
func roomKey(t *testing.T, n int) edgews.ObjectKey {
	id, err := parseID(binary.BigEndian.AppendUint32(make([]byte, idLen-4), uint32(n)))
	require.NoError(t, err)
	return edgews.ObjectKey{Namespace: "room", ID: id}
}
