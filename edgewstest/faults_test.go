package edgewstest_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/edgewstest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// withFaults runs f in a bubble over each kind of connection whose direction from writer to reader has faults.
func withFaults(t *testing.T, faults edgewstest.Faults, f func(t *testing.T, writer, reader net.Conn, flow *edgewstest.Flow)) {
	t.Helper()
	none := edgewstest.Faults{}
	cases := map[string]func() (writer, reader net.Conn, flow *edgewstest.Flow){
		"pipe": func() (net.Conn, net.Conn, *edgewstest.Flow) {
			a, b := edgewstest.Pipe()
			a.Outgoing().Set(faults)
			return a, b, a.Outgoing()
		},
		"wrapped writer": func() (net.Conn, net.Conn, *edgewstest.Flow) {
			a, b := edgewstest.Pipe()
			c := edgewstest.FaultConn(a, none, faults)
			return c, b, c.Outgoing()
		},
		"wrapped reader": func() (net.Conn, net.Conn, *edgewstest.Flow) {
			a, b := edgewstest.Pipe()
			c := edgewstest.FaultConn(b, faults, none)
			return a, c, c.Incoming()
		},
		"wrapped net.Pipe": func() (net.Conn, net.Conn, *edgewstest.Flow) {
			a, b := net.Pipe()
			c := edgewstest.FaultConn(a, none, faults)
			return c, b, c.Outgoing()
		},
	}
	for name, connect := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				writer, reader, flow := connect()
				t.Cleanup(func() {
					writer.Close()
					reader.Close()
				})
				f(t, writer, reader, flow)
			})
		})
	}
}

// readAll reads until an error, which it returns with what came before.
func readAll(c net.Conn) (string, error) {
	var got []byte
	for {
		buf := make([]byte, 100)
		n, err := c.Read(buf)
		got = append(got, buf[:n]...)
		if err != nil {
			return string(got), err
		}
	}
}

// eventuallyFails writes until an error, which a wrapped connection learns a moment later.
func eventuallyFails(t *testing.T, c net.Conn) error {
	t.Helper()
	for range 100 {
		if _, err := c.Write([]byte("x")); err != nil {
			return err
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("writing goes on")
	return nil
}

func TestDelay(t *testing.T) {
	withFaults(t, edgewstest.Faults{Delay: 300 * time.Millisecond}, func(t *testing.T, writer, reader net.Conn, flow *edgewstest.Flow) {
		start := time.Now()
		write(t, writer, "one")
		time.Sleep(100 * time.Millisecond)
		write(t, writer, "two")
		assert.Equal(t, 100*time.Millisecond, time.Since(start), "writing does not wait")
		assert.Equal(t, "one", read(t, reader))
		assert.Equal(t, 300*time.Millisecond, time.Since(start))
		assert.Equal(t, "two", read(t, reader))
		assert.Equal(t, 400*time.Millisecond, time.Since(start), "each byte has its own delay")

		flow.Set(edgewstest.Faults{})
		write(t, writer, "three")
		assert.Equal(t, "three", read(t, reader))
		assert.Equal(t, 400*time.Millisecond, time.Since(start))

		flow.Set(edgewstest.Faults{Delay: time.Hour})
		write(t, writer, "four")
		writer.Close()
		assert.Equal(t, "four", read(t, reader))
		readError(t, reader, io.EOF)
		assert.Equal(t, time.Hour+400*time.Millisecond, time.Since(start))
	})
}

func TestDelayedDeadline(t *testing.T) {
	withFaults(t, edgewstest.Faults{Delay: time.Minute}, func(t *testing.T, writer, reader net.Conn, _ *edgewstest.Flow) {
		write(t, writer, "late")
		require.NoError(t, reader.SetReadDeadline(time.Now().Add(time.Second)))
		readError(t, reader, os.ErrDeadlineExceeded)
		require.NoError(t, reader.SetReadDeadline(time.Time{}))
		assert.Equal(t, "late", read(t, reader))
	})
}

func TestReadSize(t *testing.T) {
	for _, size := range []int{1, 3} {
		a, b := edgewstest.Pipe()
		c := edgewstest.FaultConn(b, edgewstest.Faults{ReadSize: size}, edgewstest.Faults{})
		write(t, a, "0123456789")
		for got := ""; got != "0123456789"; {
			next := read(t, c)
			assert.LessOrEqual(t, len(next), size)
			got += next
		}
		a.Close()
		readError(t, c, io.EOF)
		c.Close()
	}
}

func TestBuffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := edgewstest.Pipe()
		a.Outgoing().Set(edgewstest.Faults{Buffer: 10})
		require.NoError(t, a.SetWriteDeadline(time.Now().Add(time.Second)))
		n, err := a.Write([]byte("0123456789abcde"))
		assert.Equal(t, 10, n)
		assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
		assert.Equal(t, "0123456789", read(t, b))
		require.NoError(t, a.SetWriteDeadline(time.Now().Add(time.Second)))
		write(t, a, "abcde")
	})
}

