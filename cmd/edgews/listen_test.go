package main

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/edgews/edgews"
)

func TestListenEchoes(t *testing.T) {
	server := start(t, nil, "listen", "-addr", "localhost:0", "-protocol", "chat.v2")
	url := server.url()
	runs(t, "one\n/binary 00\n", "dial", "-count", "2", "-protocol", "chat.v2", url+"/path?q=\x1b").wants(t, exitUsage, "", "")
	runs(t, "one\n/binary 00\n", "dial", "-count", "2", "-protocol", "chat.v2", url+"/path?q=1").wants(t, exitSuccess, "one\n00\n", "subprotocol chat.v2")
	runs(t, "", "dial", "-origin", "https://elsewhere.example", url).wants(t, exitRefused, "", "403")
	resp, err := http.Get("http" + strings.TrimPrefix(url, "ws"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUpgradeRequired {
		t.Errorf("a request without a handshake gets %s", resp.Status)
	}

	open, _, err := edgews.Dial(t.Context(), url, nil)
	if err != nil {
		t.Fatal(err)
	}
	accept(open)
	server.interrupt(&signalError{os.Interrupt})
	if code := server.wait(); code != exitInterrupted {
		t.Errorf("exit code %d, want %d", code, exitInterrupted)
	}
	<-open.Done()
	if text := endText(open); !strings.Contains(text, "1012") {
		t.Errorf("the socket ended with %s", text)
	}
	for _, want := range []string{`"/path?q=1"`, "1000", "refused"} {
		if !strings.Contains(server.err.String(), want) {
			t.Errorf("stderr lacks %s: %s", want, server.err.String())
		}
	}
}

func TestListenToSeveral(t *testing.T) {
	server := start(t, nil, "listen", "-addr", "localhost:0", "-max", "1", "-quiet=false")
	url := server.url()
	first, _, err := edgews.Dial(t.Context(), url, nil)
	if err != nil {
		t.Fatal(err)
	}
	runs(t, "", "dial", url).wants(t, exitRefused, "", "503")
	accept(first)
	first.Close(edgews.StatusNormalClosure, "")
	<-first.Done()
}

// SIGTERM is how a server is stopped, and no failure.
func TestListenTerminated(t *testing.T) {
	server := start(t, nil, "listen", "-addr", "localhost:0")
	server.url()
	server.interrupt(&signalError{syscall.SIGTERM})
	if code := server.wait(); code != exitSuccess {
		t.Errorf("exit code %d, want 0", code)
	}
}

func TestListenAddressInUse(t *testing.T) {
	server := start(t, nil, "listen", "-addr", "localhost:0")
	addr := strings.TrimPrefix(server.url(), "ws://")
	runs(t, "", "listen", "-addr", addr).wants(t, exitFailure, "", "address already in use")
}

func TestListenProgram(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("it needs a Unix shell")
	}
	for _, test := range []struct {
		name, script string
		flags        string
		stdin, args  string
		code         int
		out, err     string
		serverErr    string
	}{
		{"lines", "cat", "", "one\ntwo\n", "-count 2", exitSuccess, "one\ntwo\n", "", ""},
		{"its end", "echo one; printf two", "", "", "-wait -1s", exitSuccess, "one\ntwo\n", "1000", ""},
		{"its failure", "echo one; exit 3", "", "", "-wait -1s", exitFailure, "one\n", "1011", ""},
		{"its stderr", `printf '\033[2J\n' >&2; exit 3`, "", "", "-wait -1s", exitFailure, "", "the program has failed", `edgews: 1: \x1b[2J`},
		{"environment", `echo "$EDGEWS_PATH $EDGEWS_QUERY $EDGEWS_PROTOCOL"`, "-protocol chat", "", "-wait -1s -protocol chat", exitSuccess, "/a%20b x=1 chat\n", "", ""},
		{"bytes", `head -c 2; printf '\000\377'`, "-binary", "ab", "-binary -whole -wait -1s", exitSuccess, "6162", "", ""},
		{"not UTF-8", `printf 'a\377\n'`, "", "", "-wait -1s", exitSuccess, "a\ufffd\n", "", ""},
		{"end of stdin", `cat >/dev/null; echo over >&2`, "", "", "-wait 0s", exitSuccess, "", "", "edgews: 1: over"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			args := append([]string{"listen", "-addr", "localhost:0"}, strings.Fields(test.flags)...)
			server := start(t, nil, append(args, "--", "sh", "-c", test.script)...)
			dial := append(append([]string{"dial"}, strings.Fields(test.args)...), server.url()+"/a%20b?x=1")
			runs(t, test.stdin, dial...).wants(t, test.code, test.out, test.err)
			eventually(t, func() bool { return strings.Contains(server.err.String(), test.serverErr) },
				func() string { return "stderr lacks " + test.serverErr + ": " + server.err.String() })
		})
	}
}

// A process that ignores the end of its stdin is killed with its children, and the server can stop meanwhile.
func TestListenKills(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("it needs a Unix shell")
	}
	if testing.Short() {
		t.Skip("it waits for the grace of 5 s")
	}
	server := start(t, nil, "listen", "-addr", "localhost:0", "--", "sh", "-c", `sleep 1000 & echo $!; wait`)
	s, _, err := edgews.Dial(t.Context(), server.url(), nil)
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.Receive(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	child := m.Text()
	server.interrupt(&signalError{syscall.SIGTERM})
	s.Receive(context.Background())
	if code := server.wait(); code != exitSuccess {
		t.Errorf("exit code %d: %s", code, server.err.String())
	}
	eventually(t, func() bool { return exec.Command("kill", "-0", child).Run() != nil || zombie(child) },
		func() string { return "process " + child + " still runs" })
}

// zombie reports whether a process has ended and only its parent does not know.
func zombie(pid string) bool {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	return err == nil && strings.Contains(string(stat), ") Z ")
}

func TestProxy(t *testing.T) {
	target := serveSockets(t, func(s *edgews.Socket, r *http.Request) {
		accept(s)
		s.Send(r.URL.Path + " " + r.Host)
	})
	proxy := start(t, nil, "proxy", "-addr", "localhost:0", target+"/base")
	url := proxy.url()
	runs(t, "", "dial", "-count", "1", url+"/x").wants(t, exitSuccess, "/base/x "+strings.TrimPrefix(target, "ws://"), "")
	keep := start(t, nil, "proxy", "-addr", "localhost:0", "-keep-host", target)
	runs(t, "", "dial", "-count", "1", keep.url()).wants(t, exitSuccess, strings.TrimPrefix(keep.url(), "ws://"), "")
	none := start(t, nil, "proxy", "-addr", "localhost:0", "ws://localhost:1")
	runs(t, "", "dial", none.url()).wants(t, exitRefused, "", "502")
	proxy.interrupt(&signalError{syscall.SIGTERM})
	if code := proxy.wait(); code != exitSuccess {
		t.Errorf("exit code %d, want 0", code)
	}
}
