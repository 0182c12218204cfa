package clientjs_test

import (
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/examples/internal/browser"
)

func TestOneConnection(t *testing.T) {
	s := newSite(t)
	p := open(t, s)
	p.is("0", `(begin({protocols: ["other", "tested"]}), s.onmessage = e => { window.heard = e.data; }, s.readyState)`)
	socket := s.next()
	p.logs("open")
	p.is("1", `s.readyState`)
	p.is(`"ws://`+s.addr+`/ws"`, `s.url`)
	p.is(`"tested"`, `s.protocol`)
	s.sends(socket, "hello")
	if err := socket.Write(t.Context(), edgews.Binary, []byte{1, 2, 255}); err != nil {
		t.Fatal(err)
	}
	s.sends(socket, "pong") // the answer to a heartbeat, which is not for the page
	s.sends(socket, "bye")
	p.logs("open", "message hello", "message binary 1,2,255", "message bye")
	p.is(`"bye"`, `heard`)
	p.is("true", `s.send("to the server")`)
	s.receives(socket, "to the server")
	p.is(`"InvalidAccessError"`, `(() => { try { s.close(1001); } catch (e) { return e.name; } })()`)
	p.does(`s.close(3456, "done")`)
	p.is("2", `s.readyState`)
	if end := s.ends(socket); end.Code != 3456 || end.Reason != "done" {
		t.Error(end)
	}
	p.logs("open", "message hello", "message binary 1,2,255", "message bye", "close 3456 done true", "end 3456 done")
	p.is("3", `s.readyState`)
	p.is("false", `s.send("too late")`)
	p.does(`s.close(); dispatchEvent(new Event("online")); dispatchEvent(new Event("offline"))`)
	p.is("6", `log.length`)
	p.is("3", `s.readyState`)
}

// TestURL: the URL may be relative or absolute, and of http or ws; a cursor joins the query.
func TestURL(t *testing.T) {
	s := newSite(t)
	p := open(t, s)
	for _, tt := range []struct{ url, options, want string }{
		{"ws", `{}`, "/ws"},
		{"/ws?room=a%20b", `{}`, "/ws?room=a%20b"},
		{"http://" + s.addr + "/ws", `{cursor: () => undefined}`, "/ws"},
		{"ws://" + s.addr + "/ws?room=1", `{cursor: () => "ä&b"}`, "/ws?room=1&cursor=%C3%A4%26b"},
		{"/ws?after=1", `{cursor: () => 0, cursorParam: "after"}`, "/ws?after=0"},
	} {
		p.does(fmt.Sprintf(`begin(%s, %q)`, tt.options, tt.url))
		socket := s.next()
		all := s.handshakes()
		if got := all[len(all)-1].URL.String(); got != tt.want {
			t.Errorf("%s: the page asked for %q, want %q", tt.url, got, tt.want)
		}
		p.does(`s.close(1000)`)
		s.ends(socket)
	}
	p.is(`"SyntaxError"`, `(() => { try { begin({}, "ftp://x/"); } catch (e) { return e.name; } })()`)
	p.is(`"SyntaxError"`, `(() => { try { begin({protocols: ["a", "a"]}); } catch (e) { return e.name; } })()`)
	p.is(`"no cursor"`, `(() => { try { begin({cursor() { throw "no cursor"; }}); } catch (e) { return e; } })()`)
}

// TestKilledServer: what the page sends meanwhile comes in order, and the cursor says what the page has.
func TestKilledServer(t *testing.T) {
	s := newSite(t)
	p := open(t, s)
	p.does(`window.last = undefined; begin({minDelay: 50, maxDelay: 400, cursor: () => last});
		s.addEventListener("message", e => { last = e.data; })`)
	socket := s.next()
	s.sends(socket, "17")
	p.logs("open", "message 17")
	s.kill()
	p.begins("open", "message 17", "close 1006  false", "wait 1006")
	p.is("0", `s.readyState`)
	p.is("[true,true,true,true]", `(() => {
		const bytes = new Uint8Array([0, 65, 66, 67]), sent = [s.send("first"), s.send(bytes.subarray(1, 3)), s.send(bytes.buffer), s.send(new Blob(["last"]))];
		bytes.fill(90);
		return sent;
	})()`)
	p.is("15", `s.bufferedAmount`)
	s.restart()
	socket = s.next()
	for _, want := range []string{"first", "AB", "\x00ABC", "last"} {
		s.receives(socket, want)
	}
	p.until(`s.readyState === 1 && log.at(-1) === "open"`)
	p.does(`s.send("connected")`)
	s.receives(socket, "connected")
	all := s.handshakes()
	if first, again := all[0].URL.RawQuery, all[len(all)-1].URL.RawQuery; first != "" || again != "cursor=17" {
		t.Errorf("the queries were %q and %q", first, again)
	}
}

