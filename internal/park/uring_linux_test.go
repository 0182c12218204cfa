//go:build !edgews_noloop && !edgews_nouring && (amd64 || arm64)

package park_test

import (
	"testing"

	"github.com/edgews/edgews/internal/park"
)

// withoutRing runs a test as where the ring is used by another goroutine, and as where the kernel has begun to refuse it.
func withoutRing(t *testing.T, test func(t *testing.T)) {
	if !park.HasRing() {
		t.Skip("the kernel does not allow io_uring")
	}
	t.Run("busy", func(t *testing.T) {
		defer park.HoldRing()()
		test(t)
	})
	t.Run("refused", func(t *testing.T) {
		defer park.BreakRing()()
		test(t)
		test(t)
	})
}

func TestBatchWithoutRing(t *testing.T) {
	withoutRing(t, testBatch)
}
