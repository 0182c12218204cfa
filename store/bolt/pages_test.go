package bolt

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
)

// pagesEnv is set in the process that opens damaged files. A fault would end that process with a signal.
const pagesEnv = "EDGEWS_BOLT_PAGES"

// inOwnProcess runs the test again in a process of its own. It reports whether this is that process.
func inOwnProcess(t *testing.T) bool {
	if os.Getenv(pagesEnv) != "" {
		return true
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.count=1", "-test.timeout=3m", "-test.v")
	cmd.Env = append(os.Environ(), pagesEnv+"=1")
	output, err := cmd.CombinedOutput()
	if err != nil && len(output) > 8000 {
		output = append(output[:4000:4000], output[len(output)-4000:]...)
	}
	require.NoError(t, err, "%s", output)
	return false
}

// soundFile returns the content of a file with several objects in two namespaces, with pages of all kinds and free pages.
func soundFile(t *testing.T) []byte {
	path := filepath.Join(t.TempDir(), "sound.db")
	s, err := Open(path, nil)
	require.NoError(t, err)
	for n := range 40 {
		o := openObject(t, s, fmt.Sprint("room", n%2), n)
		b := edgews.Batch{Alarm: &edgews.AlarmChange{Time: time.Unix(int64(n), 0)}}
		for i := range 50 {
			b.Puts = append(b.Puts, edgews.Entry{Key: fmt.Sprintf("key%03d", i), Value: make([]byte, 10*i)})
		}
		b.Puts = append(b.Puts, edgews.Entry{Key: "large", Value: make([]byte, 20_000)})
		require.NoError(t, o.Commit(t.Context(), b))
		if n%5 == 0 {
			require.NoError(t, o.Commit(t.Context(), edgews.Batch{DeleteAll: true}))
		}
	}
	require.NoError(t, s.Close())
	require.NoError(t, Check(path))
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	return content
}

// useFile opens a file and calls all methods. It returns the first error.
func useFile(t *testing.T, path string) error {
	s, err := Open(path, &Options{LockTimeout: -1})
	if err != nil {
		return err
	}
	first := useObjects(t, s)
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	select {
	case err := <-closed:
		return errors.Join(first, err)
	case <-time.After(time.Minute):
		t.Fatalf("Close does not return, after %v", first)
		return nil
	}
}

func useObjects(t *testing.T, s *Store) error {
	ctx := context.Background()
	var errs []error
	for n := range 41 {
		id, err := parseID(append(make([]byte, idLen-1), byte(n)))
		require.NoError(t, err)
		o, err := s.Open(ctx, edgews.ObjectKey{Namespace: fmt.Sprint("room", n%2), ID: id}, edgews.Fence{Epoch: 1})
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if _, err := o.Get(ctx, "large"); !errors.Is(err, edgews.ErrKeyNotFound) {
			errs = append(errs, err)
		}
		for _, err := range o.Scan(ctx, edgews.Range{}) {
			errs = append(errs, err)
		}
		errs = append(errs, o.Commit(ctx, put("key010", "changed")), o.Commit(ctx, put("more", strings.Repeat("x", 30_000))))
		if n%3 == 0 {
			errs = append(errs, o.Commit(ctx, edgews.Batch{DeleteAll: true, Alarm: &edgews.AlarmChange{}}))
		}
	}
	for n := range 2 {
		_, err := s.DueAlarms(ctx, fmt.Sprint("room", n), time.Unix(1000, 0), 100)
		errs = append(errs, err)
	}
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// wantDamaged checks the error of a file at path.
func wantDamaged(t *testing.T, path string, err error) {
	t.Helper()
	require.ErrorIs(t, err, ErrDamaged)
	require.ErrorContains(t, err, path)
	require.ErrorContains(t, err, "bbolt check")
	require.ErrorContains(t, err, "backup")
}

// A truncated file is refused, no matter where it was cut off.
func TestTruncatedFiles(t *testing.T) {
	if !inOwnProcess(t) {
		return
	}
	sound := soundFile(t)
	end := int(native.Uint64(sound[pageHeaderSize+40:])) * os.Getpagesize()
	end = max(end, int(native.Uint64(sound[os.Getpagesize()+pageHeaderSize+40:]))*os.Getpagesize())
	path := filepath.Join(t.TempDir(), "cut.db")
	var sizes []int
	for n := range 72 {
		sizes = append(sizes, 1+n*(end-2)/71)
	}
	for page := range 40 {
		sizes = append(sizes, page*os.Getpagesize()+1, (page+1)*os.Getpagesize())
	}
	for _, size := range sizes {
		require.NoError(t, os.WriteFile(path, sound[:size], 0o600))
		wantDamaged(t, path, useFile(t, path))
		wantDamaged(t, path, Check(path))
	}
	require.NoError(t, os.WriteFile(path, sound[:end], 0o600))
	require.NoError(t, Check(path), "bytes behind the last page do no harm")
	require.NoError(t, useFile(t, path))
}

// Any bytes in and behind the headers of pages lead to an error, or do no harm.
func TestDamagedPages(t *testing.T) {
	if !inOwnProcess(t) {
		return
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	sound := soundFile(t)
	path := filepath.Join(t.TempDir(), "damaged.db")
	size, refused := os.Getpagesize(), 0
	for n := range 120 {
		bad := append([]byte(nil), sound...)
		page := bad[r.IntN(len(bad)/size)*size:]
		if n%3 == 0 {
			page = bad[r.IntN(4)*size:]
		}
		reach := []int{pageHeaderSize, pageHeaderSize + metaSize, size}[r.IntN(3)]
		for range 1 + r.IntN(8) {
			page[r.IntN(reach)] = byte(r.IntN(256) >> (r.IntN(2) * 7))
		}
		require.NoError(t, os.WriteFile(path, bad, 0o600))
		_, openErr := openAndClose(path)
		checkErr := Check(path)
		if openErr != nil {
			refused++
			wantDamaged(t, path, openErr)
			require.NotErrorIs(t, checkErr, ErrLocked, "after %v, %d", openErr, n)
			wantDamaged(t, path, checkErr)
		} else if err := useFile(t, path); err != nil && !errors.Is(err, ErrDamaged) {
			require.ErrorIs(t, err, edgews.ErrFenced, "what the bytes of a value say is not checked")
		}
		_, err := openAndClose(path)
		require.NotErrorIs(t, err, ErrLocked, "a store that has failed holds no lock")
	}
	t.Logf("%d were refused", refused)
}

func openAndClose(path string) (*Store, error) {
	s, err := Open(path, &Options{LockTimeout: -1})
	if err == nil {
		err = s.Close()
	}
	return s, err
}

// bbolt must not see a cycle of pages, in which it would loop for ever, nor a freelist with a huge count.
func TestCraftedFiles(t *testing.T) {
	if !inOwnProcess(t) {
		return
	}
	sound := soundFile(t)
	size := os.Getpagesize()
	m, err := readPages(strings.NewReader(string(sound)), int64(len(sound)))
	require.NoError(t, err)
	branch := 0
	for id := 2; id < int(m.meta.end); id++ {
		if sound[id*size+8] == branchFlag {
			branch = id
		}
	}
	require.NotZero(t, branch)
	for name, change := range map[string]func(b []byte){
		"a page below itself": func(b []byte) { native.PutUint64(b[branch*size+pageHeaderSize+8:], uint64(branch)) },
		"a huge freelist": func(b []byte) {
			native.PutUint16(b[int(m.meta.freelist)*size+10:], manyFree)
			native.PutUint64(b[int(m.meta.freelist)*size+pageHeaderSize:], 1<<40)
		},
		"a free page that is in use": func(b []byte) {
			native.PutUint16(b[int(m.meta.freelist)*size+10:], 1)
			native.PutUint64(b[int(m.meta.freelist)*size+pageHeaderSize:], uint64(branch))
		},
		"a page that goes on too long": func(b []byte) { native.PutUint32(b[branch*size+12:], 1<<31) },
		"a key beyond the page":        func(b []byte) { native.PutUint32(b[branch*size+pageHeaderSize+4:], 1<<31) },
		"both meta pages":              func(b []byte) { b[pageHeaderSize+60], b[size+pageHeaderSize+60] = 1, 1 },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "crafted.db")
			bad := append([]byte(nil), sound...)
			change(bad)
			require.NoError(t, os.WriteFile(path, bad, 0o600))
			wantDamaged(t, path, useFile(t, path))
			wantDamaged(t, path, Check(path))
		})
	}
}

