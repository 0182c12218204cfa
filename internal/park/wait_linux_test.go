package park_test

import (
	"io"
	"net"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// rally has two connections of the loop answer each other for ever, so that the loop never rests. It returns what ends it.
func rally(t testing.TB) (end func()) {
	near, far := dial(t, "unix")
	handlers := [2]*handler{newHandler(near, nil), newHandler(far, nil)}
	for _, h := range handlers {
		h.input = func(p []byte) { _, _ = h.TryWrite(p) }
		h.Start()
	}
	_, err := handlers[0].TryWrite([]byte("x"))
	require.NoError(t, err)
	return func() {
		for _, h := range handlers {
			h.Shutdown()
			<-h.end
		}
	}
}

// bystander returns a round trip through the runtime's poller.
func bystander(t testing.TB) (ask func()) {
	near, far := connect(t, "tcp")
	go io.Copy(far, struct{ net.Conn }{far}) // the wrapper keeps it from being spliced
	b := make([]byte, 1)
	return func() {
		_, err := near.Write(b)
		assert.NoError(t, err)
		_, err = io.ReadFull(near, b)
		assert.NoError(t, err)
	}
}

// Other connections of the process, on the runtime's poller, get on while the loop never rests, even with one processor.
func TestBystander(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	defer rally(t)()
	ask := bystander(t)
	for range 20 {
		ask()
	}
}

func BenchmarkBystander(b *testing.B) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	defer rally(b)()
	ask := bystander(b)
	for b.Loop() {
		ask()
	}
}
