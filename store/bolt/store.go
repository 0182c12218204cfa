// Package bolt stores objects in one file with [bbolt], a B+tree in pure Go that needs no server and no configuration. It is
// the store for services that run on one machine.
//
//	store, err := bolt.Open("objects.db", nil)
//	if err != nil {
//		return err
//	}
//	defer store.Close() // after the namespaces' Shutdown
//	rooms := edgews.NewNamespace("rooms", newRoom, &edgews.NamespaceOptions{Store: store})
//
// A commit that has returned nil is on the disk. It survives a crash of the process, a crash of the system and a power cut,
// provided that the disk honours fsync. Commits of several objects that arrive at the same time share a transaction and its two
// fsyncs, so many concurrent writers are much faster than one.
//
// Memory use does not depend on how much is stored, with one exception: a loop over a Scan or a List whose object is changed
// meanwhile, by the loop itself too, takes all the entries that it has not yielded into memory. A Limit bounds them, and KeysOnly
// leaves out their values.
//
// The file does not shrink, but the space of deleted entries is used again. `bbolt compact` copies the file into a smaller one
// while no process has it open.
//
// If the disk fails in such a way that it is unknown whether a commit is on it, the store stops: every call returns an
// error that says so, until the file is opened again. A full disk is not such a failure: commits fail, and succeed again
// when there is room.
//
// [bbolt]: https://pkg.go.dev/go.etcd.io/bbolt
package bolt

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/edgews/edgews"
	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"
)

// ErrClosed: the store has been closed.
var ErrClosed = errors.New("edgews: bolt store is closed")

// ErrLocked: the file is open already, in another process or in this one.
var ErrLocked = errors.New("edgews: another process has the bolt store open")

// Options configures a Store. A nil pointer means the zero value, which is recommended and safe.
type Options struct {
	// FileMode is the mode of a file that Open creates; default 0600.
	FileMode fs.FileMode

	// LockTimeout is how long Open waits for another process that has the file open, for example a predecessor that is
	// still shutting down. The default is 5 s. Negative: Open does not wait.
	LockTimeout time.Duration
}

const (
	defaultFileMode    = 0o600
	defaultLockTimeout = 5 * time.Second
)

// Store is an edgews.Store in a file.
type Store struct {
	path     string
	db       database
	requests chan *request // unbuffered: the senders that block on it are the queue
	closing  chan struct{} // closed when Close begins
	stopped  chan struct{} // closed when run has returned
	close    func() error  // runs once

	broken    chan struct{} // closed when failed is set
	beginning sync.Mutex    // above mu: a transaction begins

	// Guarded by mu.
	mu       sync.Mutex
	failed   error                                   // the failure after which the store has stopped, or nil
	changing map[edgews.ObjectKey]struct{}           // objects that the current transaction changes
	scans    map[edgews.ObjectKey]map[*scan]struct{} // loops that read an object in portions
}

var _ edgews.Store = (*Store)(nil)

// Open opens the store in the file at path and creates the file if it does not exist. The folder must exist. Only one process
// can have the file open; ErrLocked means that another one has. Open refuses a file with another layout than this version's, and a
// damaged file with ErrDamaged. It checks all pages of a file of up to 1 GiB, and only the pages that bbolt reads first of a
// larger one; see [Check]. Damage that is found later is an error of the call that meets it, with one exception: in a file whose
// pages were not all checked, a page that refers to itself overflows the stack, which ends the process. If the disk became full
// while the file was being created, Open creates it again.
//
// The caller closes the Store after the Shutdown of the namespaces that use it.
func Open(path string, opts *Options) (*Store, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	if o.FileMode == 0 {
		o.FileMode = defaultFileMode
	}
	if o.LockTimeout == 0 {
		o.LockTimeout = defaultLockTimeout
	}
	return open(path, o.FileMode, &bbolt.Options{
		Timeout:      max(o.LockTimeout, time.Nanosecond), // 0 would wait for ever
		FreelistType: bbolt.FreelistMapType,               // the array type is slow when many pages are free
		NoStatistics: true,
	})
}

