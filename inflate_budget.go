package edgews

import "sync"

// inflateTogether bounds the large messages that all sockets of the process inflate at the same time, in bytes of what they inflate to.
// A single one may be larger.
const maxInflating = 64 << 20

var processInflateBudget = inflateBudget{limit: maxInflating}

// budget is what is there to be shared by those who claim a part of it, first come, first served.
type inflateBudget struct {
	limit int

	mu      sync.Mutex // below all others
	used    int
	waiting fifo[*inflateReservation]
}

// claim is a part of a budget, for which its owner may have to wait.
type inflateReservation struct {
	budget *inflateBudget
	n      int
	wake   func() // called when it is granted, if it was not at once

	// Guarded by of.mu.
	granted, released bool
}

// claim returns a claim to n, which may have been granted. Whatever n is, it is granted in the end.
func (b *inflateBudget) reserve(n int, wake func()) *inflateReservation {
	c := &inflateReservation{budget: b, n: n, wake: wake}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waiting.len() == 0 && b.fitsLocked(c) {
		b.grantLocked(c)
	} else {
		b.waiting.push(c)
	}
	return c
}

func (b *inflateBudget) fitsLocked(c *inflateReservation) bool {
	return b.used == 0 || b.used+c.n <= b.limit
}

func (b *inflateBudget) grantLocked(c *inflateReservation) {
	c.granted = true
	b.used += c.n
}

func (c *inflateReservation) isGranted() bool {
	c.budget.mu.Lock()
	defer c.budget.mu.Unlock()
	return c.granted
}

// release gives up a claim, granted or not, and grants those that have waited for it.
func (c *inflateReservation) release() {
	b := c.budget
	b.mu.Lock()
	if c.released {
		b.mu.Unlock()
		return
	}
	c.released = true
	if c.granted {
		b.used -= c.n
	}
	var next []*inflateReservation
	for b.waiting.len() > 0 {
		first := *b.waiting.front()
		if !first.released {
			if !b.fitsLocked(first) {
				break
			}
			b.grantLocked(first)
			next = append(next, first)
		}
		b.waiting.pop()
	}
	b.mu.Unlock()
	for _, c := range next {
		c.wake()
	}
}
