package bolt

import (
	"bytes"
	"context"
	"iter"
	"math"
	"sync"

	"github.com/edgews/edgews"
	"go.etcd.io/bbolt"
)

// A List reads its entries in portions, each in a short transaction of its own. One transaction for the whole loop would do
// harm: bbolt could not reuse the pages that are freed meanwhile, so the file would grow, and it could not map a file that
// has grown, so a commit from within the loop would deadlock.
//
// All portions show the object at one moment. Before a commit changes an object, it makes every List of that object read
// its remaining entries into memory. So a List takes the memory of one portion, or of all remaining entries if the object is
// changed during the loop.

// portionBytes is the size of a portion in bytes: keys, values, and entryOverhead for the memory of each entry.
const (
	portionBytes  = 64 << 10
	entryOverhead = 64
)

// listing is one loop over a List.
type listing struct {
	o      *object
	prefix []byte // with the ID

	// Guarded by mu.
	mu   sync.Mutex
	next []byte         // the key at which the next portion begins; nil: everything has been read
	rest []edgews.Entry // the remaining entries, if a commit made the loop read them
}

func (o *object) List(ctx context.Context, prefix string) iter.Seq2[edgews.Entry, error] {
	return func(yield func(edgews.Entry, error) bool) {
		l := &listing{o: o, prefix: o.entryKey(prefix), next: o.entryKey(prefix)}
		limit := portionBytes
		if !o.s.register(l) {
			limit = math.MaxInt // a commit is changing the object: everything has to be read in one transaction
		}
		defer o.s.unregister(l)
		for {
			portion, err := l.portion(ctx, limit)
			if err != nil {
				yield(edgews.Entry{}, err)
				return
			}
			if len(portion) == 0 {
				return
			}
			for _, e := range portion {
				if err := ctx.Err(); err != nil {
					yield(edgews.Entry{}, err)
					return
				}
				if !yield(e, nil) {
					return
				}
			}
		}
	}
}

// portion returns the next entries, none at the end. limit is in bytes.
func (l *listing) portion(ctx context.Context, limit int) (entries []edgews.Entry, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if entries, l.rest = l.rest, nil; entries != nil || l.next == nil {
		return entries, nil
	}
	err = l.o.s.view(func(tx *bbolt.Tx) { entries = l.readLocked(tx, limit) })
	return entries, err
}

// readRest reads the remaining entries into memory before a commit changes the object. tx has not changed it yet.
func (l *listing) readRest(tx *bbolt.Tx) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.next != nil {
		l.rest = l.readLocked(tx, math.MaxInt)
	}
}

// readLocked reads entries from next on until they take limit bytes, and moves next. mu must be held.
func (l *listing) readLocked(tx *bbolt.Tx, limit int) (portion []edgews.Entry) {
	next := l.next
	l.next = nil
	entries := tx.Bucket(entriesName(l.o.key.Namespace))
	if entries == nil {
		return nil
	}
	c, size := entries.Cursor(), 0
	for k, v := c.Seek(next); bytes.HasPrefix(k, l.prefix); k, v = c.Next() {
		if size >= limit {
			l.next = bytes.Clone(k)
			return portion
		}
		portion = append(portion, edgews.Entry{Key: string(k[idLen:]), Value: bytes.Clone(v)})
		size += len(k) + len(v) + entryOverhead
	}
	return portion
}

// register reports whether the listing may read in portions. If so, a commit to the object will call readRest first. It may not
// while a commit is changing the object.
func (s *Store) register(l *listing) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.changing[l.o.key]; ok {
		return false
	}
	if s.listings[l.o.key] == nil {
		s.listings[l.o.key] = make(map[*listing]struct{})
	}
	s.listings[l.o.key][l] = struct{}{}
	return true
}

func (s *Store) unregister(l *listing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listings[l.o.key], l)
	if len(s.listings[l.o.key]) == 0 {
		delete(s.listings, l.o.key)
	}
}

// beginChanges marks the objects that a transaction is going to change, and returns their listings.
func (s *Store) beginChanges(group []*request) (affected []*listing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range group {
		if _, ok := s.changing[r.o.key]; ok {
			continue
		}
		s.changing[r.o.key] = struct{}{}
		for l := range s.listings[r.o.key] {
			affected = append(affected, l)
		}
	}
	return affected
}

// endChanges removes the marks that beginChanges has set.
func (s *Store) endChanges() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.changing)
}
