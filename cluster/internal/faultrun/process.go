package faultrun

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Process is a node in a process of its own.
type Process struct {
	ID    string
	t     *testing.T
	addrs nodeAddrs
	cmd   *exec.Cmd
	alive io.Closer // the process ends when this is closed, as when the test ends
	ended chan struct{}

	mu     sync.Mutex
	killed bool
	tells  map[string]bool // rooms whose homes were other nodes when this one was killed
}

// startProcess starts the test's binary as a node. The node ends with the test.
func startProcess(t *testing.T, c nodeConfig) *Process {
	t.Helper()
	text, err := json.Marshal(c)
	require.NoError(t, err)
	p := &Process{ID: c.ID, t: t, cmd: exec.Command(os.Args[0]), ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), nodeEnv+"="+string(text))
	p.cmd.Stderr = os.Stderr
	if c.Log != "" {
		if f, err := os.Create(c.Log + ".stderr"); err == nil {
			defer f.Close()
			p.cmd.Stderr = f
		}
	}
	p.alive, err = p.cmd.StdinPipe()
	require.NoError(t, err)
	out, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	t.Cleanup(p.kill)
	assert.NoError(t, json.NewDecoder(out).Decode(&p.addrs), "node %s does not start", c.ID)
	go func() { // what else it prints belongs to the log of the test
		_, _ = io.Copy(os.Stderr, out)
		_ = p.cmd.Wait()
		close(p.ended)
	}()
	return p
}

// kill ends the process at once, and returns when it has ended.
func (p *Process) kill() {
	_ = p.cmd.Process.Signal(syscall.SIGCONT)
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// Stop has the process run no more until Continue: it does not notice.
func (p *Process) Stop() { assert.NoError(p.t, p.cmd.Process.Signal(syscall.SIGSTOP)) }

// Continue is the opposite of Stop.
func (p *Process) Continue() { assert.NoError(p.t, p.cmd.Process.Signal(syscall.SIGCONT)) }

// Hold has the node wait at a phase, for a room or its shard.
func (p *Process) Hold(phase Phase, room string) {
	p.t.Helper()
	require.NoError(p.t, p.ask("arm", url.Values{"phase": {string(phase)}, "room": {room}}))
}

// AwaitHeld waits until the node waits at a phase.
func (p *Process) AwaitHeld(phase Phase) {
	p.t.Helper()
	require.NoError(p.t, p.ask("reached", url.Values{"phase": {string(phase)}}), "node %s does not reach the phase: %s", p.ID, phase)
}

// Release has the node go on.
func (p *Process) Release(phase Phase) {
	p.t.Helper()
	require.NoError(p.t, p.ask("release", url.Values{"phase": {string(phase)}}))
}

// Blind has the renewals and claims of the node get lost, or not.
func (p *Process) Blind(on bool) {
	p.t.Helper()
	require.NoError(p.t, p.ask("blind", url.Values{"on": {fmt.Sprint(on)}}))
}

// HoldWatch has the node see no more changes, or those that it has missed and all others.
func (p *Process) HoldWatch(on bool) {
	p.t.Helper()
	require.NoError(p.t, p.ask("hold-watch", url.Values{"on": {fmt.Sprint(on)}}))
}

// BeginLeave has the node leave the cluster. The channel gets the outcome.
func (p *Process) BeginLeave() <-chan error {
	left := make(chan error, 1)
	go func() { left <- p.ask("leave", nil) }()
	return left
}

func (p *Process) ask(what string, form url.Values) error {
	ctx, cancel := context.WithTimeout(context.Background(), eventuallyTimeout)
	defer cancel()
	return p.control(ctx, what, form, nil)
}

// state asks the node about itself. A node that is stopped or dead has none.
func (p *Process) state(room string) (s nodeState, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	err = p.control(ctx, "state", url.Values{"room": {room}}, &s)
	return s, err
}

// mustTellOf reports whether the node was killed, and another one is the home of a room, which must notice.
func (p *Process) mustTellOf(room string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.tells[room]
}

func (p *Process) wasKilled() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.killed
}

// isDead reports whether the process has ended.
func (p *Process) isDead() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// control asks a node to do something.
func (p *Process) control(ctx context.Context, what string, form url.Values, answer any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.addrs.Web+"/control/"+what+"?"+form.Encode(), nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s of node %s: %s", what, p.ID, resp.Status)
	}
	if answer == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(answer)
}
