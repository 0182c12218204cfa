package main

import (
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edgews/edgews"
)

// loadResult runs load with -json and returns the report.
func loadResult(t *testing.T, code int, args ...string) (r loadReport) {
	t.Helper()
	got := runs(t, "", append([]string{"load", "-json"}, args...)...)
	var fields map[string]any
	if err := json.Unmarshal([]byte(got.out), &fields); err != nil || got.code != code {
		t.Fatalf("exit code %d, want %d, %v: %s%s", got.code, code, err, got.out, got.err)
	}
	num := func(name string) int64 { n, _ := fields[name].(float64); return int64(n) }
	count := func(name string) int64 {
		d, _ := fields[name].(map[string]any)
		n, _ := d["count"].(float64)
		return int64(n)
	}
	for _, text := range fields["limits"].([]any) {
		r.Limits = append(r.Limits, text.(string))
	}
	r.Opened, r.Sent, r.Echoed, r.Unsent, r.WrongEchoes = int(num("opened")), num("sent"), num("echoed"), num("unsent"), num("wrong_echoes")
	r.Handshake, r.Ping, r.Echo = &distribution{Count: count("handshake")}, &distribution{Count: count("ping")}, &distribution{Count: count("echo")}
	r.OpenFiles = int(num("open_files_limit"))
	r.Failed, r.Lost = map[string]int{}, map[string]int{}
	for name, m := range map[string]map[string]int{"failed": r.Failed, "lost": r.Lost} {
		for reason, n := range fields[name].(map[string]any) {
			m[reason] = int(n.(float64))
		}
	}
	return r
}

func TestLoad(t *testing.T) {
	const sockets = 200
	r := loadResult(t, exitSuccess, echoServer(t), "-sockets", "200", "-rate", "400", "-duration", "500ms", "-send", "4", "-echo", "-ping", "250ms")
	t.Logf("%d sockets of %d open files: %d messages, %d pings", r.Opened, r.OpenFiles, r.Sent, r.Ping.Count)
	if r.Opened != sockets || r.Handshake.Count != sockets {
		t.Errorf("%d sockets, %d handshakes, want %d", r.Opened, r.Handshake.Count, sockets)
	}
	if r.Sent == 0 || r.Sent > 2*sockets+1 || r.Echoed != r.Sent || r.Echo.Count != r.Sent || r.Ping.Count == 0 {
		t.Errorf("%d messages of 400, %d echoes, %d times, %d pings", r.Sent, r.Echoed, r.Echo.Count, r.Ping.Count)
	}
	if len(r.Failed)+len(r.Lost) > 0 {
		t.Errorf("failed %v, lost %v", r.Failed, r.Lost)
	}
}

func TestLoadReport(t *testing.T) {
	url := echoServer(t)
	args := []string{"load", url, "-sockets", "20", "-duration", "100ms", "-ping", "50ms"}
	r := runs(t, "", args...)
	r.wants(t, exitSuccess, "20 of 20 sockets opened", "20 of 20 sockets are open after")
	r.wants(t, exitSuccess, "\nhandshake        20 ", "")
	r.wants(t, exitSuccess, "\nping:\n  <= ", "")
	r.wants(t, exitSuccess, "\nedgews itself used ", "")
	runs(t, "", append(args, "-send", "100", "-echo")...).wants(t, exitSuccess, "\necho:\n  <= ", "")
	runs(t, "", append(args, "-ping", "0")...).wants(t, exitSuccess, "\nhandshake:\n  <= ", "")
	runs(t, "", append(args, "-send", "100", "-text", "{socket}/{n}", "-echo")...).wants(t, exitSuccess, "different 0, missing 0", "")
}

// Errors of a server have the exit code 4, and reasons that cannot control the terminal.
func TestLoadOfFaults(t *testing.T) {
	var refused atomic.Int64
	half := func(handle func(*edgews.Socket)) string {
		return serveSockets(t, func(s *edgews.Socket, _ *http.Request) { handle(s) })
	}
	closes := half(func(s *edgews.Socket) { accept(s); s.Close(1011, "\x1b[2J") })
	changes := half(func(s *edgews.Socket) {
		s.OnMessage(func(e edgews.MessageEvent) { s.Send(strings.ToUpper(e.Text())) })
		accept(s)
	})
	limited := edgews.NewHub(&edgews.HubOptions{MaxSockets: 5})
	full := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		s, err := limited.Upgrade(w, r, nil)
		if err != nil {
			refused.Add(1)
			return
		}
		accept(s)
	})
	common := []string{"-sockets", "10", "-duration", "100ms"}

	if r := loadResult(t, exitUnmet, append(common, closes)...); r.Opened != 10 || sum(r.Lost) != 10 {
		t.Errorf("opened %d, lost %v", r.Opened, r.Lost)
	}
	runs(t, "", append([]string{"load", closes}, common...)...).wants(t, exitUnmet, `1011 internal error "\x1b[2J"`, "10 sockets were lost")
	if r := loadResult(t, exitUnmet, append(common, changes, "-send", "20", "-echo")...); r.WrongEchoes != r.Sent || r.Echoed != 0 || r.Sent == 0 {
		t.Errorf("%d of %d echoes are different", r.WrongEchoes, r.Sent)
	}
	if r := loadResult(t, exitUnmet, append(common, full)...); r.Opened != 5 || sum(r.Failed) != 5 || refused.Load() != 5 {
		t.Errorf("opened %d, failed %v", r.Opened, r.Failed)
	}
	none := newServer(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) })
	runs(t, "", append([]string{"load", none}, common...)...).wants(t, exitRefused, "0 of 10 sockets", "403")
}

