package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"os/signal"
)

// roleFlag is the first argument of the other processes. The next one is the role; the rest is for those who look at a list of processes.
const roleFlag = "-role"

// process is a process of this program with another role. Each has its configuration from its standard input, as a line of JSON, and then
// orders. It ends when that input ends, so also when the supervisor is killed. It reports lines of JSON on its standard output.
type process struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	ended chan struct{} // closed when the process has ended, after its last report
}

// startProcess starts a process, and calls heard with each of its reports, one after the other.
func startProcess(config any, heard func(report []byte), role ...string) (*process, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.Command(path, append([]string{roleFlag}, role...)...), ended: make(chan struct{})}
	p.cmd.Stderr = os.Stderr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			heard(lines.Bytes())
		}
		p.cmd.Wait()
		close(p.ended)
	}()
	if err := json.NewEncoder(p.in).Encode(config); err != nil {
		p.kill()
		return nil, fmt.Errorf("%v has ended: %w", role, err)
	}
	return p, nil
}

// order sends an order to the process.
func (p *process) order(what string) { fmt.Fprintln(p.in, what) }

// kill ends the process at once: SIGKILL on Unix, TerminateProcess on Windows.
func (p *process) kill() { p.cmd.Process.Kill() }

// close has the process clean up and end, and waits for it.
func (p *process) close() {
	p.in.Close()
	<-p.ended
}

// isChild reports whether these are the arguments of a process that startProcess has started.
func isChild(args []string) bool { return len(args) > 2 && args[1] == roleFlag }

// beChild plays the role that args say, until the supervisor ends or orders it.
func beChild(args []string) {
	log.SetPrefix(fmt.Sprint("cluster: ", args[2:], ": "))
	signal.Ignore(os.Interrupt) // Ctrl-C is sent to all processes of a terminal: the supervisor tells this one what to do
	in := bufio.NewReader(os.Stdin)
	role := map[string]func(*bufio.Reader) error{"node": beNode, "nats": beServers}[args[2]]
	if role == nil {
		log.Fatal("there is no such role")
	}
	if err := role(in); err != nil {
		log.Fatal(err)
	}
}

// readConfig reads the line that startProcess has sent.
func readConfig(in *bufio.Reader, config any) error {
	line, err := in.ReadBytes('\n')
	if err != nil {
		return err
	}
	return json.Unmarshal(line, config)
}

// report sends v to the supervisor.
func report(v any) error { return json.NewEncoder(os.Stdout).Encode(v) }
