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

// A Scan reads its entries in portions, each in a short transaction of its own. One transaction for the whole loop would do
// harm: bbolt could not reuse the pages that are freed meanwhile, so the file would grow, and it could not map a file that
// has grown, so a commit from within the loop would deadlock.
//
// All portions show the object at one moment. Before a commit changes an object, it makes every Scan of that object read
// its remaining entries into memory. So a Scan takes the memory of one portion, or of all remaining entries if the object is
// changed during the loop.

// A portion ends when it has reached its size in bytes: keys, values, and entryOverhead for the memory of each entry. Each portion is
// twice as large as the one before, since a loop that wants few entries is left soon.
const (
	firstPortionBytes = 4 << 10
	portionBytes      = 64 << 10 // of the largest portions
	entryOverhead     = 64
)

// scan is one loop over a Scan.
type scan struct {
	o                 *object
	reverse, keysOnly bool

	// Guarded by mu. Keys are with the ID.
	mu         sync.Mutex
	first, end []byte         // the interval that has not been read: from first on, and before end; a nil end: no upper bound
	left       int            // how many entries may be read; math.MaxInt: any number
	done       bool           // everything has been read
	rest       []edgews.Entry // the remaining entries, if a commit made the loop read them
}

func (o *object) newScan(r edgews.Range) *scan {
	first, end := r.Bounds()
	s := &scan{o: o, reverse: r.Reverse, keysOnly: r.KeysOnly, first: o.entryKey(first), left: math.MaxInt}
	if end != "" {
		s.end = o.entryKey(end)
	} else {
		s.end = following(o.id)
	}
	if r.Limit != 0 {
		s.left = r.Limit
	}
	return s
}

// following returns the ID behind id, and nil if there is none.
func following(id []byte) []byte {
	next := bytes.Clone(id)
	for i := len(next) - 1; i >= 0; i-- {
		if next[i]++; next[i] != 0 {
			return next
		}
	}
	return nil
}

func (o *object) Scan(ctx context.Context, r edgews.Range) iter.Seq2[edgews.Entry, error] {
	return func(yield func(edgews.Entry, error) bool) {
		s := o.newScan(r)
		inPortions := o.s.register(s)
		defer o.s.unregister(s)
		for size := firstPortionBytes; ; size = min(2*size, portionBytes) {
			if !inPortions {
				size = math.MaxInt // a commit is changing the object: everything has to be read in one transaction
			}
			portion, err := s.portion(ctx, size)
			if err != nil {
				yield(edgews.Entry{}, err)
				return
			}
			if len(portion) == 0 || !yieldAll(ctx, portion, yield) {
				return
			}
		}
	}
}

// yieldAll yields entries until ctx ends, and then its error. It reports whether to go on.
func yieldAll(ctx context.Context, entries []edgews.Entry, yield func(edgews.Entry, error) bool) bool {
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			yield(edgews.Entry{}, err)
			return false
		}
		if !yield(e, nil) {
			return false
		}
	}
	return true
}

// portion returns the next entries, none at the end. size is in bytes.
func (s *scan) portion(ctx context.Context, size int) (entries []edgews.Entry, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if entries, s.rest = s.rest, nil; entries != nil || s.done {
		return entries, nil
	}
	err = s.o.s.view(func(tx *bbolt.Tx) { entries = s.readLocked(tx, size) })
	return entries, err
}

// readRest reads the remaining entries into memory before a commit changes the object. tx has not changed it yet.
func (s *scan) readRest(tx *bbolt.Tx) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.done {
		s.rest = s.readLocked(tx, math.MaxInt)
	}
}

// readLocked reads entries until they take size bytes, and takes them out of the interval. mu must be held.
func (s *scan) readLocked(tx *bbolt.Tx, size int) (portion []edgews.Entry) {
	entries := tx.Bucket(entriesName(s.o.key.Namespace))
	if entries == nil {
		s.done = true
		return nil
	}
	c := entries.Cursor()
	for k, v := s.seekLocked(c); s.containsLocked(k); k, v = s.step(c) {
		portion = append(portion, s.entry(k, v))
		size -= len(portion[len(portion)-1].Key) + len(portion[len(portion)-1].Value) + entryOverhead
		if s.left != math.MaxInt {
			s.left--
		}
		if s.left == 0 {
			break
		}
		if size <= 0 {
			s.continueBehindLocked(k)
			return portion
		}
	}
	s.done = true // not before: the loop must not end as if this were all if bbolt panics
	return portion
}

func (s *scan) entry(k, v []byte) edgews.Entry {
	e := edgews.Entry{Key: string(k[idLen:])}
	if !s.keysOnly {
		e.Value = bytes.Clone(v)
	}
	return e
}

// seekLocked moves c to the first entry of the interval in the order of the scan, if there is one. mu must be held.
func (s *scan) seekLocked(c *bbolt.Cursor) (k, v []byte) {
	if !s.reverse {
		return c.Seek(s.first)
	}
	if s.end != nil {
		if k, _ := c.Seek(s.end); k != nil {
			return c.Prev()
		}
	}
	return c.Last()
}

func (s *scan) step(c *bbolt.Cursor) (k, v []byte) {
	if s.reverse {
		return c.Prev()
	}
	return c.Next()
}

// containsLocked reports whether the interval contains k, which is nil behind the last entry of all. mu must be held.
func (s *scan) containsLocked(k []byte) bool {
	return k != nil && bytes.Compare(k, s.first) >= 0 && (s.end == nil || bytes.Compare(k, s.end) < 0)
}

// continueBehindLocked takes k, and what the scan has read before it, out of the interval. mu must be held.
func (s *scan) continueBehindLocked(k []byte) {
	if s.reverse {
		s.end = bytes.Clone(k)
	} else {
		s.first = append(bytes.Clone(k), 0)
	}
}

// register reports whether the scan may read in portions. If so, a commit to the object will call readRest first. It may not
// while a commit is changing the object.
func (s *Store) register(n *scan) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.changing[n.o.key]; ok {
		return false
	}
	if s.scans[n.o.key] == nil {
		s.scans[n.o.key] = make(map[*scan]struct{})
	}
	s.scans[n.o.key][n] = struct{}{}
	return true
}

func (s *Store) unregister(n *scan) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.scans[n.o.key], n)
	if len(s.scans[n.o.key]) == 0 {
		delete(s.scans, n.o.key)
	}
}

// beginChanges marks the objects that a transaction is going to change, and returns their scans.
func (s *Store) beginChanges(group []*request) (affected []*scan) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range group {
		if _, ok := s.changing[r.o.key]; ok {
			continue
		}
		s.changing[r.o.key] = struct{}{}
		for n := range s.scans[r.o.key] {
			affected = append(affected, n)
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
