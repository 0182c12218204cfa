package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
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

// The layout of bbolt's meta pages, in the byte order of the machine: a page header, and behind it the meta.
const (
	pageHeaderSize = 16
	metaSize       = 64
	metaMagic      = 0xED0CDAED
	metaVersion    = 2
	noFreelist     = ^uint64(0)
	minPageSize    = 1 << 9
	maxPageSize    = 1 << 24
)

// meta is what bbolt has to know of a file before it can read a page of it.
type meta struct {
	pageSize, root, freelist, highWater, txid uint64
}

// parseMeta returns the meta of a page, if its checksum is right.
func parseMeta(page []byte) (m meta, ok bool) {
	if len(page) < pageHeaderSize+metaSize {
		return m, false
	}
	b, order := page[pageHeaderSize:pageHeaderSize+metaSize], binary.NativeEndian
	sum := fnv.New64a()
	sum.Write(b[:metaSize-8])
	if order.Uint32(b) != metaMagic || order.Uint32(b[4:]) != metaVersion || order.Uint64(b[metaSize-8:]) != sum.Sum64() {
		return m, false
	}
	return meta{
		pageSize: uint64(order.Uint32(b[8:])), root: order.Uint64(b[16:]), freelist: order.Uint64(b[32:]),
		highWater: order.Uint64(b[40:]), txid: order.Uint64(b[48:]),
	}, true
}

// check says what cannot be true of a file of so many bytes.
func (m meta) check(size int64) error {
	switch {
	case m.pageSize < minPageSize || m.pageSize > maxPageSize || m.pageSize&(m.pageSize-1) != 0:
		return fmt.Errorf("its pages have %d bytes", m.pageSize)
	case m.highWater < 2 || m.root >= m.highWater || m.freelist >= m.highWater && m.freelist != noFreelist:
		return fmt.Errorf("its first pages point to pages %d and %d of %d", m.root, m.freelist, m.highWater)
	case m.highWater > uint64(size)/m.pageSize:
		return fmt.Errorf("it has %d bytes, and %d pages of %d bytes are in use: it has been truncated", size, m.highWater, m.pageSize)
	}
	return nil
}

// inspect says why a file must not be mapped: what bbolt would read at once is outside of it, or is not what was written. An empty file
// is a new one.
func inspect(file io.ReaderAt, size int64) error {
	if size == 0 {
		return nil
	}
	newest, found := meta{}, false
	consider := func(at int64) (m meta, ok bool) {
		page := make([]byte, pageHeaderSize+metaSize)
		if n, _ := file.ReadAt(page, at); n < len(page) {
			return m, false
		}
		if m, ok = parseMeta(page); ok && (!found || m.txid > newest.txid) {
			newest, found = m, true
		}
		return m, ok
	}
	if first, ok := consider(0); ok {
		consider(int64(first.pageSize))
	} else {
		for at := int64(minPageSize); at <= maxPageSize && at < size && !found; at *= 2 {
			consider(at)
		}
	}
	if !found {
		return errors.New("it is not a bbolt file: neither of its first two pages is valid")
	}
	return newest.check(size)
}

// inspectFile is inspect for what is at path. A file that is not there, or not to be read, is for bbolt to complain of.
func inspectFile(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil
	}
	if err := inspect(file, info.Size()); err != nil {
		return damaged(path, err)
	}
	return nil
}

// database is an open file.
type database struct {
	*bbolt.DB
	file *os.File
}

// openGuarded is bbolt.Open for a file that may be damaged.
func openGuarded(path string, mode os.FileMode, opts *bbolt.Options) (db database, err error) {
	if err := inspectFile(path); err != nil {
		return db, err
	}
	guarded := *bbolt.DefaultOptions
	if opts != nil {
		guarded = *opts
	}
	openFile := guarded.OpenFile
	if openFile == nil {
		openFile = os.OpenFile
	}
	guarded.OpenFile = func(name string, flag int, mode os.FileMode) (*os.File, error) {
		var err error
		db.file, err = openFile(name, flag, mode)
		return db.file, err
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
		db.file.Close()
	}
}

// Check reads the whole file at path and returns an error that is ErrDamaged and says what is wrong, if anything is. It changes nothing, and
// it fails with ErrLocked while a process has the file open. Call it after a crash of a machine or a disk, before a file is made a
// backup, and when a Store has said that its file is damaged. It takes as long as reading the file does. What it does not look at, the list of free pages
// for example, is for `bbolt check`.
func Check(path string) error {
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("edgews: bolt store %s: %w", path, err)
	}
	db, err := openGuarded(path, 0, &bbolt.Options{ReadOnly: true, Timeout: time.Nanosecond})
	if err != nil {
		return explainOpen(path, err)
	}
	var wrong error
	cause := guard(func() {
		wrong = db.View(func(tx *bbolt.Tx) error {
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
