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

// taken panics if o was used after dropped, or is in a wire already.
func (o *outbox) taken() {
	if o.waiting != unowned {
		panic("edgews: an outbox has two owners")
	}
	o.waiting = 0
	if !o.idle() || o.blocked || !o.last.none() || !o.front.none() || o.control != nil || o.frames.len() > 0 {
		panic("edgews: an outbox without an owner was used")
	}
}

// dropped marks o and overwrites the buffers that it keeps for its next owner.
func (o *outbox) dropped() {
	for _, kept := range []*buf.Buffer{o.front.buf, o.last.buf} {
		if kept != nil {
			buf.Poison(kept.B)
		}
	}
	o.waiting = unowned
}
