package park_test

import (
	"io"
	"net"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// pingPong has two connections of the loop answer each other, so that the loop is always busy, until end is called.
func pingPong(t testing.TB) (end func()) {
	near, far := dial(t, "unix")
	handlers := [2]*handler{newHandler(near, nil), newHandler(far, nil)}
	for _, h := range handlers {
		h.received = func(p []byte) { _, _ = h.TryWrite(p) }
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

// runtimeEcho returns a function that makes a round trip through the runtime's poller.
func runtimeEcho(t testing.TB) (ask func()) {
	near, far := connect(t, "tcp")
	go io.Copy(far, struct{ net.Conn }{far}) // the wrapper prevents splice(2)
	b := make([]byte, 1)
	return func() {
		_, err := near.Write(b)
		assert.NoError(t, err)
		_, err = io.ReadFull(near, b)
		assert.NoError(t, err)
	}
}

// Other connections of the process, in the runtime's poller, make progress while the loop is always busy, even with GOMAXPROCS=1.
func TestRuntimePollerBesideLoop(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	defer pingPong(t)()
	ask := runtimeEcho(t)
	for range 20 {
		ask()
	}
}

func BenchmarkRuntimePollerBesideLoop(b *testing.B) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	defer pingPong(b)()
	ask := runtimeEcho(b)
	for b.Loop() {
		ask()
	}
}
