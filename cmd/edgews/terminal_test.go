package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/edgews/edgews"
)

var terminals atomic.Int64

// terminal is a terminal of tmux, in which a shell command runs.
type terminal struct {
	t      *testing.T
	tmux   string
	server string
}

// openTerminal starts a server of tmux with one terminal. After the command it shows the exit code, as "exit=0".
func openTerminal(t *testing.T, columns int, args ...string) *terminal {
	t.Helper()
	x := &terminal{t, programOrSkip(t, "tmux"), fmt.Sprintf("edgews-test-%d-%d", os.Getpid(), terminals.Add(1))}
	for i, a := range args {
		args[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
	}
	t.Cleanup(func() { exec.Command(x.tmux, "-L", x.server, "kill-server").Run() })
	x.do("-f", "/dev/null", "new-session", "-d", "-x", fmt.Sprint(columns), "-y", "40", strings.Join(args, " ")+`; echo "exit=$?"; cat`)
	return x
}

// do runs a command of tmux and returns what it prints.
func (x *terminal) do(args ...string) string {
	x.t.Helper()
	out, err := exec.Command(x.tmux, append([]string{"-L", x.server}, args...)...).CombinedOutput()
	if err != nil {
		x.t.Fatalf("tmux %v: %v: %s", args, err, out)
	}
	return string(out)
}

// types presses keys, by the names that tmux has for them.
func (x *terminal) types(keys ...string) { x.do(append([]string{"send-keys"}, keys...)...) }

// shows waits until the screen has the text.
func (x *terminal) shows(text string) {
	x.t.Helper()
	var screen string
	eventually(x.t, func() bool {
		screen = x.do("capture-pane", "-p")
		return strings.Contains(screen, text)
	}, func() string { return fmt.Sprintf("the screen does not show %q:\n%s", text, screen) })
}

// hides waits until the screen does not have the text.
func (x *terminal) hides(text string) {
	x.t.Helper()
	var screen string
	eventually(x.t, func() bool {
		screen = x.do("capture-pane", "-p")
		return !strings.Contains(screen, text)
	}, func() string { return fmt.Sprintf("the screen still shows %q:\n%s", text, screen) })
}

func TestDialInTerminal(t *testing.T) {
	url := serveSockets(t, func(s *edgews.Socket, _ *http.Request) {
		s.OnMessage(echo)
		accept(s)
	})
	x := openTerminal(t, 100, binary(t), "dial", url)
	x.shows("/help lists the commands")
	x.types("hello", "Enter")
	x.shows("< hello")
	x.types(`{"a":[1]}`, "Enter")
	x.shows("\n    \"a\": [\n      1\n")
	x.types("/binary 001b", "Enter")
	x.shows("< 2 bytes\n  00000000  00 1b")
	x.types("/ping", "Enter")
	x.shows("pong after")
	x.types("/nope", "Enter")
	x.shows("there is no command")
	x.types("half a li")
	x.shows("> half a li")
	x.types("C-u", "C-d")
	x.shows("exit=0")
}

func TestDialInTerminalInterrupted(t *testing.T) {
	x := openTerminal(t, 100, binary(t), "dial", echoServer(t))
	x.shows("/help lists the commands")
	x.types("C-c")
	x.shows("exit=130")
	x.types("typed", "Enter") // the terminal echoes again: its mode has been restored
	x.shows("typed\ntyped")
}

// What a peer sends cannot change the terminal: neither its title nor its screen.
func TestHostilePeerInTerminal(t *testing.T) {
	url := serveSockets(t, func(s *edgews.Socket, _ *http.Request) {
		accept(s)
		s.Send("first")
		s.Send("\x1b]2;owned\a\x1b[2J\x1b[H\u009b2Jlast")
	})
	x := openTerminal(t, 100, binary(t), "dial", url)
	x.shows(`< \x1b]2;owned\a\x1b[2J\x1b[H\u009b2Jlast`)
	x.shows("< first")
	if title := x.do("display-message", "-p", "#{pane_title}"); strings.Contains(title, "owned") {
		t.Errorf("the title is %s", title)
	}
	x.types("C-d")
	x.shows("exit=0")
}

func TestRawIsRefusedInTerminal(t *testing.T) {
	x := openTerminal(t, 100, binary(t), "dial", "-format", "raw", "ws://localhost:1")
	x.shows("exit=2")
}

func TestLoadInTerminal(t *testing.T) {
	x := openTerminal(t, 90, binary(t), "load", echoServer(t), "-sockets", "40", "-rate", "20", "-duration", "1h", "-ping", "100ms")
	x.shows("opening  [#")
	x.shows("measuring  [")
	x.types("C-c")
	x.shows("40 of 40 sockets opened")
	x.shows("exit=130")
	if screen := x.do("capture-pane", "-p"); strings.Contains(screen, "measuring  [") {
		t.Errorf("the line of progress is still there:\n%s", screen)
	}
}

// With -watch the table is drawn again over itself, in as many columns as the terminal has, and is gone at the end.
func TestInspectInTerminal(t *testing.T) {
	inspected := newInspected(t)
	inspected.opens("attic", "red")
	x := openTerminal(t, 100, binary(t), "inspect", inspected.url, "sockets", "-watch", "-every", "100ms")
	x.shows("edgews inspect sockets at")
	x.shows("cells/attic")
	x.shows("PATH")
	inspected.opens("cellar", "red")
	x.shows("cells/cellar")
	if screen := x.do("capture-pane", "-p"); strings.Count(screen, "QUEUE") != 1 {
		t.Errorf("the headings are there more than once:\n%s", screen)
	}
	x.do("resize-window", "-x", "40", "-y", "10")
	x.hides("PATH")
	x.types("C-c")
	x.shows("exit=130")
	x.hides("cells/attic")
}

// A server that does not speak as package inspect does cannot change the terminal either.
func TestHostileInspectorInTerminal(t *testing.T) {
	x := openTerminal(t, 200, binary(t), "inspect", hostileInspector(t), "objects")
	x.shows(`\x1b]2;owned\a\x1b[2J\u009b2J\u202e\nforged`)
	x.shows("exit=0")
	if title := x.do("display-message", "-p", "#{pane_title}"); strings.Contains(title, "owned") {
		t.Errorf("the title is %s", title)
	}
}

// Colours are for terminals, and only without NO_COLOR.
func TestColours(t *testing.T) {
	const cyan = "\x1b[36m"
	url := serveSockets(t, func(s *edgews.Socket, _ *http.Request) { accept(s); s.Send("hello") })
	for _, test := range []struct {
		setting string
		colours bool
	}{{"NO_COLOR=1", false}, {"NO_COLOR=", true}} {
		x := openTerminal(t, 100, "env", test.setting, binary(t), "dial", url)
		x.shows("< hello")
		if got := strings.Contains(x.do("capture-pane", "-p", "-e"), cyan); got != test.colours {
			t.Errorf("%s: colours %v", test.setting, got)
		}
	}
}
