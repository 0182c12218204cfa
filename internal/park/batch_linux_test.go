//go:build !edgews_noloop

package park_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews/internal/park"
)

// batched is a connection on the loop whose writes go into batches.
type batched struct {
	*handler
	far   net.Conn
	wrote func(n int, err error)
	room  chan struct{} // gets a value when Writable has been called
}

func (b *batched) Wrote(n int, err error, _ uint32) { b.wrote(n, err) }

// batchedConns returns connections whose near ends are on the loop.
func batchedConns(t testing.TB, n int) []*batched {
	all := make([]*batched, n)
	for i := range all {
		near, far := connect(t, "tcp")
		c := &batched{handler: newHandler(near, func([]byte) {}), far: far, room: make(chan struct{}, 1)}
		c.writable = func() {
			select {
			case c.room <- struct{}{}:
			default:
			}
		}
		c.Start()
		require.True(t, c.OnLoop())
		all[i] = c
	}
	return all
}

func (b *batched) reads(t testing.TB, want string) {
	t.Helper()
	got := make([]byte, len(want))
	_, err := io.ReadFull(b.far, got)
	require.NoError(t, err)
	require.Equal(t, want, string(got))
}

func TestBatch(t *testing.T) { testBatch(t) }

// testBatch writes to more connections than a batch takes, before and after other writes.
func testBatch(t *testing.T) {
	conns := batchedConns(t, 300)
	b := park.NewBatch()
	defer b.Close()
	told := make([]int, len(conns))
	for i, c := range conns {
		p := fmt.Append(nil, "in batch ", i, ";")
		c.wrote = func(n int, err error) {
			assert.Equal(t, len(p), n)
			assert.NoError(t, err)
			told[i]++
			require.NoError(t, c.write([]byte("after"), nil))
		}
		require.NoError(t, c.write([]byte("before;"), nil))
		b.MakeRoom()
		require.True(t, b.Add(&c.Conn, c, p))
	}
	b.Write()
	for i, c := range conns {
		require.Equal(t, 1, told[i])
		c.reads(t, fmt.Sprint("before;in batch ", i, ";after"))
	}
	b.Write() // nothing
}

// Wrote may add nothing to a full batch, and a batch takes neither large writes nor those of connections that are not on the loop.
func TestBatchTakesNot(t *testing.T) {
	conns := batchedConns(t, 1)
	c := conns[0]
	written := 0
	c.wrote = func(int, error) { written++ }
	b := park.NewBatch()
	assert.False(t, b.Add(&c.Conn, c, make([]byte, 64<<10)), "a large write")
	added := 0
	for b.Add(&c.Conn, c, nil) {
		added++
	}
	assert.Positive(t, added)
	b.MakeRoom()
	assert.Equal(t, added, written)
	near, _ := connect(t, "pipe")
	h := newHandler(near, func([]byte) {})
	h.Start()
	assert.False(t, b.Add(&h.Conn, c, []byte("x")), "a connection without the loop")
	c.far.Close()
	c.wantsEnd(t, io.EOF)
	assert.False(t, b.Add(&c.Conn, c, []byte("x")), "a closed connection")
	b.Close()
	var none *park.Batch
	none.MakeRoom()
	assert.False(t, none.Add(&c.Conn, c, []byte("x")))
	none.Close()
}

// Peers that do not read, or that reset the connection, change nothing for others.
func TestBatchSlowAndLostPeers(t *testing.T) {
	conns := batchedConns(t, 30)
	p := bytes.Repeat([]byte("slow"), 1000)
	sent := make([]int, len(conns))
	errs := make([]error, len(conns))
	for i, c := range conns {
		c.wrote = func(n int, err error) { sent[i], errs[i] = sent[i]+n, err }
		if i%3 == 2 {
			require.NoError(t, c.far.(*net.TCPConn).SetLinger(0))
			require.NoError(t, c.far.Close())
		}
	}
	for began := time.Now(); ; {
		b := park.NewBatch()
		left := false
		for i, c := range conns {
			if i%3 == 0 && sent[i] > 0 || errs[i] != nil {
				continue
			}
			left = true
			if !b.Add(&c.Conn, c, p) { // the poller has closed it meanwhile
				require.Equal(t, 2, i%3)
				errs[i] = net.ErrClosed
			}
		}
		b.Close()
		if !left {
			break
		}
		require.Less(t, time.Since(began), patience)
	}
	for i, c := range conns {
		switch i % 3 {
		case 0:
			require.NoError(t, errs[i])
			c.reads(t, string(p))
		case 1:
			require.ErrorIs(t, errs[i], park.ErrWouldBlock)
			c.reads(t, strings.Repeat(string(p), sent[i]/len(p)+1)[:sent[i]])
			select {
			case <-c.room:
			case <-time.After(patience):
				require.FailNow(t, "Writable was not called")
			}
		case 2:
			require.Error(t, errs[i])
			require.NotErrorIs(t, errs[i], park.ErrWouldBlock)
		}
	}
}

// A connection that is closed while its write waits in a batch keeps its descriptor until then: no other connection gets the bytes.
func TestBatchOfClosedConns(t *testing.T) {
	conns := batchedConns(t, 20)
	b := park.NewBatch()
	for _, c := range conns {
		c.wrote = func(n int, err error) {
			if err == nil {
				assert.Equal(t, len("nobody's"), n)
			}
		}
		require.True(t, b.Add(&c.Conn, c, []byte("nobody's")))
	}
	for _, c := range conns {
		require.NoError(t, c.far.(*net.TCPConn).CloseWrite())
		c.wantsEnd(t, io.EOF) // the handler has closed it
	}
	others := batchedConns(t, 40)
	b.Close()
	for _, c := range others {
		require.NoError(t, c.write([]byte("theirs"), nil))
		c.reads(t, "theirs")
	}
}

// After a panic of Wrote, Close reports the other writes.
func TestBatchPanic(t *testing.T) {
	conns := batchedConns(t, 20)
	told := 0
	assert.PanicsWithValue(t, "third", func() {
		b := park.NewBatch()
		defer b.Close()
		for i, c := range conns {
			c.wrote = func(int, error) {
				if told++; i == 3 {
					panic("third")
				}
			}
			require.True(t, b.Add(&c.Conn, c, []byte("x")))
		}
		b.Write()
	})
	assert.Equal(t, len(conns), told)
	for _, c := range conns {
		c.reads(t, "x")
	}
}

// Batches of several goroutines do not mix.
func TestBatchesAtOnce(t *testing.T) {
	var all sync.WaitGroup
	for range 6 {
		conns := batchedConns(t, 40)
		all.Go(func() {
			b := park.NewBatch()
			defer b.Close()
			for round := range 50 {
				for i, c := range conns {
					c.wrote = func(_ int, err error) { assert.NoError(t, err) }
					assert.True(t, b.Add(&c.Conn, c, fmt.Appendf(nil, "%3d %3d;", round, i)))
				}
				b.Write()
			}
			for i, c := range conns {
				for round := range 50 {
					c.reads(t, fmt.Sprintf("%3d %3d;", round, i))
				}
			}
		})
	}
	all.Wait()
}

func TestBatchAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	conns := batchedConns(t, 50)
	p, got := []byte("a message"), make([]byte, 9)
	each := testing.AllocsPerRun(100, func() {
		b := park.NewBatch()
		for _, c := range conns {
			c.wrote = noResult
			b.Add(&c.Conn, c, p)
		}
		b.Close()
		for _, c := range conns {
			_, _ = io.ReadFull(c.far, got)
		}
	})
	assert.Less(t, each, 0.5)
}

func noResult(int, error) {}
