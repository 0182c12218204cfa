package edgews

import (
	"sync"

	"github.com/edgews/edgews/internal/fifo"
)

// maxInflating limits the large messages that all sockets of the process inflate at the same time, in bytes of their inflated sizes. A
// single message may be larger.
const maxInflating = 64 << 20

// processInflateBudget is the budget of all sockets of the process.
var processInflateBudget = inflateBudget{limit: maxInflating}

// inflateBudget is a number of bytes of which messages reserve a part while they are inflated. Reservations are granted in the order in
// which they are made.
type inflateBudget struct {
	limit int

	mu      sync.Mutex // a leaf; no mutex is held when it is locked
	used    int        // bytes of granted reservations
	waiting fifo.Queue[*inflateReservation]
}

// inflateReservation is a part of a budget. It waits until it is granted.
type inflateReservation struct {
	budget *inflateBudget
	n      int    // bytes
	wake   func() // called when the reservation is granted, unless reserve has granted it

	// Guarded by budget.mu.
	granted, released bool
}

// reserve returns a reservation of n bytes. It is granted at once if it fits and no other one waits. When nothing else is reserved, it is
// granted even if n exceeds the limit.
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

// isGranted reports whether the bytes have been granted.
func (r *inflateReservation) isGranted() bool {
	r.budget.mu.Lock()
	defer r.budget.mu.Unlock()
	return r.granted
}

// release ends a reservation, granted or not, and grants waiting ones that fit now. It calls their wake. A second call does nothing.
func (r *inflateReservation) release() {
	for _, next := range r.budget.free(r) {
		next.wake()
	}
}

// free removes r from the budget. It returns the reservations that are granted as a result.
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
