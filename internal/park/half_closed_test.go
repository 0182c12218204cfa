package park_test

import (
	"bytes"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews/internal/park"
)

// halfClosed is a handler that goes on writing after reading has ended.
type halfClosed struct {
	*handler
	readEnded atomic.Bool
	asked     atomic.Int32 // calls of ReadBuffer after that
	mayClose  atomic.Bool
	closed    chan struct{}
	writable  chan struct{}
}

func (h *halfClosed) ReadBuffer() ([]byte, park.ReadSize) {
	if h.readEnded.Load() {
		h.asked.Add(1)
		return nil, park.NoRead
	}
	return nil, park.UsualRead
}

func (h *halfClosed) ReadEnded(err error) {
	h.readEnded.Store(true)
	h.end <- err
}

func (h *halfClosed) Woken() {
	if h.mayClose.Load() {
		h.Close()
		close(h.closed)
	}
}

func (h *halfClosed) Writable() {
	select {
	case h.writable <- struct{}{}:
	default:
	}
}

// After ReadEnded, a connection can be written until it is closed, and uses no time while it waits.
func TestWriteAfterReadEnded(t *testing.T) {
	for _, network := range []string{"tcp", "unix", "tls"} {
		t.Run(network, func(t *testing.T) {
			near, far := connect(t, network)
			plain := &handler{received: func([]byte) {}, end: make(chan error, 1)}
			h := &halfClosed{handler: plain, closed: make(chan struct{}), writable: make(chan struct{}, 1)}
			h.Init(near, h)
			h.Start()
			far.Write([]byte("the last bytes"))
			require.NoError(t, far.(interface{ CloseWrite() error }).CloseWrite())
			h.wantsEnd(t, io.EOF)

			const size = 4 << 20
			sent := noise(size)
			read := make(chan []byte, 1)
			go func() {
				all, _ := io.ReadAll(far)
				read <- all
			}()
			require.NoError(t, h.write(sent, h.writable))
			assert.Less(t, h.asked.Load(), int32(10_000), "a busy loop")
			h.CloseWrite()
			h.mayClose.Store(true)
			h.Wake()
			select {
			case <-h.closed:
			case <-time.After(patience):
				require.FailNow(t, "Woken was not called")
			}
			assert.True(t, bytes.Equal(sent, <-read))
		})
	}
}
