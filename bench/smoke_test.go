//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/bench/internal/load"
	"github.com/edgews/edgews/bench/internal/proc"
	"github.com/edgews/edgews/bench/internal/server"
	"github.com/edgews/edgews/bench/internal/store"
	"golang.org/x/sys/unix"
)

// TestMain lets servers and load generators run in processes of the test binary.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "serve", "hold", "flood", "store":
			main()
			return
		case "echo": // the program of TestOtherServer
			fmt.Fprintln(os.Stderr, serveEchoes(os.Args[2]))
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// serveEchoes serves at an address whose port is reserved.
func serveEchoes(addr string) error {
	shared := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) }) // Listen fails without it
	}}
	l, err := shared.Listen(context.Background(), "tcp", addr)
	if err != nil {
		return err
	}
	return http.Serve(l, http.HandlerFunc(echoHandler))
}

func echoHandler(w http.ResponseWriter, r *http.Request) {
	if s, err := edgews.Upgrade(w, r, nil); err == nil {
		s.OnMessage(func(e edgews.MessageEvent) { _ = e.Target.Write(context.Background(), e.Kind, e.Data) })
		_ = s.Accept()
	}
}

// smoke is one cell of each kind, small.
var smoke = []Cell{
	{Group: "echo", Name: "w1", Size: 128, Conns: 8, Window: 1},
	{Group: "ping", Name: "w1", Kind: ping, Size: 32, Conns: 2, Window: 1},
	{Group: "pipeline", Name: "w16", Size: 70_000, Conns: 2, Window: 4},
	{Group: "rate", Name: "2 000/s", Kind: steady, Size: 32, Conns: 10, Window: 1, Rate: 2000},
	{Group: "processors", Name: "2", Size: 128, Conns: 8, Window: 1, Procs: 2},
	{Group: "broadcast", Name: "w2", Kind: broadcast, Size: 128, Conns: 20, Window: 2},
	{Group: "deflate", Name: "reset", Conns: 2, Window: 1, Deflate: "reset"},
	{Group: "deflate", Name: "takeover", Conns: 2, Window: 1, Deflate: "takeover"},
	{Group: "deflate", Name: "level", Conns: 2, Window: 1, Deflate: "takeover", Level: 6},
	{Group: "flood", Name: "none", Kind: flood},
	{Group: "flood", Name: "small", Kind: flood, Conns: 3, Content: load.Small},
	{Group: "flood", Name: "fragments", Kind: flood, Conns: 3, Content: load.Fragments},
	{Group: "flood", Name: "compressed", Kind: flood, Conns: 3, Content: load.Compressed, Deflate: "reset"},
	{Group: "flood", Name: "bombs", Kind: flood, Conns: 3, Content: load.Bombs, Deflate: "reset"},
	{Group: "blockers", Name: "3 handlers", Kind: blockers, Conns: 3, Content: load.Answered},
	{Group: "connect", Name: "connect", Kind: connect},
	{Group: "proxy", Name: "128 B", Size: 128, Conns: 8, Window: 1, Proxied: true},
	{Group: "proxy", Name: "70 000 B", Size: 70_000, Conns: 2, Window: 4, Proxied: true},
}

func TestAllServersInAllCells(t *testing.T) {
	if testing.Short() {
		t.Skip("starts many processes")
	}
	for _, s := range subjects() {
		t.Run(s.Name, func(t *testing.T) {
			if s.missing != "" {
				t.Skip(s.missing)
			}
			if s.writes {
				t.Skip("TestDurableWrites has it")
			}
			t.Parallel()
			b := smallBench(t, smoke)
			b.subjects = []subject{s}
			b.run()
			for _, n := range b.notes {
				t.Error(n)
			}
			for _, c := range smoke {
				if s.leftOut(c) != "" {
					continue
				}
				got := b.results[at(c, s)]
				if len(got) != 1 || got[0][p50] <= 0 {
					t.Errorf("%s: %v", c, got)
					continue
				}
				if _, ok := got[0][flooded]; ok != (c.Content != "") {
					t.Errorf("%s: %v", c, got)
				}
				if _, ok := got[0][carried]; ok != c.Proxied {
					t.Errorf("%s: %v", c, got)
				}
			}
		})
	}
}

