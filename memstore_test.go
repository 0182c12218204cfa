package edgews

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// That it is a store is what storetest checks.
func TestMemoryStoreForgets(t *testing.T) {
	ctx := context.Background()
	s := NewMemoryStore().(*memoryStore)
	for n := range 10 {
		o, err := s.Open(ctx, ObjectKey{"room", knownIDs.get(idBytes{byte(n)})}, Fence{1})
		require.NoError(t, err)
		_, err = o.Get(ctx, "key")
		require.ErrorIs(t, err, ErrKeyNotFound)
		assert.Empty(t, s.objects, "an object that was looked at")

		require.NoError(t, o.Commit(ctx, Batch{Puts: []Entry{{"a", nil}, {"b", nil}}, Alarm: &AlarmChange{time.Unix(1, 0)}}))
		require.NoError(t, o.Commit(ctx, Batch{Deletes: []string{"a"}, Alarm: &AlarmChange{time.Time{}.Local()}}))
		require.NoError(t, o.Commit(ctx, Batch{DeleteAll: true}))
		o.Release()
		assert.Empty(t, s.objects, "an object that has nothing any more")
		assert.Empty(t, s.alarms)
	}
}

func BenchmarkMemoryStoreCommit(b *testing.B) {
	ctx := context.Background()
	for _, keys := range []int{1, 1000, 100_000} {
		b.Run(fmt.Sprint("keys=", keys), func(b *testing.B) {
			o, _ := NewMemoryStore().Open(ctx, ObjectKey{}, Fence{1})
			batches := make([]Batch, keys)
			for i := range batches {
				batches[i] = Batch{Puts: []Entry{{fmt.Sprintf("%06d", i*7919%keys), make([]byte, 100)}}}
				o.Commit(ctx, batches[i])
			}
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				o.Commit(ctx, batches[i%keys])
				i++
			}
		})
	}
}
