package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/inspect"
)

// The operator's walk: a server with 2000 sockets, in which one socket does not read and one object never sleeps. The tests find them as a person
// does who has nothing but a shell, and what it all costs: with edgews inspect, and with the queries of a Prometheus. docs/operating.md
// has the same walk for people.

const walkSockets = 2000

// walkOrSkip skips a walk where it cannot be: it takes half a minute, and each process needs as many open files as there are sockets.
func walkOrSkip(t *testing.T) {
	t.Helper()
	const othersOfTheServer = 200
	switch {
	case testing.Short():
		t.Skip("the walk takes half a minute")
	case runtime.GOOS != "linux":
		t.Skip("how much a peer that does not read is sent, before its socket is slow, differs too much between systems")
	case openFiles() < walkSockets+othersOfTheServer:
		t.Skipf("a process may have %d open files here", openFiles())
	}
}

// serverProcess is a server in a process of its own.
type serverProcess struct {
	t   *testing.T
	cmd *exec.Cmd
	url string // without a slash at the end
}

// startProgram builds a program of another module of the workspace and starts it. The program prints its URL in its first line.
func startProgram(t *testing.T, dir, pkg string, args ...string) *serverProcess {
	t.Helper()
	if _, err := os.Stat(dir); err != nil {
		t.Skip("the other modules of the repository are not here: ", err)
	}
	path := filepath.Join(t.TempDir(), "server")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", path, pkg)
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	p := &serverProcess{t: t, cmd: exec.Command(path, args...)}
	p.cmd.Stderr = t.Output()
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.cmd.Process.Kill(); _ = p.cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(line, "http://")
	host, _, _ := strings.Cut(after, "/")
	p.url = "http://" + host
	return p
}

// loads starts edgews load in a process of its own, until the end of the test.
func (p *serverProcess) loads(room, name string, args ...string) {
	p.t.Helper()
	args = append([]string{"load", p.url + "/room/" + room + "/socket?name=" + name, "-duration", "1h", "-rate", "1000"}, args...)
	cmd := exec.Command(binary(p.t), args...)
	cmd.Stderr = p.t.Output()
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
}

// awaitSockets waits until the server has all sockets of the walk.
func (p *serverProcess) awaitSockets() {
	p.t.Helper()
	var o inspect.Overview
	eventually(p.t, func() bool {
		o = reads[inspect.Overview](p.t, p.url)
		return o.Sockets.Opened == walkSockets
	}, func() string { return fmt.Sprintf("%d sockets have been opened", o.Sockets.Opened) })
}

// objects returns the objects that inspect lists.
func (p *serverProcess) objects(args ...string) []inspect.ObjectRow {
	p.t.Helper()
	return reads[inspect.ObjectList](p.t, append([]string{p.url, "objects"}, args...)...).Objects
}

// shows prints a table to the log of the test, where a person can read it, and checks that a line has all these texts.
func (p *serverProcess) shows(texts []string, args ...string) {
	p.t.Helper()
	r := runs(p.t, "", append([]string{"inspect", p.url}, args...)...)
	p.t.Logf("edgews inspect %s %s\n%s", p.url, strings.Join(args, " "), r.out)
	for line := range strings.Lines(r.out) {
		found := true
		for _, text := range texts {
			found = found && strings.Contains(line, text)
		}
		if found {
			return
		}
	}
	p.t.Errorf("edgews inspect %s: exit code %d, no line has all of %q: %s", strings.Join(args, " "), r.code, texts, r.err)
}

// dollars returns an amount that the inspector has written.
func dollars(t *testing.T, text string) float64 {
	t.Helper()
	amount, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	return amount
}

