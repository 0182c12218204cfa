package tunnel_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	mathrand "math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews/internal/tunnel"
)

// How one end of a tunnel of TestStorm ends.
const (
	endHalf   = iota // its stream, and reads the other one to its end
	endClosed        // closes without reading further
	endReset         // resets
	endStall         // stops reading and writing
	endKinds
)

// stormSide is one end of a tunnel, and what it does.
type stormSide struct {
	conn    net.Conn
	sent    []byte
	end     int
	slow    bool
	got     []byte
	readErr error // why nothing more was read; nil if the end has stopped reading
}

func (s *stormSide) run(stop <-chan struct{}) {
	var wg sync.WaitGroup
	wg.Go(func() {
		p := s.sent
		for len(p) > 0 {
			n := min(len(p), 1+mathrand.IntN(1<<mathrand.IntN(20)))
			if _, err := s.conn.Write(p[:n]); err != nil {
				return
			}
			p = p[n:]
		}
		if s.end == endHalf {
			closeWrite(s.conn)
		}
	})
	wg.Go(func() {
		limit := -1
		if s.end != endHalf {
			limit = mathrand.IntN(1 << 18)
		}
		for {
			p := make([]byte, 1<<(4+mathrand.IntN(14)))
			n, err := s.conn.Read(p)
			s.got = append(s.got, p[:n]...)
			if err != nil {
				s.readErr = err
				return
			}
			if limit >= 0 && len(s.got) > limit {
				break
			}
			if s.slow && mathrand.IntN(4) == 0 {
				time.Sleep(time.Duration(mathrand.IntN(300)) * time.Microsecond)
			}
		}
		switch s.end {
		case endClosed:
			s.conn.Close()
		case endReset:
			resetAny(s.conn)
		case endStall:
			<-stop
		}
	})
	wg.Wait()
}

func resetAny(c net.Conn) {
	raw := c
	if over, ok := raw.(interface{ NetConn() net.Conn }); ok {
		raw = over.NetConn()
	}
	if tcp, ok := raw.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	raw.Close()
	c.Close()
}

// TestStorm runs many tunnels at once, whose ends do everything in random order. Whatever happens, each end gets a beginning of what the
// other one has sent, in order, and all of it if both end their streams.
func TestStorm(t *testing.T) {
	for range 2 {
		var wg sync.WaitGroup
		for range 50 {
			a, b := links[mathrand.IntN(len(links))], links[mathrand.IntN(len(links))]
			outerA, innerA := a.make(t)
			outerB, innerB := b.make(t)
			var sides [2]*stormSide
			for i, c := range []net.Conn{outerA, outerB} {
				sides[i] = &stormSide{conn: c, sent: random(mathrand.IntN(1 << (1 + mathrand.IntN(20)))), end: mathrand.IntN(endKinds), slow: mathrand.IntN(3) == 0}
			}
			graceful := mathrand.IntN(2) == 0
			if graceful {
				sides[0].end, sides[1].end = endHalf, endHalf
			}
			ended := make(chan error, 4)
			opts := &tunnel.Options{WriteTimeout: 100 * time.Millisecond, EndTimeout: 100 * time.Millisecond, IdleTimeout: 300 * time.Millisecond, Ended: func(err error) { ended <- err }}
			if graceful {
				opts.WriteTimeout, opts.EndTimeout, opts.IdleTimeout = patience, patience, 0
			}
			early := [2]int{mathrand.IntN(len(sides[0].sent) + 1), mathrand.IntN(len(sides[1].sent) + 1)}
			for i := range early {
				early[i] = min(early[i], 8<<10)
			}
			all := [2][]byte{sides[0].sent, sides[1].sent}
			stop := make(chan struct{})
			wg.Go(func() {
				tunnel.Start(innerA, innerB, bytes.Clone(all[0][:early[0]]), bytes.Clone(all[1][:early[1]]), opts)
				var both sync.WaitGroup
				for i, s := range sides {
					s.sent = s.sent[early[i]:]
					both.Go(func() { s.run(stop) })
				}
				var err error
				select {
				case err = <-ended:
				case <-time.After(patience):
					assert.Fail(t, "no end", "%s-%s %+v %+v", a.name, b.name, sides[0].end, sides[1].end)
				}
				close(stop)
				if !graceful {
					outerA.Close()
					outerB.Close()
				}
				both.Wait()
				outerA.Close()
				outerB.Close()
				for i, s := range sides {
					want := all[1-i]
					if !assert.True(t, bytes.HasPrefix(want, s.got), "%s-%s: side %d", a.name, b.name, i) {
						return
					}
					if graceful && halves(a) && halves(b) {
						assert.NoError(t, err)
						assert.Equal(t, len(want), len(s.got), "%s-%s: side %d", a.name, b.name, i)
						assert.True(t, errors.Is(s.readErr, io.EOF), "%s-%s: %v", a.name, b.name, s.readErr)
					}
				}
				assert.Empty(t, ended)
			})
		}
		wg.Wait()
		require.False(t, t.Failed())
	}
}

func random(n int) []byte {
	p := make([]byte, n)
	_, _ = rand.Read(p)
	return p
}
