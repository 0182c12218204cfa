package edgews

import (
	"bytes"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/edgews/edgews/internal/deflate"
	"github.com/stretchr/testify/require"
)

// The quick path of Send and SendPrepared takes a message only if the general path takes it too, and then the same bytes leave.
func TestQuickPathOfSend(t *testing.T) {
	took := 0
	for seed := range uint64(3000) {
		quick, general := randomSender(t, seed), randomSender(t, seed)
		r := rand.New(rand.NewPCG(seed, 2))
		for range 8 {
			kind, p := Binary, make([]byte, r.IntN(400))
			for i := range p {
				p[i] = byte(r.IntN(3))
			}
			m := outgoing{kind: kind, data: p, first: true, last: true}
			ok := false
			if r.IntN(3) > 0 {
				ok = quick.sendPlain(kind, p)
			} else {
				m.prepared = Prepare(kind, p)
				ok = quick.sendEncoded(nil, m.prepared.plain(), len(p))
			}
			if err := general.send(m); ok {
				took++
				require.NoError(t, err, "seed %d: only the quick path takes it: phase %d, facts %b", seed, quick.phase, quick.facts)
			} else {
				require.Equal(t, err, quick.send(m))
			}
			require.Equal(t, sentSoFar(general), sentSoFar(quick), "seed %d", seed)
		}
		require.Equal(t, written(general), written(quick), "seed %d", seed)
	}
	require.Greater(t, took, 500)
}

// randomSender returns a socket in a random state, with the beginning of a queue. The same seed leads to the same socket. It writes
// nothing: a goroutine seems to be writing.
func randomSender(t *testing.T, seed uint64) *Socket {
	r := rand.New(rand.NewPCG(seed, 1))
	often := func(n int) bool { return r.IntN(n) > 0 }
	// Nothing times out while the test looks at the socket without its mutex.
	opts := Options{SendBuffer: 1 + r.IntN(2000), Overflow: Overflow(r.IntN(3)), KeepAlive: -1, CloseTimeout: 24 * time.Hour, WriteTimeout: -1}
	opts.Compression = &Compression{Threshold: r.IntN(400)}
	c := wireConfig{client: !often(10), opts: opts.resolve(), conn: discardConn{}}
	if !often(3) {
		c.deflate = new(deflate.Params)
	}
	if often(2) {
		c.meter = NewMeter(nil)
	}
	s := newSocket(c)
	s.phase, s.consumer = phaseOpen, consumer(r.IntN(2))
	if !often(5) {
		s.phase = phase(r.IntN(int(phaseUsed) + 1))
	}
	for _, fact := range []facts{manualClose, sentClose, gotClose, lost, streamingOut, readPaused, uncompressed, pinged, corked, openRunning, readEnded} {
		if !often(20) {
			s.facts |= fact
		}
	}
	w := s.link.(*wire)
	w.outboxLocked().Writing = true
	for range r.IntN(4) {
		w.out.AddMessage(opcodeOf(Text), bytes.Repeat([]byte("x"), r.IntN(1000)))
	}
	t.Cleanup(func() { w.out = nil })
	return s
}

// sender is what a socket has queued and counted.
type sender struct {
	payload, size int
	counted       Usage
	facts         facts
}

func sentSoFar(s *Socket) sender {
	out := s.link.(*wire).out
	sent := sender{payload: out.Payload, size: out.Size, facts: s.facts}
	if s.counter != nil {
		sent.counted = s.counter.used
	}
	return sent
}

// written returns what a socket has queued, as if it had been written. The queue is empty then.
func written(s *Socket) (all []byte) {
	w := s.link.(*wire)
	for !w.out.Empty() {
		p := w.out.Next()
		all = append(all, p...)
		w.out.Wrote(len(p))
	}
	if w.client { // the mask is random
		return all[:0]
	}
	return all
}

// discardConn is a connection that is never read or written.
type discardConn struct{ net.Conn }
