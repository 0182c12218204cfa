package edgews_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/internal/park"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What many sockets on one event loop owe each other.

func echoListener(s *edgews.Socket) {
	s.OnMessage(func(e edgews.MessageEvent) { s.SendBytes(e.Data) })
	s.Accept()
}

// onLoop are the places whose connections wait on the event loop, on Linux.
var onLoop = []place{overTCP, overTLS}

func TestIdleSocketsHoldNoGoroutine(t *testing.T) {
	if !park.HasLoop {
		t.Skip("this build has no event loop")
	}
	for _, at := range onLoop {
		t.Run(at.name, func(t *testing.T) {
			const n = 20
			open := func() *peer {
				s, p := at.serverAndPeer(t, edgews.Options{})
				echoListener(s)
				p.sends(binaryOf("x"))
				p.expects(binaryOf("x"))
				return p
			}
			open()
			before := waiting()
			var peers []*peer
			for range n {
				peers = append(peers, open())
			}
			deadline := time.Now().Add(patience)
			for waiting() > before+n/4 && time.Now().Before(deadline) {
				runtime.Gosched() // one that has just served is about to go
			}
			assert.LessOrEqual(t, waiting(), before+n/4)
			for _, p := range peers { // all are still there
				p.sends(binaryOf("y"))
				p.expects(binaryOf("y"))
			}
		})
	}
}

// waiting returns how many goroutines read connections for sockets.
func waiting() int {
	stacks := make([]byte, 4<<20)
	return strings.Count(string(stacks[:runtime.Stack(stacks, true)]), "park.(*stream).run")
}

func TestBlockedListenerHoldsUpNobodyElse(t *testing.T) {
	for _, at := range onLoop {
		t.Run(at.name, func(t *testing.T) {
			release := make(chan struct{})
			defer close(release)
			var others []*peer
			for range 10 {
				s, p := at.serverAndPeer(t, edgews.Options{})
				echoListener(s)
				others = append(others, p)
			}
			for range 5 {
				s, p := at.serverAndPeer(t, edgews.Options{})
				s.OnMessage(func(edgews.MessageEvent) {
					s.Send("before it blocks")
					<-release
				})
				s.Accept()
				// Another message is behind it, so that the reply would wait for it.
				p.sends(text("block"), text("never heard"))
				p.expects(text("before it blocks"))
			}
			for i := range 5 {
				for _, p := range others {
					said := binaryOf(fmt.Sprint("round ", i))
					p.sends(said)
					p.expects(said)
				}
			}
		})
	}
}

// What a listener sends may wait for the end of its turn, but not if that does not come.
func TestRepliesOfListenersThatBlockAtOnce(t *testing.T) {
	for _, at := range onLoop {
		t.Run(at.name, func(t *testing.T) {
			release := make(chan struct{})
			defer close(release)
			var peers []*peer
			for range 20 {
				s, p := at.serverAndPeer(t, edgews.Options{})
				s.OnMessage(func(e edgews.MessageEvent) {
					s.SendBytes(e.Data)
					if string(e.Data) == "block" {
						<-release
					}
				})
				s.Accept()
				peers = append(peers, p)
			}
			for _, p := range peers {
				p.sends(binaryOf("go on"), binaryOf("block"))
			}
			for _, p := range peers {
				p.expects(binaryOf("go on"), binaryOf("block"))
			}
		})
	}
}

func TestBroadcastOfABatch(t *testing.T) {
	for _, at := range onLoop {
		t.Run(at.name, func(t *testing.T) {
			const members, messages = 30, 8
			var sockets []*edgews.Socket
			var peers []*peer
			for range members {
				s, p := at.serverAndPeer(t, edgews.Options{})
				sockets, peers = append(sockets, s), append(peers, p)
			}
			for _, s := range sockets {
				s.OnMessage(func(e edgews.MessageEvent) {
					m := edgews.Prepare(e.Kind, e.Data)
					for _, to := range sockets {
						if err := to.SendPrepared(m); err != nil {
							t.Error(err)
						}
					}
				})
				require.NoError(t, s.Accept())
			}
			var batch []aFrame
			for i := range messages {
				batch = append(batch, text(fmt.Sprint("message ", i)))
			}
			peers[0].sends(batch...)
			for _, p := range peers {
				p.expects(batch...)
			}
		})
	}
}