func TestStallAndResume(t *testing.T) {
	withFaults(t, edgewstest.Faults{StallAt: 4}, func(t *testing.T, writer, reader net.Conn, flow *edgewstest.Flow) {
		write(t, writer, "12345")
		assert.Equal(t, "123", read(t, reader))
		require.NoError(t, reader.SetReadDeadline(time.Now().Add(24*time.Hour)))
		readError(t, reader, os.ErrDeadlineExceeded)
		require.NoError(t, reader.SetReadDeadline(time.Time{}))
		flow.Resume()
		assert.Equal(t, "45", read(t, reader))

		flow.Stall()
		write(t, writer, "6")
		writer.Close() // is held too
		require.NoError(t, reader.SetReadDeadline(time.Now().Add(time.Second)))
		readError(t, reader, os.ErrDeadlineExceeded)
		require.NoError(t, reader.SetReadDeadline(time.Time{}))
		flow.Resume()
		assert.Equal(t, "6", read(t, reader))
		readError(t, reader, io.EOF)
	})
}

// A stalled reader makes the writer wait when the buffer is full, and no memory is taken beyond it.
func TestStallFillsTheBuffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := edgewstest.Pipe()
		b.Incoming().Stall()
		require.NoError(t, a.SetWriteDeadline(time.Now().Add(time.Minute)))
		n, err := a.Write(make([]byte, 1<<20))
		assert.Equal(t, 64<<10, n)
		assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
	})
}

func TestDrop(t *testing.T) {
	withFaults(t, edgewstest.Faults{DropAt: 3}, func(t *testing.T, writer, reader net.Conn, flow *edgewstest.Flow) {
		write(t, writer, "1234")
		write(t, writer, strings.Repeat("x", 1<<20)) // for ever, without an error
		assert.Equal(t, "12", read(t, reader))
		require.NoError(t, reader.SetReadDeadline(time.Now().Add(time.Hour)))
		readError(t, reader, os.ErrDeadlineExceeded)
		require.NoError(t, reader.SetReadDeadline(time.Time{}))
		flow.Set(edgewstest.Faults{}) // the network works again; what was dropped is lost
		write(t, writer, "5")
		assert.Equal(t, "5", read(t, reader))
		flow.Drop()
		write(t, writer, "6")
		writer.Close() // is dropped too
		require.NoError(t, reader.SetReadDeadline(time.Now().Add(time.Second)))
		readError(t, reader, os.ErrDeadlineExceeded)
	})
}

func TestCutAtEachByte(t *testing.T) {
	const sent = "0123456789"
	for at := int64(1); at <= 10; at++ {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			withFaults(t, edgewstest.Faults{CutAt: at}, func(t *testing.T, writer, reader net.Conn, _ *edgewstest.Flow) {
				write(t, writer, sent)
				got, err := readAll(reader)
				assert.Equal(t, io.EOF, err)
				assert.Equal(t, sent[:at-1], got)
				require.Error(t, eventuallyFails(t, writer))
				_, err = readAll(writer)
				assert.Equal(t, io.EOF, err)
				assert.Error(t, eventuallyFails(t, reader))
			})
		})
	}
}

