package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/edgews/edgews"
	"github.com/edgews/edgews/edgewstest"
	"github.com/edgews/edgews/examples/chat/chatrooms"
	"github.com/edgews/edgews/examples/internal/browser"
)

// server is a server of the test, or a process of its own.
type server struct {
	url    string
	client *http.Client // nil: the default
}

// inBubble runs a test in virtual time with a server whose store is in memory.
func inBubble(t *testing.T, test func(t *testing.T, srv server, rooms *edgews.Namespace)) {
	synctest.Test(t, func(t *testing.T) {
		users := chatrooms.NewUsers(edgews.NamespaceOptions{})
		rooms := chatrooms.NewRooms(users, edgews.NamespaceOptions{})
		srv := edgewstest.New(t, handler(rooms, http.NotFoundHandler()))
		t.Cleanup(func() {
			if err := errors.Join(rooms.Shutdown(context.Background()), users.Shutdown(context.Background())); err != nil {
				t.Error(err)
			}
		})
		test(t, server{srv.URL, srv.Client()}, rooms)
	})
}

// guest is a user in a room.
type guest struct {
	t *testing.T
	s *edgews.Socket
}

// heard is any message of the server.
type heard struct {
	edgews.FeedFrame
	Wait int64 // of an answer
}

// said returns what is in a message of the feed.
func (h heard) said() (m chatrooms.Said) {
	json.Unmarshal(h.Data, &m)
	return m
}

// names returns those who are there.
func (h heard) names() (names []string) {
	for _, p := range h.Here {
		names = append(names, p.Who)
	}
	return names
}

// enter enters a room, and returns the first message.
func (srv server) enter(t *testing.T, path, name string, cursor uint64) (guest, heard) {
	t.Helper()
	query := url.Values{"name": {name}, "cursor": {fmt.Sprint(cursor)}}.Encode()
	s, _, err := edgews.Dial(t.Context(), srv.url+path+"/socket?"+query, &edgews.DialOptions{HTTPClient: srv.client})
	if err != nil {
		t.Fatal(err)
	}
	g := guest{t, s}
	t.Cleanup(g.leaves) // before the server ends, since it would wait for an answer to its Close
	return g, g.hears("feed.cursor")
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
	got, err := edgews.ReceiveJSON[heard](g.t.Context(), g.s)
	if err != nil {
		g.t.Fatal(err)
	}
	if got.Type != what {
		g.t.Fatalf("got %+v, not %q", got, what)
	}
	return got
}

