package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/edgews/edgews/examples/internal/browser"
)

// startServer starts the server and its members, and returns the URL of the page and a function that stops them.
func startServer(t *testing.T, actions bool) (page string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + l.Addr().String() + "/"
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, l, url, actions) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return url + "debug/edgews/", stop
}

// open opens the page with a fragment.
func open(t *testing.T, tab context.Context, page, fragment string) {
	t.Helper()
	browser.Act(t, tab, chromedp.EmulateViewport(1280, 800), chromedp.Navigate("about:blank"), chromedp.Navigate(page+fragment))
	browser.Holds(t, tab, "live", `document.getElementById("connection").dataset.state === "live"`)
}

// details is the text of what is shown beside a list.
const details = `(document.querySelector(".details")?.textContent ?? "")`

// TestOverview: the numbers move, and the charts are drawn.
func TestOverview(t *testing.T) {
	page, _ := startServer(t, false)
	tab := browser.Start(t)
	open(t, tab, page, "")
	figure := func(tile string) string {
		return `document.querySelector("[data-tile=` + tile + `] .figure").textContent`
	}
	browser.Holds(t, tab, "showing all sockets", figure("sockets")+fmt.Sprintf(` === "%d"`, roomCount*membersOfEach+2))
	browser.Holds(t, tab, "showing messages", `parseFloat(`+figure("messages")+`) > 10`)
	browser.Evaluate(t, tab, `window.before = `+figure("bytes"))
	browser.Holds(t, tab, "showing other numbers", `window.before !== `+figure("bytes"))
	browser.Holds(t, tab, "drawing charts", `document.querySelectorAll(".chart canvas").length === 8`)
	browser.Holds(t, tab, "showing hibernated rooms", `/[1-9]\d* hibernated/.test(document.querySelector("[data-tile=objects] .more").textContent)`)
	browser.Holds(t, tab, "showing the latency of handlers", `/^\d.*s$/.test(`+figure("latency")+`)`)
	browser.Holds(t, tab, "showing commits", `[...document.querySelectorAll("tbody tr")].some(e => e.cells[0].textContent === "Commits" && e.cells[1].textContent !== "0")`)
	browser.Screenshot(t, tab, "real-overview.png")
}

// TestSlowMember finds the member that does not read, with peer, tag and queue.
func TestSlowMember(t *testing.T) {
	page, _ := startServer(t, true)
	tab := browser.Start(t)
	open(t, tab, page, "#sockets?state=slow")
	browser.Holds(t, tab, "showing one slow socket", `document.querySelectorAll(".space .row").length === 1 &&
		["slow", "127.0.0.1:", "/room/room-1", "does-not-read"].every(text => document.querySelector(".space .row").textContent.includes(text)) &&
		/^\d.* kB$/.test(document.querySelector(".space .cell.hot").textContent)`)
	browser.Act(t, tab, browser.Click(".space .row"))
	browser.Holds(t, tab, "saying why", details+`.includes("the peer does not read") && /Dropped\d/.test(`+details+`) && `+details+`.includes("rooms / room-1")`)
	browser.Screenshot(t, tab, "real-slow.png")
	open(t, tab, page, "#sockets?q=user-2-3")
	browser.Holds(t, tab, "finding a member by its tag", `document.querySelectorAll(".space .row").length === 1 && /parked|busy/.test(document.querySelector(".space .row").textContent)`)
	open(t, tab, page, "#log?kind=slow")
	browser.Holds(t, tab, "logging it", `document.querySelectorAll(".log li").length > 0 && document.querySelector(".log li").textContent.includes("room-1")`)
}

// TestNeverSleeps finds the room that never sleeps, the line of the program that keeps it awake, what it stores and what it costs.
func TestNeverSleeps(t *testing.T) {
	page, _ := startServer(t, true)
	tab := browser.Start(t)
	open(t, tab, page, "#objects?pin=WaitUntil")
	browser.Holds(t, tab, "showing the room", `document.querySelectorAll(".space .row").length === 1 && document.querySelector(".space .row").textContent.includes("`+neverSleeps+`")`)
	browser.Act(t, tab, browser.Click(".space .row"))
	browser.Holds(t, tab, "saying why it is awake", `/WaitUntil room\.go:\d+/.test(document.querySelector(".reasons")?.textContent)`)
	browser.Holds(t, tab, "saying what it costs", `/Cost\$0\.0*[1-9]/.test(`+details+`) && `+details+`.includes("If it hibernated$")`)
	browser.Screenshot(t, tab, "real-never-sleeps.png")
	browser.Act(t, tab, browser.Click(".actions button:first-child"), browser.Click("dialog button[type=submit]"))
	browser.Holds(t, tab, "saying that it cannot hibernate", `document.querySelector("dialog .problem").textContent.includes("cannot hibernate now")`)
	browser.Act(t, tab, browser.Click("dialog .buttons button[type=button]"))
}