func open(path string, mode fs.FileMode, opts *bbolt.Options) (*Store, error) {
	db, err := openChecked(path, mode, opts, checkBeforeMapping)
	if err != nil {
		return nil, explainOpen(path, err)
	}
	if cause := catchPanic(func() { err = initLayout(db.DB) }); cause != nil {
		db.abandon()
		return nil, damagedError(path, cause)
	}
	if err == nil {
		err = syncFolder(path)
	}
	if err != nil {
		db.Close()
		return nil, fmt.Errorf("edgews: bolt store %s: %w", path, err)
	}
	s := &Store{
		path:     path,
		db:       db,
		requests: make(chan *request),
		closing:  make(chan struct{}),
		stopped:  make(chan struct{}),
		broken:   make(chan struct{}),
		changing: make(map[edgews.ObjectKey]struct{}),
		scans:    make(map[edgews.ObjectKey]map[*scan]struct{}),
	}
	s.close = sync.OnceValue(func() error {
		close(s.closing)
		awaitUnlessBroken(s, s.stopped)
		return s.closeFile()
	})
	go s.run()
	return s, nil
}

func explainOpen(path string, err error) error {
	switch {
	case errors.Is(err, bbolterrors.ErrTimeout):
		return fmt.Errorf("%w: %s", ErrLocked, path)
	case errors.Is(err, ErrDamaged):
		return err
	case errors.Is(err, bbolterrors.ErrInvalid), errors.Is(err, bbolterrors.ErrVersionMismatch), errors.Is(err, bbolterrors.ErrChecksum):
		return damagedError(path, fmt.Errorf("it is not a bbolt file: %w", err))
	}
	return fmt.Errorf("edgews: bolt store %s: %w", path, err)
}

// syncFolder makes the name of a new file survive a power cut. Windows cannot sync a folder.
func syncFolder(path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer folder.Close()
	return folder.Sync()
}

// Close waits for the current commits and closes the file. Queued commits and all later calls fail with ErrClosed. A second
// Close does nothing and returns the result of the first one.
func (s *Store) Close() error { return s.close() }

// closeFile closes the file when all readers have finished.
func (s *Store) closeFile() error {
	if s.failure() != nil {
		s.db.abandon()
		return nil
	}
	closed := make(chan error, 1)
	go func() { closed <- s.db.Close() }()
	err, ok := awaitUnlessBroken(s, closed)
	if !ok {
		s.db.abandon()
	}
	return err
}

// awaitUnlessBroken waits for a result, which may never come once the store has failed: the goroutine that it comes from may wait
// for a lock that bbolt has kept. If there is none after abandonWait, ok is false.
func awaitUnlessBroken[T any](s *Store, from <-chan T) (result T, ok bool) {
	select {
	case result = <-from:
		return result, true
	case <-s.broken:
	}
	select {
	case result = <-from:
		return result, true
	case <-time.After(abandonWait):
		return result, false
	}
}

// begin begins a transaction, unless the store has failed. When bbolt meets damage here it keeps its locks, for which later calls would wait for
// ever. So only one begins at a time, and none after that.
func (s *Store) begin(writable bool) (tx *bbolt.Tx, err error) {
	s.beginning.Lock()
	defer s.beginning.Unlock()
	if err := s.failure(); err != nil {
		return nil, err
	}
	if cause := catchPanic(func() { tx, err = s.db.Begin(writable) }); cause != nil {
		return nil, s.fail(damagedError(s.path, cause))
	}
	return tx, err
}

// end ends a transaction that reads. It does not wait where a call of begin may be about to keep the lock that this needs.
func (s *Store) end(tx *bbolt.Tx) {
	if !s.beginning.TryLock() {
		go tx.Rollback()
		return
	}
	defer s.beginning.Unlock()
	if s.failure() != nil {
		go tx.Rollback()
		return
	}
	_ = tx.Rollback() // it never fails
}

// view runs fn in a read transaction. The transaction must be short: until it ends, bbolt cannot reuse a page that it can see, nor
// map a file that has grown.
func (s *Store) view(fn func(tx *bbolt.Tx)) error {
	tx, err := s.begin(false)
	switch {
	case errors.Is(err, bbolterrors.ErrDatabaseNotOpen):
		return ErrClosed
	case err != nil:
		return err
	}
	cause := catchPanic(func() { fn(tx) })
	s.end(tx)
	if cause != nil {
		return s.fail(damagedError(s.path, cause))
	}
	return nil
}

func (s *Store) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

// fail stops the store for ever and returns the error of all later calls.
func (s *Store) fail(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed == nil {
		close(s.broken)
	}
	s.failed = fmt.Errorf("edgews: bolt store has failed and must be opened again: %w", err)
	return s.failed
}
