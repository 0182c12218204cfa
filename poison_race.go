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

// taken checks that nobody has used o since it was dropped.
func (o *outbox) taken() {
	if o.waiting != unowned {
		panic("edgews: an outbox has two owners")
	}
	o.waiting = 0
	if !o.idle() || o.blocked || !o.last.none() || !o.front.none() || o.control != nil || o.frames.len() > 0 {
		panic("edgews: an outbox without an owner was used")
	}
}

func (o *outbox) dropped() {
	for _, kept := range []*buffer{o.front.buf, o.last.buf} {
		if kept != nil {
			poison(kept.b)
		}
	}
	o.waiting = unowned
}