// TestStorage shows what a room stores: text, JSON, bytes, and a value that is masked.
func TestStorage(t *testing.T) {
	page, _ := startServer(t, false)
	tab := browser.Start(t)
	open(t, tab, page, "#objects?q=room-2")
	browser.Act(t, tab, browser.Click(".space .row"))
	read := func(as string) {
		t.Helper()
		browser.Holds(t, tab, "showing the room", `document.querySelector("[aria-label=Storage]")`)
		browser.Evaluate(t, tab, fmt.Sprintf(`[...document.querySelectorAll("[aria-label=Storage] .choice label")].find(l => l.textContent === %q).querySelector("input").click();
			[...document.querySelectorAll(".details button")].find(b => b.textContent.startsWith("Read")).click()`, as))
	}
	browser.Holds(t, tab, "showing an alarm, which the first message has set", `/Next alarm\d/.test(`+details+`)`)
	value := func(key string) string {
		return fmt.Sprintf(`[...document.querySelectorAll(".entry")].find(e => e.querySelector(".key").textContent === %q)?.querySelector("pre").textContent`, key)
	}
	read("Auto")
	browser.Holds(t, tab, "showing five keys", `document.querySelectorAll(".entry").length === 5 && `+details+`.includes("5 keys.")`)
	browser.Holds(t, tab, "showing JSON", `JSON.parse(`+value("last")+`).said > 0 && Number(`+value("said")+`) > 0`)
	browser.Holds(t, tab, "showing text and bytes", value("greeting")+` === "hello" && `+value("picture")+` === "89504e47 ff"`)
	browser.Holds(t, tab, "masking", value("token")+` === "********" && document.querySelectorAll(".masked").length === 1`)
	browser.Screenshot(t, tab, "real-storage.png")
	read("Hex")
	browser.Holds(t, tab, "showing bytes", value("greeting")+` === "68656c6c 6f" && `+value("token")+` === "2a2a2a2a 2a2a2a2a"`)
	browser.Holds(t, tab, "without actions", `document.querySelectorAll(".actions button").length === 0`)
	open(t, tab, page, "#alarms")
	browser.Holds(t, tab, "showing alarms without buttons", `document.querySelectorAll(".space .row").length >= 6 && document.querySelectorAll(".space button").length === 0`)
}

// TestActions runs an alarm, sends to a member, closes its socket and hibernates a room.
func TestActions(t *testing.T) {
	page, _ := startServer(t, true)
	tab := browser.Start(t)
	said := func(what string) {
		t.Helper()
		browser.Holds(t, tab, "saying: "+what, fmt.Sprintf(`document.getElementById("said").textContent === %q`, what))
	}
	open(t, tab, page, "#alarms")
	browser.Holds(t, tab, "showing alarms", `document.querySelectorAll(".space .row button").length >= 6`) // the last one does not go off by itself soon
	browser.Act(t, tab, browser.Click(".space .row:last-child button"), browser.Click("dialog button[type=submit]"))
	said("The alarm has run.")

	open(t, tab, page, "#sockets?q=user-3-1")
	browser.Act(t, tab, browser.Click(".space .row"), browser.Click(".actions button:first-child"), browser.SetValue("dialog textarea", "hello"), browser.Click("dialog button[type=submit]"))
	said("The message is sent.")
	browser.Act(t, tab, browser.Click(".actions .danger"), browser.SetValue("dialog input[type=number]", "4000"), browser.Click("dialog button[type=submit]"))
	said("The socket is closed.")
	browser.Holds(t, tab, "saying that it has ended", `document.querySelector(".details .problem:not([hidden])")?.textContent.includes("not open any more")`)
	browser.Holds(t, tab, "showing the next socket of the member", `document.querySelectorAll(".space .row").length === 1 && !`+details+`.startsWith("Socket" + document.querySelector(".space .row .cell").textContent + " ")`)

	open(t, tab, page, "#objects?q=room-2")
	browser.Act(t, tab, browser.Click(".space .row"), browser.Click(".actions button:first-child"), browser.Click("dialog button[type=submit]"))
	said("The object hibernates.")
	open(t, tab, page, "#log?kind=action")
	browser.Holds(t, tab, "logging all of it", `["run_alarm by 127.0.0.1", "send 5 bytes by", "close with 4000", "hibernate by"].every(text => [...document.querySelectorAll(".log-text")].some(e => e.textContent.startsWith(text)))`)
	open(t, tab, page, "")
	browser.Holds(t, tab, "counting the code", `[...document.querySelectorAll(".bars .label")].some(e => e.textContent.startsWith("4000"))`)
}