func TestResetAt(t *testing.T) {
	withFaults(t, edgewstest.Faults{ResetAt: 4}, func(t *testing.T, writer, reader net.Conn, _ *edgewstest.Flow) {
		write(t, writer, "12345")
		got, err := readAll(reader)
		assert.Equal(t, "123", got)
		if _, ok := reader.(*edgewstest.Conn); ok { // net.Pipe knows no reset
			assert.ErrorIs(t, err, syscall.ECONNRESET)
		}
		require.ErrorIs(t, eventuallyFails(t, writer), syscall.ECONNRESET)
		_, err = readAll(writer)
		assert.ErrorIs(t, err, syscall.ECONNRESET)
	})
}

func TestNegativeFaults(t *testing.T) {
	a, b := edgewstest.Pipe()
	assert.PanicsWithValue(t, "edgewstest: Faults.CutAt is -1: it must not be negative", func() {
		a.Outgoing().Set(edgewstest.Faults{CutAt: -1})
	})
	assert.PanicsWithValue(t, "edgewstest: Faults.Delay is -1: it must not be negative", func() {
		edgewstest.FaultConn(b, edgewstest.Faults{Delay: -1}, edgewstest.Faults{})
	})
	write(t, a, "unharmed")
	assert.Equal(t, "unharmed", read(t, b))
}

// A FaultConn that is closed while its peer reads nothing ends all the same.
func TestClosedFaultConnEnds(t *testing.T) {
	for name, f := range map[string]func(c *edgewstest.Conn){
		"peer does not read": func(c *edgewstest.Conn) { c.Write(make([]byte, 1000)) },
		"stalled": func(c *edgewstest.Conn) {
			c.Outgoing().Stall()
			c.Write(make([]byte, 1000))
		},
		"stalled input": func(c *edgewstest.Conn) { c.Incoming().Stall() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := net.Pipe() // without a buffer
				c := edgewstest.FaultConn(a, edgewstest.Faults{Buffer: 10}, edgewstest.Faults{})
				f(c)
				c.Close()
				start := time.Now()
				time.Sleep(time.Minute)
				_, err := io.Copy(io.Discard, b)
				assert.NoError(t, err)
				assert.Equal(t, time.Minute, time.Since(start))
			})
		})
	}
}

// Errors of the wrapped connection are passed on.
func TestFaultConnPassesErrorsOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := edgewstest.Pipe()
		c := edgewstest.FaultConn(a, edgewstest.Faults{}, edgewstest.Faults{})
		defer c.Close()
		write(t, b, "before")
		synctest.Wait()
		b.Reset()
		assert.Equal(t, "before", read(t, c))
		readError(t, c, syscall.ECONNRESET)
		assert.ErrorIs(t, eventuallyFails(t, c), syscall.ECONNRESET)
	})
}

// FaultConn works over TCP, at both sides of a connection.
func TestFaultConnOverTCP(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(echo))
	accepted := make(chan *edgewstest.Conn, 1)
	server.Listener = listenerFunc{server.Listener, func(conn net.Conn) net.Conn {
		c := edgewstest.FaultConn(conn, edgewstest.Faults{ReadSize: 1}, edgewstest.Faults{})
		accepted <- c
		return c
	}}
	server.Start()
	defer server.Close()
	dialed := make(chan *edgewstest.Conn, 1)
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		c := edgewstest.FaultConn(conn, edgewstest.Faults{ReadSize: 1}, edgewstest.Faults{})
		dialed <- c
		return c, nil
	}}}
	for _, side := range []string{"accepted", "dialed"} {
		t.Run(side, func(t *testing.T) {
			s, _, err := edgews.Dial(t.Context(), server.URL, &edgews.DialOptions{HTTPClient: client})
			require.NoError(t, err)
			rec := edgewstest.Record(t, s)
			require.NoError(t, s.Accept())
			require.NoError(t, rec.Send("byte by byte"))
			rec.Want(`sent text "byte by byte"`, `text "byte by byte"`)
			ofClient, ofServer := <-dialed, <-accepted
			if side == "accepted" {
				ofServer.Reset()
			} else {
				ofClient.Reset()
			}
			rec.WantEnd(`close 1006 "WebSocket disconnected without sending Close frame." clean=false`)
			ofClient.Close()
			ofServer.Close()
		})
	}
}

// listenerFunc is a listener whose connections are wrapped.
type listenerFunc struct {
	net.Listener
	wrap func(net.Conn) net.Conn
}

func (l listenerFunc) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.wrap(conn), nil
}
