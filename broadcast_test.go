package edgews_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// hubOf returns a hub of n accepted sockets, and the raw clients at their other ends.
func hubOf(t *testing.T, where network, n int, opts edgews.Options) (*edgews.Hub, []*edgews.Socket, []*peer) {
	h := edgews.NewHub(nil)
	sockets, peers := make([]*edgews.Socket, n), make([]*peer, n)
	for i := range n {
		sockets[i], peers[i] = where.serverAndPeer(t, opts)
		require.NoError(t, h.Add(sockets[i]))
		require.NoError(t, sockets[i].Accept())
	}
	return h, sockets, peers
}

// While several goroutines send, each peer gets the messages of each sender in the order in which they were sent.
func TestBroadcastsBesideSends(t *testing.T) {
	everyNetwork(t, func(t *testing.T, where network) {
		const members, broadcasters, messages = 20, 3, 60
		h, sockets, peers := hubOf(t, where, members, edgews.Options{})
		var senders sync.WaitGroup
		for b := range broadcasters {
			senders.Go(func() {
				for i := range messages {
					assert.Equal(t, members, h.Broadcast(edgews.Prepare(edgews.Text, fmt.Appendf(nil, "broadcaster %d: %d", b, i))))
				}
			})
		}
		for _, s := range sockets {
			senders.Go(func() {
				for i := range messages {
					assert.NoError(t, s.Send(fmt.Sprintf("sender 0: %d", i)))
				}
			})
		}
		for _, p := range peers {
			next := make(map[string]int)
			for range (broadcasters + 1) * messages {
				from, number, _ := strings.Cut(p.next().payload, ": ")
				require.Equal(t, fmt.Sprint(next[from]), number, from)
				next[from]++
			}
		}
		senders.Wait()
	})
}

// Connections that end in every way while messages are sent to them change nothing for the others.
func TestBroadcastWhileMembersLeave(t *testing.T) {
	everyNetwork(t, func(t *testing.T, where network) {
		const members, messages = 30, 100
		h, sockets, peers := hubOf(t, where, members, edgews.Options{})
		var leaving sync.WaitGroup
		for i, p := range peers {
			switch i % 6 {
			case 1:
				leaving.Go(p.hangsUp)
			case 3:
				leaving.Go(func() {
					if c, ok := p.conn.(*net.TCPConn); ok {
						assert.NoError(t, c.SetLinger(0)) // a reset
					}
					p.hangsUp()
				})
			case 5:
				p.ignores()
				leaving.Go(func() { assert.NoError(t, sockets[i].Close(edgews.StatusGoingAway, "")) })
			}
		}
		for i := range messages {
			h.Broadcast(edgews.Prepare(edgews.Text, fmt.Append(nil, i)))
		}
		for i, p := range peers {
			for m := range messages {
				if i%2 == 0 {
					p.expects(text(fmt.Sprint(m)))
				}
			}
		}
		leaving.Wait()
	})
}

// A member that does not read loses nothing that it has been promised, and the others get everything.
func TestBroadcastToASlowReader(t *testing.T) {
	everyNetwork(t, func(t *testing.T, where network) {
		const members, size = 6, 4000
		h, _, peers := hubOf(t, where, members, edgews.Options{SendBuffer: 64 << 10, KeepAlive: -1, WriteTimeout: -1, Compression: &edgews.Compression{Disable: true}})
		message := func(i int) string { return fmt.Sprintf("%08d", i) + strings.Repeat("x", size-8) }
		sent := 0
		for took := members; took == members; sent++ {
			took = h.Broadcast(edgews.Prepare(edgews.Text, []byte(message(sent))))
			for _, p := range peers[1:] {
				p.expects(text(message(sent)))
			}
		}
		for i := range sent - 1 { // the last one had no room
			peers[0].expects(text(message(i)))
		}
		assert.Equal(t, members, h.Broadcast(edgews.Prepare(edgews.Text, []byte("last"))))
		for _, p := range peers {
			p.expects(text("last"))
		}
	})
}

func TestBroadcastBeforeClose(t *testing.T) {
	everyNetwork(t, func(t *testing.T, where network) {
		h, sockets, peers := hubOf(t, where, 10, edgews.Options{})
		assert.Equal(t, 10, h.Broadcast(edgews.Prepare(edgews.Text, []byte("last"))))
		for _, s := range sockets {
			require.NoError(t, s.Close(edgews.StatusNormalClosure, ""))
		}
		for _, p := range peers {
			p.expects(text("last"))
			assert.Empty(t, p.expectsClose(1000))
			p.hangsUp()
		}
	})
}

// blockingObserver blocks when it is told of a message that has been sent.
type blockingObserver struct {
	edgews.NopObserver
	told, goOn chan struct{}
}

func (o *blockingObserver) ObserveMessage(m edgews.MessageObservation) {
	if m.Direction == edgews.Outbound {
		close(o.told)
		<-o.goOn
	}
}

// An Observer that blocks holds up no message of a socket before its own.
func TestBroadcastBeforeABlockedObserver(t *testing.T) {
	everyNetwork(t, func(t *testing.T, where network) {
		h, _, peers := hubOf(t, where, 10, edgews.Options{})
		o := &blockingObserver{told: make(chan struct{}), goOn: make(chan struct{})}
		observed, last := where.serverAndPeer(t, edgews.Options{Observer: o})
		require.NoError(t, h.Add(observed))
		require.NoError(t, observed.Accept())
		last.ignores()
		ended := make(chan int)
		go func() { ended <- h.Broadcast(edgews.Prepare(edgews.Text, []byte("all"))) }()
		<-o.told
		for _, p := range peers {
			p.expects(text("all"))
		}
		close(o.goOn)
		assert.Equal(t, 11, <-ended)
	})
}

// Compression.Choose is the program's code: it may wait for a socket that has got the message before.
func TestBroadcastWhoseChooseWaits(t *testing.T) {
	h, sockets, peers := hubOf(t, overTCP, 10, edgews.Options{})
	chosen := make(chan error, 1)
	compression := &edgews.Compression{Threshold: 1, Choose: func(edgews.Kind, []byte) bool {
		chosen <- sockets[0].Flush(within(t))
		return true
	}}
	added := make(chan error, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := edgews.Upgrade(w, r, &edgews.UpgradeOptions{Options: edgews.Options{Compression: compression}})
		if err == nil {
			err = h.Add(s)
		}
		if err == nil {
			err = s.Accept()
		}
		added <- err
	}))
	t.Cleanup(srv.Close)
	last, _, err := edgews.Dial(t.Context(), "ws"+strings.TrimPrefix(srv.URL, "http"), &edgews.DialOptions{
		Options: edgews.Options{Compression: &edgews.Compression{}},
	})
	require.NoError(t, err)
	endWith(t, last)
	require.NoError(t, <-added)
	ended := make(chan int, 1)
	go func() { ended <- h.Broadcast(edgews.Prepare(edgews.Text, []byte("all"))) }()
	for _, p := range peers {
		p.expects(text("all"))
	}
	require.NoError(t, <-chosen)
	require.Equal(t, 11, <-ended)
	m, err := last.Receive(within(t))
	require.NoError(t, err)
	require.Equal(t, "all", m.Text())
}
