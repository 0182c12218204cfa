package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edgews/edgews"
)

// patience bounds the waits of tests, for machines that are slow.
const patience = time.Minute

func TestMain(m *testing.M) {
	code := m.Run()
	if binaryDir != "" {
		os.RemoveAll(binaryDir)
	}
	os.Exit(code)
}

var (
	binaryDir string

	buildBinary = sync.OnceValues(func() (string, error) {
		var err error
		if binaryDir, err = os.MkdirTemp("", "edgews"); err != nil {
			return "", err
		}
		path := filepath.Join(binaryDir, "edgews")
		out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput()
		if err != nil {
			os.Stderr.Write(out)
		}
		return path, err
	})
)

// binary returns the path of the command, which it builds once.
func binary(t *testing.T) string {
	t.Helper()
	path, err := buildBinary()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// programOrSkip skips the test if the program is not installed; with CI=true it fails.
func programOrSkip(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	switch {
	case err != nil && os.Getenv("CI") == "true":
		t.Fatal(err)
	case err != nil:
		t.Skip(err)
	}
	return path
}

// buffer is a bytes.Buffer for several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// running is a command that runs.
type running struct {
	t           *testing.T
	out, err    buffer
	interrupt   context.CancelCauseFunc
	done        chan struct{}
	code        int
	description string
}

// start runs a command; the end of the test ends it.
func start(t *testing.T, stdin io.Reader, args ...string) *running {
	ctx, cancel := context.WithCancelCause(t.Context())
	r := &running{t: t, interrupt: cancel, done: make(chan struct{}), description: strings.Join(args, " ")}
	go func() {
		defer close(r.done)
		r.code = run(ctx, args, stdin, &r.out, &r.err)
	}()
	t.Cleanup(func() { cancel(nil); <-r.done })
	return r
}

// wait returns the exit code.
func (r *running) wait() int {
	r.t.Helper()
	select {
	case <-r.done:
	case <-time.After(patience):
		r.t.Fatalf("edgews %s does not end\nstdout: %s\nstderr: %s", r.description, r.out.String(), r.err.String())
	}
	return r.code
}

// eventually waits until look returns true.
func eventually(t *testing.T, look func() bool, describe func() string) {
	t.Helper()
	eventuallyWithin(t, patience, look, describe)
}

// eventuallyWithin is eventually for what takes a while on a machine that is not slow.
func eventuallyWithin(t *testing.T, d time.Duration, look func() bool, describe func() string) {
	t.Helper()
	deadline := time.After(d)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !look() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal(describe())
		}
	}
}

// url returns the URL that a server has printed.
func (r *running) url() string {
	r.t.Helper()
	var url string
	eventually(r.t, func() bool {
		_, after, found := strings.Cut(r.err.String(), " at ws")
		line, _, ends := strings.Cut(after, "\n")
		url = "ws" + line
		return found && ends
	}, func() string { return "no URL: " + r.err.String() })
	return url
}

// result is how a command has ended.
type result struct {
	code     int
	out, err string
}

// runs runs a command with this stdin to its end.
func runs(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	r := start(t, strings.NewReader(stdin), args...)
	code := r.wait()
	return result{code, r.out.String(), r.err.String()}
}

// wants checks the exit code and what is in stdout and stderr.
func (r result) wants(t *testing.T, code int, out, err string) {
	t.Helper()
	if r.code != code || !strings.Contains(r.out, out) || !strings.Contains(r.err, err) {
		t.Errorf("got exit code %d, want %d; stdout has to contain %q, stderr %q\nstdout: %s\nstderr: %s", r.code, code, out, err, r.out, r.err)
	}
}

// serveSockets returns the URL of a server that accepts every socket and gives it to handle.
func serveSockets(t *testing.T, handle func(s *edgews.Socket, r *http.Request)) string {
	t.Helper()
	hub := edgews.NewHub(nil)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s, err := hub.Upgrade(w, r, &edgews.UpgradeOptions{Protocols: []string{"chat.v2"}}); err == nil {
			handle(s, r)
		}
	}))
	t.Cleanup(func() {
		server.Close()
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		hub.Shutdown(ended)
	})
	return "ws" + strings.TrimPrefix(server.URL, "http")
}

// newServer returns the URL of a server with this handler.
func newServer(t *testing.T, h http.HandlerFunc) string {
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return "ws" + strings.TrimPrefix(server.URL, "http")
}

// accept accepts s in a handler of serveSockets.
func accept(s *edgews.Socket) { _ = s.Accept() }

// echoServer returns the URL of a server that echoes.
func echoServer(t *testing.T) string {
	return serveSockets(t, func(s *edgews.Socket, _ *http.Request) {
		s.OnMessage(echo)
		accept(s)
	})
}

