//go:build unix

package link_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews/cluster/internal/link"
)

// echoEnv makes the test binary a node that echoes messages.
const echoEnv = "EDGEWS_LINK_ECHO"

func TestMain(m *testing.M) {
	if os.Getenv(echoEnv) != "" {
		if err := echoProcess(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// echoProcess runs a node until the standard input ends. It prints its address.
func echoProcess() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	m, err := link.New(link.Options{
		Self: link.Peer{ID: "echo", Incarnation: 1}, Cluster: "test",
		Accept: func(_ link.Peer, ch *link.Channel, _ []byte) link.Receiver {
			return &consumer{ch: ch, late: make(chan uint64, 10000), after: func() {}}
		},
	})
	if err != nil {
		return err
	}
	go m.Serve(l)
	fmt.Println(l.Addr())
	_, err = bufio.NewReader(os.Stdin).ReadString('\n')
	m.Close()
	return err
}

// A process that is stopped loses its connection and nothing else; once it goes on, so do its channels. A process that is killed is known to be
// dead as soon as its system says so.
func TestStoppedAndKilledProcess(t *testing.T) {
	binary, err := os.Executable()
	require.NoError(t, err)
	process := exec.Command(binary)
	process.Env = append(os.Environ(), echoEnv+"=1")
	process.Stderr = os.Stderr
	stdin, err := process.StdinPipe()
	require.NoError(t, err)
	defer stdin.Close()
	stdout, err := process.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, process.Start())
	defer process.Wait()
	defer process.Process.Kill()
	addr, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)

	a := startTCPNode(t, "a", func(o *link.Options) { o.HeartbeatEvery = 100 * time.Millisecond })
	peer := link.Peer{ID: "echo", Incarnation: 1, Addr: strings.TrimSpace(addr)}
	r := newRecorder(true)
	ch, err := a.Open(peer, nil, 0, r)
	require.NoError(t, err)
	r.Channel = ch
	until := func(what func(link.Event) bool) {
		for e := range a.events {
			if what(e) {
				return
			}
		}
	}
	r.send(t, numbered(100))
	r.received(100)
	until(func(e link.Event) bool { return e.Up })

	require.NoError(t, process.Process.Signal(syscall.SIGSTOP))
	r.send(t, numbered(100))
	until(func(e link.Event) bool { return !e.Up })
	require.NoError(t, process.Process.Signal(syscall.SIGCONT))
	until(func(e link.Event) bool { return e.Up })
	r.received(200)
	r.send(t, numbered(100))
	r.received(300)
	checkSequence(t, r, 300)

	start := time.Now()
	require.NoError(t, process.Process.Kill())
	until(func(e link.Event) bool { return e.Refused })
	t.Logf("known to be dead %v after the kill", time.Since(start))
	r.send(t, []string{"for another node"})
	a.Remove(peer.ID, peer.Incarnation)
	require.ErrorIs(t, r.failure(), link.ErrRemoved)
	var left []string
	for _, p := range r.Unconsumed() {
		left = append(left, string(p))
	}
	assert.Equal(t, "for another node", left[len(left)-1])
}