// TestBill: the bill says what hibernation saves, in all and of each tenant.
func TestBill(t *testing.T) {
	page, _ := startServer(t, false)
	tab := browser.Start(t)
	open(t, tab, page, "#bill")
	browser.Holds(t, tab, "showing the bill", `document.querySelector(".plans .figure")?.textContent === "$5.00"`)
	browser.Holds(t, tab, "showing what hibernation saves", `/it saves \$0\.0*[1-9]\d* of what the plan includes/.test(document.querySelector(".saved").textContent)`)
	browser.Holds(t, tab, "showing it for each tenant", `["acme", "globex"].every(name => [...document.querySelectorAll("[aria-labelledby=tenants] tbody tr")].some(e => e.cells[0].textContent === name && /^\$0\.0*[1-9]/.test(e.cells[2].textContent)))`)
	browser.Screenshot(t, tab, "real-bill.png")
}

// TestStoppedServer: the page says so.
func TestStoppedServer(t *testing.T) {
	page, stop := startServer(t, false)
	tab := browser.Start(t)
	open(t, tab, page, "#objects")
	browser.Holds(t, tab, "showing rooms", `document.querySelectorAll(".space .row").length > 10`)
	stop()
	browser.Holds(t, tab, "saying so", `document.getElementById("connection").textContent.trim() === "Disconnected" && document.body.classList.contains("is-old") && document.querySelectorAll(".space .row").length > 10`)
}

// program is the example as a process of its own.
type program struct {
	t    *testing.T
	path string
	addr string
	cmd  *exec.Cmd
	out  io.ReadCloser
}

func build(t *testing.T) *program {
	t.Helper()
	p := &program{t: t, path: filepath.Join(t.TempDir(), "inspect"), addr: "127.0.0.1:0"}
	if runtime.GOOS == "windows" {
		p.path += ".exe"
	}
	if out, err := exec.Command("go", "build", "-o", p.path, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return p
}

// start starts the program, on the address of the last time, and returns the URL that it prints.
func (p *program) start() (url string) {
	p.t.Helper()
	p.cmd = exec.Command(p.path, "-addr", p.addr)
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	p.out = out
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	cmd := p.cmd
	p.t.Cleanup(func() { cmd.Process.Kill() })
	if _, err := fmt.Fscanf(out, "Open %s", &url); err != nil {
		p.t.Fatal(err)
	}
	p.addr = strings.Split(url, "/")[2]
	return url
}

// TestProgram runs the program, fetches the page and stops the program as Ctrl-C does.
func TestProgram(t *testing.T) {
	p := build(t)
	url := p.start()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(body), "<title>edgews inspector</title>") {
		t.Errorf("%s: %v %v", url, resp.Status, err)
	}
	if runtime.GOOS == "windows" {
		return // a process there cannot be interrupted like this
	}
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, p.out)
	if err := p.cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// TestKilledProgram: the page says that the program is gone, keeps what it has shown, and shows the next process when that runs.
func TestKilledProgram(t *testing.T) {
	tab := browser.Start(t)
	p := build(t)
	page := p.start()
	open(t, tab, page, "#objects?pin=WaitUntil")
	browser.Act(t, tab, browser.Click(".space .row"))
	browser.Holds(t, tab, "showing a room", details+`.includes("WaitUntil room.go")`)
	p.cmd.Process.Kill()
	p.cmd.Wait()
	browser.Holds(t, tab, "saying so", `document.getElementById("connection").textContent.trim() === "Disconnected" && !document.getElementById("old").hidden && `+details+`.includes("WaitUntil room.go")`)
	p.start()
	browser.Evaluate(t, tab, `document.getElementById("again").click()`) // the page may be connected again already, and the button hidden
	browser.Holds(t, tab, "live again", fmt.Sprintf(`document.getElementById("old").hidden && document.getElementById("server").textContent.includes("pid %d")`, p.cmd.Process.Pid))
	browser.Holds(t, tab, "showing the room again", `/for \d s/.test(document.querySelector(".reasons").textContent)`)
}
