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

// A transaction of bbolt takes two fsyncs, whatever is in it. So one goroutine does all commits: it takes whatever is
// waiting, makes one transaction of it, and meanwhile the next ones gather. A lone commit begins at once, and the
// more there are the more share an fsync. Nobody sets a timer.
//
// bbolt's own DB.Batch lets the first caller wait, 10 ms unless told otherwise, for others that may never come; runs everything
// twice if one call fails; and has no bound on how many such batches wait for the write lock.

// The bounds of a group, beyond which the others wait for the next one: what a transaction changes is in memory until its
// end, and the first waits for the last.
const (
	maxGroup      = 1024    // batches
	maxGroupBytes = 8 << 20 // of keys and values, of all but the last batch
	maxYields     = 4       // to others, before a group is complete
)

// request is a commit that waits for its turn.
type request struct {
	ctx   context.Context
	o     *object
	claim bool // the batch is empty; make the object's epoch that of o
	batch edgews.Batch
	size  int
	done  chan error // gets the one result
}

// submit waits until the request has happened, or never will.
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
	err, ok := awaitUnlessBroken(s, r.done) // it will not take long any more, and until then nobody can tell
	if !ok {
		return s.failure()
	}
	return err
}

// run is the goroutine of commits. It runs until Close.
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

// gather adds to a group what else is waiting. It lets others run a few times, as long as that brings any: those who were
// answered a moment ago come with their next commit then, and otherwise half of the busy writers would always
// wait for the other half. That costs a lone commit next to nothing.
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

// take adds to a group, which has that size, what is waiting at this moment.
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

// commit does what is in a group and gives each request its result. If the group fails, each request gets a transaction of its
// own, so that one that is too large for a full disk, say, does not fail the others.
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

// attempt makes one transaction of a group, except of the requests that are not to be done, for which it notes in refused why not.
// An error means that nothing has happened, unless the store has failed.
func (s *Store) attempt(group []*request, refused []error) (err error) {
	if err := s.failure(); err != nil {
		return err
	}
	listings := s.announce(group)
	defer s.retract()
	if cause := guard(func() { err = s.transact(group, refused, listings) }); cause != nil {
		return s.fail(damaged(s.path, cause))
	}
	return err
}

func (s *Store) transact(group []*request, refused []error, listings []*listing) error {
	tx, err := s.begin(true)
	if err != nil {
		return cmp.Or(s.failure(), fmt.Errorf("edgews: bolt store: %w", err))
	}
	defer tx.Rollback() // does nothing after Commit

	for _, l := range listings {
		l.keep(tx)
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
		if s.mayHaveHappened(id) {
			return s.fail(err)
		}
		return fmt.Errorf("edgews: bolt store: commit: %w", err)
	}
	return nil
}

// mayHaveHappened says whether a commit that has failed had come to write its meta page, which is the last thing that it does. Then
// what is in memory is the new state, and what is on the disk is unknown. Otherwise both are as before.
func (s *Store) mayHaveHappened(id int) bool {
	tx, err := s.begin(false)
	if err != nil {
		return true
	}
	defer s.end(tx)
	return tx.ID() >= id
}

// refusal says why a request is not to be done. It changes nothing.
func (r *request) refusal(tx *bbolt.Tx) error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	if getHead(tx.Bucket(objectsName(r.o.key.Namespace)), r.o.id).epoch > r.o.epoch {
		return edgews.ErrFenced
	}
	return nil
}

func (r *request) apply(tx *bbolt.Tx) error {
	b, err := makeBuckets(tx, r.o.key.Namespace)
	if err != nil {
		return err
	}
	if r.claim {
		h := getHead(b.objects, r.o.id)
		h.epoch = r.o.epoch
		return putHead(b.objects, r.o.id, h)
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
		if err := b.entries.Put(r.o.entryKey(e.Key), e.Value); err != nil { // e.Value is ours until the answer
			return err
		}
	}
	if r.batch.Alarm != nil {
		return b.moveAlarm(r.o.id, r.batch.Alarm.Time)
	}
	return nil
}

func (b buckets) moveAlarm(id []byte, to time.Time) error {
	h := getHead(b.objects, id)
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
	return putHead(b.objects, id, h)
}

// deletePrefix removes a thousand keys at a time: a cursor must not be used across changes, and to look for the first
// one again each time would pass all pages that have been emptied already.
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
