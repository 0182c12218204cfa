//go:build !race

package outbox

func newOutbox() *Outbox { return new(Outbox) }

// Acquired is called by a new owner. With the race detector, it panics if o has been used without an owner, or has one already.
func (o *Outbox) Acquired() {}

// Released is called by the owner of an Unused Outbox, which then belongs to none until Acquired. With the race detector, it overwrites the
// buffers that the Outbox keeps.
func (o *Outbox) Released() {}
