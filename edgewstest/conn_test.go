package edgewstest_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews/edgewstest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// write writes s and expects that it is taken at once.
func write(t *testing.T, c net.Conn, s string) {
	t.Helper()
	n, err := c.Write([]byte(s))
	require.NoError(t, err)
	require.Equal(t, len(s), n)
}

// read reads once, and returns what it has read.
func read(t *testing.T, c net.Conn) string {
	t.Helper()
	buf := make([]byte, 1<<10)
	n, err := c.Read(buf)
	require.NoError(t, err)
	return string(buf[:n])
}

// readError expects that reading fails.
func readError(t *testing.T, c net.Conn, want error) {
	t.Helper()
	n, err := c.Read(make([]byte, 10))
	require.ErrorIs(t, err, want)
	require.Zero(t, n)
}

// writeError expects that writing fails.
func writeError(t *testing.T, c net.Conn, want error) {
	t.Helper()
	n, err := c.Write([]byte("x"))
	require.ErrorIs(t, err, want)
	require.Zero(t, n)
}

func TestConnCarriesBytes(t *testing.T) {
	a, b := edgewstest.Pipe()
	defer a.Close()
	defer b.Close()
	payload := bytes.Repeat([]byte("0123456789"), 100_000)
	var wg sync.WaitGroup
	for _, ends := range [][2]*edgewstest.Conn{{a, b}, {b, a}} {
		wg.Go(func() {
			_, err := ends[0].Write(payload) // far more than the buffer
			assert.NoError(t, err)
			assert.NoError(t, ends[0].CloseWrite())
		})
		wg.Go(func() {
			got, err := io.ReadAll(ends[1])
			assert.NoError(t, err)
			assert.True(t, bytes.Equal(payload, got))
		})
	}
	wg.Wait()
	assert.EqualValues(t, len(payload), a.Outgoing().BytesWritten())
	assert.EqualValues(t, len(payload), b.Incoming().BytesRead())
}

func TestConnEnds(t *testing.T) {
	cases := []struct {
		name string
		end  func(a, b *edgewstest.Conn)
		// what the calls return afterwards; nil: they are not tried
		aReads, aWrites, bReads, bWrites error
		kept                             bool // what a had written before can be read
	}{
		{"Close", func(a, _ *edgewstest.Conn) { a.Close() }, net.ErrClosed, net.ErrClosed, io.EOF, syscall.EPIPE, true},
		{"Close of both", func(a, b *edgewstest.Conn) { a.Close(); b.Close() }, net.ErrClosed, net.ErrClosed, net.ErrClosed, net.ErrClosed, false},
		{"CloseWrite", func(a, _ *edgewstest.Conn) { a.CloseWrite() }, nil, net.ErrClosed, io.EOF, nil, true},
		{"Cut", func(a, _ *edgewstest.Conn) { a.Cut() }, io.EOF, syscall.EPIPE, io.EOF, syscall.EPIPE, true},
		{"Cut by the other", func(_, b *edgewstest.Conn) { b.Cut() }, io.EOF, syscall.EPIPE, io.EOF, syscall.EPIPE, true},
		{"Reset", func(a, _ *edgewstest.Conn) { a.Reset() }, syscall.ECONNRESET, syscall.ECONNRESET, syscall.ECONNRESET, syscall.ECONNRESET, false},
		{"Reset behind Cut", func(a, _ *edgewstest.Conn) { a.Cut(); a.Reset() },
			syscall.ECONNRESET, syscall.ECONNRESET, syscall.ECONNRESET, syscall.ECONNRESET, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			a, b := edgewstest.Pipe()
			write(t, a, "before")
			c.end(a, b)
			if c.kept {
				assert.Equal(t, "before", read(t, b))
			}
			for range 2 { // an end stays the end
				if c.aReads != nil {
					readError(t, a, c.aReads)
				}
				if c.aWrites != nil {
					writeError(t, a, c.aWrites)
				}
				if c.bReads != nil {
					readError(t, b, c.bReads)
				}
				if c.bWrites != nil {
					writeError(t, b, c.bWrites)
				}
			}
			require.NoError(t, a.Close())
			require.NoError(t, a.Close(), "twice")
			require.NoError(t, b.Close())
		})
	}
}