// TestCloseCodes: 1008 ends the socket, 1012 and 1013 make it wait for 5 s to 30 s, and after every other code it waits as usual.
func TestCloseCodes(t *testing.T) {
	s := newSite(t)
	p := open(t, s)
	p.does(`Math.random = () => 0.5`)
	for _, tt := range []struct {
		code    edgews.StatusCode
		options string
		delay   float64 // 0: the socket ends
	}{
		{1000, `{minDelay: 60000, maxDelay: 90000}`, 30000},
		{1001, `{minDelay: 60000, maxDelay: 40000}`, 20000},
		{1008, `{}`, 0},
		{1011, `{minDelay: 60000, maxDelay: 90000}`, 30000},
		{1012, `{}`, 17500},
		{1013, `{}`, 17500},
		{1012, `{maxDelay: 10000}`, 10000},
		{1013, `{maxDelay: 90000}`, 17500},
		{4000, `{minDelay: 60000, maxDelay: 90000}`, 30000},
		{4999, `{minDelay: 60000, maxDelay: 90000}`, 30000},
	} {
		p.does(`begin(` + tt.options + `)`)
		s.closes(s.next(), tt.code, "because")
		if tt.delay == 0 {
			p.logs("open", fmt.Sprintf("close %d because true", tt.code), fmt.Sprintf("end %d because", tt.code))
			p.is("3", `s.readyState`)
			continue
		}
		p.logs("open", fmt.Sprintf("close %d because true", tt.code), fmt.Sprintf("wait %d because", tt.code))
		p.is(fmt.Sprintf("[%v]", tt.delay), `delays`)
		p.is("0", `s.readyState`)
	}
}

// answers returns a function that answers the handshake and the probe with status.
func answers(status int, retryAfter string) func(w http.ResponseWriter, r *http.Request) (done bool) {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		http.Error(w, "refused", status)
		return true
	}
}

// TestRefusedHandshake: a status that will not change ends the socket, and Retry-After is added to the wait.
func TestRefusedHandshake(t *testing.T) {
	s := newSite(t)
	p := open(t, s)
	const second, hour = 1000.0, 3600 * 1000.0
	soon := time.Now().Add(30 * time.Minute).UTC().Format(http.TimeFormat)
	for _, tt := range []struct {
		status     int
		retryAfter string
		min, max   float64 // of the delay; 0: the socket ends
	}{
		{400, "", 0, 0},
		{401, "", 0, 0},
		{403, "1", 0, 0},
		{404, "", 0, 0},
		{410, "", 0, 0},
		{499, "", 0, 0},
		{408, "", 0, second},
		{425, "", 0, second},
		{426, "", 0, second},
		{429, "7", 7 * second, 8 * second},
		{500, "", 0, second},
		{503, "", 0, second},
		{503, "120", 120 * second, 121 * second},
		{503, soon, 1000 * second, 1801 * second},
		{503, "1000000", hour, hour + second},
		{503, "Mon, 01 Jan 2024 00:00:00 GMT", 0, second},
		{503, "soon", 0, second},
		{200, "", 0, second},
	} {
		t.Run(fmt.Sprint(tt.status, " ", tt.retryAfter), func(t *testing.T) {
			p.T = t
			s.refusing(answers(tt.status, tt.retryAfter))
			p.does(`begin()`)
			if tt.max == 0 {
				p.logs(fmt.Sprintf("end 1006 HTTP %d", tt.status))
				p.is("3", `s.readyState`)
				return
			}
			p.begins(fmt.Sprintf("wait 1006 HTTP %d", tt.status))
			if d := p.delays()[0]; d < tt.min || d > tt.max {
				t.Errorf("it waits %v ms, not %v to %v", d, tt.min, tt.max)
			}
		})
	}
}

// TestRefusedByEdgews: a namespace that has shut down asks to be left alone for a second.
func TestRefusedByEdgews(t *testing.T) {
	s := newSite(t)
	rooms := edgews.NewNamespace("rooms", newRoom, nil)
	if err := rooms.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.refusing(func(w http.ResponseWriter, r *http.Request) bool {
		rooms.Get(rooms.IDFromName("one")).ServeHTTP(w, r)
		return true
	})
	p := open(t, s)
	p.does(`begin()`)
	p.begins("wait 1006 HTTP 503")
	p.is("true", `delays[0] >= 1000 && delays[0] <= 2000`)
}

