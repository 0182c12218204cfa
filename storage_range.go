package edgews

import (
	"errors"
	"fmt"
)

// Range selects entries of a storage by their keys, which are compared by their bytes. The zero Range selects all. Fields that are set
// narrow the selection: a key must satisfy each of them, so a Range may well select nothing, which is not an error.
//
// The entries come in key order, or in the opposite order with Reverse. The bounds mean the same in both: Start and After are below, End is
// above. A page of ten, and the ten before it:
//
//	Range{Prefix: "said/", After: last, Limit: 10}
//	Range{Prefix: "said/", End: first, Reverse: true, Limit: 10}
//
// What a Scan costs depends on the entries that it yields, not on how many are stored.
//
// Deviation: in Workers a limit of 0 is an error. Here it is a Limit that is not set.
type Range struct {
	Prefix string // only keys that begin with it
	Start  string // only this key and those behind it
	After  string // only keys behind it; Start and After together are an error
	End    string // only keys before it

	Reverse  bool // the last key first
	KeysOnly bool // values are not read: Entry.Value is nil
	Limit    int  // how many entries at most, of the first in the order that Reverse gives; 0: all; negative: an error
}

// ErrInvalidRange: a Range contradicts itself; the message says how.
var ErrInvalidRange = errors.New("edgews: invalid range")

// Bounds returns the interval of keys that r selects: from first on, and before end. An empty end means that there is no upper bound. The
// interval is empty if end is not empty and not behind first. It is for storage engines, which need no other of the fields that concern
// keys.
func (r Range) Bounds() (first, end string) {
	first = max(r.Prefix, r.Start)
	if r.After != "" {
		first = max(first, r.After+"\x00")
	}
	end = prefixEnd(r.Prefix)
	if r.End != "" && (end == "" || r.End < end) {
		end = r.End
	}
	return first, end
}

// prefixEnd returns the first key behind all that begin with prefix, and "" if there is none.
func prefixEnd(prefix string) string {
	for last := len(prefix) - 1; last >= 0; last-- {
		if prefix[last] != 0xff {
			return prefix[:last] + string([]byte{prefix[last] + 1})
		}
	}
	return ""
}

func (r Range) check() error {
	switch {
	case r.Start != "" && r.After != "":
		return fmt.Errorf("%w: it has both Start %q and After %q", ErrInvalidRange, r.Start, r.After)
	case r.Limit < 0:
		return fmt.Errorf("%w: Limit is %d; 0 means all", ErrInvalidRange, r.Limit)
	}
	return nil
}

// firstUnreserved is the first key that is not reserved.
const firstUnreserved = "\x01"

// withoutReserved returns r without reserved keys, so that they do not count for Limit either.
func (r Range) withoutReserved() Range {
	if first, _ := r.Bounds(); first < firstUnreserved {
		r.Start, r.After = firstUnreserved, ""
	}
	return r
}
