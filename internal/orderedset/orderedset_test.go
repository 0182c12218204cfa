package orderedset

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
)

type element uint64

func (e element) Key() uint64 { return uint64(e) }

// TestAgainstAMap adds and removes elements at random, and compares the set with a map.
func TestAgainstAMap(t *testing.T) {
	var set Set[element]
	known := make(map[element]bool)
	for range 5000 {
		e := element(rand.Uint64N(64))
		if rand.IntN(2) == 0 {
			set, known[e] = set.With(e), true
		} else {
			set = set.Without(e)
			delete(known, e)
		}
		if !slices.Equal(slices.Sorted(maps.Keys(known)), set) {
			t.Fatalf("the set is %v, and should be %v", set, slices.Sorted(maps.Keys(known)))
		}
	}
}

func TestEmptySetIsNil(t *testing.T) {
	assert.Nil(t, Set[element](nil).Without(1))
	assert.Nil(t, Set[element]{1}.Without(1))
	assert.Equal(t, Set[element]{1}, Set[element](nil).With(1))
}
