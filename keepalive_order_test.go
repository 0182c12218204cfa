package edgews_test

import (
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// bothRoles runs f in a bubble, with a raw peer, for a server's socket and for a client's socket.
func bothRoles(t *testing.T, opts edgews.Options, f func(t *testing.T, s *edgews.Socket, p *peer)) {
	t.Helper()
	t.Run("server", func(t *testing.T) { overAPipe(t, opts, f) })
	t.Run("client", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			s, p := clientAndPeer(t, opts)
			f(t, s, p)
		})
	})
}

// keepAliveOrders are options in which KeepAlive is shorter than KeepAliveTimeout, equal to it, or longer.
var keepAliveOrders = []edgews.Options{
	{KeepAlive: time.Second, KeepAliveTimeout: 15 * time.Second},
	{KeepAlive: 10 * time.Second}, // the default of KeepAliveTimeout is longer
	{KeepAlive: 5 * time.Second, KeepAliveTimeout: 5 * time.Second},
	{KeepAlive: 5 * time.Second, KeepAliveTimeout: 6 * time.Second},
	{KeepAlive: 30 * time.Second, KeepAliveTimeout: 29 * time.Second},
	{KeepAlive: time.Minute, KeepAliveTimeout: time.Second},
}

// inEveryOrder runs f with each of keepAliveOrders, for a server's and a client's socket.
func inEveryOrder(t *testing.T, f func(t *testing.T, opts edgews.Options, s *edgews.Socket, p *peer)) {
	for _, opts := range keepAliveOrders {
		t.Run(fmt.Sprintf("%v then %v", opts.KeepAlive, opts.KeepAliveTimeout), func(t *testing.T) {
			bothRoles(t, opts, func(t *testing.T, s *edgews.Socket, p *peer) { f(t, opts, s, p) })
		})
	}
}

// A peer that answers is pinged once per KeepAlive, and its socket stays open.
func TestKeepAliveWithAPeerThatAnswers(t *testing.T) {
	inEveryOrder(t, func(t *testing.T, opts edgews.Options, s *edgews.Socket, p *peer) {
		require.NoError(t, s.Accept())
		last := time.Now()
		for range 20 {
			p.conn.SetReadDeadline(time.Time{})
			f, err := readFrame(p.r)
			require.NoError(t, err)
			assert.Equal(t, ping("").String(), f.String())
			assert.Equal(t, opts.KeepAlive, time.Since(last))
			last = time.Now()
			p.sends(pong(""))
		}
		p.closesCleanly(1000, "")
	})
}

// Any received byte answers a ping, up to KeepAliveTimeout after it.
func TestKeepAliveWithASlowPeer(t *testing.T) {
	inEveryOrder(t, func(t *testing.T, opts edgews.Options, s *edgews.Socket, p *peer) {
		require.NoError(t, s.Accept())
		p.ignores()
		timeout := opts.KeepAliveTimeout
		if timeout == 0 {
			timeout = 15 * time.Second
		}
		for range 20 {
			passTime(opts.KeepAlive + timeout - 10*time.Millisecond)
			require.Equal(t, edgews.Open, s.ReadyState())
			p.sends(binaryOf("here"))
		}
		p.hangsUp()
	})
}

// The socket of a peer that never answers ends after KeepAlive and KeepAliveTimeout, also if several pings have been sent in that time.
func TestKeepAliveWithAPeerThatNeverAnswers(t *testing.T) {
	inEveryOrder(t, func(t *testing.T, opts edgews.Options, s *edgews.Socket, p *peer) {
		require.NoError(t, s.Accept())
		p.ignores()
		start := time.Now()
		<-s.Done()
		timeout := opts.KeepAliveTimeout
		if timeout == 0 {
			timeout = 15 * time.Second
		}
		assert.Equal(t, opts.KeepAlive+timeout, time.Since(start))
		_, err := s.Receive(t.Context())
		assert.ErrorIs(t, err, edgews.ErrNoPong)
	})
}

