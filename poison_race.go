//go:build race

package edgews

import (
	"bytes"
	"math"
)

// In builds with the race detector, which are those of tests, what is given back to a pool is overwritten. Who goes on using it sends
// or delivers bytes that a test recognises, or is seen by the race detector.

// poisoned is what a buffer is full of while nobody owns it.
var poisoned = bytes.Repeat([]byte{0xdb}, 4<<10)

func poison(b []byte) {
	for b = b[:cap(b)]; len(b) > 0; {
		b = b[copy(b, poisoned):]
	}
}

// unowned is outbox.waiting while no wire has the outbox.
const unowned = math.MinInt

func newOutbox() *outbox { return &outbox{waiting: unowned} }

// acquired checks that o has not been used since it was released.
func (o *outbox) acquired() {
	if o.waiting != unowned {
		panic("edgews: an outbox has two owners")
	}
	o.waiting = 0
	if !o.unused() || o.blocked || !o.open.isEmpty() || !o.front.isEmpty() || o.control != nil || o.full.len() > 0 {
		panic("edgews: an outbox without an owner was used")
	}
}

func (o *outbox) released() {
	for _, kept := range []*buffer{o.front.buf, o.open.buf} {
		if kept != nil {
			poison(kept.b)
		}
	}
	o.waiting = unowned
}
