package edgews

import (
	"iter"
	"math"
	"slices"

	"github.com/edgews/edgews/internal/treap"
)

// List is Scan with Range{Prefix: prefix}.
func (tx *Tx) List(prefix string) iter.Seq2[Entry, error] {
	return tx.Scan(Range{Prefix: prefix})
}

// Scan returns an iterator over the entries that r selects, as they were when the loop began, including what the transaction had written by
// then. An error is the last thing that it yields; it is ErrInvalidRange if r contradicts itself, and ErrTxDone once the transaction is
// over, in a loop that has begun before too. The entries are the caller's, and the loop may write. Each loop over the iterator reads anew.
// With a Limit, a loop also counts what the transaction has removed within the range.
func (tx *Tx) Scan(r Range) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		if err := r.check(); err != nil {
			yield(Entry{}, err)
			return
		}
		s := txScan{tx: tx, r: r.withoutReserved(), left: r.Limit, yield: yield}
		s.first, s.end = s.r.Bounds()
		var cleared bool
		var err error
		if s.writes, cleared, err = tx.writesInOrder(); err != nil {
			yield(Entry{}, err)
			return
		}
		defer tx.o.countScan(&s.count)
		if cleared || s.mergeStored() {
			s.yieldWrites(s.first, s.end)
		}
	}
}

// writesInOrder returns the writes in the order of their keys, and whether the transaction has removed everything before. They are put in
// order once; a transaction without a Scan does not need it.
func (tx *Tx) writesInOrder() (writes *treap.Tree, cleared bool, err error) {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	if tx.done {
		return nil, false, ErrTxDone
	}
	if tx.ordered == nil {
		for key, value := range tx.writes {
			tx.ordered = tx.ordered.Put(key, value)
		}
	}
	return tx.ordered, tx.cleared, nil
}

// txScan is one loop over a Tx.Scan: the writes of the transaction, merged into what is stored.
type txScan struct {
	tx         *Tx
	r          Range
	writes     *treap.Tree
	first, end string // the interval of keys that has not been yielded
	left       int    // how many entries may be yielded; not positive: any number
	yield      func(Entry, error) bool
	count      scanCount
}

// mergeStored yields what is stored, and the writes between. It reports whether to go on with the writes behind the last stored entry.
func (s *txScan) mergeStored() bool {
	for e, err := range s.tx.store.Scan(s.tx.ctx, s.storedRange()) {
		if err != nil {
			return s.fail(err)
		}
		if s.writes != nil && !s.yieldWrites(s.skipTo(e.Key)) {
			return false
		}
		if !s.yieldStored(e) {
			return false
		}
	}
	return true
}

// yieldStored yields a stored entry, with the value that the transaction has written if it has. It reports whether to go on.
func (s *txScan) yieldStored(e Entry) bool {
	switch value, written := s.writes.Get(e.Key); {
	case !written:
		return s.yieldOne(e)
	case value == nil:
		return true
	default:
		return s.yieldWritten(e.Key, value)
	}
}

// storedRange returns which of the stored entries are needed. Each one that the transaction has removed needs another one in its place.
func (s *txScan) storedRange() Range {
	r := s.r
	if r.Limit == 0 {
		return r
	}
	s.writes.Ascend(s.first, s.end, func(_ string, value []byte) bool {
		if value == nil && r.Limit < math.MaxInt {
			r.Limit++
		}
		return true
	})
	return r
}

// skipTo moves the interval behind key, and returns the part that it leaves out, apart from key itself.
func (s *txScan) skipTo(key string) (first, end string) {
	if s.r.Reverse {
		first, end = key+"\x00", s.end
		s.end = key
	} else {
		first, end = s.first, key
		s.first = key + "\x00"
	}
	return first, end
}

// yieldWrites yields the values that the transaction has written to keys of an interval. It reports whether to go on.
func (s *txScan) yieldWrites(first, end string) bool {
	return s.writes.Scan(first, end, s.r.Reverse, func(key string, value []byte) bool {
		return value == nil || s.yieldWritten(key, value)
	})
}

func (s *txScan) yieldWritten(key string, value []byte) bool {
	if s.r.KeysOnly {
		return s.yieldOne(Entry{Key: key})
	}
	return s.yieldOne(Entry{key, slices.Clone(value)})
}

// yieldOne yields e, and reports whether to go on.
func (s *txScan) yieldOne(e Entry) bool {
	if err := s.tx.ifOpen(func() {}); err != nil {
		return s.fail(err)
	}
	s.left--
	s.count.add(e)
	return s.yield(e, nil) && s.left != 0
}

// fail yields err, and reports that the loop is over.
func (s *txScan) fail(err error) bool {
	s.count.failed = true
	s.yield(Entry{}, err)
	return false
}