// hearsSaid checks the number, the name and the text of the next message, which is one of the feed.
func (g guest) hearsSaid(seq uint64, name, text string) {
	g.t.Helper()
	got := g.hears("feed.message")
	equal(g.t, seq, *got.Seq)
	equal(g.t, chatrooms.Said{Name: name, Text: text}, got.said())
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

func equal[T any](t *testing.T, want, got T) {
	t.Helper()
	if !reflect.DeepEqual(want, got) {
		t.Errorf("want %v, got %v", want, got)
	}
}

const lobby = "/room/lobby"

func TestTalk(t *testing.T) {
	inBubble(t, func(t *testing.T, srv server, rooms *edgews.Namespace) {
		ann, first := srv.enter(t, lobby, "  Ann \n Lee  ", 0)
		equal(t, []string{"Ann Lee"}, first.names())
		equal(t, 0, *first.Seq)
		bob, first := srv.enter(t, lobby, "Bob", 0)
		equal(t, []string{"Ann Lee", "Bob"}, slices.Sorted(slices.Values(first.names()))) // at the same moment
		equal(t, "Bob", ann.hears("feed.joined").Who)

		ann.says("a1", "hello")
		for _, g := range []guest{ann, bob} {
			got := g.hears("feed.message")
			equal(t, "a1", got.ID)
			equal(t, chatrooms.Said{Name: "Ann Lee", Text: "hello"}, got.said())
		}
		equal(t, 1, *ann.hears("stored").Seq)
		ann.says("a1", "hello") // again, as after a lost connection
		equal(t, 1, *ann.hears("stored").Seq)

		if err := rooms.Hibernate(t.Context(), rooms.IDFromName("lobby")); err != nil {
			t.Fatal(err)
		}
		bob.says("b1", "still there?")
		ann.hearsSaid(2, "Bob", "still there?")
		bob.hearsSaid(2, "Bob", "still there?")
		equal(t, "b1", bob.hears("stored").ID)

		cid, first := srv.enter(t, lobby, "Cid", 1)
		equal(t, false, first.Gone)
		cid.hearsSaid(2, "Bob", "still there?")
		_, first = srv.enter(t, lobby, "Cid", 17) // the cursor of another server
		equal(t, true, first.Gone)
		_, first = srv.enter(t, "/room/other", "Cid", 0)
		equal(t, []string{"Cid"}, first.names())
	})
}

// A user who returns in time has not left for the others, unless the user has left on purpose.
func TestPresence(t *testing.T) {
	inBubble(t, func(t *testing.T, srv server, rooms *edgews.Namespace) {
		ann, _ := srv.enter(t, lobby, "Ann", 0)
		bob, _ := srv.enter(t, lobby, "Bob", 0)
		ann.hears("feed.joined")
		again, _ := srv.enter(t, lobby, "Bob", 0) // in another window
		bob.leaves()
		again.s.Close(edgews.StatusGoingAway, "") // a reload
		<-again.s.Done()
		time.Sleep(4 * time.Second)
		bob, _ = srv.enter(t, lobby, "Bob", 0)
		time.Sleep(time.Minute)
		bob.says("b1", "here I am")
		ann.hearsSaid(1, "Bob", "here I am") // and nothing before

		bob.s.Close(edgews.StatusGoingAway, "")
		<-bob.s.Done()
		before := time.Now()
		equal(t, "Bob", ann.hears("feed.left").Who)
		equal(t, 5*time.Second, time.Since(before))

		bob, _ = srv.enter(t, lobby, "Bob", 0)
		ann.hears("feed.joined")
		before = time.Now()
		bob.leaves()
		ann.hears("feed.left")
		equal(t, 0, time.Since(before))
	})
}

// privateRoom returns the path of a new private room.
func (srv server) privateRoom(t *testing.T) (path string) {
	t.Helper()
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if srv.client != nil {
		client.Transport = srv.client.Transport
	}
	resp, err := client.Post(srv.url+"/private", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.Header.Get("Location")
}

func TestPrivateRoom(t *testing.T) {
	inBubble(t, func(t *testing.T, srv server, rooms *edgews.Namespace) {
		path := srv.privateRoom(t)
		equal(t, len("/room/")+64, len(path))
		ann, _ := srv.enter(t, path, "Ann", 0)
		ann.says("a1", "psst")
		ann.hearsSaid(1, "Ann", "psst")
		bob, _ := srv.enter(t, path, "Bob", 0)
		bob.hearsSaid(1, "Ann", "psst")
	})
}

// A user has one limit for all rooms, and for all windows.
func TestTooFast(t *testing.T) {
	inBubble(t, func(t *testing.T, srv server, rooms *edgews.Namespace) {
		ann, _ := srv.enter(t, lobby, "Ann", 0)
		elsewhere, _ := srv.enter(t, srv.privateRoom(t), "Ann", 0)
		for n := range chatrooms.Burst {
			g := []guest{ann, elsewhere}[n%2]
			g.says(fmt.Sprint(n), "spam")
			g.hears("feed.message")
			g.hears("stored")
		}
		for _, g := range []guest{ann, elsewhere} {
			g.says("more", "spam")
			answer := g.hears("slow")
			equal(t, "more", answer.ID)
			equal(t, chatrooms.Interval.Milliseconds(), answer.Wait)
		}
		time.Sleep(chatrooms.Interval)
		ann.says("more", "spam")
		ann.hears("feed.message")
		ann.hears("stored")
		elsewhere.says("more", "spam")
		elsewhere.hears("slow")

		bob, _ := srv.enter(t, lobby, "Bob", 4)
		bob.says("b1", "no spam")
		bob.hears("feed.message")
		bob.hears("stored")

		time.Sleep(time.Minute) // the object of the user hibernates
		for n := range chatrooms.Burst {
			elsewhere.says(fmt.Sprint("later ", n), "spam")
			elsewhere.hears("feed.message")
			elsewhere.hears("stored")
		}
		elsewhere.says("too much", "spam")
		elsewhere.hears("slow")
	})
}

func TestUserCalls(t *testing.T) {
	inBubble(t, func(t *testing.T, srv server, rooms *edgews.Namespace) {
		users := chatrooms.NewUsers(edgews.NamespaceOptions{})
		defer users.Shutdown(context.Background())
		ann := users.Get(users.IDFromName("Ann"))
		if _, err := edgews.Call[any, any](t.Context(), ann, "sing", nil); !errors.Is(err, edgews.ErrUnknownMethod) {
			t.Errorf("an unknown method: %v", err)
		}
		answer := httptest.NewRecorder()
		ann.ServeHTTP(answer, httptest.NewRequest("GET", "/", nil))
		equal(t, http.StatusNotFound, answer.Code)
	})
}

// A room that cannot ask for the limit of a user, or cannot store, closes the socket, so that the page repeats the message.
func TestOutOfOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		users := chatrooms.NewUsers(edgews.NamespaceOptions{})
		rooms := chatrooms.NewRooms(users, edgews.NamespaceOptions{})
		defer rooms.Shutdown(context.Background())
		srv := edgewstest.New(t, handler(rooms, http.NotFoundHandler()))
		ann, _ := server{srv.URL, srv.Client()}.enter(t, lobby, "Ann", 0)
		users.Shutdown(context.Background())
		ann.says("a1", "hello")
		equal(t, edgews.StatusTryAgainLater, ann.ends().Code)
	})
}

func TestRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, srv server, rooms *edgews.Namespace) {
		for _, name := range []string{"", "   ", strings.Repeat("é", chatrooms.MaxName+1), "\xff"} {
			opts := &edgews.DialOptions{HTTPClient: srv.client}
			_, resp, err := edgews.Dial(t.Context(), srv.url+lobby+"/socket?name="+url.QueryEscape(name), opts)
			if err == nil || resp.StatusCode != http.StatusBadRequest {
				t.Errorf("name %q: %v", name, err)
			}
		}
		messages := []string{"", "{", `{"id":"x"}`, `{"text":"x"}`, `{"id":"` + strings.Repeat("x", 65) + `","text":"x"}`,
			`{"id":"x","text":"` + strings.Repeat("x", chatrooms.MaxText+1) + `"}`}
		for _, message := range messages {
			ann, _ := srv.enter(t, lobby, "Ann", 0)
			if err := ann.s.Write(t.Context(), edgews.Text, []byte(message)); err != nil {
				t.Fatal(err)
			}
			equal(t, edgews.StatusUnsupportedData, ann.ends().Code)
		}
	})
}

// process is the example as a process of its own.
type process struct {
	t          *testing.T
	path       string
	addr, data string
	stderr     io.Writer
	cmd        *exec.Cmd
}

