// Package clientjs_test tests client/js in Chromium.
package clientjs_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/client/js"
	"github.com/edgews/edgews/examples/internal/browser"
)

// limit is how long a test waits for what must happen.
const limit = time.Minute

// page has functions for the tests. begin makes a socket, s, and notes its events in log.
const page = `<!doctype html>
<link rel="icon" href="data:,">
<script type="module">
import {ReconnectingWebSocket} from "/edgews.js";
import {calls} from "/calls.js";
window.calls = calls;
const describe = {
	open: () => "",
	message: e => e.data instanceof ArrayBuffer ? "binary " + new Uint8Array(e.data) : e.data,
	close: e => [e.code, e.reason, e.wasClean].join(" "),
	wait: e => { delays.push(e.detail.delay); return [e.detail.code, e.detail.reason].join(" "); },
	end: e => [e.detail.code, e.detail.reason].join(" "),
};
window.begin = (options, url = "/ws") => {
	globalThis.s?.close();
	const events = window.log = [];
	window.delays = [];
	const socket = window.s = new ReconnectingWebSocket(url, options);
	for (const [type, text] of Object.entries(describe)) socket.addEventListener(type, e => events.push((type + " " + text(e)).trim()));
};
window.ready = true;
</script>`

// worker is the script of a worker with a socket.
const worker = `import {ReconnectingWebSocket} from "/edgews.js";
const s = new ReconnectingWebSocket("/ws", {minDelay: 1});
s.onopen = () => postMessage("open");
s.onmessage = e => postMessage("message " + e.data);
s.onclose = e => postMessage("close " + e.code);
s.send("from a worker");
`

// site is a server with the page, whose connections can be cut.
type site struct {
	t        *testing.T
	addr     string
	accepted chan *edgews.Socket // of the path /ws

	mu       sync.Mutex
	server   *http.Server
	conns    []net.Conn
	requests []*http.Request                                          // for the path /ws
	refuse   func(w http.ResponseWriter, r *http.Request) (done bool) // answers instead of Upgrade
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, accepted: make(chan *edgews.Socket, 100)}
	s.listen("")
	t.Cleanup(s.kill)
	return s
}

// listen starts the server. Its port is below those that a system gives to connections, so that it can be used again after a kill.
func (s *site) listen(addr string) {
	s.t.Helper()
	for range 1000 {
		try := addr
		if try == "" {
			try = fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(10_000))
		}
		l, err := net.Listen("tcp", try)
		if err != nil {
			continue
		}
		mux := http.NewServeMux()
		mux.Handle("/edgews.js", js.Handler())
		mux.Handle("/calls.js", js.CallsHandler())
		mux.HandleFunc("/ws", s.serve)
		mux.HandleFunc("/{$}", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, page) })
		mux.HandleFunc("/worker.js", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/javascript")
			fmt.Fprint(w, worker)
		})
		mux.HandleFunc("/other", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "<!doctype html><p>another page") })
		s.addr, s.server = l.Addr().String(), &http.Server{Handler: mux}
		go s.server.Serve(cuttable{l, s})
		return
	}
	s.t.Fatal("no port to listen on")
}

// cuttable is a listener whose connections kill can cut at any moment.
type cuttable struct {
	net.Listener
	site *site
}

func (l cuttable) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.site.mu.Lock()
	defer l.site.mu.Unlock()
	l.site.conns = append(l.site.conns, c)
	return struct{ net.Conn }{c}, nil
}

// kill ends the server and cuts its connections, as the end of the process does.
func (s *site) kill() {
	s.server.Close()
	s.cut()
}

// cut cuts all connections.
func (s *site) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		c.Close()
	}
	s.conns = nil
}

// restart listens at the address of a server that was killed.
func (s *site) restart() { s.listen(s.addr) }

func (s *site) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests = append(s.requests, r)
	refuse := s.refuse
	s.mu.Unlock()
	if refuse != nil && refuse(w, r) {
		return
	}
	socket, err := edgews.Upgrade(w, r, &edgews.UpgradeOptions{Protocols: []string{"tested"}})
	if err != nil {
		return // answered already
	}
	s.accepted <- socket
}

// refusing makes the server answer with f, until it is called with nil.
func (s *site) refusing(f func(w http.ResponseWriter, r *http.Request) (done bool)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = f
}

// handshakes returns the requests to upgrade so far.
func (s *site) handshakes() []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.requests), func(r *http.Request) bool { return !edgews.IsUpgrade(r) })
}

