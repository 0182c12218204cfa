package park_test

import (
	"bytes"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews/internal/park"
)

// patience is far more than anything here takes.
const patience = 20 * time.Second

// connect returns a connection of ours and its peer.
func connect(t *testing.T, network string) (*park.Conn, net.Conn) {
	near, far := net.Pipe()
	if network != "pipe" {
		near, far = dial(t, network)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	require.NoError(t, far.SetDeadline(time.Now().Add(patience)))
	return park.New(near), far
}

func dial(t *testing.T, network string) (near, far net.Conn) {
	addr := "127.0.0.1:0"
	if network == "unix" {
		addr = t.TempDir() + "/socket"
	}
	l, err := net.Listen(network, addr)
	require.NoError(t, err)
	defer l.Close()
	far, err = net.Dial(network, l.Addr().String())
	require.NoError(t, err)
	near, err = l.Accept()
	require.NoError(t, err)
	return near, far
}

// each runs a test over sockets of the operating system's and over something that is none.
func each(t *testing.T, test func(t *testing.T, c *park.Conn, far net.Conn)) {
	for _, network := range []string{"tcp", "unix", "pipe"} {
		t.Run(network, func(t *testing.T) {
			c, far := connect(t, network)
			test(t, c, far)
		})
	}
}

// read reads n bytes, however many buffers they come in.
func read(t *testing.T, c *park.Conn, n int) []byte {
	t.Helper()
	var got []byte
	for len(got) < n {
		b, err := c.ReadBuffer()
		require.NoError(t, err)
		require.NotEmpty(t, b.Bytes())
		got = append(got, b.Bytes()...)
		b.Release()
	}
	return got
}

func TestReadBuffer(t *testing.T) {
	each(t, func(t *testing.T, c *park.Conn, far net.Conn) {
		sent := make([]byte, 200_000)
		for i := range sent {
			sent[i] = byte(i * 7)
		}
		go far.Write([]byte("first"))
		assert.Equal(t, "first", string(read(t, c, 5)))
		go func() {
			far.Write(sent)
			far.Close()
		}()
		assert.True(t, bytes.Equal(sent, read(t, c, len(sent))))
		b, err := c.ReadBuffer()
		assert.Nil(t, b)
		assert.ErrorIs(t, err, io.EOF)
	})
}

func TestInterrupt(t *testing.T) {
	each(t, func(t *testing.T, c *park.Conn, far net.Conn) {
		failed := make(chan error)
		for range 2 { // a read that waits, then one that begins afterwards
			go func() {
				_, err := c.ReadBuffer()
				failed <- err
			}()
			c.Interrupt()
			assert.ErrorIs(t, <-failed, os.ErrDeadlineExceeded)
		}
		c.Resume()
		go far.Write([]byte("on"))
		assert.Equal(t, "on", string(read(t, c, 2)))
	})
}

func TestTryWrite(t *testing.T) {
	each(t, func(t *testing.T, c *park.Conn, far net.Conn) {
		chunk := make([]byte, 64<<10)
		sent := 0
		for {
			n, err := c.TryWrite(chunk)
			sent += n
			if err != nil {
				require.ErrorIs(t, err, park.ErrWouldBlock)
				break
			}
			require.Equal(t, len(chunk), n)
		}
		go func() {
			c.Write([]byte("the rest, which waits"))
			c.Close()
		}()
		got, err := io.ReadAll(far)
		require.NoError(t, err)
		assert.Equal(t, "the rest, which waits", string(got[sent:]))
	})
}

func TestCloseWrite(t *testing.T) {
	each(t, func(t *testing.T, c *park.Conn, far net.Conn) {
		require.NoError(t, c.CloseWrite())
		if !c.HalfCloses() {
			return
		}
		_, err := far.Read(make([]byte, 1))
		assert.ErrorIs(t, err, io.EOF)
		far.Write([]byte("still heard"))
		assert.Equal(t, "still heard", string(read(t, c, 11)))
	})
}

func TestNothingAllocates(t *testing.T) {
	c, far := connect(t, "tcp")
	message, buf := []byte("a message"), make([]byte, 16)
	allocs := testing.AllocsPerRun(200, func() {
		far.Write(message)
		b, err := c.ReadBuffer()
		if err != nil {
			panic(err)
		}
		c.TryWrite(b.Bytes())
		b.Release()
		far.Read(buf)
	})
	assert.Less(t, allocs, 0.5) // a pool may be emptied meanwhile
}
