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

// A transaction that stays open while a caller loops over a List would do harm: bbolt could not use any page again that was freed
// since, so the file would grow; and it could not map a file that has grown, so a commit from within the loop would
// wait for the loop, for ever. So a List reads pages, each in a short transaction of its own.
//
// What makes one moment of them is the committer. Before it changes an object it lets every List that is reading
// it take the rest into memory. So a List costs the memory of a page if nobody changes the object meanwhile, and that of
// what it has not shown yet if somebody does.

// pageBytes is the size of a page, in keys, values and what they cost besides.
const (
	pageBytes     = 64 << 10
	entryOverhead = 64
)

// listing is one loop over a List.
type listing struct {
	o      *object
	prefix []byte // with the ID

	mu   sync.Mutex
	next []byte         // the key to go on with; nil: everything has been read
	kept []edgews.Entry // has been read for the sake of a commit, and is to be shown before anything else
}

func (o *object) List(ctx context.Context, prefix string) iter.Seq2[edgews.Entry, error] {
	return func(yield func(edgews.Entry, error) bool) {
		l := &listing{o: o, prefix: o.entryKey(prefix), next: o.entryKey(prefix)}
		limit := pageBytes
		if !o.s.register(l) {
			limit = math.MaxInt // a commit to the object is under way, so one transaction must do
		}
		defer o.s.unregister(l)
		for {
			page, err := l.page(ctx, limit)
			if err != nil {
				yield(edgews.Entry{}, err)
				return
			}
			if len(page) == 0 {
				return
			}
			for _, e := range page {
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

// page returns what comes next; nothing at the end.
func (l *listing) page(ctx context.Context, limit int) (page []edgews.Entry, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if page, l.kept = l.kept, nil; page != nil || l.next == nil {
		return page, nil
	}
	err = l.o.s.view(func(tx *bbolt.Tx) { page = l.readLocked(tx, limit) })
	return page, err
}

// keep reads the rest before a commit changes it. tx has not changed the object yet.
func (l *listing) keep(tx *bbolt.Tx) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.next != nil {
		l.kept = l.readLocked(tx, math.MaxInt)
	}
}

func (l *listing) readLocked(tx *bbolt.Tx, limit int) (page []edgews.Entry) {
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
			return page
		}
		page = append(page, edgews.Entry{Key: string(k[idLen:]), Value: bytes.Clone(v)})
		size += len(k) + len(v) + entryOverhead
	}
	return page
}

// register says whether the listing may read page by page, because commits will let it know.
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

// announce makes it known which objects a transaction is going to change, and returns the listings of them.
func (s *Store) announce(group []*request) (affected []*listing) {
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

// retract takes back what announce has made known.
func (s *Store) retract() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.changing)
}
