package inspect

import (
	"cmp"
	"slices"
	"sync"

	"github.com/edgews/edgews"
)

// closeCodes counts close codes. The zero value is ready for use.
type closeCodes struct {
	mu sync.Mutex // a leaf

	// Guarded by mu.
	counts map[edgews.StatusCode]int64 // at most maxCodes
	others int64                       // of further codes
}

// add counts code.
func (c *closeCodes) add(code edgews.StatusCode) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counts == nil {
		c.counts = make(map[edgews.StatusCode]int64)
	}
	if _, known := c.counts[code]; !known && len(c.counts) >= maxCodes {
		c.others++
		return
	}
	c.counts[code]++
}

// list returns the codes, the most frequent first.
func (c *closeCodes) list() []CodeCount {
	c.mu.Lock()
	list := make([]CodeCount, 0, len(c.counts)+1)
	for code, n := range c.counts {
		list = append(list, CodeCount{int(code), code.String(), n})
	}
	others := c.others
	c.mu.Unlock()
	slices.SortFunc(list, func(a, b CodeCount) int { return cmp.Compare(a.Code, b.Code) })
	sortByCount(list, func(c CodeCount) int64 { return c.Count })
	if others > 0 {
		list = append(list, CodeCount{0, "others", others})
	}
	return list
}

// sortByCount sorts list by count, the greatest first; equals stay in order.
func sortByCount[T any](list []T, count func(T) int64) {
	slices.SortStableFunc(list, func(a, b T) int { return cmp.Compare(count(b), count(a)) })
}
