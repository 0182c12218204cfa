package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/edgews/edgews"
	"github.com/edgews/edgews/examples/internal/browser"
)

// serve starts a server with a memory store.
func serve(t *testing.T) (url string, rooms *edgews.Namespace) {
	rooms = newRooms(edgews.NewMemoryStore())
	server := httptest.NewServer(handler(rooms))
	t.Cleanup(func() {
		server.Close()
		rooms.Shutdown(context.Background())
	})
	return server.URL, rooms
}

// guest is a user in a room.
type guest struct {
	t *testing.T
	s *edgews.Socket
}

// heard is any message of the server.
type heard struct {
	said
	Here   []string
	Missed []said
	Wait   int
}

func enter(t *testing.T, room, name string, after int) (guest, heard) {
	t.Helper()
	query := url.Values{"name": {name}, "after": {fmt.Sprint(after)}}.Encode()
	s, _, err := edgews.Dial(t.Context(), room+"/socket?"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	g := guest{t, s}
	t.Cleanup(g.leaves) // before the server ends, since it would wait for an answer to its Close
	return g, g.hears("welcome")
}

func (g guest) says(id, text string) {
	g.t.Helper()
	data, _ := json.Marshal(map[string]string{"id": id, "text": text})
	if err := g.s.Write(g.t.Context(), edgews.Text, data); err != nil {
		g.t.Fatal(err)
	}
}

// hears returns the next message and checks its type.
func (g guest) hears(what string) heard {
	g.t.Helper()
	got := g.receives()
	if got.Type != what {
		g.t.Fatalf("got %+v, not %q", got, what)
	}
	return got
}

// receives returns the next message.
func (g guest) receives() heard {
	g.t.Helper()
	got, err := edgews.ReceiveJSON[heard](g.t.Context(), g.s)
	if err != nil {
		g.t.Fatal(err)
	}
	return got
}

func (g guest) leaves() {
	g.s.Close(edgews.StatusNormalClosure, "")
	<-g.s.Done()
}

// ends receives until the server closes the socket, and returns the error. The answer to a Close is sent while the socket receives.
func (g guest) ends() *edgews.CloseError {
	g.t.Helper()
	for {
		_, err := g.s.Receive(g.t.Context())
		if end := new(edgews.CloseError); errors.As(err, &end) {
			return end
		}
		if err != nil {
			g.t.Fatal(err)
		}
	}
}

func texts(all []said) (texts []string) {
	for _, m := range all {
		texts = append(texts, m.Name+": "+m.Text)
	}
	return texts
}

func equal[T any](t *testing.T, want, got T) {
	t.Helper()
	if !reflect.DeepEqual(want, got) {
		t.Errorf("want %v, got %v", want, got)
	}
}

func TestTalk(t *testing.T) {
	server, rooms := serve(t)
	lobby := server + "/room/lobby"
	ann, welcome := enter(t, lobby, "  Ann  ", 0)
	equal(t, []string{"Ann"}, welcome.Here)
	bob, welcome := enter(t, lobby, "Bob", 0)
	equal(t, []string{"Ann", "Bob"}, welcome.Here)
	equal(t, "Bob", ann.hears("joined").Name)

	ann.says("a1", "hello")
	for _, g := range []guest{ann, bob} {
		got := g.hears("said")
		equal(t, said{"said", 1, "a1", "Ann", "hello", got.At}, got.said)
	}
	ann.says("a1", "hello") // again, as after a lost connection
	equal(t, 1, ann.hears("said").N)

	if err := rooms.Hibernate(t.Context(), rooms.IDFromName("lobby")); err != nil {
		t.Fatal(err)
	}
	bob.says("b1", "still there?")
	equal(t, 2, ann.hears("said").N)
	bob.hears("said")
	bob.leaves()
	equal(t, "Bob", ann.hears("left").Name)

	_, welcome = enter(t, lobby, "Bob", 1)
	equal(t, []string{"Bob: still there?"}, texts(welcome.Missed))
	_, welcome = enter(t, server+"/room/other", "Cid", 0)
	equal(t, nil, texts(welcome.Missed))
}

func TestPrivateRoom(t *testing.T) {
	server, _ := serve(t)
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Post(server+"/private", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	path := resp.Header.Get("Location")
	equal(t, len("/room/")+64, len(path))
	ann, _ := enter(t, server+path, "Ann", 0)
	ann.says("a1", "psst")
	ann.hears("said")
	_, welcome := enter(t, server+path, "Bob", 0)
	equal(t, []string{"Ann: psst"}, texts(welcome.Missed))
}

func TestTooFast(t *testing.T) {
	server, _ := serve(t)
	ann, _ := enter(t, server+"/room/lobby", "Ann", 0)
	accepted := 0
	ann.says("0", "spam")
	answer := ann.receives()
	for ; answer.Type == "said"; answer = ann.receives() { // a busy machine may need more than an interval for a message
		accepted++
		ann.says(fmt.Sprint(accepted), "spam")
	}
	equal(t, "slow", answer.Type)
	if accepted < burst {
		t.Errorf("%d messages were accepted", accepted)
	}
	if answer.Wait <= 0 || answer.Wait > int(interval.Milliseconds()) {
		t.Errorf("to wait for %d ms", answer.Wait)
	}
	bob, _ := enter(t, server+"/room/lobby", "Bob", 0)
	bob.says("b1", "no spam")
	bob.hears("said")
}

func TestHistoryIsBounded(t *testing.T) {
	store := edgews.NewMemoryStore()
	var r *room
	rooms := edgews.NewNamespace("rooms", func(ctx context.Context, st *edgews.State) (edgews.Object, error) {
		value, err := newRoom(ctx, st)
		r, _ = value.(*room)
		return value, err
	}, &edgews.NamespaceOptions{Store: store})
	rooms.Get(rooms.IDFromName("lobby")).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	for n := range kept + 10 {
		if err := r.remember(t.Context(), said{N: n + 1}, []byte(fmt.Sprintf(`{"n":%d}`, n+1))); err != nil {
			t.Fatal(err)
		}
	}
	again, err := newRoom(t.Context(), r.st)
	if err != nil {
		t.Fatal(err)
	}
	history := again.(*room).history
	equal(t, kept, len(history))
	equal(t, 11, history[0].N)
	equal(t, len(history), len(r.history))
}

func TestRefused(t *testing.T) {
	server, _ := serve(t)
	for _, name := range []string{"", "   ", strings.Repeat("é", maxName+1), "\xff"} {
		_, resp, err := edgews.Dial(t.Context(), server+"/room/lobby/socket?name="+url.QueryEscape(name), nil)
		if err == nil || resp.StatusCode != http.StatusBadRequest {
			t.Errorf("name %q: %v", name, err)
		}
	}
	for _, message := range []string{"", "{", `{"id":"x"}`, `{"text":"x"}`, `{"id":"x","text":"` + strings.Repeat("x", maxText+1) + `"}`} {
		ann, _ := enter(t, server+"/room/lobby", "Ann", 0)
		if err := ann.s.Write(t.Context(), edgews.Text, []byte(message)); err != nil {
			t.Fatal(err)
		}
		equal(t, edgews.StatusUnsupportedData, ann.ends().Code)
	}
}

// process is the example as a process of its own.
type process struct {
	t          *testing.T
	path       string
	addr, data string
	cmd        *exec.Cmd
}

func build(t *testing.T) *process {
	t.Helper()
	dir := t.TempDir()
	p := &process{t: t, path: filepath.Join(dir, "chat"), addr: freeAddr(t), data: filepath.Join(dir, "chat.db")}
	if out, err := exec.Command("go", "build", "-o", p.path, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Cleanup(p.kill)
	return p
}

// freeAddr returns an address at which nothing listens. Its port is below those that a system gives to connections, so that none of another
// test takes it.
func freeAddr(t *testing.T) string {
	t.Helper()
	for range 100 {
		if l, err := net.Listen("tcp", fmt.Sprintf("localhost:%d", 20_000+rand.IntN(10_000))); err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no free port")
	return ""
}

// start starts the server and waits until it answers.
func (p *process) start() {
	p.t.Helper()
	p.cmd = exec.Command(p.path, "-addr", p.addr, "-data", p.data)
	p.cmd.Stderr = os.Stderr
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if resp, err := http.Get("http://" + p.addr); err == nil {
			resp.Body.Close()
			return
		}
	}
	p.t.Fatal("the server does not answer")
}

// kill kills the server.
func (p *process) kill() {
	if p.cmd != nil {
		p.cmd.Process.Kill()
		p.cmd.Wait()
		p.cmd = nil
	}
}

// interrupt makes the server stop.
func (p *process) interrupt() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		p.t.Fatal(err)
	}
}

// wait waits until the server has stopped, and checks that it did without an error.
func (p *process) wait() {
	p.t.Helper()
	if err := p.cmd.Wait(); err != nil {
		p.t.Error(err)
	}
	p.cmd = nil
}

func TestRestart(t *testing.T) {
	p := build(t)
	lobby := "http://" + p.addr + "/room/lobby"
	p.start()
	ann, _ := enter(t, lobby, "Ann", 0)
	ann.says("a1", "before")
	ann.hears("said")
	p.interrupt()
	equal(t, edgews.StatusServiceRestart, ann.ends().Code)
	p.wait()

	p.start()
	ann, welcome := enter(t, lobby, "Ann", 0)
	equal(t, []string{"Ann: before"}, texts(welcome.Missed))
	ann.says("a2", "after")
	equal(t, 2, ann.hears("said").N)
	p.kill()

	p.start()
	_, welcome = enter(t, lobby, "Ann", 0)
	equal(t, []string{"Ann: before", "Ann: after"}, texts(welcome.Missed))
}

func TestRun(t *testing.T) {
	taken, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	data := filepath.Join(t.TempDir(), "chat.db")
	if err := run(t.Context(), taken.Addr().String(), data); err == nil || !strings.Contains(err.Error(), "-addr") {
		t.Errorf("a port that is taken: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := run(ctx, "localhost:0", data); err != nil {
		t.Errorf("an interrupt: %v", err)
	}
}

// TestBrowser sends messages between two pages, and kills the server in between.
func TestBrowser(t *testing.T) {
	first, second := browser.Start(t), browser.Start(t)
	p := build(t)
	p.start()
	visit(t, first, p, "Ann")
	visit(t, second, p, "Bob")
	shows(t, first, "#here", "Bob")

	say(t, first, "hello Bob")
	shows(t, second, "#log", "hello Bob")
	say(t, second, "hello Ann <b>")
	shows(t, first, "#log", "hello Ann <b>")

	p.kill()
	shows(t, first, "#state", "trying again")
	say(t, first, "is anybody there?") // kept until another user comes
	p.start()
	shows(t, first, "#state", "connected")
	shows(t, second, "#state", "connected")
	shows(t, second, "#log", "is anybody there?")
	say(t, second, "I am")
	shows(t, first, "#log", "I am")

	browser.Act(t, first, chromedp.Reload())
	shows(t, first, "#here", "Ann (you)")
	for _, text := range []string{"hello Bob", "hello Ann <b>", "is anybody there?", "I am"} {
		shows(t, first, "#log", text)
		if log := browser.Text(t, first, "#log"); strings.Count(log, text) != 1 {
			t.Errorf("%q is not there once:\n%s", text, log)
		}
	}
}

func visit(t *testing.T, tab context.Context, p *process, name string) {
	t.Helper()
	browser.Act(t, tab,
		chromedp.Navigate("http://"+p.addr),
		browser.SetValue("#name", name),
		browser.Click("#naming button"),
	)
	shows(t, tab, "#state", "connected")
	shows(t, tab, "#here", name+" (you)")
}

func say(t *testing.T, tab context.Context, text string) {
	t.Helper()
	browser.Act(t, tab, browser.SetValue("#text", text), browser.Click("#send"))
}

// shows waits until an element has that text.
func shows(t *testing.T, tab context.Context, selector, text string) {
	t.Helper()
	quoted, _ := json.Marshal([]string{selector, text})
	browser.Act(t, tab, chromedp.Poll[chromedp.Void](
		fmt.Sprintf(`(([where, what]) => document.querySelector(where).textContent.includes(what))(%s)`, quoted)))
}

// TestNarrowPage sends more messages than the server accepts at once, on the screen of a telephone.
func TestNarrowPage(t *testing.T) {
	tab, other := browser.Start(t), browser.Start(t)
	p := build(t)
	p.start()
	visit(t, other, p, "Bob")
	browser.Act(t, tab, chromedp.EmulateViewport(360, 640))
	visit(t, tab, p, "Ann")
	shows(t, tab, "#here", "Bob")
	for n := range burst + 3 {
		say(t, tab, fmt.Sprintf("message %d%s", n, strings.Repeat("\nand more", 4)))
	}
	shows(t, other, "#log", fmt.Sprintf("message %d", burst+2))
	log := browser.Text(t, other, "#log")
	for n := range burst + 2 {
		if strings.Index(log, fmt.Sprintf("message %d", n)) > strings.Index(log, fmt.Sprintf("message %d", n+1)) {
			t.Errorf("message %d comes after the next:\n%s", n, log)
		}
	}

	for _, name := range []string{strings.Repeat("Maximilian ", 3)[:maxName], "Cecilia", "Dora", "Emil"} {
		enter(t, "http://"+p.addr+"/room/lobby", name, 0)
	}
	shows(t, tab, "#here", "Emil")
	fits(t, tab, "aside button, #count, #here li:first-child, #state, #text, #send")

	// The page does not scroll for a message that arrives while it shows earlier ones.
	browser.Act(t, tab, chromedp.Poll[chromedp.Void](`(() => { document.getElementById("log").scrollTop = 0; return true; })()`))
	say(t, other, "something new")
	shows(t, tab, "#log", "something new")
	browser.Act(t, tab, chromedp.Poll[chromedp.Void](`document.getElementById("log").scrollTop === 0 && !document.getElementById("newer").hidden`))
	if dir := os.Getenv("EDGEWS_SCREENSHOTS"); dir != "" {
		png, err := chromedp.Run(tab, chromedp.CaptureScreenshot())
		if err != nil || os.WriteFile(filepath.Join(dir, "chat-360.png"), png, 0o600) != nil {
			t.Error(err)
		}
	}
	browser.Act(t, tab, browser.Click("#newer"))
	browser.Act(t, tab, chromedp.Poll[chromedp.Void](`document.getElementById("newer").hidden`))

	// Into a private room and back while the server is down.
	browser.Act(t, tab, browser.Click(".actions form button"))
	within(t, tab, "/room/[0-9a-f]{64}")
	p.kill()
	shows(t, tab, "#state", "trying again")
	fits(t, tab, "#back, #room, #state")
	p.start()
	shows(t, tab, "#state", "connected")
	browser.Act(t, tab, browser.Click("#back"))
	within(t, tab, "/room/lobby")
}

// within waits until a page with such a path is loaded and connected.
func within(t *testing.T, tab context.Context, path string) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for { // a Poll would end with the old page
		at, err := chromedp.Run(tab, chromedp.Evaluate[string](`location.pathname + " " + document.getElementById("state")?.textContent`))
		if err == nil && regexp.MustCompile("^"+path+" connected$").MatchString(at) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the page is %q, want %s: %v", at, path, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// fits checks that the page is not wider than the screen of 360 pixels, and that the elements are completely visible, each in one or
// two rows.
func fits(t *testing.T, tab context.Context, selector string) {
	t.Helper()
	wrong, err := chromedp.Run(tab, chromedp.Evaluate[string](fmt.Sprintf(`(() => {
		const wide = document.documentElement.scrollWidth > 360 ? ["the page: " + document.documentElement.scrollWidth] : [];
		return wide.concat([...document.querySelectorAll(%q)].filter(e => {
			const r = e.getBoundingClientRect();
			return r.width < 8 || r.height > 45 || r.left < 0 || r.right > 360 || r.top < 0 || r.bottom > 640;
		}).map(e => (e.id || e.textContent) + JSON.stringify(e.getBoundingClientRect()))).join("\n");
	})()`, selector)))
	if err != nil || wrong != "" {
		t.Errorf("does not fit: %v\n%s", err, wrong)
	}
}

// TestFollowing checks that a page that shows the last message still does so when the log gets smaller, and that a page that shows
// earlier messages has a notice about new messages of others, and none about its own.
func TestFollowing(t *testing.T) {
	tab := browser.Start(t)
	p := build(t)
	p.start()
	browser.Act(t, tab, chromedp.EmulateViewport(360, 640))
	visit(t, tab, p, "Ann")
	bob, _ := enter(t, "http://"+p.addr+"/room/lobby", "Bob", 0)
	for n := range 3 {
		bob.says(fmt.Sprint("long ", n), fmt.Sprintf("message %d%s", n, strings.Repeat("\nand more", 12)))
		shows(t, tab, "#log", fmt.Sprintf("message %d", n))
	}
	holds(t, tab, "at the end", `atEnd() && $("newer").hidden`)

	browser.Act(t, tab, browser.SetValue("#text", strings.Repeat("a line of a draft\n", 6)))
	holds(t, tab, "at the end above a long draft", `$("text").clientHeight > 100 && atEnd()`)
	bob.says("under a draft", "something new")
	shows(t, tab, "#log", "something new")
	holds(t, tab, "at the end of what came meanwhile", `atEnd() && $("newer").hidden`)

	evaluates(t, tab, `(() => { $("composer").requestSubmit(); $("log").scrollTop = 0; return true; })()`)
	holds(t, tab, "without a hint of its own message", `!document.querySelector(".pending") && $("log").scrollTop === 0 && $("newer").hidden`)
	bob.says("while she reads", "something newer")
	shows(t, tab, "#log", "something newer")
	holds(t, tab, "where it was, with a hint", `$("log").scrollTop === 0 && !$("newer").hidden`)
}

// holds waits until a condition of the page is true.
func holds(t *testing.T, tab context.Context, what, condition string) {
	t.Helper()
	err := chromedp.Do(tab, chromedp.Poll[chromedp.Void](condition, chromedp.WithPollingTimeout(time.Minute)))
	if err != nil {
		t.Fatalf("the page is not %s: %v", what, err)
	}
}

// evaluates runs an expression in the page, which must return true.
func evaluates(t *testing.T, tab context.Context, script string) {
	t.Helper()
	if done, err := chromedp.Run(tab, chromedp.Evaluate[bool](script)); err != nil || !done {
		t.Fatalf("%s: %v", script, err)
	}
}
