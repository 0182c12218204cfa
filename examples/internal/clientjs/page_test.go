package clientjs_test

import (
	"net"
	"net/http"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/chromedp"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/examples/internal/browser"
)

// asks gives the browser a command of the DevTools protocol for the page.
func (p tab) asks(method string, params map[string]any) {
	p.Helper()
	if _, err := chromedp.Call(p.ctx, cdp.Command[map[string]any, cdp.Empty]{Method: method}, params); err != nil {
		p.Fatalf("%s: %v", method, err)
	}
}

// offline makes the browser believe that there is no network, or that there is one again.
func (p tab) offline(offline bool) {
	p.Helper()
	p.asks("Network.emulateNetworkConditions", map[string]any{
		"offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1,
	})
	if offline {
		p.until(`!navigator.onLine`)
	} else {
		p.until(`navigator.onLine`)
	}
}

// TestOffline: without a network there are no attempts, and one at once when it is back.
func TestOffline(t *testing.T) {
	s := newSite(t)
	p := tab{t, browser.Start(t, chromedp.Flag("host-resolver-rules", "MAP edgews.test 127.0.0.1"))}
	_, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		t.Fatal(err)
	}
	p.visit("http://edgews.test:" + port)
	p.does(`begin({minDelay: 1, maxDelay: 10})`)
	socket := s.next()
	p.logs("open")
	p.offline(true)
	s.cut()
	s.ends(socket)
	p.until(`delays.includes(Infinity)`)
	before := len(s.handshakes())
	p.is("true", `s.send("meanwhile")`)
	p.does(`document.dispatchEvent(new Event("visibilitychange", {bubbles: true}))`)
	p.is("0", `s.readyState`)
	p.does(`Math.random = () => 1`)
	p.offline(false)
	s.receives(s.next(), "meanwhile")
	if n := len(s.handshakes()); n != before+1 {
		t.Errorf("%d attempts, want 1", n-before)
	}
}

// TestOfflineOnThisMachine: the machine itself can be reached without a network.
func TestOfflineOnThisMachine(t *testing.T) {
	s := newSite(t)
	p := open(t, s)
	p.does(`Object.defineProperty(navigator, "onLine", {value: false}); begin({minDelay: 1, maxDelay: 10})`)
	s.closes(s.next(), 1001, "")
	s.next()
	p.until(`s.readyState === 1`)
	p.logs("open", "close 1001  true", "wait 1001", "open")
}

// TestEventsOfThePage: each of them ends a wait at once, and checks a connection at once.
func TestEventsOfThePage(t *testing.T) {
	s := newSite(t)
	p := open(t, s)
	p.does(`Math.random = () => 1`)
	for name, event := range map[string]string{
		"visible":  `document.dispatchEvent(new Event("visibilitychange", {bubbles: true}))`,
		"online":   `dispatchEvent(new Event("online"))`,
		"offline":  `dispatchEvent(new Event("offline"))`, // while navigator.onLine says that it is over again
		"restored": `dispatchEvent(new PageTransitionEvent("pageshow", {persisted: true}))`,
	} {
		t.Run(name, func(t *testing.T) {
			p.T = t
			p.does(`begin({minDelay: 600000, maxDelay: 600000})`)
			s.closes(s.next(), 1001, "")
			p.logs("open", "close 1001  true", "wait 1001")
			p.does(event)
			socket := s.next()
			p.logs("open", "close 1001  true", "wait 1001", "open")
			p.does(event + `;` + event) // one heartbeat, since its answer is still to come
			p.does(`s.send("behind it")`)
			s.receives(socket, "ping")
			s.receives(socket, "behind it")
			p.does(`s.close()`)
			s.ends(socket)
		})
	}
}

// TestListenersGoWithTheEnd: a page that makes many sockets, one after the other, does not collect their listeners.
func TestListenersGoWithTheEnd(t *testing.T) {
	s := newSite(t)
	p := open(t, s)
	p.does(`window.signals = [];
		const add = window.addEventListener;
		window.addEventListener = (type, f, options) => { signals.push(options.signal); add(type, f, options); };
		begin()`)
	socket := s.next()
	p.logs("open")
	p.is("true", `signals.length >= 5 && signals.every(signal => !signal.aborted)`)
	s.closes(socket, 1008, "")
	p.logs("open", "close 1008  true", "end 1008")
	p.is("true", `signals.every(signal => signal.aborted)`)
}

