package outbox

import "sync"

// pool has outboxes without an owner.
var pool = sync.Pool{New: func() any { return newOutbox() }}

// Get returns an empty Outbox from the pool, which the caller owns. It is not inlined, so that functions that call it rarely can be.
//
//go:noinline
func Get() *Outbox {
	o := Spare()
	o.Acquired()
	return o
}

// Spare returns an Outbox from the pool without making the caller its owner: Acquired does that.
func Spare() *Outbox { return pool.Get().(*Outbox) }

// Put gives an Outbox back to the pool. It must be Unused, and Released must have been called.
func Put(o *Outbox) { pool.Put(o) }
