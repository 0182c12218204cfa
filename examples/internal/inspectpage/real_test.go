package inspectpage_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/examples/internal/browser"
	"github.com/edgews/edgews/inspect"
)

// real is a program with an inspector, whose namespace, objects, tags, paths, keys and values are text that a browser would run.
type real struct {
	t         *testing.T
	inspector *inspect.Inspector
	objects   *edgews.Namespace
	url       string
}

func newReal(t *testing.T, opts inspect.Options) *real {
	t.Helper()
	meter := edgews.NewMeter(nil)
	opts.Meter = meter
	r := &real{t: t, inspector: inspect.New(&opts)}
	construct := func(_ context.Context, st *edgews.State) (edgews.Object, error) {
		return &evilObject{st, r.inspector}, nil
	}
	r.objects = edgews.NewNamespace(evil, construct, &edgews.NamespaceOptions{
		HibernateAfter: time.Hour,
		Tenant:         func(edgews.ID) string { return evil },
		Options:        edgews.Options{Observer: r.inspector, Meter: meter, Logger: slog.New(slog.DiscardHandler)},
	})
	r.inspector.AddNamespaces(r.objects)
	mux := http.NewServeMux()
	mux.Handle("/debug/edgews/", r.inspector.Handler())
	mux.Handle("/socket/", r.objects.ByName(evil))
	server := httptest.NewServer(mux)
	r.url = server.URL
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := errors.Join(r.inspector.Shutdown(ctx), r.objects.Shutdown(ctx)); err != nil {
			t.Error(err)
		}
		server.Close()
	})
	return r
}

// evilObject stores what it is sent, and has a task that does not end.
type evilObject struct {
	st       *edgews.State
	observer edgews.Observer
}

func (o *evilObject) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s, err := edgews.Upgrade(w, r, &edgews.UpgradeOptions{Options: edgews.Options{Observer: o.observer}}) // for the upgrades that it refuses
	if err != nil {
		return
	}
	if err := o.st.AcceptWebSocket(s, evil); err != nil {
		panic(err)
	}
	o.st.WaitUntil(func(ctx context.Context) { <-ctx.Done() })
}

// WebSocketMessage stores a message, sets an alarm and fails.
func (o *evilObject) WebSocketMessage(ctx context.Context, _ *edgews.Socket, m edgews.Message) error {
	err := o.st.Storage().Update(ctx, func(tx *edgews.Tx) error {
		return errors.Join(tx.Put(m.Text(), m.Data), tx.SetAlarm(time.Now().Add(time.Hour)))
	})
	return errors.Join(err, errors.New(m.Text()))
}

func (o *evilObject) Alarm(context.Context) error { return nil }

