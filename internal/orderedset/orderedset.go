// Package orderedset keeps a set as a slice in the order of a key.
package orderedset

import (
	"cmp"
	"slices"
)

// Keyed is an element. Key never changes, and two different elements of a set have different keys.
type Keyed interface{ Key() uint64 }

// Set holds its elements in ascending order of their keys. The nil Set is empty. With and Without may change the Set's own memory, as
// append does: the result takes the place of the Set. It is not safe for concurrent use.
type Set[T Keyed] []T

// find returns where an element of that key is, or would be.
func (s Set[T]) find(key uint64) (index int, found bool) {
	return slices.BinarySearchFunc(s, key, func(e T, key uint64) int { return cmp.Compare(e.Key(), key) })
}

// With returns the set with e, which may be in it already. To add an element whose key is larger than all others takes constant time.
func (s Set[T]) With(e T) Set[T] {
	if len(s) == 0 || s[len(s)-1].Key() < e.Key() {
		return append(s, e)
	}
	i, found := s.find(e.Key())
	if found {
		return s
	}
	return slices.Insert(s, i, e)
}

// Without returns the set without e, which need not be in it. It is nil when the set is empty.
func (s Set[T]) Without(e T) Set[T] {
	i, found := s.find(e.Key())
	switch {
	case !found:
		return s
	case len(s) == 1:
		return nil
	}
	return slices.Delete(s, i, i+1)
}
