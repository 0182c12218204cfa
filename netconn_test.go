package edgews_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// conns runs f with the two ends as connections.
func conns(t *testing.T, f func(t *testing.T, a, b net.Conn)) {
	t.Helper()
	both(t, edgews.Options{}, func(t *testing.T, a, b *edgews.Socket) {
		f(t, edgews.NetConn(a, edgews.Binary), edgews.NetConn(b, edgews.Binary))
	})
}

func TestConnHasNoMessages(t *testing.T) {
	conns(t, func(t *testing.T, a, b net.Conn) {
		for _, s := range []string{"one", "", "two", "three"} {
			n, err := io.WriteString(a, s)
			require.NoError(t, err)
			require.Equal(t, len(s), n)
		}
		got := make([]byte, 11)
		n, err := b.Read(nil)
		require.NoError(t, err)
		require.Zero(t, n)
		_, err = io.ReadFull(b, got[:4])
		require.NoError(t, err)
		_, err = io.ReadFull(b, got[4:])
		require.NoError(t, err)
		assert.Equal(t, "onetwothree", string(got))
	})
}

func TestConnEndsWithEOF(t *testing.T) {
	conns(t, func(t *testing.T, a, b net.Conn) {
		go func() {
			io.WriteString(a, "last")
			assert.NoError(t, a.Close())
			assert.NoError(t, a.Close())
		}()
		all, err := io.ReadAll(b)
		require.NoError(t, err)
		assert.Equal(t, "last", string(all))
		_, err = b.Write([]byte("x"))
		assert.ErrorIs(t, err, net.ErrClosed)
		_, err = a.Write([]byte("x"))
		assert.ErrorIs(t, err, net.ErrClosed)
		_, err = a.Read(make([]byte, 1))
		assert.ErrorIs(t, err, net.ErrClosed)
		assert.NoError(t, a.SetDeadline(time.Now()))
		assert.NoError(t, b.Close())
	})
}

func TestConnEndsBadly(t *testing.T) {
	both(t, edgews.Options{}, func(t *testing.T, a, b *edgews.Socket) {
		require.NoError(t, a.Accept())
		require.NoError(t, a.Close(1011, "no more"))
		_, err := edgews.NetConn(b, edgews.Text).Read(make([]byte, 1))
		var end *edgews.CloseError
		require.ErrorAs(t, err, &end)
		assert.EqualValues(t, 1011, end.Code)
	})
}

func TestConnRefusesOtherKinds(t *testing.T) {
	both(t, edgews.Options{}, func(t *testing.T, a, b *edgews.Socket) {
		events := record(t, a)
		require.NoError(t, a.Accept())
		require.NoError(t, a.Send("text"))
		_, err := edgews.NetConn(b, edgews.Binary).Read(make([]byte, 1))
		assert.ErrorContains(t, err, "received a text message")
		events.wantsEnd(closed(1003, "only binary messages are understood", true))
	})
}

func TestConnDeadlines(t *testing.T) {
	conns(t, func(t *testing.T, a, b net.Conn) {
		p := make([]byte, 100)
		require.NoError(t, b.SetReadDeadline(time.Now().Add(-time.Second)))
		_, err := b.Read(p)
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		var timeout net.Error
		require.True(t, errors.As(err, &timeout) && timeout.Timeout())

		require.NoError(t, b.SetReadDeadline(time.Now().Add(time.Millisecond)))
		_, err = b.Read(p)
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		_, err = b.Read(p)
		require.ErrorIs(t, err, os.ErrDeadlineExceeded, "still")

		require.NoError(t, a.SetWriteDeadline(time.Now()))
		_, err = a.Write(p)
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)

		require.NoError(t, a.SetDeadline(time.Time{}))
		require.NoError(t, b.SetDeadline(time.Time{}))
		_, err = io.WriteString(a, "usable again")
		require.NoError(t, err)
		n, err := b.Read(p)
		require.NoError(t, err)
		assert.Equal(t, "usable again", string(p[:n]))
	})
}