// TestEventsThatMeanNothing: a page that becomes hidden, and one that is shown for the first time, do nothing.
func TestEventsThatMeanNothing(t *testing.T) {
	s := newSite(t)
	p := open(t, s)
	p.does(`begin({minDelay: 600000, maxDelay: 600000})`)
	socket := s.next()
	p.logs("open")
	p.does(`Object.defineProperty(document, "hidden", {value: true});
		document.dispatchEvent(new Event("visibilitychange", {bubbles: true}));
		dispatchEvent(new PageTransitionEvent("pageshow", {persisted: false}));
		s.send("no heartbeat before this")`)
	s.receives(socket, "no heartbeat before this")
}

// TestEventsDoNotShortenWhatTheServerAskedFor: Retry-After and 1012 hold, whatever happens in the page.
func TestEventsDoNotShortenWhatTheServerAskedFor(t *testing.T) {
	s := newSite(t)
	p := open(t, s)
	const events = `document.dispatchEvent(new Event("visibilitychange", {bubbles: true})); dispatchEvent(new Event("online"))`
	p.does(`window.made = 0; const Native = WebSocket; window.WebSocket = class extends Native { constructor(...args) { made++; super(...args); } }`)

	p.does(`begin()`)
	s.closes(s.next(), 1012, "")
	p.logs("open", "close 1012  true", "wait 1012")
	p.does(events)
	p.is("1", `made`)

	s.refusing(answers(503, "60"))
	p.does(`begin()`)
	p.logs("wait 1006 HTTP 503")
	p.does(events)
	p.is("2", `made`)

	s.refusing(answers(503, ""))
	p.does(`begin({minDelay: 600000, maxDelay: 600000})`)
	p.logs("wait 1006 HTTP 503")
	p.does(events)
	p.is("4", `made`)
}

// TestHiddenPage: a page in the background keeps its connection, and gets its messages.
func TestHiddenPage(t *testing.T) {
	s := newSite(t)
	p := open(t, s)
	p.does(`begin({heartbeat: {interval: 600000}})`)
	socket := s.next()
	p.logs("open")
	bounds := func(state string) {
		w, err := chromedp.Call(p.ctx, cdp.Command[map[string]any, map[string]any]{Method: "Browser.getWindowForTarget"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		p.asks("Browser.setWindowBounds", map[string]any{"windowId": w["windowId"], "bounds": map[string]any{"windowState": state}})
	}
	bounds("minimized")
	p.until(`document.hidden`)
	s.sends(socket, "in the background")
	p.logs("open", "message in the background")
	bounds("normal")
	p.until(`!document.hidden`)
	s.receives(socket, "ping")
	s.sends(socket, "pong")
	s.sends(socket, "in front")
	p.logs("open", "message in the background", "message in front")
}

// TestFrozenPage: a page that was frozen has a connection afterwards. Some browsers cut it meanwhile.
func TestFrozenPage(t *testing.T) {
	s := newSite(t)
	s.refusing(echo)
	p := open(t, s)
	p.does(`window.frozen = 0; document.addEventListener("freeze", () => frozen++); begin({minDelay: 1})`)
	p.until(`s.readyState === 1`)
	p.asks("Page.setWebLifecycleState", map[string]any{"state": "frozen"})
	p.asks("Page.setWebLifecycleState", map[string]any{"state": "active"})
	p.asks("Page.bringToFront", nil)
	p.until(`frozen === 1`)
	p.until(`(s.send("still here"), log.includes("message still here"))`)
	p.is("false", `log.some(line => line.startsWith("end"))`)
}

// echo sends every message back.
func echo(w http.ResponseWriter, r *http.Request) (done bool) {
	s, err := edgews.Upgrade(w, r, nil)
	if err != nil {
		return true
	}
	s.OnMessage(func(e edgews.MessageEvent) { s.Send(e.Text()) })
	s.Accept()
	return true
}

// TestBackForwardCache: the browser keeps a page that is left, and its socket connects again when the user comes back.
func TestBackForwardCache(t *testing.T) {
	s := newSite(t)
	p := open(t, s)
	p.does(`window.mark = "kept"; window.shown = []; addEventListener("pageshow", e => shown.push(e.persisted)); begin({minDelay: 600000, maxDelay: 600000})`)
	socket := s.next()
	p.logs("open")
	browser.Act(t, p.ctx, chromedp.Navigate("http://"+s.addr+"/other"))
	if end := s.ends(socket); !end.WasClean {
		t.Error(end)
	}
	p.does(`history.back()`)
	p.until(`window.mark === "kept"`)
	p.is(`[true]`, `shown`)
	again := s.next()
	p.logs("open", "close 1001 page hidden false", "open")
	p.does(`s.send("back")`)
	s.receives(again, "back")
}