// In the chat the socket that does not read is closed when it has not answered for a while; the log of the inspector knows it. The room that
// never sleeps is kept awake by messages, one each second.
func TestWalkThroughTheChat(t *testing.T) {
	walkOrSkip(t)
	chat := startProgram(t, "../../examples", "./chat", "-addr", "127.0.0.1:0", "-data", filepath.Join(t.TempDir(), "chat.db"))
	chat.loads("lobby", "Ann", "-sockets", strconv.Itoa(walkSockets), "-stalled", "1", "-send", "0.001", "-text", `{"id":"{socket}-{n}","text":"hello"}`)
	chat.awaitSockets()
	first := chat.objects("-name", "lobby")
	if len(first) != 1 || first[0].Sockets != walkSockets {
		t.Fatalf("the lobby is %+v", first)
	}

	// Which socket does not read?
	var log inspect.LogList
	eventuallyWithin(t, 3*patience, func() bool {
		log = reads[inspect.LogList](t, chat.url, "log", "-kind", "failure")
		return len(log.Entries) > 0
	}, func() string { return "no socket has failed" })
	silent := log.Entries[0]
	if len(log.Entries) != 1 || silent.Path != "/room/lobby/socket" || silent.Name != "lobby" {
		t.Errorf("the log has %+v", log.Entries)
	}
	chat.shows([]string{silent.Remote, "rooms/lobby"}, "log")
	var open inspect.SocketList
	eventually(t, func() bool {
		open = reads[inspect.SocketList](t, chat.url, "sockets")
		return open.Total == walkSockets-1
	}, func() string { return fmt.Sprintf("%d sockets are open", open.Total) })
	runs(t, "", "inspect", chat.url, "sockets", "-id", fmt.Sprint(silent.Socket)).wants(t, exitFailure, "", "no open socket")

	// Which object does not sleep, and why? The lobby was constructed once, and has had events ever since.
	lobby := chat.objects("-sort", "handled", "-desc", "-limit", "1")[0]
	if lobby.Name != "lobby" || lobby.Constructed != first[0].Constructed || lobby.Handled <= first[0].Handled {
		t.Errorf("the object with the most events is %+v; before it was %+v", lobby, first)
	}
	chat.shows([]string{"lobby", "request"}, "objects", "-sort", "handled", "-desc", "-limit", "1")

	// What does it cost?
	bill := reads[inspect.BillReport](t, chat.url, "bill")
	if dollars(t, lobby.Cost) <= 0 || len(bill.Plans) != 1 || bill.Bill.Total < edgews.DurableObjects.Base {
		t.Errorf("the lobby costs %q, the bill is %+v", lobby.Cost, bill)
	}
	chat.shows([]string{edgews.DurableObjects.Name, bill.Plans[0].Cost}, "bill")

	if err := chat.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := chat.cmd.Wait(); err != nil {
		t.Errorf("the chat ends with %v", err)
	}
}

