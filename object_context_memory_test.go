package edgews_test

import (
	"context"
	"runtime"
	"testing"
	"weak"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type sessionKey struct{}

// Events keep nothing of the contexts of those who have called, also if objects call each other in both directions.
func TestEventsKeepNoContextsOfCallers(t *testing.T) {
	n := newRooms(t, nil, nil)
	a, b := n.ByName("a"), n.ByName("b")
	nothing := func(context.Context, edgews.Object) error { return nil }
	var sessions []weak.Pointer[[4 << 10]byte]
	call := func(from, to *edgews.Stub) {
		session := new([4 << 10]byte)
		sessions = append(sessions, weak.Make(session))
		ctx := context.WithValue(t.Context(), sessionKey{}, session)
		require.NoError(t, from.Do(ctx, func(ctx context.Context, _ edgews.Object) error { return to.Do(ctx, nothing) }))
	}
	for i := range 1000 {
		switch {
		case i%3 == 0:
			call(b, a)
		case i == 100:
			for range 10 {
				require.NoError(t, a.Do(t.Context(), nothing))
			}
		default:
			call(a, b)
		}
	}
	runtime.GC()
	kept := 0
	for _, s := range sessions {
		if s.Value() != nil {
			kept++
		}
	}
	assert.LessOrEqual(t, kept, 4, "of the last calls, by stacks")
	runtime.KeepAlive(n)
}
