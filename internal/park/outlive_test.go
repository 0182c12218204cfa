package park_test

import (
	"bytes"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// outliving is a handler that goes on writing after the peer has ended its side.
type outliving struct {
	*handler
	hungUp   atomic.Bool
	asked    atomic.Int32 // how often it was asked for room after that
	mayClose atomic.Bool
	over     chan struct{}
	room     chan struct{}
}

func (h *outliving) Room() ([]byte, bool) {
	if h.hungUp.Load() {
		h.asked.Add(1)
		return nil, false
	}
	return nil, true
}

func (h *outliving) HungUp(err error) {
	h.hungUp.Store(true)
	h.end <- err
}

func (h *outliving) Woken() {
	if h.mayClose.Load() {
		h.Close()
		close(h.over)
	}
}

func (h *outliving) Writable() {
	select {
	case h.room <- struct{}{}:
	default:
	}
}

// A connection outlives the end of its input: it can be written until it is closed, and costs no time while it waits.
func TestOutlivingTheInput(t *testing.T) {
	for _, network := range []string{"tcp", "unix", "tls"} {
		t.Run(network, func(t *testing.T) {
			near, far := connect(t, network)
			plain := &handler{input: func([]byte) {}, end: make(chan error, 1)}
			h := &outliving{handler: plain, over: make(chan struct{}), room: make(chan struct{}, 1)}
			h.Init(near, h)
			h.Start()
			far.Write([]byte("all I have to say"))
			require.NoError(t, far.(interface{ CloseWrite() error }).CloseWrite())
			h.wantsEnd(t, io.EOF)

			const size = 4 << 20
			sent := noise(size)
			read := make(chan []byte, 1)
			go func() {
				all, _ := io.ReadAll(far)
				read <- all
			}()
			require.NoError(t, h.write(sent, h.room))
			assert.Less(t, h.asked.Load(), int32(10_000), "a busy loop")
			h.CloseWrite()
			h.mayClose.Store(true)
			h.Wake()
			select {
			case <-h.over:
			case <-time.After(patience):
				require.FailNow(t, "it was not woken")
			}
			assert.True(t, bytes.Equal(sent, <-read))
		})
	}
}