// next returns the next socket of the page.
func (s *site) next() *edgews.Socket {
	s.t.Helper()
	select {
	case socket := <-s.accepted:
		return socket
	case <-time.After(limit):
		s.t.Fatal("the page does not connect")
		return nil
	}
}

// receives checks that the next message of socket has such a text.
func (s *site) receives(socket *edgews.Socket, want string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), limit)
	defer cancel()
	m, err := socket.Receive(ctx)
	if err != nil || m.Text() != want {
		s.t.Fatalf("the server received %q and %v, not %q", m.Text(), err, want)
	}
}

// sends sends a text to the page.
func (s *site) sends(socket *edgews.Socket, text string) {
	s.t.Helper()
	if err := socket.Write(s.t.Context(), edgews.Text, []byte(text)); err != nil {
		s.t.Fatal(err)
	}
}

// closes closes socket and waits until it has ended.
func (s *site) closes(socket *edgews.Socket, code edgews.StatusCode, reason string) {
	s.t.Helper()
	socket.Accept()
	if err := socket.Close(code, reason); err != nil {
		s.t.Fatal(err)
	}
	select {
	case <-socket.Done():
	case <-time.After(limit):
		s.t.Fatal("the socket does not end")
	}
}

// ends receives until socket has ended, and returns how it did.
func (s *site) ends(socket *edgews.Socket) *edgews.CloseError {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), limit)
	defer cancel()
	for range socket.Messages(ctx) { // the answer to a Close is sent while the socket receives
	}
	select {
	case <-socket.Done():
		return socket.Err().(*edgews.CloseError)
	case <-ctx.Done():
		s.t.Fatal("the socket does not end")
		return nil
	}
}

// tab is the page in a browser.
type tab struct {
	*testing.T
	ctx context.Context
}

// open opens the page of a site in a new browser.
func open(t *testing.T, s *site, options ...chromedp.ExecAllocatorOption) tab {
	t.Helper()
	p := tab{t, browser.Start(t, options...)}
	p.visit("http://" + s.addr)
	return p
}

// visit loads a page with the functions of the tests.
func (p tab) visit(url string) {
	p.Helper()
	browser.Act(p.T, p.ctx, chromedp.Navigate(url))
	p.until(`window.ready`)
}

// until waits until a condition of the page is true. It asks the browser again and again, since a hidden page draws nothing on which a
// poll could wait, and since the page may be another one by then.
func (p tab) until(condition string) {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, limit)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for ; ; <-tick.C {
		holds, err := chromedp.Run(ctx, chromedp.Evaluate[bool](`Boolean(`+condition+`)`))
		if holds {
			return
		}
		if ctx.Err() != nil {
			p.Fatalf("%s is not true: %v; the events are\n%q", condition, err, p.log())
		}
	}
}

// does runs statements in the page.
func (p tab) does(script string) {
	p.Helper()
	p.value(`(() => { ` + script + `; return null; })()`)
}

// value returns what an expression of the page gives, as JSON.
func (p tab) value(expression string) string {
	p.Helper()
	value, err := chromedp.Run(p.ctx, chromedp.Evaluate[string](`JSON.stringify(`+expression+`) ?? "undefined"`))
	if err != nil {
		p.Fatalf("%s: %v", expression, err)
	}
	return value
}

// is checks the value of an expression.
func (p tab) is(want, expression string) {
	p.Helper()
	if got := p.value(expression); got != want {
		p.Errorf("%s is %s, want %s", expression, got, want)
	}
}

// log returns the events of the socket so far.
func (p tab) log() (events []string) {
	p.Helper()
	if err := json.Unmarshal([]byte(p.value(`window.log ?? []`)), &events); err != nil {
		p.Fatal(err)
	}
	return events
}

// logs waits until there are as many events as wanted, and compares them.
func (p tab) logs(want ...string) {
	p.Helper()
	p.begins(want...)
	if got := p.log(); len(got) > len(want) {
		p.Fatalf("the events are\n%q\nwant\n%q", got, want)
	}
}

// begins waits until there are as many events as wanted, and compares the first ones.
func (p tab) begins(want ...string) {
	p.Helper()
	p.until(fmt.Sprintf(`log.length >= %d`, len(want)))
	if got := p.log()[:len(want)]; !slices.Equal(got, want) {
		p.Fatalf("the events begin with\n%q\nwant\n%q", got, want)
	}
}

// delays returns the delays of the wait events so far, in milliseconds.
func (p tab) delays() (ms []float64) {
	p.Helper()
	if err := json.Unmarshal([]byte(p.value(`delays.map(d => d === Infinity ? -1 : d)`)), &ms); err != nil {
		p.Fatal(err)
	}
	return ms
}
