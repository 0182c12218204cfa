package edgews

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"runtime/debug"
	"time"
)

// How the use of storage is counted, for objects with a meter:
//
//	reads   where they are made, when they are over (countGet, countGetMany, scanCount)
//	writes  when they are committed, in storageLease.commitLocked (batchUsage)
//	bytes   as storedSize, which the object stores among its entries; the commits that change it carry it along

// countRead counts rows that have been read from the object's storage, and units of 4 KB.
func (o *object) countRead(rows, units int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.counter.used.RowsRead += rows
	o.counter.used.ReadUnits += units
}

// countGet counts a Get that has returned value and err.
func (o *object) countGet(value []byte, err error) {
	if o.counter != nil && (err == nil || errors.Is(err, ErrKeyNotFound)) {
		o.countRead(1, unitsOf(int64(len(value)), storageUnit))
	}
}

// countGetMany counts a GetMany that has returned values and err.
func (o *object) countGetMany(keys []string, values map[string][]byte, err error) {
	if o.counter == nil || err != nil {
		return
	}
	units := int64(0)
	for _, key := range keys {
		if value, ok := values[key]; ok {
			units += entryUnits(key, value)
		} else {
			units++
		}
	}
	o.countRead(int64(len(keys)), units)
}

// scanCount counts the entries that a loop takes.
type scanCount struct {
	rows, bytes int64
	failed      bool // an error has ended the loop
}

func (c *scanCount) add(e Entry) {
	c.rows++
	c.bytes += entrySize(e.Key, e.Value)
}

// countScan counts a loop that is over. One that has found nothing is a row and a unit.
func (o *object) countScan(c *scanCount) {
	if o.counter != nil && (c.rows > 0 || !c.failed) {
		o.countRead(max(c.rows, 1), unitsOf(c.bytes, storageUnit))
	}
}

func entrySize(key string, value []byte) int64 { return int64(len(key)) + int64(len(value)) }

func entryUnits(key string, value []byte) int64 { return unitsOf(entrySize(key, value), storageUnit) }

// storedSize is what an object stores, without reserved keys. It is an entry of its storage, under storedSizeKey, unless there is nothing
// else.
type storedSize struct {
	bytes, entries int64
	countedUntil   int64 // in milliseconds since 1970: Usage.StoredByteHours has what was stored until then
	rest           int64 // byte-milliseconds that are less than a byte-hour, and not counted
}

const (
	storedSizeKey    = "\x00stored"
	storedSizeLen    = 4 * 8
	storedSizeMaxAge = time.Hour // StoredByteHours is brought up to date if it is older, even if nothing has changed
)

// encode writes s to b.
func (s storedSize) encode(b *[storedSizeLen]byte) {
	for i, n := range [...]int64{s.bytes, s.entries, s.countedUntil, s.rest} {
		binary.BigEndian.PutUint64(b[8*i:], uint64(n))
	}
}

// decodeStoredSize returns false if b is not the encoding of a storedSize.
func decodeStoredSize(b []byte) (s storedSize, ok bool) {
	if len(b) != storedSizeLen {
		return s, false
	}
	for i, n := range [...]*int64{&s.bytes, &s.entries, &s.countedUntil, &s.rest} {
		*n = int64(binary.BigEndian.Uint64(b[8*i:]))
	}
	return s, min(s.bytes, s.entries, s.rest) >= 0
}

// until returns the byte-hours from countedUntil to now, and s with what is left of them.
func (s storedSize) until(now int64) (hours int64, after storedSize) {
	const hour = uint64(time.Hour / time.Millisecond)
	hi, lo := bits.Mul64(uint64(s.bytes), uint64(max(now-s.countedUntil, 0)))
	lo, carry := bits.Add64(lo, uint64(s.rest), 0)
	if hi += carry; hi >= hour {
		hours, s.rest = math.MaxInt64, 0
	} else {
		quotient, rest := bits.Div64(hi, lo, hour)
		hours, s.rest = int64(min(quotient, math.MaxInt64)), int64(rest)
	}
	s.countedUntil = now
	return hours, s
}

