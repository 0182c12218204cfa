//go:build race

package edgews

import (
	"math"

	"github.com/edgews/edgews/internal/buf"
)

// With the race detector, an outbox that is in no wire is marked, and the bytes it keeps are overwritten. Code that goes on using it
// sends bytes that tests recognise, or makes taken panic.

// unowned is outbox.waiting while no wire has the outbox.
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

// dropped marks o and overwrites the buffers that it keeps for its next owner.
func (o *outbox) released() {
	for _, kept := range []*buf.Buffer{o.front.buf, o.open.buf} {
		if kept != nil {
			buf.Poison(kept.B)
		}
	}
	o.waiting = unowned
}