// Sockets that stall take nothing, so that what is sent to them waits at the server.
func TestLoadStalls(t *testing.T) {
	stalled := make(chan *edgews.Socket, 3)
	message := make([]byte, 1<<20)
	url := serveSockets(t, func(s *edgews.Socket, _ *http.Request) {
		accept(s)
		for range 8 {
			s.Write(t.Context(), edgews.Binary, message[:min(len(message), 512<<10)])
		}
		stalled <- s
	})
	r := start(t, nil, "load", url, "-sockets", "3", "-stalled", "1", "-duration", "1h", "-no-compression")
	for range 2 {
		<-stalled // two take everything
	}
	eventually(t, func() bool { return strings.Contains(r.err.String(), "3 of 3") }, r.err.String)
	select {
	case <-stalled:
		t.Error("the third takes everything too")
	default:
	}
	r.interrupt(&signalError{os.Interrupt})
	if code := r.wait(); code != exitInterrupted || !strings.Contains(r.out.String(), "3 of 3 sockets opened") {
		t.Errorf("exit code %d: %s", code, r.out.String())
	}
}

// A process that may not have enough open files says so, and opens as many sockets as it can.
func TestLoadLimitedByFiles(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there is no such limit")
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `ulimit -n 128 && exec "$0" "$@"`, binary(t), "load", echoServer(t), "-sockets", "100", "-duration", "100ms")
	var out, complaints buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	cmd.Run()
	result{cmd.ProcessState.ExitCode(), out.String(), complaints.String()}.wants(t, exitUnmet, "64 of 100 sockets opened", "64 sockets are opened, not 100")
	if !strings.Contains(out.String(), "a process may have 128 open files here") {
		t.Errorf("the report does not name the limit: %s", out.String())
	}
}

// Quantiles are wrong by 1/64 at most.
func TestHistogram(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var h histogram
	var all []time.Duration
	for range 10_000 {
		d := time.Duration(random.ExpFloat64() * float64(time.Millisecond) * float64(1+random.IntN(100)))
		h.record(d)
		all = append(all, d)
	}
	slices.Sort(all)
	for _, q := range []float64{0, 0.01, 0.5, 0.9, 0.99, 0.999, 1} {
		want := all[min(int(q*float64(len(all))), len(all)-1)]
		if got := h.quantile(q); got < want || float64(got) > float64(want)*(1+1.0/subBuckets)+1 {
			t.Errorf("quantile %v: got %v, want %v", q, got, want)
		}
	}
	var inBars int64
	for _, row := range h.bars() {
		inBars += row.Count
	}
	if d := h.distribution(); d.Count != 10_000 || inBars != 10_000 || d.Min != millis(all[0]) || d.Max != millis(all[len(all)-1]) {
		t.Errorf("got %+v, %d in the bars", d, inBars)
	}
}

func TestHistogramBuckets(t *testing.T) {
	last := -1
	for d := time.Duration(0); d < 1<<50; d += d/200 + 1 {
		i := bucketOf(d)
		if i < last || bucketEnd(i) < d || i > 0 && bucketEnd(i-1) >= d {
			t.Fatalf("%d is in bucket %d, which ends at %d; the one before at %d", d, i, bucketEnd(i), bucketEnd(i-1))
		}
		last = i
	}
}

func TestBars(t *testing.T) {
	var h histogram
	for _, d := range []time.Duration{150 * time.Microsecond, 160 * time.Microsecond, 3 * time.Millisecond} {
		h.record(d)
	}
	want := []bar{{millis(200 * time.Microsecond), 2}, {millis(500 * time.Microsecond), 0}, {millis(time.Millisecond), 0}, {millis(2 * time.Millisecond), 0}, {millis(5 * time.Millisecond), 1}}
	if got := h.bars(); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestProgressLine(t *testing.T) {
	l := &load{loadFlags: loadFlags{sockets: 100}}
	l.count.opened, l.count.tried = 50, 50
	p := &progress{env: &env{}, load: l, name: "opening", since: time.Now()}
	for columns := range 200 {
		line := p.line(columns)
		if len(line) > columns {
			t.Fatalf("%d columns: %q", columns, line)
		}
		if columns > 100 && !strings.Contains(line, "[###############...............]") {
			t.Fatalf("%d columns: no bar that is half full: %q", columns, line)
		}
	}
}