// isStale reports whether what is stored has not been counted for a long time.
func (s storedSize) isStale(now int64) bool {
	return s.entries > 0 && now-s.countedUntil >= int64(storedSizeMaxAge/time.Millisecond)
}

// readStoredSize returns false if the object has no storedSize: it stores nothing, or has had no meter.
func readStoredSize(ctx context.Context, store ObjectStore) (s storedSize, ok bool, err error) {
	value, err := store.Get(ctx, storedSizeKey)
	switch {
	case errors.Is(err, ErrKeyNotFound):
		return s, false, nil
	case err != nil:
		return s, false, err
	}
	s, ok = decodeStoredSize(value)
	return s, ok, nil
}

// sizeByScan adds up the entries of an object that has no storedSize.
func sizeByScan(ctx context.Context, store ObjectStore, now int64) (s storedSize, err error) {
	s.countedUntil = now
	for e, err := range store.Scan(ctx, Range{}.withoutReserved()) {
		if err != nil {
			return storedSize{}, err
		}
		s.entries++
		s.bytes += entrySize(e.Key, e.Value)
	}
	return s, nil
}

// sizeTracker knows the storedSize of an object whose storage is in use.
type sizeTracker struct {
	size    storedSize
	unsaved bool                // size has been found by a scan, and is not stored
	puts    []Entry             // of the last batch, for the next one
	record  [storedSizeLen]byte // the encoded size of a batch that is being committed
}

// batchUsage is what a commit uses if it succeeds.
type batchUsage struct {
	rowsWritten, writeUnits, deletes, storedByteHours int64
	tracks                                            bool       // size is what is stored afterwards
	size                                              storedSize // as it is stored, too
}

// usageOfLocked returns what b uses, and adds the new storedSize to b if it is to be stored. byProgram is false if edgews itself commits. The
// write lock must be held, and the object must have a counter.
func (l *storageLease) usageOfLocked(ctx context.Context, store ObjectStore, b *Batch, byProgram bool) (u batchUsage, err error) {
	if byProgram && b.Alarm != nil && !b.Alarm.Time.IsZero() {
		u.rowsWritten, u.writeUnits = 1, 1
	}
	deletes, puts := u.addEntries(b)
	if deletes+puts == 0 && !b.DeleteAll {
		return u, nil
	}
	now := time.Now().UnixMilli()
	if err := l.trackSizeLocked(ctx, store, now); err != nil {
		return u, l.stopIfFenced(fmt.Errorf("edgews: size of what is stored cannot be read: %w", err))
	}
	before := l.tracker.size
	if b.DeleteAll {
		deletes += max(before.entries, 1)
	}
	u.deletes, u.rowsWritten = deletes, u.rowsWritten+puts+deletes
	after, err := before.afterBatch(ctx, store, b)
	if err != nil {
		return u, l.stopIfFenced(fmt.Errorf("edgews: size of what is stored cannot be read: %w", err))
	}
	if after != before || before.isStale(now) || l.tracker.unsaved && after.entries > 0 {
		var counted storedSize
		u.storedByteHours, counted = before.until(now)
		after.countedUntil, after.rest, u.tracks = now, counted.rest, true
		u.size = l.tracker.addTo(b, after)
	}
	return u, nil
}

// addEntries adds the units of b's entries to u. It returns how many keys b deletes and puts, without reserved ones.
func (u *batchUsage) addEntries(b *Batch) (deletes, puts int64) {
	for _, key := range b.Deletes {
		if !isReserved(key) {
			deletes++
		}
	}
	for _, e := range b.Puts {
		if !isReserved(e.Key) {
			puts++
			u.writeUnits += entryUnits(e.Key, e.Value)
		}
	}
	return deletes, puts
}

// trackSizeLocked makes the lease's tracker, if there is none. The write lock must be held.
func (l *storageLease) trackSizeLocked(ctx context.Context, store ObjectStore, now int64) error {
	if l.tracker != nil {
		return nil
	}
	size, ok, err := readStoredSize(ctx, store)
	if err == nil && !ok {
		size, err = sizeByScan(ctx, store, now)
	}
	if err == nil {
		l.tracker = &sizeTracker{size: size, unsaved: !ok}
	}
	return err
}