// TestOtherOrigin: a page may see why another origin refuses only if that permits it with CORS.
func TestOtherOrigin(t *testing.T) {
	s := newSite(t)
	p := open(t, s)
	_, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		t.Fatal(err)
	}
	p.does(`begin({}, "ws://localhost:` + port + `/ws")`) // Upgrade refuses it, and answers the probe with 426
	p.begins("wait 1006")
	s.refusing(answers(404, ""))
	p.does(`begin({}, "ws://localhost:` + port + `/ws")`)
	p.begins("wait 1006")
	s.refusing(func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Access-Control-Allow-Origin", "http://"+s.addr)
		w.Header().Set("Access-Control-Allow-Credentials", "true")
		return answers(404, "")(w, r)
	})
	p.does(`begin({}, "ws://localhost:` + port + `/ws")`)
	p.logs("end 1006 HTTP 404")
}

// TestProbeHasCookies: the GET has the cookies of the handshake, also when the server has another origin.
func TestProbeHasCookies(t *testing.T) {
	s := newSite(t)
	p := tab{t, browser.Start(t, chromedp.Flag("host-resolver-rules", "MAP *.edgews.test 127.0.0.1"))}
	_, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		t.Fatal(err)
	}
	s.refusing(func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Access-Control-Allow-Origin", "http://page.edgews.test:"+port)
		w.Header().Set("Access-Control-Allow-Credentials", "true")
		if cookie, err := r.Cookie("token"); err != nil || cookie.Value != "right" {
			return answers(403, "")(w, r)
		}
		return answers(503, "")(w, r)
	})
	p.visit("http://page.edgews.test:" + port)
	p.does(`begin({}, "ws://server.edgews.test:` + port + `/ws")`)
	p.logs("end 1006 HTTP 403")
	p.does(`document.cookie = "token=right; domain=edgews.test"; begin({}, "ws://server.edgews.test:` + port + `/ws")`)
	p.begins("wait 1006 HTTP 503")
}

// TestLateProbe: what a probe finds out is of no interest when there is another attempt or the page has closed the socket.
func TestLateProbe(t *testing.T) {
	s := newSite(t)
	p := open(t, s)
	p.does(`const real = fetch;
		window.fetch = async (...args) => { const answer = await real(...args); await new Promise(f => { window.answer = f; }); return answer; }`)
	s.refusing(answers(404, ""))
	p.does(`begin()`)
	p.until(`window.answer`)
	s.refusing(nil)
	p.does(`dispatchEvent(new Event("online"))`)
	socket := s.next()
	p.logs("open")
	p.does(`answer(); answer = null`)
	s.sends(socket, "still open")
	p.logs("open", "message still open")

	s.refusing(answers(404, ""))
	p.does(`begin()`)
	p.until(`window.answer`)
	p.does(`s.close(4000, "enough")`)
	p.logs("end 4000 enough")
	p.does(`answer()`)
	s.refusing(nil)
	p.does(`window.earlier = log; begin()`)
	s.next()
	p.logs("open")
	p.is(`["end 4000 enough"]`, `earlier`)
}

// TestWorker: the module also runs in a worker, which has no document.
func TestWorker(t *testing.T) {
	s := newSite(t)
	p := open(t, s)
	p.does(`window.log = [];
		new Worker("/worker.js", {type: "module"}).onmessage = e => log.push(e.data)`)
	socket := s.next()
	s.receives(socket, "from a worker")
	s.sends(socket, "to a worker")
	p.logs("open", "message to a worker")
	s.closes(socket, 1001, "")
	p.begins("open", "message to a worker", "close 1001", "open")
}

// TestRetryAfter: a server that is busy is asked again when it has said, by itself.
func TestRetryAfter(t *testing.T) {
	s := newSite(t)
	p := open(t, s)
	s.refusing(answers(503, "1"))
	p.does(`begin({minDelay: 1, maxDelay: 10}); window.began = performance.now()`)
	p.begins("wait 1006 HTTP 503")
	s.refusing(nil)
	s.next()
	p.until(`log.at(-1) === "open"`)
	p.is("true", `performance.now() - began >= 990`)
}

// TestBackOff: the bound doubles with each attempt, and begins again after a minute with a connection.
func TestBackOff(t *testing.T) {
	s := newSite(t)
	p := open(t, s)
	s.refusing(answers(500, ""))
	p.does(`Math.random = () => 1; begin({minDelay: 10, maxDelay: 50})`)
	p.until(`delays.length >= 5`)
	p.is("[10,20,40,50,50]", `delays.slice(0, 5)`)
	s.refusing(nil)
	socket := s.next()
	p.until(`s.readyState === 1`)
	p.does(`window.before = delays.length`)
	s.closes(socket, 1001, "")
	p.until(`delays.length > before`)
	p.is("50", `delays[before]`)
	socket = s.next()
	p.until(`s.readyState === 1`)
	p.does(`before = delays.length; const now = Date.now; Date.now = () => now() + 60000`)
	s.closes(socket, 1001, "")
	p.until(`delays.length > before`)
	p.is("10", `delays[before]`)
}

