//go:build unix

package edgews_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/edgews/edgews/internal/park"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A server that has no descriptors left logs this, tries again, and accepts the connections that have waited.
func TestServeOutOfDescriptors(t *testing.T) {
	var limit syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	restore := func() { require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)) }
	onBoth(t, func(t *testing.T, f serveFunc) {
		s := f.start(t, &http.Server{Handler: http.HandlerFunc(upgradeAndEcho)})
		_, err := s.exchange(t, upgradeHead("/"))
		require.NoError(t, err)
		defer restore()
		var lowered error
		dialer := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
			low := limit
			low.Cur = 3
			lowered = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &low)
			return nil
		}}
		c, err := dialer.Dial("tcp", s.addr)
		require.NoError(t, lowered)
		require.NoError(t, err)
		defer c.Close()
		require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
		eventually(t, func() bool { return strings.Count(s.log.String(), "too many open files; retrying in") >= 3 }, "three attempts fail")
		restore()
		_, err = io.WriteString(c, upgradeHead("/"))
		require.NoError(t, err)
		assert.Contains(t, readHead(t, bufio.NewReader(c)), " 101 ")
		log := s.log.String()
		for _, delay := range []string{"5ms", "10ms", "20ms"} {
			assert.Regexp(t, "http: Accept error: accept tcp "+regexp.QuoteMeta(s.addr)+": accept4?: too many open files; retrying in "+delay+"\n", log)
		}
		select {
		case err := <-s.result:
			assert.Fail(t, "Serve has returned", err)
		default:
		}
	})
}

// While accepting waits for a descriptor, connections that arrive do not make it try again.
func TestServeOutOfDescriptorsPauses(t *testing.T) {
	var limit syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	restore := func() { require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)) }
	onBoth(t, func(t *testing.T, f serveFunc) {
		srv := &http.Server{Handler: http.HandlerFunc(upgradeAndEcho)}
		s := f.start(t, srv)
		_, err := s.exchange(t, upgradeHead("/"))
		require.NoError(t, err)
		fds := make([]int, 100)
		for i := range fds {
			fds[i], err = syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
			require.NoError(t, err)
			defer syscall.Close(fds[i])
		}
		defer restore()
		low := limit
		low.Cur = 3
		require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &low))
		failures := func() int { return strings.Count(s.log.String(), "too many open files; retrying in") }
		for i, fd := range fds {
			require.NoError(t, syscall.Connect(fd, &syscall.SockaddrInet4{Port: s.l.Addr().(*net.TCPAddr).Port, Addr: [4]byte{127, 0, 0, 1}}))
			if i == 0 {
				eventually(t, func() bool { return failures() >= 4 }, "four attempts fail")
			}
			time.Sleep(time.Millisecond) // so that they do not arrive together
		}
		assert.Less(t, failures(), 20)
	})
}

// A request that cannot be handed to net/http for want of a descriptor ends its connection, and nothing else.
func TestServeOutOfDescriptorsForNetHTTP(t *testing.T) {
	if !park.HasLoop {
		t.Skip("this build has no event loop")
	}
	var limit syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	restore := func() { require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)) }
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { behaviours[r.URL.Path](w, r) })}
	states := newConnStates(srv)
	s := serveFuncs[0].start(t, srv)
	n := 0
	for _, request := range []string{"GET /text HTTP/1.1\r\nHost: x\r\n\r\n", upgradeHead("/error"), upgradeHead("/hijackreader")} {
		c := s.dial(t)
		n++
		eventually(t, func() bool { return strings.Count(states.String(), "new") == n }, "the connection is accepted")
		low := limit
		low.Cur = 3
		require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &low))
		_, err := io.WriteString(c, request)
		got, readErr := io.ReadAll(c)
		restore()
		require.NoError(t, err)
		assert.NotErrorIs(t, readErr, os.ErrDeadlineExceeded)
		assert.Empty(t, got)
	}
	answer, err := s.exchange(t, "GET /text HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	assert.Contains(t, answer, "200 OK")
}

// Accepted sockets have the options that package net sets.
func TestServeSocketOptions(t *testing.T) {
	want := make(map[string]string)
	onBoth(t, func(t *testing.T, f serveFunc) {
		options := make(chan string, 1)
		s := f.start(t, &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				panic(err)
			}
			defer conn.Close()
			raw, err := conn.(syscall.Conn).SyscallConn()
			if err != nil {
				panic(err)
			}
			raw.Control(func(fd uintptr) {
				var all []string
				for _, o := range [][2]int{{syscall.IPPROTO_TCP, syscall.TCP_NODELAY}, {syscall.SOL_SOCKET, syscall.SO_KEEPALIVE}} {
					value, err := syscall.GetsockoptInt(int(fd), o[0], o[1])
					all = append(all, strconv.Itoa(value), strconv.FormatBool(err == nil))
				}
				options <- strings.Join(all, " ")
			})
		})})
		_, err := s.exchange(t, upgradeHead("/"))
		require.NoError(t, err)
		want[f.name] = <-options
	})
	assert.Equal(t, want["net/http"], want["Serve"])
}