func TestConnDeadlineMovesUnderARead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, _ := edgews.NewPair()
		c := edgews.NetConn(s, edgews.Text)
		start := time.Now()
		c.SetReadDeadline(start.Add(time.Minute))
		time.AfterFunc(time.Second, func() { c.SetReadDeadline(start.Add(time.Hour)) })
		time.AfterFunc(2*time.Minute, func() { c.SetReadDeadline(start.Add(3 * time.Minute)) })
		_, err := c.Read(make([]byte, 1))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		assert.Equal(t, 3*time.Minute, time.Since(start))
		time.AfterFunc(time.Second, func() { c.Close() })
		c.SetReadDeadline(time.Time{})
		_, err = c.Read(make([]byte, 1))
		assert.ErrorIs(t, err, net.ErrClosed)
	})
}

func TestConnWriteWaits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, b := edgews.NewPair()
		ca, cb := edgews.NetConn(a, edgews.Binary), edgews.NetConn(b, edgews.Binary)
		ca.SetWriteDeadline(time.Now().Add(time.Minute))
		chunk := make([]byte, 400<<10)
		var err error
		written := 0
		for err == nil {
			var n int
			n, err = ca.Write(chunk)
			written += n
		}
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		_, err = io.CopyN(io.Discard, cb, int64(written))
		require.NoError(t, err)
	})
}

func TestConnCopies(t *testing.T) {
	const size = 8 << 20
	conns(t, func(t *testing.T, a, b net.Conn) {
		sent := bytes.Repeat([]byte("0123456789abcdef"), size/16)
		var all sync.WaitGroup
		for _, c := range []net.Conn{a, b} {
			all.Go(func() {
				_, err := io.Copy(c, io.MultiReader(bytes.NewReader(sent), bytes.NewReader(nil)))
				assert.NoError(t, err)
			})
			all.Go(func() {
				got, err := io.ReadAll(io.LimitReader(c, size))
				assert.NoError(t, err)
				assert.True(t, bytes.Equal(sent, got))
			})
		}
		all.Wait()
	})
}

func TestConnAddresses(t *testing.T) {
	both(t, edgews.Options{}, func(t *testing.T, a, b *edgews.Socket) {
		c := edgews.NetConn(a, edgews.Binary)
		assert.NotEmpty(t, c.LocalAddr().Network()+c.LocalAddr().String())
		assert.NotEmpty(t, c.RemoteAddr().Network()+c.RemoteAddr().String())
	})
	client, server := overTCP.connect(t, edgews.Options{})
	assert.Equal(t, edgews.NetConn(client, edgews.Text).LocalAddr().String(), edgews.NetConn(server, edgews.Text).RemoteAddr().String())
}

func TestNetConnKeepsItsAddresses(t *testing.T) {
	for _, where := range []network{slowTCP, slowTLS, slowWrapped} {
		for name, end := range map[string]func(c net.Conn, p *peer){
			"closed": func(c net.Conn, p *peer) { c.Close(); p.closesCleanly(1000, "") },
			"lost":   func(_ net.Conn, p *peer) { p.hangsUp() },
			"reset": func(_ net.Conn, p *peer) {
				tcpOf(p.conn).SetLinger(0)
				tcpOf(p.conn).Close()
			},
		} {
			t.Run(where.name+", "+name, func(t *testing.T) {
				s, p := where.serverAndPeer(t, edgews.Options{})
				c := edgews.NetConn(s, edgews.Binary)
				end(c, p)
				_, err := c.Read(make([]byte, 1))
				require.Error(t, err)
				waitDone(t, s)
				assert.Equal(t, p.conn.LocalAddr().String(), c.RemoteAddr().String())
				assert.Equal(t, p.conn.RemoteAddr().String(), c.LocalAddr().String())
				assert.Equal(t, "tcp", c.RemoteAddr().Network())
				late := edgews.NetConn(s, edgews.Binary)
				assert.NotEmpty(t, late.RemoteAddr().String(), "although they were not asked for before the end")
				assert.NotEmpty(t, late.LocalAddr().String())
			})
		}
	}
}