// The server of this walk keeps a socket that does not read, and the task of one of its rooms does not end. Both are found with the inspector, and then with
// nothing but a Prometheus.
func TestWalkWithMetrics(t *testing.T) {
	walkOrSkip(t)
	site := startProgram(t, "../../metrics/prometheus", "./internal/walksite", "-addr", "127.0.0.1:0")
	site.loads("archive", "Bob", "-sockets", "1")
	site.loads("busy", "Eve", "-sockets", "10", "-stalled", "1", "-send", "5", "-size", "4096", "-no-compression")
	site.loads("lobby", "Ann", "-sockets", strconv.Itoa(walkSockets-11), "-send", "0.001", "-text", "hello")
	site.awaitSockets()

	// Which socket does not read? On a busy machine others may be slow for a moment, too.
	var slow inspect.SocketList
	eventually(t, func() bool {
		slow = reads[inspect.SocketList](t, site.url, "sockets", "-state", "slow")
		return len(slow.Sockets) == 1 && slow.Sockets[0].Dropped > 0
	}, func() string { return fmt.Sprintf("%d sockets are slow: %+v", slow.Selected, slow.Sockets) })
	deaf := slow.Sockets[0]
	if slow.Total != walkSockets || slow.Selected != 1 || deaf.Path != "/room/busy/socket" || deaf.In != 0 || deaf.Queued == 0 {
		t.Errorf("%d of %d sockets are slow: %+v", slow.Selected, slow.Total, slow.Sockets)
	}
	site.shows([]string{deaf.Remote, "rooms/busy", "slow", "Eve"}, "sockets", "-sort", "queue", "-desc", "-limit", "10")
	site.shows([]string{deaf.Remote, "slow"}, "sockets", "-id", fmt.Sprint(deaf.Socket))

	// Which object does not sleep, and why? What does it cost?
	var awake []inspect.ObjectRow
	eventually(t, func() bool {
		awake = site.objects("-state", "active", "-pin", "WaitUntil")
		return len(awake) == 1 && dollars(t, awake[0].Cost) > 2*dollars(t, awake[0].Hibernating)
	}, func() string { return fmt.Sprintf("%+v", awake) })
	if awake[0].Name != "archive" || !strings.Contains(awake[0].Why[0], "WaitUntil (main.go:") {
		t.Errorf("%s is awake because of %q", awake[0].Name, awake[0].Why)
	}
	site.shows([]string{"archive", "WaitUntil (main.go:"}, "objects")
	site.shows([]string{edgews.DurableObjects.Name}, "bill")

	t.Run("Prometheus", func(t *testing.T) {
		p := startPrometheus(t, site.url)
		p.finds(t, `sum by (namespace, class) (edgews_slow_sockets) > 0`, map[string]string{"namespace": "rooms", "class": "server"}, 1, 1)
		p.finds(t, `edgews_slow_socket_queued_bytes > 0`, map[string]string{"namespace": "rooms", "class": "server"}, float64(deaf.Queued)/2, 256<<10)
		p.finds(t, `topk by (namespace) (1, edgews_object_pinned_oldest_seconds)`, map[string]string{"namespace": "rooms", "pin": "WaitUntil"}, 1, 3600)
		p.finds(t, `edgews_objects_pinned{pin="WaitUntil"}`, map[string]string{"namespace": "rooms"}, 1, 1)
		p.finds(t, `edgews_cost_dollars_total`, map[string]string{"plan": edgews.DurableObjects.Name}, dollars(t, awake[0].Cost), 1)
		p.finds(t, `edgews_cost_dollars_total - edgews_cost_hibernating_dollars_total`, map[string]string{"plan": edgews.DurableObjects.Name},
			dollars(t, awake[0].Cost)/2, 1)
		p.finds(t, `edgews_sockets_open`, map[string]string{"class": "server"}, walkSockets, walkSockets)
	})
}

// monitor is a running Prometheus.
type monitor struct{ url string }

// startPrometheus starts a Prometheus that scrapes the server at target every second.
func startPrometheus(t *testing.T, target string) monitor {
	t.Helper()
	path, dir := programOrSkip(t, "prometheus"), t.TempDir()
	config := fmt.Sprintf("global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs: [{job_name: walk, static_configs: [{targets: [%q]}]}]\n",
		strings.TrimPrefix(target, "http://"))
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	addr := freeAddr(t)
	cmd := exec.Command(path, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+addr, "--log.level=warn")
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return monitor{"http://" + addr}
}

// freeAddr returns an address on which nothing listens.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// sample is an element of the answer to a query.
type sample struct {
	Metric map[string]string
	Value  [2]any // the time, and the value as text
}

// finds waits until the query has one sample, with these labels and a value from least to most.
func (m monitor) finds(t *testing.T, query string, labels map[string]string, least, most float64) {
	t.Helper()
	var body string
	var found []sample
	eventually(t, func() bool {
		body, found = m.query(query)
		if len(found) != 1 {
			return false
		}
		for name, value := range labels {
			if found[0].Metric[name] != value {
				return false
			}
		}
		value, err := strconv.ParseFloat(fmt.Sprint(found[0].Value[1]), 64)
		return err == nil && value >= least && value <= most
	}, func() string {
		return fmt.Sprintf("%s: not %v from %v to %v, but %s", query, labels, least, most, body)
	})
	t.Logf("%s\n%v %v", query, found[0].Metric, found[0].Value[1])
}

// query returns the answer, also as the text that has come.
func (m monitor) query(query string) (body string, found []sample) {
	resp, err := http.Get(m.url + "/api/v1/query?query=" + url.QueryEscape(query))
	if err != nil {
		return err.Error(), nil // it is not ready yet
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error(), nil
	}
	var answer struct{ Data struct{ Result []sample } }
	if err := json.Unmarshal(text, &answer); err != nil {
		return string(text), nil
	}
	return string(text), answer.Data.Result
}
