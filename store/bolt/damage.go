package bolt

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
)

// ErrDamaged: the file is not as it was written, or was not written by this package. The error says what is wrong
// with it. `bbolt check` lists every damaged page and `bbolt surgery` may repair some; otherwise restore a backup.
var ErrDamaged = errors.New("edgews: bolt store: the file is damaged")

// damagedError returns an ErrDamaged for the file at path.
func damagedError(path string, cause any) error {
	if err, ok := cause.(error); ok {
		return fmt.Errorf("%w: %s: %w (see `bbolt check`, or restore a backup)", ErrDamaged, path, err)
	}
	return fmt.Errorf("%w: %s: %v (see `bbolt check`, or restore a backup)", ErrDamaged, path, cause)
}

// catchPanic calls fn and returns the value with which it panics, or nil. A damaged page may make bbolt read outside of its map of
// the file. That memory fault is a panic here too.
func catchPanic(fn func()) (cause any) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() { cause = recover() }()
	fn()
	return nil
}

// checkedAtOpen is the largest file, in bytes, of which Open checks all pages, which takes about a second per GiB. Of a larger
// file it checks the meta pages, the size and the list of free pages; all if there is no such list, since bbolt then follows them all.
const checkedAtOpen = 1 << 30

const lockRetry = 50 * time.Millisecond // as in bbolt

// checkBeforeMapping returns why a file must not be mapped: a page number is outside of the file or part of a cycle, or a page is not
// as it was written. An empty file is a new one.
func checkBeforeMapping(file *os.File) error {
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
		return damagedError(file.Name(), err)
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

// checkWholeFile returns the first error in a file, including those that do no harm.
func checkWholeFile(file *os.File) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	p, err := readPages(file, info.Size())
	if err != nil {
		return damagedError(file.Name(), err)
	}
	p.firstKeys = true
	checks := []func() error{p.checkFreelist, p.checkTrees, func() error { return p.torn }}
	if p.meta.freelist != noFreelist {
		checks = append(checks, p.checkUsed)
	}
	for _, check := range checks {
		if err := check(); err != nil {
			return damagedError(file.Name(), err)
		}
	}
	return nil
}

// database is an open bbolt file.
type database struct {
	*bbolt.DB
	file *os.File
}

// openChecked is bbolt.Open for a file that may be damaged. It calls check when the file is locked and before it is mapped.
func openChecked(path string, mode os.FileMode, opts *bbolt.Options, check func(*os.File) error) (db database, err error) {
	o := *bbolt.DefaultOptions
	if opts != nil {
		o = *opts
	}
	openFile := o.OpenFile
	if openFile == nil {
		openFile = os.OpenFile
	}
	o.OpenFile = func(name string, flag int, mode os.FileMode) (*os.File, error) {
		file, err := openFile(name, flag, mode)
		if err != nil {
			return nil, err
		}
		err = lockFile(file, !o.ReadOnly, o.Timeout)
		if err == nil && locksFirst && !o.ReadOnly {
			err = restart(file)
		}
		if err == nil {
			err = check(file)
		}
		if err != nil {
			file.Close()
			return nil, err
		}
		db.file = file
		return file, nil
	}
	if cause := catchPanic(func() { db.DB, err = bbolt.Open(path, mode, &o) }); cause != nil {
		db.abandon()
		return db, damagedError(path, cause)
	}
	return db, err
}

// abandonWait is how long abandon waits for bbolt's Close.
const abandonWait = time.Second

// abandon closes a damaged file, which gives up its lock. It tries bbolt's Close first, which never returns if bbolt panicked while it
// held one of its own locks.
func (db database) abandon() {
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		if db.DB != nil {
			catchPanic(func() { db.DB.Close() })
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

// Check reads the whole file at path. If it is damaged, Check returns an ErrDamaged that says what is wrong. It changes nothing, and
// it fails with ErrLocked while a process has the file open. Call it after a crash of the machine or a disk failure, before the file is
// used as a backup, and when a Store has reported that its file is damaged. It takes as long as reading the file twice.
//
// Check also reports a single invalid meta page, although Open accepts such a file. After a power cut in the middle of a commit that
// was not acknowledged, one invalid meta page is normal and the next commits overwrite it. In all other cases the last commit is lost.
func Check(path string) error {
	info, err := statRegular(os.Stat(path))
	if err != nil {
		return fmt.Errorf("edgews: bolt store %s: %w", path, err)
	}
	if info.Size() == 0 { // a new one
		return nil
	}
	db, err := openChecked(path, 0, &bbolt.Options{ReadOnly: true, Timeout: time.Nanosecond}, checkWholeFile)
	if err != nil {
		return explainOpen(path, err)
	}
	var wrong error
	cause := catchPanic(func() {
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
		return damagedError(path, cause)
	case wrong != nil:
		db.abandon()
		return damagedError(path, wrong)
	}
	return db.Close()
}

// readAll reads all entries of a bucket. The keys have to be in order.
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
		for _, c := range v { // makes the kernel read the page
			sum ^= c
		}
		_ = sum
		return nil
	})
}