// A power cut may damage one meta page. Open uses the other one, Check reports it, and the next commits overwrite it.
func TestTornMetaPage(t *testing.T) {
	sound := soundFile(t)
	for n := range 2 {
		path := filepath.Join(t.TempDir(), "torn.db")
		bad := append([]byte(nil), sound...)
		bad[n*os.Getpagesize()+pageHeaderSize+30] ^= 1
		require.NoError(t, os.WriteFile(path, bad, 0o600))
		err := Check(path)
		wantDamaged(t, path, err)
		require.ErrorContains(t, err, fmt.Sprintf("meta page %d", n))
		s, err := Open(path, nil)
		require.NoError(t, err)
		for range 2 {
			require.NoError(t, openObject(t, s, "room0", 2).Commit(t.Context(), put("a", "1")))
		}
		require.ErrorIs(t, tryLock(path), ErrLocked)
		require.NoError(t, s.Close())
		require.NoError(t, Check(path))
	}
}

// tryLock takes and gives up the lock of the file at path, without waiting for it.
func tryLock(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	return explainOpen(path, lockFile(file, false, time.Nanosecond))
}

// When a file is truncated while it is open, calls return errors, the process goes on, and Close returns.
func TestFileIsCutWhileOpen(t *testing.T) {
	if !inOwnProcess(t) {
		return
	}
	sound := soundFile(t)
	for size := range 8 {
		path := filepath.Join(t.TempDir(), "cut.db")
		require.NoError(t, os.WriteFile(path, sound, 0o600))
		s, err := Open(path, nil)
		require.NoError(t, err)
		require.NoError(t, os.Truncate(path, int64(size*os.Getpagesize())))
		wantDamaged(t, path, useObjects(t, s))
		s.Close()
	}
}

func TestCheckWithoutFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none.db")
	require.ErrorIs(t, Check(path), os.ErrNotExist)
	_, err := os.Stat(path)
	require.ErrorIs(t, err, os.ErrNotExist, "it makes nothing")
}

// bbolt's own check accepts the file that Check accepts.
func TestCheckAgrees(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sound.db")
	require.NoError(t, os.WriteFile(path, soundFile(t), 0o600))
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	require.NoError(t, err)
	defer db.Close()
	require.NoError(t, db.View(func(tx *bbolt.Tx) error {
		for err := range tx.Check() {
			assert.NoError(t, err)
		}
		return nil
	}))
	require.NoError(t, Check(path))
}

// bbolt reads all pages of a file that has no freelist, as `bbolt surgery freelist abandon` leaves it, in a goroutine
// whose panics no code recovers: Open checks them before, however large the file is.
func TestLargeFileWithoutFreelist(t *testing.T) {
	if !inOwnProcess(t) {
		return
	}
	path := filepath.Join(t.TempDir(), "large.db")
	s, err := open(path, defaultFileMode, &bbolt.Options{NoFreelistSync: true, FreelistType: bbolt.FreelistMapType})
	require.NoError(t, err)
	for n := range 40 {
		b := edgews.Batch{}
		for i := range 50 {
			b.Puts = append(b.Puts, edgews.Entry{Key: fmt.Sprintf("key%03d", i), Value: make([]byte, 10*i)})
		}
		require.NoError(t, openObject(t, s, "room0", n).Commit(t.Context(), b))
	}
	require.NoError(t, s.Close())
	sound, err := os.ReadFile(path)
	require.NoError(t, err)
	size := os.Getpagesize()
	write := func(content []byte) {
		require.NoError(t, os.WriteFile(path, content, 0o600))
		require.NoError(t, os.Truncate(path, checkedAtOpen+int64(size)))
	}
	write(sound)
	_, err = openAndClose(path)
	require.NoError(t, err)
	for at := 2 * size; at < len(sound); at += size {
		if sound[at+8] == branchFlag {
			native.PutUint64(sound[at+pageHeaderSize+8:], 1<<40)
		}
	}
	write(sound)
	_, err = openAndClose(path)
	wantDamaged(t, path, err)
}

// So it is when many calls are under way: none of them waits for ever for what another one has met, and neither does Close.
func TestFileIsCutUnderLoad(t *testing.T) {
	if !inOwnProcess(t) {
		return
	}
	for round := range 12 {
		path := filepath.Join(t.TempDir(), "cut.db")
		s, err := Open(path, nil)
		require.NoError(t, err)
		done := make(chan struct{})
		var calls sync.WaitGroup
		var count atomic.Int64
		waitForCalls := func(n int64) {
			for n += count.Load(); count.Load() < n && s.failure() == nil; {
				runtime.Gosched()
			}
		}
		for n := range 8 {
			o := openObject(t, s, "room0", n%5)
			calls.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-done:
						return
					default:
					}
					count.Add(1)
					_, _ = o.Get(context.Background(), "1")
					if n%2 == 0 {
						_ = o.Commit(context.Background(), put(fmt.Sprint(i%100), strings.Repeat("x", i%20_000)))
					}
					for range o.Scan(context.Background(), edgews.Range{}) {
					}
				}
			})
		}
		waitForCalls(100)
		require.NoError(t, os.Truncate(path, int64(round%4*os.Getpagesize())))
		waitForCalls(int64(round % 2 * 100))
		closed := make(chan struct{})
		go func() {
			s.Close()
			close(done)
			calls.Wait()
			close(closed)
		}()
		select {
		case <-closed:
		case <-time.After(time.Minute):
			stacks := make([]byte, 1<<16)
			t.Fatalf("round %d: a call waits for ever:\n%s", round, stacks[:runtime.Stack(stacks, true)])
		}
		_, err = openAndClose(path)
		require.NotErrorIs(t, err, ErrLocked)
	}
}