func TestConnAfterCloseWriteStillReads(t *testing.T) {
	a, b := edgewstest.Pipe()
	require.NoError(t, a.CloseWrite())
	readError(t, b, io.EOF)
	write(t, b, "answer")
	assert.Equal(t, "answer", read(t, a))
}

// What waits returns when the connection ends, whichever side ends it.
func TestConnEndsWaitingCalls(t *testing.T) {
	for name, end := range map[string]func(a, b *edgewstest.Conn){
		"own Close":   func(a, _ *edgewstest.Conn) { a.Close() },
		"other Close": func(_, b *edgewstest.Conn) { b.Close() },
		"Cut":         func(a, _ *edgewstest.Conn) { a.Cut() },
		"Reset":       func(_, b *edgewstest.Conn) { b.Reset() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := edgewstest.Pipe()
				a.Outgoing().Set(edgewstest.Faults{Buffer: 3})
				var wg sync.WaitGroup
				wg.Go(func() {
					_, err := a.Read(make([]byte, 1))
					assert.Error(t, err)
				})
				wg.Go(func() {
					n, err := a.Write([]byte("12345"))
					assert.Equal(t, 3, n)
					assert.Error(t, err)
				})
				synctest.Wait()
				end(a, b)
				wg.Wait()
			})
		})
	}
}

func TestConnDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := edgewstest.Pipe()
		a.Outgoing().Set(edgewstest.Faults{Buffer: 1})
		write(t, a, "x") // the buffer is full
		start := time.Now()
		require.NoError(t, a.SetDeadline(start.Add(time.Hour)))
		readError(t, a, os.ErrDeadlineExceeded)
		writeError(t, a, os.ErrDeadlineExceeded)
		assert.Equal(t, time.Hour, time.Since(start))

		write(t, b, "y")
		readError(t, a, os.ErrDeadlineExceeded) // also if there is something to read
		require.NoError(t, a.SetReadDeadline(time.Time{}))
		assert.Equal(t, "y", read(t, a))
		assert.Equal(t, "x", read(t, b))
		writeError(t, a, os.ErrDeadlineExceeded)
		require.NoError(t, a.SetWriteDeadline(time.Now().Add(time.Second)))
		write(t, a, "z")

		// A deadline that is set while a call waits counts for it.
		for _, late := range []time.Duration{-time.Hour, time.Minute} {
			start := time.Now()
			go func() {
				time.Sleep(time.Second)
				a.SetReadDeadline(start.Add(late))
			}()
			readError(t, a, os.ErrDeadlineExceeded)
			assert.Equal(t, max(late, time.Second), time.Since(start))
			require.NoError(t, a.SetReadDeadline(time.Time{}))
		}
		var timeout net.Error
		a.SetReadDeadline(time.Unix(1, 0))
		_, err := a.Read(make([]byte, 1))
		require.ErrorAs(t, err, &timeout)
		assert.True(t, timeout.Timeout())
	})
}

func TestConnAddresses(t *testing.T) {
	a, b := edgewstest.Pipe()
	assert.Equal(t, a.LocalAddr(), b.RemoteAddr())
	assert.Equal(t, b.LocalAddr(), a.RemoteAddr())
	assert.NotEqual(t, a.LocalAddr().String(), b.LocalAddr().String())
	_, _, err := net.SplitHostPort(b.RemoteAddr().String())
	assert.NoError(t, err)
	a.Reset()
	_, err = a.Read(make([]byte, 1))
	assert.EqualError(t, err, "read memory 192.0.2.1:1025->192.0.2.2:80: read: connection reset by peer")
}

func TestConnEmptyCalls(t *testing.T) {
	a, _ := edgewstest.Pipe()
	n, err := a.Write(nil)
	assert.NoError(t, err)
	assert.Zero(t, n)
	n, err = a.Read(nil)
	assert.NoError(t, err)
	assert.Zero(t, n)
	a.Close()
	_, err = a.Write(nil)
	assert.True(t, errors.Is(err, net.ErrClosed))
	assert.True(t, strings.HasPrefix(err.Error(), "write memory "), err)
}