// A peer that only sends is pinged as well, because proxies have an idle time-out for each direction.
func TestKeepAliveOfAOneWayUpload(t *testing.T) {
	bothRoles(t, edgews.Options{KeepAlive: 30 * time.Second}, func(t *testing.T, s *edgews.Socket, p *peer) {
		s.OnMessage(func(edgews.MessageEvent) {})
		require.NoError(t, s.Accept())
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range 200 {
				time.Sleep(time.Second)
				p.sends(text("one more"))
			}
		}()
		last := time.Now()
		for range 5 {
			p.conn.SetReadDeadline(time.Time{})
			f, err := readFrame(p.r)
			require.NoError(t, err)
			assert.Equal(t, ping("").String(), f.String())
			assert.Equal(t, 30*time.Second, time.Since(last))
			last = time.Now()
		}
		p.ignores()
		<-done
		require.Equal(t, edgews.Open, s.ReadyState())
		p.hangsUp()
	})
}

// The peer is pinged while a listener of the socket blocks: sending does not depend on reading.
func TestKeepAlivePingsWhileAListenerBlocks(t *testing.T) {
	bothRoles(t, edgews.Options{}, func(t *testing.T, s *edgews.Socket, p *peer) {
		release := make(chan struct{})
		s.OnMessage(func(edgews.MessageEvent) { <-release })
		require.NoError(t, s.Accept())
		p.sends(text("wait"))
		for range 10 {
			p.conn.SetReadDeadline(time.Time{})
			f, err := readFrame(p.r)
			require.NoError(t, err)
			assert.Equal(t, ping("").String(), f.String())
		}
		close(release)
		p.hangsUp()
	})
}

// A peer that still reads a large message is not ended by KeepAliveTimeout, although it has not received the ping behind that message.
func TestKeepAliveDuringADownload(t *testing.T) {
	for _, where := range []network{overTCP, overTLS} {
		where.run(t, func(t *testing.T, where network) {
			timeout := 700 * time.Millisecond
			err := downloads(t, where, timeout)
			for timeout *= 4; err != nil && timeout < patience; timeout *= 4 { // on a busy machine, even this peer may take nothing for some time
				err = downloads(t, where, timeout)
			}
			require.NoError(t, err)
		})
	}
}

// downloads sends a large message, which its peer reads in about four times KeepAliveTimeout, but always without a long pause.
func downloads(t *testing.T, where network, timeout time.Duration) error {
	const step = 40 << 10
	s, p := where.serverAndPeer(t, edgews.Options{KeepAlive: timeout / 2, KeepAliveTimeout: timeout})
	require.NoError(t, s.Accept())
	require.NoError(t, s.SendBytes(make([]byte, 300*step)))
	p.conn.SetReadDeadline(time.Time{})
	buf := make([]byte, step)
	ticker := time.NewTicker(timeout / 70)
	defer ticker.Stop()
	for range 300 {
		<-ticker.C
		if _, err := io.ReadFull(p.r, buf); err != nil {
			return err
		}
	}
	defer p.hangsUp()
	if state := s.ReadyState(); state != edgews.Open {
		return fmt.Errorf("the socket is %v", state)
	}
	return nil
}

// On a connection without a file descriptor, keep-alive sees only the progress of writes.
func TestKeepAliveDuringADownloadOverAPipe(t *testing.T) {
	bothRoles(t, edgews.Options{KeepAlive: time.Second, KeepAliveTimeout: time.Second}, func(t *testing.T, s *edgews.Socket, p *peer) {
		require.NoError(t, s.Accept())
		require.NoError(t, s.SendBytes(make([]byte, 4<<20)))
		p.conn.SetReadDeadline(time.Time{})
		buf := make([]byte, 40<<10)
		for range 100 {
			time.Sleep(100 * time.Millisecond)
			_, err := io.ReadFull(p.r, buf)
			require.NoError(t, err)
		}
		require.Equal(t, edgews.Open, s.ReadyState())
		p.hangsUp()
	})
}