// build builds the example with these flags, and does not start it.
func build(t *testing.T, flags ...string) *process {
	t.Helper()
	dir := t.TempDir()
	p := &process{t: t, path: filepath.Join(dir, "chat"), addr: freeAddr(t), data: filepath.Join(dir, "chat.db"), stderr: os.Stderr}
	command := append(append([]string{"build"}, flags...), "-o", p.path, ".")
	if out, err := exec.Command("go", command...).CombinedOutput(); err != nil {
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
	p.cmd.Stderr = p.stderr
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

// server returns how clients of the test reach the process.
func (p *process) server() server { return server{url: "http://" + p.addr} }

func TestRestart(t *testing.T) {
	p := build(t)
	p.start()
	ann, _ := p.server().enter(t, lobby, "Ann", 0)
	ann.says("a1", "before")
	ann.hears("feed.message")
	p.interrupt()
	equal(t, edgews.StatusServiceRestart, ann.ends().Code)
	p.wait()

	p.start()
	ann, _ = p.server().enter(t, lobby, "Ann", 0)
	ann.hearsSaid(1, "Ann", "before")
	ann.says("a1", "before") // the answer was lost
	equal(t, 1, *ann.hears("stored").Seq)
	ann.says("a2", "after")
	ann.hearsSaid(2, "Ann", "after")
	p.kill()

	p.start()
	ann, _ = p.server().enter(t, lobby, "Ann", 0)
	ann.hearsSaid(1, "Ann", "before")
	ann.hearsSaid(2, "Ann", "after")
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
	visit(t, first, p.server(), "Ann")
	visit(t, second, p.server(), "Bob")
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

func visit(t *testing.T, tab context.Context, srv server, name string) {
	t.Helper()
	browser.Act(t, tab,
		chromedp.Navigate(srv.url),
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
	visit(t, other, p.server(), "Bob")
	browser.Act(t, tab, chromedp.EmulateViewport(360, 640))
	visit(t, tab, p.server(), "Ann")
	shows(t, tab, "#here", "Bob")
	for n := range chatrooms.Burst + 3 {
		say(t, tab, fmt.Sprintf("message %d%s", n, strings.Repeat("\nand more", 4)))
	}
	shows(t, other, "#log", fmt.Sprintf("message %d", chatrooms.Burst+2))
	log := browser.Text(t, other, "#log")
	for n := range chatrooms.Burst + 2 {
		if strings.Index(log, fmt.Sprintf("message %d", n)) > strings.Index(log, fmt.Sprintf("message %d", n+1)) {
			t.Errorf("message %d comes after the next:\n%s", n, log)
		}
	}

	for _, name := range []string{strings.Repeat("Maximilian ", 3)[:chatrooms.MaxName], "Cecilia", "Dora", "Emil"} {
		p.server().enter(t, lobby, name, 0)
	}
	shows(t, tab, "#here", "Emil")
	fits(t, tab, "aside button, #count, #here li:first-child, #state, #text, #send")

	// The page does not scroll for a message that arrives while it shows earlier ones.
	browser.Act(t, tab, chromedp.Poll[chromedp.Void](`(() => { document.getElementById("log").scrollTop = 0; return true; })()`))
	say(t, other, "something new")
	shows(t, tab, "#log", "something new")
	browser.Act(t, tab, chromedp.Poll[chromedp.Void](`document.getElementById("log").scrollTop === 0 && !document.getElementById("newer").hidden`))
	pictures(t, tab, "chat-360")
	browser.Act(t, tab, chromedp.EmulateViewport(1000, 700))
	fits(t, tab, "aside button, #count, #here li:first-child, #state, #text, #send")
	pictures(t, tab, "chat-1000")
	browser.Act(t, tab, chromedp.EmulateViewport(360, 640), chromedp.Poll[chromedp.Void](`(() => { $("log").scrollTop = 0; return !$("newer").hidden; })()`))
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

// pictures takes screenshots of a page, light and dark.
func pictures(t *testing.T, tab context.Context, name string) {
	t.Helper()
	for _, scheme := range []string{"light", "dark", ""} {
		browser.Evaluate(t, tab, fmt.Sprintf("document.documentElement.style.colorScheme = %q", scheme))
		if scheme != "" {
			browser.Screenshot(t, tab, name+"-"+scheme+".png")
		}
	}
}

// TestReload loads a page again that has a message which is not confirmed, and one whose confirmation it has not got.
func TestReload(t *testing.T) {
	tab := browser.Start(t)
	p := build(t)
	p.start()
	visit(t, tab, p.server(), "Ann")
	bob, _ := p.server().enter(t, lobby, "Bob", 0)
	browser.Evaluate(t, tab, `socket.onmessage = null`)
	say(t, tab, "stored, but not confirmed")
	bob.hearsSaid(1, "Ann", "stored, but not confirmed")
	say(t, tab, "not sent")
	holds(t, tab, "waiting for both", `document.querySelectorAll(".pending").length === 2`)

	browser.Act(t, tab, chromedp.Reload())
	bob.hearsSaid(2, "Ann", "not sent")
	holds(t, tab, "showing each once", `document.querySelectorAll(".said").length === 2 && !document.querySelector(".pending")`)
	equal(t, []string{"stored, but not confirmed", "not sent"}, bubbles(t, tab))
	holds(t, tab, "keeping nothing", `sessionStorage.getItem(kept) === "[]"`)
}

// bubbles returns the texts that a page shows.
func bubbles(t *testing.T, tab context.Context) []string {
	t.Helper()
	texts, err := chromedp.Run(tab, chromedp.Evaluate[[]string](`[...document.querySelectorAll(".bubble")].map(e => e.textContent)`))
	if err != nil {
		t.Fatal(err)
	}
	return texts
}

// TestGone has a page with an old cursor connect: it shows what is kept, and once.
func TestGone(t *testing.T) {
	tab := browser.Start(t)
	users := chatrooms.NewUsers(edgews.NamespaceOptions{})
	rooms := chatrooms.NewRooms(users, edgews.NamespaceOptions{})
	srv := httptest.NewServer(handler(rooms, http.NotFoundHandler()))
	t.Cleanup(func() {
		srv.Close()
		rooms.Shutdown(context.Background())
		users.Shutdown(context.Background())
	})
	publish := func(from, to int) {
		err := rooms.Get(rooms.IDFromName("lobby")).Do(t.Context(), func(ctx context.Context, o edgews.Object) error {
			for n := from; n <= to; n++ {
				if _, err := o.(*chatrooms.Room).Feed.Publish(ctx, "", chatrooms.Said{Name: "Bob", Text: fmt.Sprint("message ", n)}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	publish(1, 3)
	visit(t, tab, server{url: srv.URL}, "Ann")
	shows(t, tab, "#log", "message 3")
	holds(t, tab, "without a note", `!$("log").textContent.includes("not kept")`)

	browser.Evaluate(t, tab, `socket.close(1000)`)
	publish(4, 1010)
	browser.Evaluate(t, tab, `connect()`)
	shows(t, tab, "#log", "message 1010")
	shows(t, tab, "#log", "earlier messages are not kept")
	texts := bubbles(t, tab)
	equal(t, 1000, len(texts))
	equal(t, "message 11", texts[0])
	browser.Evaluate(t, tab, `cursor = 5; connect()`)
	holds(t, tab, "connected again", `cursor === 1010`)
	equal(t, 1000, len(bubbles(t, tab)))
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

// fits checks that the page is not wider than the screen, and that the elements are completely visible, each in one or
// two rows.
func fits(t *testing.T, tab context.Context, selector string) {
	t.Helper()
	wrong, err := chromedp.Run(tab, chromedp.Evaluate[string](fmt.Sprintf(`(() => {
		const wide = innerWidth, tall = innerHeight;
		const page = document.documentElement.scrollWidth > wide ? ["the page: " + document.documentElement.scrollWidth] : [];
		return page.concat([...document.querySelectorAll(%q)].filter(e => {
			const r = e.getBoundingClientRect();
			return r.width < 8 || r.height > 45 || r.left < 0 || r.right > wide || r.top < 0 || r.bottom > tall;
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
	visit(t, tab, p.server(), "Ann")
	bob, _ := p.server().enter(t, lobby, "Bob", 0)
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

// TestInspector checks that the inspector is for this machine, and not for what a proxy forwards.
func TestInspector(t *testing.T) {
	p := build(t)
	p.start()
	for field, want := range map[string]int{"Accept": http.StatusOK, "X-Forwarded-For": http.StatusForbidden} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.server().url+"/debug/edgews/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set(field, "*")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		equal(t, want, resp.StatusCode)
	}
}
