//go:build !linux || edgews_noloop

package park

// Batch takes no writes without the event loop.
type Batch struct{}

// NewBatch returns nil, which is a Batch that takes nothing.
func NewBatch() *Batch { return nil }

// MakeRoom does nothing.
func (*Batch) MakeRoom() {}

// Add returns false.
func (*Batch) Add(*Conn, BatchWriter, []byte) bool { return false }

// Write does nothing.
func (*Batch) Write() {}

// Close does nothing.
func (*Batch) Close() {}
