package edgews

import "sync"

// inflateTogether bounds the large messages that all sockets of the process inflate at the same time, in bytes of what they inflate to.
// A single one may be larger.
const inflateTogether = 64 << 20

var inflating = budget{most: inflateTogether}

// budget is what is there to be shared by those who claim a part of it, first come, first served.
type budget struct {
	most int

	mu      sync.Mutex // below all others
	used    int
	waiting fifo[*budgetClaim]
}

// budgetClaim is a part of a budget, for which its owner may have to wait.
type budgetClaim struct {
	of   *budget
	n    int
	wake func() // called when it is granted, if it was not at once

	// Guarded by of.mu.
	granted, released bool
}

// budgetClaim returns a claim to n, which may have been granted. Whatever n is, it is granted in the end.
func (b *budget) claim(n int, wake func()) *budgetClaim {
	c := &budgetClaim{of: b, n: n, wake: wake}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waiting.len() == 0 && b.fitsLocked(c) {
		b.grantLocked(c)
	} else {
		b.waiting.push(c)
	}
	return c
}

func (b *budget) fitsLocked(c *budgetClaim) bool { return b.used == 0 || b.used+c.n <= b.most }

func (b *budget) grantLocked(c *budgetClaim) {
	c.granted = true
	b.used += c.n
}

func (c *budgetClaim) isGranted() bool {
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	return c.granted
}

// release gives up a claim, granted or not, and grants those that have waited for it.
func (c *budgetClaim) release() {
	b := c.of
	b.mu.Lock()
	if c.released {
		b.mu.Unlock()
		return
	}
	c.released = true
	if c.granted {
		b.used -= c.n
	}
	var next []*budgetClaim
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
