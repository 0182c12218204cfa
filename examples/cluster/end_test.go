package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// program is the example as a process of its own.
type program struct {
	t    *testing.T
	cmd  *exec.Cmd
	dir  string // for temporary files
	page string // the URL
}

// newProgram starts the example, and returns when it says where the page is.
func newProgram(t *testing.T) *program {
	t.Helper()
	p := &program{t: t, cmd: exec.Command(os.Args[0], supervisorRole, "-addr", "localhost:0"), dir: t.TempDir()}
	p.cmd.Env = append(os.Environ(), "TMPDIR="+p.dir, "TMP="+p.dir, "TEMP="+p.dir)
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.cmd.Process.Kill() })
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if _, rest, ok := strings.Cut(lines.Text(), "Open "); ok {
			p.page, _, _ = strings.Cut(rest, " ")
			go io.Copy(io.Discard, out)
			return p
		}
	}
	t.Fatal("the program has ended: ", p.cmd.Wait())
	return nil
}

// addresses returns where the nodes listen.
func (p *program) addresses() (all []string) {
	p.t.Helper()
	resp, err := http.Get(p.page + "state")
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	var st state
	if err := json.NewDecoder(resp.Body).Decode(&st); err != nil || len(st.Nodes) != 3 {
		p.t.Fatal(st, err)
	}
	for _, n := range st.Nodes {
		all = append(all, n.Public, n.Link)
	}
	return all
}

// leavesNothing waits until nothing listens at the addresses of the nodes, and until the temporary files are gone.
func (p *program) leavesNothing(addresses []string) {
	p.t.Helper()
	var left []string
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		left, _ = filepath.Glob(filepath.Join(p.dir, "*"))
		for _, address := range addresses {
			if c, err := net.Dial("tcp", address); err == nil {
				c.Close()
				left = append(left, address)
			}
		}
		if len(left) == 0 {
			return
		}
	}
	p.t.Errorf("this is left: %q", left)
}

// TestKilledSupervisor: the other processes end when the supervisor is killed, and remove their files.
func TestKilledSupervisor(t *testing.T) {
	p := newProgram(t)
	addresses := p.addresses()
	if files, _ := filepath.Glob(filepath.Join(p.dir, "edgews-cluster-*")); len(files) != 1 {
		t.Errorf("temporary folders: %q", files)
	}
	p.cmd.Process.Kill()
	p.cmd.Wait()
	p.leavesNothing(addresses)
}

// TestInterrupt: Ctrl-C ends everything, without an error.
func TestInterrupt(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a process cannot be interrupted by another one")
	}
	p := newProgram(t)
	addresses := p.addresses()
	p.cmd.Process.Signal(os.Interrupt)
	if err := p.cmd.Wait(); err != nil {
		t.Error(err)
	}
	p.leavesNothing(addresses)
}

func TestRun(t *testing.T) {
	taken, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	if err := run(t.Context(), taken.Addr().String(), "room"); err == nil || !strings.Contains(err.Error(), "-addr") {
		t.Errorf("a port that is taken: %v", err)
	}
	if err := run(t.Context(), "localhost:0", "game"); err == nil || !strings.Contains(err.Error(), "-app") {
		t.Errorf("an app that does not exist: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := run(ctx, "localhost:0", "chat"); err != nil {
		t.Errorf("an interrupt: %v", err)
	}
}
