package tunnel_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews/internal/park"
	"github.com/edgews/edgews/internal/tunnel"
)

// patience is far more than anything here takes.
const patience = time.Minute

// link makes two connected connections: the outer one is a program's, the inner one is given to a tunnel.
type link struct {
	name string
	make func(t *testing.T) (outer, inner net.Conn)
}

var links = []link{
	{"tcp", tcpLink}, {"unix", unixLink}, {"tls", tlsLink}, {"wrapped", wrappedLink}, {"pipe", pipeLink},
}

func listen(t *testing.T, network, address string) (outer, inner net.Conn) {
	l, err := net.Listen(network, address)
	require.NoError(t, err)
	defer l.Close()
	outer, err = net.Dial(network, l.Addr().String())
	require.NoError(t, err)
	inner, err = l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { outer.Close() }) // the tunnel owns the other one
	return outer, inner
}

func tcpLink(t *testing.T) (outer, inner net.Conn) { return listen(t, "tcp", "127.0.0.1:0") }

func unixLink(t *testing.T) (outer, inner net.Conn) {
	dir, err := os.MkdirTemp("", "tunnel")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return listen(t, "unix", filepath.Join(dir, "s"))
}

// pipeLink is closed at the end of the test, as the others are: a tunnel that stays open keeps pipes for others.
func pipeLink(t *testing.T) (outer, inner net.Conn) {
	outer, inner = net.Pipe()
	t.Cleanup(func() { outer.Close() })
	return outer, inner
}

// wrapped hides the type of a connection.
type wrapped struct{ net.Conn }

func (w wrapped) CloseWrite() error { return w.Conn.(*net.TCPConn).CloseWrite() }

func wrappedLink(t *testing.T) (outer, inner net.Conn) {
	outer, inner = tcpLink(t)
	return outer, wrapped{inner}
}

var certificate = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})

func tlsLink(t *testing.T) (outer, inner net.Conn) {
	o, i := tcpLink(t)
	client := tls.Client(o, &tls.Config{InsecureSkipVerify: true})
	server := tls.Server(i, &tls.Config{Certificates: []tls.Certificate{certificate()}})
	done := make(chan error, 1)
	go func() { done <- server.Handshake() }()
	require.NoError(t, client.Handshake())
	require.NoError(t, <-done)
	return client, server
}

// started is a tunnel between two links.
type started struct {
	a, b  net.Conn // the programs' ends
	ended chan error
}

func start(t *testing.T, a, b link, opts tunnel.Options) started {
	var s started
	var innerA, innerB net.Conn
	s.a, innerA = a.make(t)
	s.b, innerB = b.make(t)
	s.ended = make(chan error, 2)
	opts.Ended = func(err error) { s.ended <- err }
	tunnel.Start(innerA, innerB, nil, nil, &opts)
	return s
}

// awaitEnd returns the argument of Options.Ended.
func (s started) awaitEnd(t *testing.T) error {
	t.Helper()
	select {
	case err := <-s.ended:
		return err
	case <-time.After(patience):
		require.FailNow(t, "the tunnel has not ended")
		return nil
	}
}

func closeWrite(c net.Conn) {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
		return
	}
	_ = c.Close()
}

// eachPair runs f for each combination of two links.
func eachPair(t *testing.T, f func(t *testing.T, a, b link)) {
	for _, a := range links {
		for _, b := range links {
			t.Run(a.name+"-"+b.name, func(t *testing.T) { f(t, a, b) })
		}
	}
}

func halves(l link) bool { return l.name != "pipe" }

// TestBytesArriveInOrder sends random bytes in pieces of random sizes both ways at the same time, and reads them at random speeds. The
// stream of each direction then ends, one after the other.
func TestBytesArriveInOrder(t *testing.T) {
	eachPair(t, func(t *testing.T, a, b link) {
		const size = 3 << 20
		s := start(t, a, b, tunnel.Options{WriteTimeout: patience, EndTimeout: patience})
		sent := [2][]byte{make([]byte, size), make([]byte, size)}
		var got [2][]byte
		var wg sync.WaitGroup
		for i, c := range []net.Conn{s.a, s.b} {
			_, _ = rand.Read(sent[i])
			wg.Go(func() {
				for p := sent[i]; len(p) > 0; {
					n := min(len(p), 1<<mathrand.IntN(20))
					if _, err := c.Write(p[:n]); !assert.NoError(t, err) {
						return
					}
					p = p[n:]
				}
				if halves(a) && halves(b) {
					closeWrite(c)
				}
			})
			wg.Go(func() {
				for len(got[i]) < size {
					p := make([]byte, 1<<(4+mathrand.IntN(15)))
					n, err := c.Read(p)
					got[i] = append(got[i], p[:n]...)
					if !assert.NoError(t, err) {
						return
					}
				}
			})
		}
		wg.Wait()
		require.True(t, bytes.Equal(sent[0], got[1]))
		require.True(t, bytes.Equal(sent[1], got[0]))
		if !halves(a) || !halves(b) {
			s.a.Close()
			s.b.Close()
			assert.NoError(t, s.awaitEnd(t))
			return
		}
		for _, c := range []net.Conn{s.a, s.b} {
			n, err := c.Read(make([]byte, 1))
			assert.Zero(t, n)
			assert.ErrorIs(t, err, io.EOF)
		}
		assert.NoError(t, s.awaitEnd(t))
	})
}

