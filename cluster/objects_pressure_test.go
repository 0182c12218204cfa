package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews"
)

// heap returns how many bytes are in use.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestManySocketsOnAStuckObject: a thousand clients of one node send to an object on another node that does not handle anything. They have to
// wait, so that the memory of both nodes is bounded; and other objects on that node are not held up. Nothing is lost when the object goes on.
func TestManySocketsOnAStuckObject(t *testing.T) {
	const (
		size    = 8 << 10 // of a message
		offered = 1 << 20 // by each client, in bytes
	)
	clients := 1000
	if raceEnabled {
		clients = 200
	}
	goOn := make(chan struct{})
	sites := startSitesOf(t, func(_ context.Context, st *edgews.State) (edgews.Object, error) { return &waiter{st, goOn}, nil }, nil, "a", "b")
	home, others := settledHomeOf(t, sites, "busy")
	edge := others[0]
	calm := edge.dial(t, roomOf(t, sites, home, "busy"), "calm")
	assert.Equal(t, "said x", ask(t, calm, "x"))
	stuck := edge.dial(t, "busy", "stuck")
	conns := make([]*net.TCPConn, clients)
	for i := range conns {
		conns[i], _ = upgradeByHand(t, edge, "/busy")
		require.NoError(t, conns[i].SetWriteBuffer(size))
	}
	before := heap()
	require.NoError(t, stuck.Write(t.Context(), edgews.Text, []byte("wait")))

	message := frameByHand("many " + strings.Repeat("z", size-len("many ")))
	var sent, blocked atomic.Int64
	var wg sync.WaitGroup
	for _, conn := range conns {
		wg.Go(func() {
			for range offered / size {
				if !assert.NoError(t, conn.SetWriteDeadline(time.Now().Add(time.Second))) {
					return
				}
				if _, err := conn.Write(message); errors.Is(err, os.ErrDeadlineExceeded) {
					blocked.Add(1)
					return
				} else if !assert.NoError(t, err) {
					return
				}
				sent.Add(1)
			}
		})
	}
	for range 20 {
		assert.Equal(t, "said y", ask(t, calm, "y"), "another object of the same node, through the same link")
	}
	wg.Wait()
	assert.Equal(t, "said z", ask(t, calm, "z"))
	assert.Equal(t, int64(clients), blocked.Load(), "all clients have to wait")
	grown := int64(heap()) - int64(before)
	t.Logf("%d MiB of %d MiB are sent, the nodes keep %d MiB", sent.Load()*size>>20, clients*offered>>20, grown>>20)
	// The window of a channel is 64 KiB. Its edge keeps that, its home as much, in buffers of up to twice the size, and the WebSocket at the edge
	// has a message and buffers that wait for the window.
	assert.Less(t, grown, int64(clients*6*(64<<10)))

	close(goOn)
	again := edge.dial(t, "busy", "again")
	assert.Equal(t, "said x", ask(t, again, "x"), "the object goes on")
}

// roomOf returns a room, other than one, that has the same home.
func roomOf(t *testing.T, sites []*site, home *site, not string) string {
	for i := 0; ; i++ {
		room := fmt.Sprint("room", i)
		if at, _ := settledHomeOf(t, sites, room); at == home && room != not {
			return room
		}
	}
}

// waiter is an object that answers "x", "y" and "z", and that waits at "wait".
type waiter struct {
	st   *edgews.State
	goOn <-chan struct{}
}

func (o *waiter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s, err := edgews.Upgrade(w, r, &edgews.UpgradeOptions{Protocols: []string{"tally"}}); err == nil {
		_ = o.st.AcceptWebSocket(s)
	}
}

func (o *waiter) WebSocketMessage(_ context.Context, s *edgews.Socket, m edgews.Message) error {
	switch text := m.Text(); {
	case text == "wait":
		<-o.goOn
	case len(text) == 1:
		return s.Send("said " + text)
	}
	return nil
}
