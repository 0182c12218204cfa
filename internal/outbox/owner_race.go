//go:build race

package outbox

import (
	"math"

	"github.com/edgews/edgews/internal/buf"
)

// unowned is the value of waiting while the Outbox has no owner.
const unowned = math.MinInt

func newOutbox() *Outbox { return &Outbox{waiting: unowned} }

// Acquired panics if o has been used without an owner, or has one already.
func (o *Outbox) Acquired() {
	if o.waiting != unowned {
		panic("edgews: an outbox has two owners")
	}
	o.waiting = 0
	if !o.Unused() || o.Blocked || !o.open.isEmpty() || !o.front.isEmpty() || o.control != nil || o.full.Len() > 0 {
		panic("edgews: an outbox without an owner was used")
	}
}

// Released marks o, and overwrites the buffers that it keeps: a goroutine that still uses it sends bytes that tests recognise, or makes
// Acquired panic.
func (o *Outbox) Released() {
	for _, kept := range []*buf.Buffer{o.front.buf, o.open.buf} {
		if kept != nil {
			buf.Poison(kept.B)
		}
	}
	o.waiting = unowned
}