// afterBatch returns the size after b, and leaves the time as it is.
func (s storedSize) afterBatch(ctx context.Context, store ObjectStore, b *Batch) (storedSize, error) {
	if b.DeleteAll {
		s.bytes, s.entries = 0, 0
	}
	remove := func(key string) error {
		if b.DeleteAll {
			return nil
		}
		value, err := store.Get(ctx, key)
		if err == nil {
			s.bytes -= entrySize(key, value)
			s.entries--
		} else if errors.Is(err, ErrKeyNotFound) {
			err = nil
		}
		return err
	}
	for _, key := range b.Deletes {
		if isReserved(key) {
			continue
		}
		if err := remove(key); err != nil {
			return s, err
		}
	}
	for _, e := range b.Puts {
		if isReserved(e.Key) {
			continue
		}
		if err := remove(e.Key); err != nil {
			return s, err
		}
		s.bytes += entrySize(e.Key, e.Value)
		s.entries++
	}
	return s, nil
}

// addTo adds size, which is what is stored after b, to b, and returns it as it will be read. If nothing is stored, it has b remove what was
// there before.
func (t *sizeTracker) addTo(b *Batch, size storedSize) storedSize {
	if size.entries <= 0 {
		if !b.DeleteAll {
			b.Deletes = append(b.Deletes[:len(b.Deletes):len(b.Deletes)], storedSizeKey)
		}
		return storedSize{}
	}
	size.bytes = max(size.bytes, 0) // another process without a meter has written
	size.encode(&t.record)
	t.puts = append(append(t.puts[:0], b.Puts...), Entry{storedSizeKey, t.record[:]})
	b.Puts = t.puts
	return size
}

// maxKeptPuts is how many entries a tracker keeps room for.
const maxKeptPuts = 64

// batchDoneLocked counts u if the commit has succeeded. The write lock must be held, and the object must have a counter.
func (l *storageLease) batchDoneLocked(u *batchUsage, err error) {
	if t := l.tracker; t != nil {
		clear(t.puts) // they hold the program's values
		if cap(t.puts) > maxKeptPuts {
			t.puts = nil
		}
	}
	if err != nil {
		l.tracker = nil // reads the size again
		return
	}
	if u.tracks {
		l.tracker.size, l.tracker.unsaved = u.size, false
	}
	l.o.mu.Lock()
	defer l.o.mu.Unlock()
	used := &l.o.counter.used
	used.RowsWritten += u.rowsWritten
	used.WriteUnits += u.writeUnits
	used.Deletes += u.deletes
	used.StoredByteHours += u.storedByteHours
}

// countStoredLocked brings Usage.StoredByteHours up to date before the storage goes back to the engine, if that has not happened for a long
// time. The object is not active. The write lock must be held.
func (l *storageLease) countStoredLocked(store ObjectStore) {
	o := l.o
	if o.counter == nil {
		return
	}
	var err error
	defer func() {
		if cause := recover(); cause != nil || err != nil && o.ns.releaseContext.Err() == nil && !errors.Is(err, ErrFenced) {
			o.ns.logger().Error("edgews: what an object stores is not counted", "namespace", o.ns.name, "object", o.id.String(), "error", err,
				"panic", cause, "stack", string(debug.Stack()))
		}
	}()
	ctx, now := o.ns.releaseContext, time.Now()
	size, ok, err := readStoredSize(ctx, store)
	if err != nil || !ok || !size.isStale(now.UnixMilli()) {
		return
	}
	hours, after := size.until(now.UnixMilli())
	if hours == 0 {
		return
	}
	value := new([storedSizeLen]byte)
	after.encode(value)
	if err = store.Commit(ctx, Batch{Puts: []Entry{{storedSizeKey, value[:]}}}); err == nil {
		o.bookStored(size.countedUntil, now, hours)
	}
}