// TestJitter: pages do not come back at the same moment.
func TestJitter(t *testing.T) {
	s := newSite(t)
	p := open(t, s)
	s.refusing(answers(500, ""))
	p.does(`begin({minDelay: 100, maxDelay: 100})`)
	p.until(`delays.length >= 10`)
	p.is("true", `new Set(delays).size > 5 && Math.min(...delays) >= 0 && Math.max(...delays) <= 100`)
}

// TestHangingHandshake: an attempt takes 30 s at most.
func TestHangingHandshake(t *testing.T) {
	s := newSite(t)
	p := open(t, s)
	release := make(chan struct{})
	defer close(release)
	s.refusing(func(w http.ResponseWriter, r *http.Request) bool {
		if edgews.IsUpgrade(r) {
			<-release
		}
		return edgews.IsUpgrade(r)
	})
	p.does(`const real = setTimeout; window.setTimeout = (f, d) => { if (d === 30000) window.due = f; return real(f, d); }; begin()`)
	p.until(`window.due`)
	p.does(`due()`)
	p.begins("wait 1006 no answer")
}

func TestQueueBound(t *testing.T) {
	s := newSite(t)
	p := open(t, s)
	s.refusing(answers(500, ""))
	p.does(`begin({minDelay: 1, maxDelay: 10, maxQueue: 10})`)
	p.is("[true,false,true,false,true]", `["12345", "äöü", new Uint8Array(5), "x", ""].map(data => s.send(data))`) // ä has two bytes
	p.is("10", `s.bufferedAmount`)
	s.refusing(nil)
	socket := s.next()
	for _, want := range []string{"12345", "\x00\x00\x00\x00\x00", ""} {
		s.receives(socket, want)
	}
	p.until(`s.bufferedAmount === 0`)
	p.is("true", `s.send("more than ten bytes")`) // nothing waits in the queue of a connection that is there
	s.receives(socket, "more than ten bytes")
}

// TestSendWhileTheServerCloses: a browser drops what it is given when the server's Close has arrived.
func TestSendWhileTheServerCloses(t *testing.T) {
	s := newSite(t)
	p := open(t, s)
	p.does(`window.closing = false;
		const Native = WebSocket;
		window.WebSocket = class extends Native { get readyState() { return window.closing ? 2 : super.readyState; } };
		begin({minDelay: 1, maxDelay: 10})`)
	socket := s.next()
	p.logs("open")
	p.does(`closing = true`)
	p.is("true", `s.send("not lost")`)
	p.is("8", `s.bufferedAmount`)
	p.does(`closing = false`)
	s.closes(socket, 1001, "")
	s.receives(s.next(), "not lost")
}

// TestClose: close ends the socket in each of its states, and tells how much was not sent.
func TestClose(t *testing.T) {
	s := newSite(t)
	p := open(t, s)
	s.refusing(answers(500, ""))
	p.does(`begin({minDelay: 60000, maxDelay: 60000}); s.send("lost")`)
	p.until(`log.length === 1`)
	p.does(`s.close(4000, "enough")`)
	p.logs("wait 1006 HTTP 500", "end 4000 enough")
	p.is("4", `s.bufferedAmount`)
	p.is("3", `s.readyState`)

	p.does(`begin(); s.close()`) // while it connects
	p.logs("end 1005")

	s.refusing(nil)
	p.does(`begin(); s.addEventListener("close", () => s.close(1000, "from a listener"))`)
	s.closes(s.next(), 1001, "")
	p.logs("open", "close 1001  true", "end 1000 from a listener")

	p.does(`begin(); s.addEventListener("wait", () => s.close())`)
	s.closes(s.next(), 1001, "")
	p.until(`s.readyState === 3`)
	p.logs("open", "close 1001  true", "wait 1001", "end 1005")
}

// TestThrowingCursor: an error of cursor ends the socket.
func TestThrowingCursor(t *testing.T) {
	s := newSite(t)
	p := open(t, s)
	p.does(`window.broken = false; begin({minDelay: 1, cursor() { if (broken) throw new Error("no cursor"); }})`)
	socket := s.next()
	p.logs("open")
	p.does(`broken = true`)
	s.closes(socket, 1001, "")
	p.logs("open", "close 1001  true", "wait 1001", "end 1006 Error: no cursor")
}
