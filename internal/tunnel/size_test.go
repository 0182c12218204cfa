package tunnel

import (
	"testing"
	"unsafe"

	"github.com/edgews/edgews/internal/park"
)

// TestSize pins what an idle tunnel costs in the heap.
func TestSize(t *testing.T) {
	if size := unsafe.Sizeof(tunnel{}); park.HasLoop && unsafe.Sizeof(uintptr(0)) == 8 && size > 192 {
		t.Errorf("a tunnel has %d bytes, more than the size class of 192", size)
	}
}
