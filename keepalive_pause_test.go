//go:build linux

package edgews_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/require"
)

// pausedServer is set in the process that TestKeepAliveAfterAPause stops and continues.
const pausedServer = "EDGEWS_TEST_PAUSED_SERVER"

// When a stopped process continues, all its deadlines have passed. The sockets of peers that have answered meanwhile stay open.
func TestKeepAliveAfterAPause(t *testing.T) {
	if os.Getenv(pausedServer) != "" {
		servePaused(t)
		return
	}
	timeout := time.Second
	err := surviveAPause(t, timeout)
	for timeout *= 4; err != nil && timeout < patience; timeout *= 4 { // on a busy machine, even this peer may answer late
		err = surviveAPause(t, timeout)
	}
	require.NoError(t, err)
}

// surviveAPause stops a server for longer than its KeepAliveTimeout.
func surviveAPause(t *testing.T, timeout time.Duration) error {
	server := exec.Command(os.Args[0], "-test.run=^TestKeepAliveAfterAPause$", "-test.timeout=5m")
	server.Env = append(os.Environ(), pausedServer+"="+timeout.String())
	server.Stderr = os.Stderr
	out, err := server.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, server.Start())
	t.Cleanup(func() {
		server.Process.Kill()
		server.Wait()
	})
	addr, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)

	conn, err := net.Dial("tcp", strings.TrimSpace(addr))
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	p := &peer{t, conn, bufio.NewReader(conn), true}
	p.upgrades()
	for pings := range 7 {
		p.conn.SetReadDeadline(time.Now().Add(patience))
		f, err := readFrame(p.r)
		if err != nil {
			return fmt.Errorf("after %d pings: %w", pings, err)
		}
		require.Equal(t, ping("").String(), f.String())
		if pings >= 2 {
			p.conn.Write(p.encode(pong("")))
			continue
		}
		require.NoError(t, server.Process.Signal(syscall.SIGSTOP))
		eventually(t, func() bool { return isStopped(server.Process.Pid) }, "the server has stopped")
		p.conn.Write(p.encode(pong("")))
		<-time.After(timeout * 3 / 2)
		require.NoError(t, server.Process.Signal(syscall.SIGCONT))
	}
	return nil
}

func isStopped(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(stat), ") T ")
}

func servePaused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	timeout, err := time.ParseDuration(os.Getenv(pausedServer))
	require.NoError(t, err)
	fmt.Println(l.Addr())
	_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := edgews.Upgrade(w, r, &edgews.UpgradeOptions{Options: edgews.Options{KeepAlive: 300 * time.Millisecond, KeepAliveTimeout: timeout}})
		if err == nil {
			s.Accept()
		}
	}))
}
