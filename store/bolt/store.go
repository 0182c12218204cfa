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
// Memory use does not depend on how much is stored. The file does not shrink, but the space of deleted entries is used
// again. `bbolt compact` copies the file into a smaller one while no process has it open.
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

	// Guarded by mu.
	mu       sync.Mutex
	failed   error                                      // the failure after which the store has stopped, or nil
	changing map[edgews.ObjectKey]struct{}              // objects that the current transaction changes
	listings map[edgews.ObjectKey]map[*listing]struct{} // loops that read an object in portions
}

var _ edgews.Store = (*Store)(nil)

// Open opens the store in the file at path and creates the file if it does not exist. The folder must exist. Only one process
// can have the file open; ErrLocked means that another one has. Open refuses a file with another layout than this version's, and a
// damaged file with ErrDamaged. It checks all pages of a file of up to 1 GiB, and only the pages that bbolt reads first of a
// larger one; see [Check]. Damage that is found later is an error of the call that meets it.
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
		changing: make(map[edgews.ObjectKey]struct{}),
		listings: make(map[edgews.ObjectKey]map[*listing]struct{}),
	}
	s.close = sync.OnceValue(func() error {
		close(s.closing)
		<-s.stopped
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
	return s.db.Close()
}

// view runs fn in a read transaction. The transaction must be short: until it ends, bbolt cannot reuse a page that it can see, nor
// map a file that has grown.
func (s *Store) view(fn func(tx *bbolt.Tx)) (err error) {
	if err := s.failure(); err != nil {
		return err
	}
	if cause := catchPanic(func() {
		err = s.db.View(func(tx *bbolt.Tx) error {
			fn(tx)
			return nil
		})
	}); cause != nil {
		return s.fail(damagedError(s.path, cause))
	}
	if errors.Is(err, bbolterrors.ErrDatabaseNotOpen) {
		return ErrClosed
	}
	return err
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
	s.failed = fmt.Errorf("edgews: bolt store has failed and must be opened again: %w", err)
	return s.failed
}
