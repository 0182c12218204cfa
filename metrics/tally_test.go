package metrics_test

import (
	"sync"
	"testing"

	"github.com/edgews/edgews/metrics"
	"github.com/stretchr/testify/require"
)

// While values are added, and carried from the words to the larger counters, a reading has each value once.
func TestTally(t *testing.T) {
	const each = 300_000
	var tally metrics.Tally
	var adders sync.WaitGroup
	for bucket := range uint8(3) {
		adders.Go(func() {
			for range each {
				tally.Add(bucket, 1, 2)
			}
		})
	}
	added := make(chan struct{})
	go func() {
		adders.Wait()
		close(added)
	}()
	last := uint64(0)
	for done := false; !done; {
		select {
		case <-added:
			done = true
		default:
		}
		count, low, high := tally.Read()
		require.GreaterOrEqual(t, count, last, "the count goes back")
		require.Equal(t, []uint64{count, 2 * count}, []uint64{low, high})
		last = count
	}
	require.EqualValues(t, 3*each, last)
}