// TestHalfClose ends one direction and goes on to use the other.
func TestHalfClose(t *testing.T) {
	eachPair(t, func(t *testing.T, a, b link) {
		if !halves(a) || !halves(b) {
			t.Skip("a pipe has no halves")
		}
		s := start(t, a, b, tunnel.Options{EndTimeout: patience})
		write(t, s.a, "last words")
		closeWrite(s.a)
		got, err := io.ReadAll(s.b)
		require.NoError(t, err)
		require.Equal(t, "last words", string(got))
		for _, text := range []string{"an answer", "and another one"} {
			write(t, s.b, text)
			expect(t, s.a, text)
		}
		require.Empty(t, s.ended)
		closeWrite(s.b)
		got, err = io.ReadAll(s.a)
		require.NoError(t, err)
		require.Empty(t, got)
		require.NoError(t, s.awaitEnd(t))
	})
}

func write(t *testing.T, c net.Conn, text string) {
	t.Helper()
	_, err := io.WriteString(c, text)
	require.NoError(t, err)
}

func expect(t *testing.T, c net.Conn, want string) {
	t.Helper()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(patience)))
	p := make([]byte, len(want))
	_, err := io.ReadFull(c, p)
	require.NoError(t, err)
	require.Equal(t, want, string(p))
}

// reset resets the connection under c.
func reset(t *testing.T, c net.Conn) {
	if over, ok := c.(*tls.Conn); ok {
		c = over.NetConn()
	}
	require.NoError(t, c.(*net.TCPConn).SetLinger(0))
	c.Close()
}

// TestReset resets one side: the other one is reset too.
func TestReset(t *testing.T) {
	for _, a := range links {
		for _, b := range links {
			if a.name == "pipe" || a.name == "unix" {
				continue
			}
			t.Run(a.name+"-"+b.name, func(t *testing.T) {
				s := start(t, a, b, tunnel.Options{})
				write(t, s.a, "x")
				expect(t, s.b, "x")
				reset(t, s.a)
				require.ErrorIs(t, s.awaitEnd(t), syscall.ECONNRESET)
				_, err := s.b.Read(make([]byte, 1))
				if b.name == "tcp" || b.name == "tls" {
					require.ErrorIs(t, err, syscall.ECONNRESET)
				} else {
					require.Error(t, err)
				}
			})
		}
	}
}

// TestResetWhileTheOtherSideIsStalled resets the side to which bytes wait.
func TestResetWhileTheOtherSideIsStalled(t *testing.T) {
	for _, l := range []link{links[0], links[2], links[3]} {
		t.Run(l.name, func(t *testing.T) {
			s := start(t, links[0], l, tunnel.Options{})
			sent := make(chan error, 1)
			go func() { sent <- fill(s.a) }()
			time.Sleep(50 * time.Millisecond) // mostly enough to fill all buffers
			reset(t, s.b)
			require.Error(t, s.awaitEnd(t))
			require.Error(t, <-sent)
		})
	}
}

// fill writes until c fails.
func fill(c net.Conn) error {
	for p := make([]byte, 64<<10); ; {
		if _, err := c.Write(p); err != nil {
			return err
		}
	}
}

// TestTimeouts passes each of the time-outs.
func TestTimeouts(t *testing.T) {
	eachPair(t, func(t *testing.T, a, b link) {
		t.Run("idle", func(t *testing.T) {
			s := start(t, a, b, tunnel.Options{IdleTimeout: 100 * time.Millisecond})
			require.ErrorIs(t, s.awaitEnd(t), tunnel.ErrIdleTimeout)
			expectCut(t, s.a)
			expectCut(t, s.b)
		})
		t.Run("end", func(t *testing.T) {
			if !halves(a) || !halves(b) {
				t.Skip("a pipe has no halves")
			}
			s := start(t, a, b, tunnel.Options{EndTimeout: 100 * time.Millisecond})
			closeWrite(s.a)
			require.ErrorIs(t, s.awaitEnd(t), tunnel.ErrEndTimeout)
			expectCut(t, s.a)
		})
		t.Run("write", func(t *testing.T) {
			s := start(t, a, b, tunnel.Options{WriteTimeout: 200 * time.Millisecond})
			sent := make(chan error, 1)
			go func() { sent <- fill(s.a) }()
			require.ErrorIs(t, s.awaitEnd(t), tunnel.ErrWriteTimeout)
			require.Error(t, <-sent)
		})
	})
}

func expectCut(t *testing.T, c net.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(patience)) // it fails on a pipe that is closed
	_, err := io.Copy(io.Discard, c)
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
}