func TestUsage(t *testing.T) {
	for _, test := range []struct {
		name string
		args []string
		err  string
	}{
		{"no command", nil, "a command is needed"},
		{"unknown command", []string{"dail"}, `no command "dail"`},
		{"unknown command with control characters", []string{"\x1b[2J"}, `no command "\x1b[2J"`},
		{"help of an unknown command", []string{"help", "dail"}, `no command "dail"`},
		{"unknown flag", []string{"dial", "-nope", "ws://x"}, "flag provided but not defined: -nope"},
		{"no URL", []string{"dial"}, "URL is needed"},
		{"two URLs", []string{"dial", "ws://x", "ws://y"}, `"ws://y" is one argument too many`},
		{"flag after the URL", []string{"dial", "ws://x", "-timeout", "soon"}, `invalid value "soon"`},
		{"wrong scheme", []string{"dial", "ftp://x"}, "scheme"},
		{"wrong header", []string{"dial", "-H", "nothing", "ws://x"}, "Name: value"},
		{"header of the handshake", []string{"dial", "-H", "Sec-WebSocket-Protocol: a", "ws://x"}, "Sec-WebSocket-Protocol"},
		{"wrong protocol", []string{"dial", "-protocol", "a b", "ws://x"}, "protocol"},
		{"wrong format", []string{"dial", "-format", "xml", "ws://x"}, "text, json or raw"},
		{"wrong pretty", []string{"dial", "-pretty", "perhaps", "ws://x"}, "always, never or auto"},
		{"wrong timeout", []string{"dial", "-timeout", "0s", "ws://x"}, "-timeout"},
		{"no program", []string{"listen", "--", "/nonexistent/program"}, "no such file"},
		{"no target", []string{"proxy"}, "TARGET is needed"},
		{"wrong target", []string{"proxy", "localhost:80"}, "scheme"},
		{"target without host", []string{"proxy", "ws:///x"}, "no host"},
		{"wrong certificate", []string{"proxy", "-addr", "localhost:0", "-cert", "/nonexistent", "ws://x"}, "-cert and -key"},
		{"no sockets", []string{"load", "ws://x", "-sockets", "0"}, "-sockets"},
		{"no rate", []string{"load", "ws://x", "-rate", "0"}, "-rate"},
		{"load of a wrong URL", []string{"load", "ftp://x", "-sockets", "1"}, "scheme"},
		{"echo of nothing", []string{"load", "ws://x", "-echo"}, "set -send"},
		{"no usage", []string{"bill"}, "no usage"},
		{"wrong shell", []string{"completion", "tcsh"}, "bash, zsh or fish"},
		{"no shell", []string{"completion"}, "bash|zsh|fish is needed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			runs(t, "", test.args...).wants(t, exitUsage, "", test.err)
		})
	}
}

func TestHelp(t *testing.T) {
	overview := runs(t, "", "help")
	overview.wants(t, exitSuccess, exitHelp, "")
	for _, c := range commands() {
		overview.wants(t, exitSuccess, "\n  "+c.name+" ", "")
		for _, args := range [][]string{{"help", c.name}, {c.name, "-h"}, {c.name, "--help"}} {
			r := runs(t, "", args...)
			r.wants(t, exitSuccess, "Usage: edgews "+c.name, "")
			r.wants(t, exitSuccess, "\nExamples:\n  "+c.examples[0], "")
			r.wants(t, exitSuccess, exitHelp, "")
			for _, name := range c.flagNames() {
				r.wants(t, exitSuccess, "\n  "+name, "")
			}
		}
	}
}

// The examples of the help use flags that exist.
func TestExamplesParse(t *testing.T) {
	for _, c := range commands() {
		for _, example := range c.examples {
			_, after, found := strings.Cut(example, "edgews "+c.name)
			if !found {
				t.Errorf("%s: %q does not run it", c.name, example)
			}
			flagsExist(t, c, after)
		}
	}
}

// flagsExist checks that a command line after the command's name has flags of it.
func flagsExist(t *testing.T, c *command, line string) {
	t.Helper()
	fs, _ := c.flags()
	for _, word := range strings.Fields(line) {
		if word == "--" || word == "|" {
			return
		}
		name := strings.TrimLeft(word, "-")
		if name != word && name != "" && fs.Lookup(name) == nil {
			t.Errorf("%s: %q has a flag that does not exist: %s", c.name, line, word)
		}
	}
}

// So do the command lines of the README and the guides.
func TestDocumentedCommandsParse(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?ms)^```(?:sh|text)\n(.*?)^```$")
	commandLine := regexp.MustCompile(`(?m)^(?:\$ )?edgews ([a-z]+) (.*)$`)
	for _, page := range append(pages, "README.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		code := strings.Join(block.FindAllString(strings.ReplaceAll(string(text), "\r\n", "\n"), -1), "\n")
		for _, match := range commandLine.FindAllStringSubmatch(code, -1) {
			if c := commandOf(match[1]); c != nil {
				flagsExist(t, c, match[2])
			} else {
				t.Errorf("%s: there is no command edgews %s", page, match[1])
			}
		}
	}
}

func TestParse(t *testing.T) {
	for _, test := range []struct{ args, rest string }{
		{"a", "a"},
		{"-json a b", "a b"},
		{"a -json b", "a b"},
		{"a b -plan x -json", "a b"},
		{"a -- -json b", "a -json b"},
		{"-- -json", "-json"},
		{"a - b", "a - b"},
	} {
		fs, _ := billCommand.flags()
		rest, err := parse(fs, strings.Fields(test.args))
		if got := strings.Join(rest, " "); err != nil || got != test.rest {
			t.Errorf("%q: got %q, want %q; %v", test.args, got, test.rest, err)
		}
	}
}

func TestVersion(t *testing.T) {
	runs(t, "", "version").wants(t, exitSuccess, "edgews ", "")
	runs(t, "", "--version").wants(t, exitSuccess, " go1.", "")
}

// The README lists the exit codes as the help does.
func TestReadme(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(readme), exitHelp) {
		t.Error("README.md has other exit codes than the help")
	}
	for _, c := range commands() {
		if !strings.Contains(string(readme), "edgews "+c.name) {
			t.Errorf("README.md does not show edgews %s", c.name)
		}
	}
}
