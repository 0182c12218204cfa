package bolt

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
)

// ErrDamaged: the file is not what it was when it was written, or never was a file of this package. The error says what is wrong
// with it. `bbolt check` lists every page that is damaged, `bbolt surgery` may mend some of it, and otherwise a backup is the way out.
var ErrDamaged = errors.New("edgews: bolt store: the file is damaged")

// damaged is what is returned for a file that is damaged.
func damaged(path string, cause any) error {
	if err, ok := cause.(error); ok {
		return fmt.Errorf("%w: %s: %w (see `bbolt check`, or restore a backup)", ErrDamaged, path, err)
	}
	return fmt.Errorf("%w: %s: %v (see `bbolt check`, or restore a backup)", ErrDamaged, path, cause)
}

// guard calls fn and returns what it panics with, if it does. A damaged page may lead bbolt outside of its map of the file, which is
// a fault of the memory: that is a panic here too.
func guard(fn func()) (cause any) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() { cause = recover() }()
	fn()
	return nil
}

// checkedAtOpen is the largest file of which Open checks all pages, which takes about a second for each GiB. Of larger
// ones it checks the meta pages, the size and the list of free pages; all if there is no such list, since bbolt then follows them all.
const checkedAtOpen = 1 << 30

const lockRetry = 50 * time.Millisecond // as in bbolt

// inspect says why a file must not be mapped: what bbolt would follow is outside of it, leads in a circle, or is not what was written. An
// empty file is a new one.
func inspect(file *os.File) error {
	info, err := statRegular(file.Stat())
	if err != nil || info.Size() == 0 {
		return err
	}
	p, err := readPages(file, info.Size())
	if err == nil {
		err = p.checkFreelist()
	}
	if err == nil && (info.Size() <= checkedAtOpen || p.meta.freelist == noFreelist) {
		err = p.checkTrees()
	}
	if err != nil {
		return damaged(file.Name(), err)
	}
	return nil
}

// statRegular returns the result of a Stat, if it is of a regular file.
func statRegular(info os.FileInfo, err error) (os.FileInfo, error) {
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is not a regular file")
	}
	return info, err
}

// restart empties a file that is locked and was never finished: the disk became full, or the power failed, while it was being made.
// Nothing has ever been committed to it.
func restart(file *os.File) error {
	info, err := statRegular(file.Stat())
	if err != nil {
		return err
	}
	m, invalid := (&pages{file: file}).readMeta(0)
	if invalid != nil || m.transaction > 0 || info.Size() >= int64(m.end)*int64(m.pageSize) {
		return nil
	}
	return file.Truncate(0)
}

// inspectAll says what is wrong with a file, of which nothing may be.
func inspectAll(file *os.File) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	p, err := readPages(file, info.Size())
	if err != nil {
		return damaged(file.Name(), err)
	}
	p.firstKeys = true
	checks := []func() error{p.checkFreelist, p.checkTrees, func() error { return p.torn }}
	if p.meta.freelist != noFreelist {
		checks = append(checks, p.checkUsed)
	}
	for _, check := range checks {
		if err := check(); err != nil {
			return damaged(file.Name(), err)
		}
	}
	return nil
}

// database is an open file.
type database struct {
	*bbolt.DB
	file *os.File
}

// openGuarded is bbolt.Open for a file that may be damaged. inspect sees it when it is locked, before it is mapped.
func openGuarded(path string, mode os.FileMode, opts *bbolt.Options, inspect func(*os.File) error) (db database, err error) {
	guarded := *bbolt.DefaultOptions
	if opts != nil {
		guarded = *opts
	}
	openFile := guarded.OpenFile
	if openFile == nil {
		openFile = os.OpenFile
	}
	guarded.OpenFile = func(name string, flag int, mode os.FileMode) (*os.File, error) {
		file, err := openFile(name, flag, mode)
		if err != nil {
			return nil, err
		}
		err = lockFile(file, !guarded.ReadOnly, guarded.Timeout)
		if err == nil && locksFirst && !guarded.ReadOnly {
			err = restart(file)
		}
		if err == nil {
			err = inspect(file)
		}
		if err != nil {
			file.Close()
			return nil, err
		}
		db.file = file
		return file, nil
	}
	if cause := guard(func() { db.DB, err = bbolt.Open(path, mode, &guarded) }); cause != nil {
		db.abandon()
		return db, damaged(path, cause)
	}
	return db, err
}

// abandonWait is how long abandon waits for bbolt.
const abandonWait = time.Second

// abandon closes a file that is damaged, and with it gives up its lock. bbolt is asked to close it first, which takes for ever if it
// still holds what it was holding when it met the damage.
func (db database) abandon() {
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		if db.DB != nil {
			guard(func() { db.DB.Close() })
		}
	}()
	select {
	case <-closed:
	case <-time.After(abandonWait):
	}
	if db.file != nil {
		unlockAndClose(db.file)
	}
}

// Check reads the whole file at path and returns an error that is ErrDamaged and says what is wrong, if anything is. It changes nothing, and
// it fails with ErrLocked while a process has the file open. Call it after a crash of a machine or a disk, before a file is made a
// backup, and when a Store has said that its file is damaged. It takes as long as reading the file twice does.
//
// A meta page alone that is invalid is reported too, though Open takes such a file. After a power cut in the middle of a commit, which
// nobody has acknowledged, that is normal, and is over after the next commits; otherwise the last commit is lost.
func Check(path string) error {
	info, err := statRegular(os.Stat(path))
	if err != nil {
		return fmt.Errorf("edgews: bolt store %s: %w", path, err)
	}
	if info.Size() == 0 { // a new one
		return nil
	}
	db, err := openGuarded(path, 0, &bbolt.Options{ReadOnly: true, Timeout: time.Nanosecond}, inspectAll)
	if err != nil {
		return explainOpen(path, err)
	}
	var wrong error
	cause := guard(func() {
		wrong = db.View(func(tx *bbolt.Tx) error {
			if first, _ := tx.Cursor().First(); first == nil { // a new one
				return nil
			}
			if err := checkLayout(tx); err != nil {
				return err
			}
			return tx.ForEach(func(name []byte, b *bbolt.Bucket) error { return readAll(name, b) })
		})
	})
	switch {
	case cause != nil:
		db.abandon()
		return damaged(path, cause)
	case wrong != nil:
		db.abandon()
		return damaged(path, wrong)
	}
	return db.Close()
}

// readAll reads everything in a bucket, whose keys have to be in order.
func readAll(name []byte, b *bbolt.Bucket) error {
	var last []byte
	entries := 0
	return b.ForEach(func(k, v []byte) error {
		if last != nil && string(k) <= string(last) {
			return fmt.Errorf("bucket %q: key %d is not behind the one before it", name, entries)
		}
		last = append(last[:0], k...)
		entries++
		var sum byte
		for _, c := range v { // has the page read
			sum ^= c
		}
		_ = sum
		return nil
	})
}