// TestEarlyBytes gives bytes to Start that have been read before.
func TestEarlyBytes(t *testing.T) {
	eachPair(t, func(t *testing.T, a, b link) {
		outerA, innerA := a.make(t)
		outerB, innerB := b.make(t)
		early := []byte("early a ")
		tunnel.Start(innerA, innerB, early, []byte("early b "), new(tunnel.Options))
		clear(early)
		go func() { _, _ = io.WriteString(outerA, "late a") }()
		go func() { _, _ = io.WriteString(outerB, "late b") }()
		expect(t, outerB, "early a late a")
		expect(t, outerA, "early b late b")
		outerA.Close()
		outerB.Close()
	})
}

// TestSlowReaderBoundsMemory stalls one side while the other sends without end: what the process holds stays bounded, and the other
// direction works meanwhile.
func TestSlowReaderBoundsMemory(t *testing.T) {
	eachPair(t, func(t *testing.T, a, b link) {
		s := start(t, a, b, tunnel.Options{})
		const size = 24 << 20
		sent := make(chan error, 1)
		go func() {
			_, err := s.a.Write(make([]byte, size))
			sent <- err
		}()
		write(t, s.b, "the other way")
		expect(t, s.a, "the other way")
		select {
		case err := <-sent:
			require.NoError(t, err)
			t.Error("24 MiB were taken though nothing was read")
		case <-time.After(50 * time.Millisecond):
		}
		n, err := io.CopyN(io.Discard, s.b, size)
		require.NoError(t, err)
		require.EqualValues(t, size, n)
		require.NoError(t, <-sent)
	})
}

// TestNothingLeaks opens and ends tunnels in every way, and compares goroutines and descriptors.
func TestNothingLeaks(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("it counts descriptors in /proc")
	}
	a, b := tcpLink(t) // the first connection makes the runtime open descriptors of its own
	a.Close()
	b.Close()
	before := descriptors(t)
	goroutines := runtime.NumGoroutine()
	for range 10 {
		for _, a := range links {
			for _, b := range links {
				s := start(t, a, b, tunnel.Options{EndTimeout: 20 * time.Millisecond, WriteTimeout: 20 * time.Millisecond})
				go func() { _, _ = s.a.Write(make([]byte, 200<<10)) }()
				go func() { _, _ = s.b.Write(make([]byte, 200<<10)) }()
				switch mathrand.IntN(3) {
				case 0:
					closeWrite(s.a)
				case 1:
					s.b.Close()
				case 2:
					s.a.Close()
					s.b.Close()
				}
				go func() { _, _ = io.Copy(io.Discard, s.a); s.a.Close() }()
				_ = s.awaitEnd(t)
				s.a.Close()
				s.b.Close()
			}
		}
	}
	for began := time.Now(); descriptors(t) > before || runtime.NumGoroutine() > goroutines; time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > patience {
			stacks := make([]byte, 1<<20)
			require.FailNow(t, "leak", "%d descriptors, %d before; %d goroutines, %d before\n%s", descriptors(t), before,
				runtime.NumGoroutine(), goroutines, stacks[:runtime.Stack(stacks, true)])
		}
	}
}

func descriptors(t *testing.T) int {
	names, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(names)
}

// TestIdleTunnelHasNoGoroutine counts goroutines and bytes of many idle tunnels.
func TestIdleTunnelHasNoGoroutine(t *testing.T) {
	if !park.HasLoop {
		t.Skip("without the loop each connection has a goroutine")
	}
	for _, l := range []link{links[0], links[2]} {
		t.Run(l.name, func(t *testing.T) {
			goroutines := runtime.NumGoroutine()
			var all []started
			for range 50 {
				s := start(t, l, l, tunnel.Options{})
				write(t, s.a, "x")
				expect(t, s.b, "x")
				all = append(all, s)
			}
			for began := time.Now(); runtime.NumGoroutine() > goroutines+8; time.Sleep(time.Millisecond) {
				require.Less(t, time.Since(began), patience)
			}
			for _, s := range all {
				s.a.Close()
				s.b.Close()
				_ = s.awaitEnd(t)
			}
		})
	}
}

// TestTimeoutsInABubble uses virtual time.
func TestTimeoutsInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, innerA := net.Pipe()
		b, innerB := net.Pipe()
		ended := make(chan error, 1)
		tunnel.Start(innerA, innerB, nil, nil, &tunnel.Options{IdleTimeout: time.Hour, Ended: func(err error) { ended <- err }})
		for range 5 {
			time.Sleep(50 * time.Minute)
			go func() { _, _ = a.Write([]byte("x")) }()
			_, err := b.Read(make([]byte, 1))
			require.NoError(t, err)
		}
		time.Sleep(59 * time.Minute)
		synctest.Wait()
		require.Empty(t, ended)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		require.ErrorIs(t, <-ended, tunnel.ErrIdleTimeout)
		_, err := a.Read(make([]byte, 1))
		require.True(t, errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe), "%v", err)
	})
}
