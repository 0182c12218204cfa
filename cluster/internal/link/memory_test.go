package link_test

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews/cluster/internal/link"
)

// An open channel on which nothing is under way costs each end little: there is one for each socket of a client.
func TestMemoryOfAnIdleChannel(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector needs memory of its own")
	}
	const channels, bothEnds = 20000, 2
	shared := &counting{}
	a := startTCPNode(t, "a", nil)
	accepted := make(chan struct{}, channels)
	b := startTCPNode(t, "b", func(o *link.Options) {
		o.Accept = func(link.Peer, *link.Channel, []byte) link.Receiver { return acceptedReceiver{accepted} }
	})
	all := make([]*link.Channel, channels)
	before := heap()
	for i := range all {
		ch, err := a.Open(b.self, nil, 0, shared)
		require.NoError(t, err)
		all[i] = ch
		_, err = ch.TrySend([]byte("a message"))
		require.NoError(t, err)
	}
	for range all {
		<-accepted
	}
	each := float64(heap()-before) / channels / bothEnds
	t.Logf("%.0f bytes for each end of a channel", each)
	assert.Less(t, each, 320.0)
	runtime.KeepAlive(all)
}

type acceptedReceiver struct{ accepted chan struct{} }

func (a acceptedReceiver) Message(uint64, []byte) bool { a.accepted <- struct{}{}; return true }
func (a acceptedReceiver) Ended([]byte)                {}
func (a acceptedReceiver) Writable()                   {}
func (a acceptedReceiver) Closed(error)                {}

// heap returns the bytes of live objects.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
