package dialh2_test

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews"
)

// told is an Observer that keeps the events of a server's sockets, in words.
type told struct {
	edgews.NopObserver
	mu    sync.Mutex
	lines []string
	ended chan struct{}
}

func (o *told) add(line string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lines = append(o.lines, line)
}

func (o *told) ObserveSocket(e edgews.SocketObservation) {
	if e.Event != edgews.SocketClosed {
		o.add(e.Event.String())
		return
	}
	o.add("closed by " + e.Cause.String())
	close(o.ended)
}

func (o *told) ObserveMessage(m edgews.MessageObservation) {
	o.add(m.Direction.String() + " " + m.Kind.String())
}

// An Observer is told the same over HTTP/2, whatever the handler does.
func TestAnObserverIsTold(t *testing.T) {
	for name, handler := range handlers {
		t.Run(name, func(t *testing.T) {
			seen := &told{ended: make(chan struct{})}
			s := serve(t, requireHTTP2(t, handler(&edgews.UpgradeOptions{Options: edgews.Options{Observer: seen}})))
			socket := s.dial(t, "/", edgews.DialOptions{})
			for range 3 {
				require.NoError(t, socket.Write(within(t), edgews.Text, []byte("hello")))
				_, err := socket.Receive(within(t))
				require.NoError(t, err)
			}
			require.NoError(t, socket.Close(1000, ""))
			ended(t, socket)
			<-seen.ended
			seen.mu.Lock()
			defer seen.mu.Unlock()
			counts := map[string]int{}
			for _, line := range seen.lines {
				counts[line]++
			}
			assert.Equal(t, map[string]int{"opened": 1, "in text": 3, "out text": 3, "closed by peer": 1}, counts)
			assert.Equal(t, "opened", seen.lines[0])
			assert.Equal(t, "closed by peer", seen.lines[len(seen.lines)-1])
		})
	}
}
