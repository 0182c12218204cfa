package outbox

// heldFrames are the frames of an Outbox that are held back. They are an Outbox of their own, which waits behind the first one; the first
// one counts them as its own.
type heldFrames struct {
	Outbox
	closing bool // a Close frame is among them
}

// Hold holds back what is added from now on, until ReleaseHeld or DropHeld. It returns false if the outbox does so already.
func (o *Outbox) Hold() bool {
	if o.held != nil {
		return false
	}
	o.held = new(heldFrames)
	return true
}

// Holds reports whether the outbox holds frames back.
func (o *Outbox) Holds() bool { return o.held != nil }

// HoldsClose reports whether a Close frame is among what is held back.
func (o *Outbox) HoldsClose() bool { return o.held != nil && o.held.closing }

// CloseAdded records that a Close frame has been added, which may be held back.
func (o *Outbox) CloseAdded() {
	if o.held != nil {
		o.held.closing = true
	}
}

// push adds frames that the first Outbox has counted already.
func (g *heldFrames) push(b batch) {
	g.endBatch()
	g.full.Push(b)
	g.waiting += len(b.unwritten())
	g.Payload += b.payload
	g.Size += b.size
}

// ReleaseHeld appends the frames that have been held back.
func (o *Outbox) ReleaseHeld() {
	held := o.held
	o.held = nil
	o.endBatch()
	for held.endBatch(); held.full.Len() > 0; {
		o.full.Push(held.full.Pop())
	}
	o.waiting += held.waiting
}

// DropHeld drops the frames that have been held back. It reports whether a Close frame was among them.
func (o *Outbox) DropHeld() (closing bool) {
	held := o.held
	o.held = nil
	o.Payload -= held.Payload
	o.Size -= held.Size
	held.Discard()
	return held.closing
}