func TestIdleAndTLS(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	t.Parallel()
	b := smallBench(t, []Cell{
		{Group: "idle", Name: "plain", Kind: idle, Conns: 50, Processes: 2, Messages: 1},
		{Group: "idle", Name: "TLS", Kind: idle, Conns: 20, Processes: 1, Messages: 1, TLS: true},
		{Group: "idle", Name: "half", Kind: idle, Conns: 20, Processes: 1, Half: true},
	}, server.Edgews)
	b.run()
	var out bytes.Buffer
	b.write(&out, "go test")
	if len(b.notes) > 0 || !strings.Contains(out.String(), "| **edgews** |") {
		t.Errorf("notes %q, table:\n%s", b.notes, out.String())
	}
}

// The connections of an idle cell go through each proxy, whose echo server and directory are gone afterwards.
func TestIdleProxies(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	t.Setenv("TMPDIR", t.TempDir())
	b := smallBench(t, []Cell{{Group: "proxy", Name: "20 idle", Kind: idle, Conns: 20, Processes: 1, Messages: 1, Proxied: true}})
	b.subjects = slices.DeleteFunc(subjects(), func(s subject) bool { return !s.Proxy || s.missing != "" })
	b.run()
	for _, s := range b.subjects {
		got := b.results[at(b.cells[0], s)]
		if len(got) != 1 {
			t.Errorf("%s: %v", s.Name, got)
			continue
		}
		if _, ok := got[0][rss]; !ok {
			t.Errorf("%s: %v", s.Name, got)
		}
	}
	left, err := os.ReadDir(os.TempDir())
	if err != nil || len(left) > 0 || len(b.notes) > 0 {
		t.Errorf("left behind %v, %v; notes %q", left, err, b.notes)
	}
}

// Requests that collect garbage are answered while messages are echoed, and their times are recorded.
func TestCollect(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	t.Parallel()
	b := smallBench(t, []Cell{{Group: "collect", Name: "500/s", Kind: collect, Size: 128, Conns: 10, Window: 1, Rate: 500}}, server.Edgews, server.GoFloor)
	b.run()
	for _, s := range b.subjects {
		got := b.results[at(b.cells[0], s)]
		if len(got) != 1 || got[0][requestP50] <= 0 || got[0][requestMax] < got[0][requestP50] || got[0][p50] <= 0 {
			t.Errorf("%s: %v", s.Name, got)
		}
	}
	if len(b.notes) > 0 {
		t.Error(b.notes)
	}
}

// An object's Storage and bbolt write, and leave no file behind.
func TestDurableWrites(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	t.Setenv("TMPDIR", t.TempDir())
	b := smallBench(t, []Cell{
		{Group: "durable", Name: "1", Kind: durable, Conns: 1},
		{Group: "durable", Name: "9", Kind: durable, Conns: 9},
	}, store.Storage, store.Bbolt)
	b.run()
	for _, c := range b.cells {
		for _, s := range b.subjects {
			if got := b.results[at(c, s)]; len(got) != 1 || got[0][stored] <= 0 || got[0][cpu] <= 0 {
				t.Errorf("%s: %s: %v", s.Name, c, got)
			}
		}
	}
	left, err := os.ReadDir(os.TempDir())
	if err != nil || len(left) > 0 || len(b.subjects) != 2 || len(b.notes) > 0 {
		t.Errorf("left behind %v, %v; notes %q", left, err, b.notes)
	}
}

// Callgrind counts the instructions of echoes and of connections.
func TestInstructions(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	if err := findCallgrind(); err != nil {
		t.Skip(err)
	}
	t.Parallel()
	b := smallBench(t, []Cell{
		{Group: "instructions", Name: "w2", Kind: instructions, Size: 128, Conns: 2, Window: 2},
		{Group: "instructions", Name: "connect", Kind: instructions, Conns: 2},
	}, server.EpollFloor)
	b.run()
	for _, c := range b.cells {
		if got := b.results[at(c, b.subjects[0])]; len(got) != 1 || got[0][instr] <= 0 {
			t.Errorf("%s: %v", c, got)
		}
	}
	if len(b.notes) > 0 {
		t.Error(b.notes)
	}
}

