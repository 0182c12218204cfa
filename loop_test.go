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

// The tests in this file check that sockets on one event loop do not delay each other.

func echoListener(s *edgews.Socket) {
	s.OnMessage(func(e edgews.MessageEvent) { s.SendBytes(e.Data) })
	s.Accept()
}

// onLoop are the networks whose connections wait on the event loop on Linux.
var onLoop = []network{overTCP, overTLS}

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
				runtime.Gosched() // a goroutine that has just handled a message still has to end
			}
			assert.LessOrEqual(t, waiting(), before+n/4)
			for _, p := range peers { // all connections still work
				p.sends(binaryOf("y"))
				p.expects(binaryOf("y"))
			}
		})
	}
}

// waiting returns the number of goroutines that read a socket's connection.
func waiting() int {
	stacks := make([]byte, 4<<20)
	return strings.Count(string(stacks[:runtime.Stack(stacks, true)]), "park.(*stream).run")
}

func TestBlockedListenerDelaysOnlyItsSocket(t *testing.T) {
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
				// A second message follows, so that the reply to the first is deferred to the end of the turn.
				p.sends(text("block"), text("never handled"))
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

// The write of what a listener sends may be deferred to the end of the turn, but a listener that blocks must not delay it.
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
