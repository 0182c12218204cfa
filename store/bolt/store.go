// Package bolt keeps the storage of objects in one file, with [bbolt]: a B+tree in pure Go, without a server and without
// a configuration. It is the store for services of one machine.
//
//	store, err := bolt.Open("objects.db", nil)
//	if err != nil {
//		return err
//	}
//	defer store.Close() // after the namespaces' Shutdown
//	rooms := edgews.NewNamespace("rooms", newRoom, &edgews.NamespaceOptions{Store: store})
//
// What a commit has acknowledged is on the disk: it is there after a crash of the process, of the system and of the power,
// as far as the disk does what it says. Commits of many objects that come at the same time share a transaction and its two
// fsyncs, so many writers together are a lot faster than one.
//
// The memory that it takes does not depend on how much is stored. The file does not shrink; what was deleted in it
// is used again. `bbolt compact` copies it into a smaller one, while no process has it open.
//
// If the disk fails in such a way that nobody can tell whether a commit is on it, the store stops: every call returns an
// error that says so, until the file is opened again. A disk that is full is no such failure. Then commits fail, and go on
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
	// FileMode is the mode of a file that Open makes; default 0600.
	FileMode fs.FileMode

	// LockTimeout is how long Open waits for another process that has the file open, as the one before this one may while
	// it shuts down; default 5 s; negative: not at all.
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
	requests chan *request // not buffered: who waits there is the queue
	closing  chan struct{}
	stopped  chan struct{} // run has returned
	close    func() error  // once

	broken    chan struct{} // closed when failed is set
	beginning sync.Mutex    // above mu: a transaction begins

	mu       sync.Mutex
	failed   error                                      // what nobody can go on after
	changing map[edgews.ObjectKey]struct{}              // objects of the transaction that runs
	listings map[edgews.ObjectKey]map[*listing]struct{} // those that read page by page
}

var _ edgews.Store = (*Store)(nil)

// Open opens the store in the file at path, which is made if it is not there. The folder must be there. Only one process
// can have it open; ErrLocked says that another one has. A file of another layout than this version's is refused, and so is one that is
// damaged, with ErrDamaged: up to 1 GiB all of its pages are checked, of larger files only what bbolt begins with; see [Check]. Whatever
// else is wrong with the file, or becomes so, is an error of the call that meets it; but a page of a file that was not checked which leads back to
// itself ends the process, as the stack does that follows it. A file that was being made when its disk became full is made anew.
//
// The Store belongs to the caller, who closes it after the Shutdown of the namespaces that use it.
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
		FreelistType: bbolt.FreelistMapType,               // the other one is slow when a lot has been deleted
		NoStatistics: true,
	})
}

func open(path string, mode fs.FileMode, opts *bbolt.Options) (*Store, error) {
	db, err := openGuarded(path, mode, opts, inspect)
	if err != nil {
		return nil, explainOpen(path, err)
	}
	if cause := guard(func() { err = prepare(db.DB) }); cause != nil {
		db.abandon()
		return nil, damaged(path, cause)
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
		listings: make(map[edgews.ObjectKey]map[*listing]struct{}),
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
		return damaged(path, fmt.Errorf("it is not a bbolt file: %w", err))
	}
	return fmt.Errorf("edgews: bolt store %s: %w", path, err)
}

// syncFolder makes sure that a file that was just made has a name after a power cut. Windows does not know how to.
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

// Close waits for the commits that run and closes the file. Commits that wait for their turn fail, and so does every call
// after it, with ErrClosed. A second Close does nothing and returns what the first one has returned.
func (s *Store) Close() error { return s.close() }

// closeFile closes the file, after those who read have done so.
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

// awaitUnlessBroken waits for a result, which may never come once the store has failed: the goroutine that it comes from may wait for a lock that bbolt
// has kept. If there is none after abandonWait, ok is false.
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
	if cause := guard(func() { tx, err = s.db.Begin(writable) }); cause != nil {
		return nil, s.fail(damaged(s.path, cause))
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

// view runs fn in a transaction that reads what is committed. It must be short: no page that it can see is used again before
// its end, and the file cannot be mapped anew.
func (s *Store) view(fn func(tx *bbolt.Tx)) error {
	tx, err := s.begin(false)
	switch {
	case errors.Is(err, bbolterrors.ErrDatabaseNotOpen):
		return ErrClosed
	case err != nil:
		return err
	}
	cause := guard(func() { fn(tx) })
	s.end(tx)
	if cause != nil {
		return s.fail(damaged(s.path, cause))
	}
	return nil
}

func (s *Store) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

// fail stops the store for ever.
func (s *Store) fail(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed == nil {
		close(s.broken)
	}
	s.failed = fmt.Errorf("edgews: bolt store has failed and must be opened again: %w", err)
	return s.failed
}
