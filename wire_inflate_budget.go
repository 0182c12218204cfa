package edgews

import (
	"sync"

	"github.com/edgews/edgews/internal/fifo"
)

// maxInflating bounds the large messages that all sockets of the process inflate at the same time, in bytes of what they inflate to. A
// single message may be larger.
const maxInflating = 64 << 20

var processInflateBudget = inflateBudget{limit: maxInflating}

// inflateBudget is a number of bytes that messages reserve while they are inflated, first come, first served.
type inflateBudget struct {
	limit int

	mu      sync.Mutex // may be locked with any other mutex held; no other mutex is locked under it
	used    int
	waiting fifo.Queue[*inflateReservation]
}

// inflateReservation is a part of a budget. It may have to wait until it is granted.
type inflateReservation struct {
	budget *inflateBudget
	n      int
	wake   func() // called when it is granted, unless it was granted at once

	// Guarded by budget.mu.
	granted, released bool
}

// reserve returns a reservation of n bytes, which may be granted already. It is granted at the latest when nothing else is reserved, also
// if n is more than the limit.
func (b *inflateBudget) reserve(n int, wake func()) *inflateReservation {
	r := &inflateReservation{budget: b, n: n, wake: wake}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waiting.Len() == 0 && b.fitsLocked(r) {
		b.grantLocked(r)
	} else {
		b.waiting.Push(r)
	}
	return r
}

// fitsLocked reports whether r can be granted now. mu must be held.
func (b *inflateBudget) fitsLocked(r *inflateReservation) bool {
	return b.used == 0 || b.used+r.n <= b.limit
}

// grantLocked grants r. mu must be held.
func (b *inflateBudget) grantLocked(r *inflateReservation) {
	r.granted = true
	b.used += r.n
}

func (r *inflateReservation) isGranted() bool {
	r.budget.mu.Lock()
	defer r.budget.mu.Unlock()
	return r.granted
}

// release gives up a reservation, granted or not, and grants those that have waited for it. A second call does nothing.
func (r *inflateReservation) release() {
	for _, next := range r.budget.free(r) {
		next.wake()
	}
}

// free takes r out of the budget. It returns the reservations that are granted instead.
func (b *inflateBudget) free(r *inflateReservation) (granted []*inflateReservation) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r.released {
		return nil
	}
	r.released = true
	if r.granted {
		b.used -= r.n
	}
	for b.waiting.Len() > 0 {
		first := *b.waiting.Front()
		if !first.released {
			if !b.fitsLocked(first) {
				break
			}
			b.grantLocked(first)
			granted = append(granted, first)
		}
		b.waiting.Pop()
	}
	return granted
}
