//go:build race

package edgews

import (
	"math"

	"github.com/edgews/edgews/internal/buf"
)

// With the race detector, an outbox without a wire is marked, and the bytes in its buffers are overwritten. Code that still uses it sends
// bytes that tests recognise, or makes acquired panic.

// unowned is the value of outbox.waiting while no wire has the outbox.
const unowned = math.MinInt

func newOutbox() *outbox { return &outbox{waiting: unowned} }

// acquired checks that o has not been used since it was released.
func (o *outbox) acquired() {
	if o.waiting != unowned {
		panic("edgews: an outbox has two owners")
	}
	o.waiting = 0
	if !o.unused() || o.blocked || !o.open.isEmpty() || !o.front.isEmpty() || o.control != nil || o.full.Len() > 0 {
		panic("edgews: an outbox without an owner was used")
	}
}

// released marks o and overwrites the buffers that it keeps for its next owner.
func (o *outbox) released() {
	for _, kept := range []*buf.Buffer{o.front.buf, o.open.buf} {
		if kept != nil {
			buf.Poison(kept.B)
		}
	}
	o.waiting = unowned
}