// dial opens a socket whose path is evil.
func (r *real) dial() *edgews.Socket {
	r.t.Helper()
	s, _, err := edgews.Dial(r.t.Context(), "ws"+strings.TrimPrefix(r.url, "http")+"/socket/"+url.PathEscape(evil), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	s.OnMessage(func(edgews.MessageEvent) {})
	s.Accept()
	return s
}

func (r *real) open(tab context.Context, fragment string, width, height int64) {
	r.t.Helper()
	browser.Act(r.t, tab, chromedp.EmulateViewport(width, height), chromedp.Navigate("about:blank"), chromedp.Navigate(r.url+"/debug/edgews/"+fragment))
	browser.Holds(r.t, tab, "live", live)
}

// TestHostileNames: wherever a peer or a program chooses text, the page of the real inspector shows it as text.
func TestHostileNames(t *testing.T) {
	r := newReal(t, inspect.Options{AllowActions: true, Logger: slog.New(slog.DiscardHandler)})
	s := r.dial()
	if err := s.Send(evil); err != nil {
		t.Fatal(err)
	}
	_, _, err := edgews.Dial(t.Context(), "ws"+strings.TrimPrefix(r.url, "http")+"/socket/"+url.PathEscape(evil), &edgews.DialOptions{Header: http.Header{"Origin": {"http://" + evil}}})
	if err == nil {
		t.Fatal("the origin is not refused")
	}
	closed := r.dial()
	if err := closed.Close(4001, evil); err != nil {
		t.Fatal(err)
	}
	<-closed.Done()
	tab := browser.Start(t)
	object := "#objects?" + url.Values{"ns": {evil}, "id": {r.objects.IDFromName(evil).String()}}.Encode()
	text := func(selector string) string {
		return fmt.Sprintf("[...document.querySelectorAll(%q)].some(e => e.textContent.includes(%q))", selector, evil)
	}
	views := []struct{ name, fragment, loaded string }{
		{"overview", "", text("[aria-labelledby=namespaces]") + ` && document.querySelectorAll(".bars li").length > 2`},
		{"sockets", "#sockets", text(".space .row .tag") + " && " + text(".space .row .place-c")},
		{"socket", "#sockets?id=" + browserSocket(r), text(".details .tag") + " && " + text(".details code")},
		{"objects", "#objects", text(".space .row .place-a")},
		{"object", object, text(".details h2") + ` && /WaitUntil real_test\.go:\d+/.test(document.querySelector(".reasons").textContent)`},
		{"alarms", "#alarms", text(".space .row .place-a")},
		{"bill", "#bill", text("[aria-labelledby=tenants] tbody th")},
		{"log", "#log", text(".log-text") + ` && document.querySelectorAll(".log li").length >= 2`},
	}
	for _, scheme := range []string{"light", "dark"} {
		browser.Act(t, tab, media("prefers-color-scheme", scheme))
		for _, width := range []int64{1280, 360} {
			for _, v := range views {
				r.open(tab, v.fragment, width, 800)
				browser.Holds(t, tab, fmt.Sprintf("showing %s at %d", v.name, width), v.loaded)
				if v.name == "object" {
					browser.Evaluate(t, tab, `[...document.querySelectorAll(".details button")].find(b => b.textContent === "Read").click()`)
					browser.Holds(t, tab, "showing the storage", text(".entry .key")+" && "+text(".entry pre"))
				}
				browser.Holds(t, tab, fmt.Sprintf("of the width of the screen with %s at %d", v.name, width),
					fmt.Sprintf("document.documentElement.scrollWidth <= %d && document.getElementById('main').scrollWidth <= document.getElementById('main').clientWidth", width))
				browser.Evaluate(t, tab, watchPolicy)
				browser.Holds(t, tab, "within its Content-Security-Policy", `window.observed && window.violations.length === 0`)
				browser.Holds(t, tab, "safe", `window.hacked === undefined && document.querySelectorAll("main img").length === 0`)
				_, unnamed := tree(t, tab)
				if len(unnamed) > 0 {
					t.Errorf("%s: without a name: %q", v.name, unnamed)
				}
			}
		}
	}
	r.open(tab, object, 1280, 800)
	browser.Act(t, tab, browser.Click(".actions button:last-child"), browser.Click("dialog button[type=submit]"))
	browser.Holds(t, tab, "saying that the alarm has run", `document.getElementById("said").textContent === "The alarm has run." && window.hacked === undefined`)
}

// browserSocket returns the id of the server's end of the open socket.
func browserSocket(r *real) string {
	r.t.Helper()
	sockets := r.objects.Sockets(r.objects.IDFromName(evil))
	if len(sockets) == 0 {
		r.t.Fatal("there is no socket")
	}
	return fmt.Sprint(sockets[0].ID())
}

// TestForeignPages: neither the page of another origin, nor one whose name resolves to this machine, reaches the inspector.
func TestForeignPages(t *testing.T) {
	r := newReal(t, inspect.Options{})
	foreign := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "<!doctype html><title>another site</title>")
	}))
	defer foreign.Close()
	tab := browser.Start(t, chromedp.Flag("host-resolver-rules", "MAP rebinding.example 127.0.0.1"))
	browser.Act(t, tab, chromedp.Navigate(foreign.URL))
	browser.Evaluate(t, tab, fmt.Sprintf(`
		const page = %q;
		window.outcome = {};
		const socket = new WebSocket(page.replace("http", "ws") + "socket");
		socket.onopen = () => { window.outcome.socket = "open"; };
		socket.onerror = () => { window.outcome.socket = "refused"; };
		fetch(page).then(() => { window.outcome.fetch = "read"; }, () => { window.outcome.fetch = "refused"; });
		const frame = document.createElement("iframe");
		frame.onload = () => { window.outcome.frame = frame.contentDocument === null ? "foreign" : "readable"; };
		frame.src = page;
		document.body.append(frame);`, r.url+"/debug/edgews/"))
	browser.Holds(t, tab, "kept out", `outcome.socket === "refused" && outcome.fetch === "refused" && outcome.frame === "foreign"`)
	_, port, _ := strings.Cut(strings.TrimPrefix(r.url, "http://"), ":")
	browser.Act(t, tab, chromedp.Navigate("http://rebinding.example:"+port+"/debug/edgews/"))
	browser.Holds(t, tab, "refused", `document.body.textContent.includes("the Host of the request is not this machine")`)
	browser.Evaluate(t, tab, `window.outcome = ""; const socket = new WebSocket("ws://" + location.host + "/debug/edgews/socket"); socket.onopen = () => { window.outcome = "open"; }; socket.onerror = () => { window.outcome = "refused"; }`)
	browser.Holds(t, tab, "refused the socket", `outcome === "refused"`)
}

// TestManyReal scrolls through the 10,000 sockets and 100,000 objects of a real inspector.
func TestManyReal(t *testing.T) {
	r := newReal(t, inspect.Options{})
	for range 10_000 {
		_, s := edgews.NewPair()
		s.Accept()
		r.inspector.ObserveSocket(edgews.SocketObservation{Socket: s, Event: edgews.SocketOpened})
	}
	for n := range 100_000 {
		if err := r.objects.ByName(fmt.Sprintf("room %05d", n)).Do(t.Context(), func(context.Context, edgews.Object) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	tab := browser.Start(t)
	for _, list := range []struct{ fragment, note, rows, last string }{
		{"#sockets", "10,000 open", "10001", `/^#\d+$/.test(document.querySelector(".space .row:last-child .cell").textContent)`},
		{"#objects?sort=name", "100,000 in memory", "100001", `[...document.querySelectorAll(".space .row .place-a")].some(e => e.textContent === "room 99999")`},
	} {
		r.open(tab, list.fragment, 1280, 900)
		browser.Holds(t, tab, "showing all", fmt.Sprintf(`document.querySelector(".bar .note").textContent === %q`, list.note))
		for _, share := range []string{"0.5", "1"} {
			browser.Evaluate(t, tab, `const grid = document.querySelector(".grid"); grid.scrollTop = grid.scrollHeight * `+share)
			browser.Holds(t, tab, "showing the rows at "+share, rows+` > 10 && `+rows+` <= 100 && !document.querySelector(".space .row.loading") && document.querySelector(".grid").getAttribute("aria-rowcount") === "`+list.rows+`"`)
		}
		browser.Holds(t, tab, "showing the last row", list.last)
	}
	browser.Holds(t, tab, "counting all", `document.querySelector("#views a[aria-current] .count").textContent === "100,000"`)
	r.open(tab, "#objects?q=room+04242", 1280, 900)
	browser.Holds(t, tab, "finding one", `document.querySelector(".bar .note").textContent === "1 of 100,000"`)
}