// A server that hangs, one that exits and one that prints nonsense have failed, and do not delay the others.
func TestFailuresAreReported(t *testing.T) {
	t.Parallel()
	const script = `case $MODE in hang) exec sleep 1000;; die) exit 1;; *) echo nonsense; exec sleep 1000;; esac`
	c := Cell{Group: "echo", Name: "32 B", Size: 32, Conns: 1, Window: 1}
	b := smallBench(t, []Cell{c})
	for _, mode := range []string{"hang", "die", "talk"} {
		b.subjects = append(b.subjects, subject{
			Peer: server.Peer{Name: mode},
			skip: func(Cell) string { return "" },
			command: func(server.Config) (*exec.Cmd, string, error) {
				cmd := exec.Command("sh", "-c", script)
				cmd.Env = []string{"MODE=" + mode, "PATH=" + os.Getenv("PATH")}
				return cmd, "", nil
			},
		})
	}
	b.visitLimit = time.Second
	b.run()
	var out bytes.Buffer
	b.write(&out, "go test")
	if len(b.notes) != 3 || !strings.Contains(out.String(), "| hang | failed |\n| die | failed |\n| talk | failed |\n") {
		t.Errorf("notes %q, table:\n%s", b.notes, out.String())
	}
}

// A server that the user names is measured where it only has to echo. An address at which something listens already is refused.
func TestOtherServer(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	port, err := reservePort()
	if err != nil {
		t.Fatal(err)
	}
	defer port.release()
	b := smallBench(t, smoke)
	if err := b.addOther("mine," + port.addr + ",'" + self + "' echo " + port.addr); err != nil {
		t.Fatal(err)
	}
	b.subjects = b.others
	b.run()
	measured := map[string]bool{}
	for v := range b.results {
		measured[v.cell] = true
	}
	for _, c := range []string{"echo/w1", "ping/w1", "pipeline/w16", "rate/2 000/s", "connect/connect"} {
		if !measured[c] {
			t.Errorf("%s is not measured", c)
		}
	}
	if len(measured) != 5 || len(b.notes) > 0 {
		t.Errorf("measured %v, notes %q", measured, b.notes)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	b = smallBench(t, smoke[:1])
	if err := b.addOther("mine," + l.Addr().String() + ",true"); err != nil {
		t.Fatal(err)
	}
	b.subjects = b.others
	b.run()
	if len(b.notes) != 1 || !strings.Contains(b.notes[0], "another process listens at") {
		t.Errorf("notes %q", b.notes)
	}
}

// uWebSockets is compiled from the checkout that the environment names, and measured in all cells that it can do.
func TestUWebSockets(t *testing.T) {
	dir := os.Getenv("EDGEWS_UWEBSOCKETS")
	if dir == "" {
		t.Skip("EDGEWS_UWEBSOCKETS names no checkout")
	}
	b := smallBench(t, smoke)
	if err := b.addUWebSockets(dir); err != nil {
		t.Fatal(err)
	}
	defer b.uWebSockets.remove()
	if err := b.uWebSockets.compile(); err != nil {
		t.Fatal(err)
	}
	b.subjects = b.others
	b.run()
	for _, c := range smoke {
		if got := b.results[at(c, b.others[0])]; b.others[0].leftOut(c) == "" && (len(got) != 1 || got[0][p50] <= 0) {
			t.Errorf("%s: %v", c, got)
		}
	}
	if len(b.notes) > 0 {
		t.Error(b.notes)
	}
}

// smallBench returns a bench of these cells and of the servers with these names.
func smallBench(t *testing.T, cells []Cell, names ...string) *bench {
	cores, err := proc.Cores()
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{
		plan: plans[0], cells: cells, rounds: 1, length: 20 * time.Millisecond, settle: 100 * time.Millisecond,
		allCores: cores, loadCore: cores[0], serverCore: cores[len(cores)-1],
	}
	for _, s := range subjects() {
		if slices.Contains(names, s.Name) {
			b.subjects = append(b.subjects, s)
		}
	}
	return b
}
