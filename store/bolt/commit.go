package bolt

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/edgews/edgews"
	"go.etcd.io/bbolt"
)

// A bbolt transaction takes two fsyncs, no matter how much it changes. So one goroutine makes all commits: it puts all queued
// requests into one transaction, and while that runs the next requests queue. A lone commit begins at once. There is no timer.
//
// bbolt's own DB.Batch makes the first caller wait (10 ms by default) for others that may never come, runs everything
// twice if one call fails, and does not limit how many batches wait for the write lock.

// The limits of a group of requests that share a transaction. All changes of a transaction are in memory until its end, and the first
// request waits for the last one.
const (
	maxGroup      = 1024    // requests
	maxGroupBytes = 8 << 20 // keys and values of all requests but the last
	maxYields     = 4       // how often gather lets other goroutines run
)

// request is a queued commit.
type request struct {
	ctx      context.Context
	o        *object
	setEpoch bool // the batch is empty: set the object's epoch to that of o
	batch    edgews.Batch
	size     int        // keys and values, in bytes
	done     chan error // receives the one result
}

// submit queues a request and waits for its result.
func (s *Store) submit(r *request) error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	for _, key := range r.batch.Deletes {
		r.size += len(key)
	}
	for _, e := range r.batch.Puts {
		r.size += len(e.Key) + len(e.Value)
	}
	r.done = make(chan error, 1)
	select {
	case s.requests <- r:
	case <-r.ctx.Done():
		return r.ctx.Err()
	case <-s.closing:
		return ErrClosed
	case <-s.broken:
		return s.failure()
	}
	err, ok := awaitUnlessBroken(s, r.done) // it will not take long any more, and until then the outcome is unknown
	if !ok {
		return s.failure()
	}
	return err
}

// run is the goroutine that makes all commits. It runs until Close.
func (s *Store) run() {
	defer close(s.stopped)
	var group []*request
	for {
		select {
		case r := <-s.requests:
			group = s.gather(append(group[:0], r))
			s.commit(group)
			clear(group)
		case <-s.closing:
			return
		}
	}
}

// gather adds the queued requests to a group. It lets other goroutines run a few times, as long as new requests come: a writer
// whose commit has just succeeded can then queue its next one. Otherwise half of the busy writers would always
// wait for the other half. This costs a lone commit next to nothing.
func (s *Store) gather(group []*request) []*request {
	size := group[0].size
	for range maxYields {
		runtime.Gosched()
		before := len(group)
		group, size = s.take(group, size)
		if len(group) == before {
			break
		}
	}
	return group
}

// take adds the requests that are queued at this moment to a group of size bytes.
func (s *Store) take(group []*request, size int) ([]*request, int) {
	for len(group) < maxGroup && size < maxGroupBytes {
		select {
		case r := <-s.requests:
			group = append(group, r)
			size += r.size
		default:
			return group, size
		}
	}
	return group, size
}

// commit makes the commits of a group and sends each request its result. If the group's transaction fails, each request gets a
// transaction of its own, so that a request that is too large for a full disk, for example, does not fail the others.
func (s *Store) commit(group []*request) {
	refused := make([]error, len(group))
	err := s.attempt(group, refused)
	if err != nil && len(group) > 1 {
		for i := range group {
			s.commit(group[i : i+1])
		}
		return
	}
	for i, r := range group {
		r.done <- cmp.Or(refused[i], err)
	}
}

// attempt puts a group into one transaction. It leaves out requests that must not be made and stores the reasons in refused.
// An error means that nothing was changed, unless the store has failed.
func (s *Store) attempt(group []*request, refused []error) (err error) {
	if err := s.failure(); err != nil {
		return err
	}
	scans := s.beginChanges(group)
	defer s.endChanges()
	if cause := catchPanic(func() { err = s.transact(group, refused, scans) }); cause != nil {
		return s.fail(damagedError(s.path, cause))
	}
	return err
}

func (s *Store) transact(group []*request, refused []error, scans []*scan) error {
	tx, err := s.begin(true)
	if err != nil {
		return cmp.Or(s.failure(), fmt.Errorf("edgews: bolt store: %w", err))
	}
	defer tx.Rollback() // does nothing after Commit

	for _, n := range scans {
		n.readRest(tx)
	}
	changes := false
	for i, r := range group {
		if refused[i] = r.refusal(tx); refused[i] != nil {
			continue
		}
		changes = true
		if err := r.apply(tx); err != nil {
			return fmt.Errorf("edgews: bolt store: %w", err)
		}
	}
	if !changes {
		return nil
	}
	id := tx.ID()
	if err := tx.Commit(); err != nil {
		if s.mayBeOnDisk(id) {
			return s.fail(err)
		}
		return fmt.Errorf("edgews: bolt store: commit: %w", err)
	}
	return nil
}

// mayBeOnDisk reports whether a failed commit had begun to write its meta page, which is its last step. If so, the memory has
// the new state and the state of the disk is unknown. Otherwise both are as before.
func (s *Store) mayBeOnDisk(id int) bool {
	tx, err := s.begin(false)
	if err != nil {
		return true
	}
	defer s.end(tx)
	return tx.ID() >= id
}

// refusal returns why a request must not be made, or nil. It changes nothing.
func (r *request) refusal(tx *bbolt.Tx) error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	if getRecord(tx.Bucket(objectsName(r.o.key.Namespace)), r.o.id).epoch > r.o.epoch {
		return edgews.ErrFenced
	}
	return nil
}

func (r *request) apply(tx *bbolt.Tx) error {
	b, err := makeBuckets(tx, r.o.key.Namespace)
	if err != nil {
		return err
	}
	if r.setEpoch {
		h := getRecord(b.objects, r.o.id)
		h.epoch = r.o.epoch
		return putRecord(b.objects, r.o.id, h)
	}
	if r.batch.DeleteAll {
		if err := deletePrefix(b.entries, r.o.id); err != nil {
			return err
		}
	}
	for _, key := range r.batch.Deletes {
		if err := b.entries.Delete(r.o.entryKey(key)); err != nil {
			return err
		}
	}
	for _, e := range r.batch.Puts {
		if err := b.entries.Put(r.o.entryKey(e.Key), e.Value); err != nil { // bbolt may keep e.Value: the caller leaves it alone until the result
			return err
		}
	}
	if r.batch.Alarm != nil {
		return b.moveAlarm(r.o.id, r.batch.Alarm.Time)
	}
	return nil
}

func (b buckets) moveAlarm(id []byte, to time.Time) error {
	h := getRecord(b.objects, id)
	if !h.alarm.IsZero() {
		if err := b.alarms.Delete(alarmKey(h.alarm, id)); err != nil {
			return err
		}
	}
	if !to.IsZero() {
		if err := b.alarms.Put(alarmKey(to, id), nil); err != nil {
			return err
		}
	}
	h.alarm = to
	return putRecord(b.objects, id, h)
}

// deletePrefix deletes the keys with a prefix, a thousand at a time: a cursor must not be used across changes, and a search for the
// first key each time would visit all pages that are already empty.
func deletePrefix(b *bbolt.Bucket, prefix []byte) error {
	for next := prefix; next != nil; {
		var keys [][]byte
		c := b.Cursor()
		k, _ := c.Seek(next)
		for ; len(keys) < 1000 && bytes.HasPrefix(k, prefix); k, _ = c.Next() {
			keys = append(keys, bytes.Clone(k))
		}
		next = nil
		if bytes.HasPrefix(k, prefix) {
			next = bytes.Clone(k)
		}
		for _, key := range keys {
			if err := b.Delete(key); err != nil {
				return err
			}
		}
	}
	return nil
}
