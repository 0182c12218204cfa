package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/edgews/edgews"
	"github.com/edgews/edgews/examples/internal/browser"
	"github.com/edgews/edgews/examples/internal/memnet"
)

const exchangeAddr = "exchange:80"

// market is an exchange in a network in memory, which counts its connections.
type market struct {
	t    *testing.T
	net  memnet.Network
	stop func()

	mu             sync.Mutex // guards the rest
	accepted, open int
}

func newMarket(t *testing.T) *market {
	m := &market{t: t}
	m.start()
	t.Cleanup(func() { m.stop() })
	return m
}

func (m *market) start() {
	m.t.Helper()
	l, err := m.net.Listen(exchangeAddr)
	if err != nil {
		m.t.Fatal(err)
	}
	m.stop = startExchange(countingListener{l, m})
}

// connections returns how many were accepted since the start, and how many are open.
func (m *market) connections() [2]int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return [2]int{m.accepted, m.open}
}

// countingListener counts the connections of a market.
type countingListener struct {
	net.Listener
	m *market
}

func (l countingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	l.m.accepted++
	l.m.open++
	return &countedConn{Conn: c, m: l.m}, nil
}

type countedConn struct {
	net.Conn
	m    *market
	once sync.Once // for Close
}

func (c *countedConn) Close() error {
	c.once.Do(func() {
		c.m.mu.Lock()
		defer c.m.mu.Unlock()
		c.m.open--
	})
	return c.Conn.Close()
}

// site is a board in a synctest bubble, which waits until all its goroutines have ended.
type site struct {
	*market
	boards *edgews.Namespace
	board  *board
	ends   chan *edgews.Socket // of the pages that come
}

// onPair is a board whose pages are ends of pairs.
type onPair struct {
	*board
	ends chan *edgews.Socket
}

func (o onPair) ServeHTTP(http.ResponseWriter, *http.Request) { o.join(<-o.ends) }

func inBubble(t *testing.T, f func(t *testing.T, s *site)) {
	synctest.Test(t, func(t *testing.T) {
		s := &site{market: newMarket(t), ends: make(chan *edgews.Socket, 1)}
		s.boards = edgews.NewNamespace("boards on pairs", func(_ context.Context, st *edgews.State) (edgews.Object, error) {
			var err error
			s.board, err = newBoard(st, "ws://"+exchangeAddr, s.net.Client())
			return onPair{s.board, s.ends}, err
		}, nil)
		t.Cleanup(func() {
			if err := s.boards.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
		})
		f(t, s)
	})
}

// viewer is the page's end of a socket.
type viewer struct {
	t *testing.T
	s *edgews.Socket
}

// visit returns a page that has subscribed to symbols, and the board's end of its socket.
func (s *site) visit(t *testing.T, symbols ...string) (p viewer, end *edgews.Socket) {
	t.Helper()
	client, end := edgews.NewPair()
	client.Accept()
	s.ends <- end
	s.boards.Get(s.boards.IDFromName("all")).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	p = viewer{t, client}
	t.Cleanup(p.leaves)
	welcome := receive[struct{ Symbols []string }](p)
	if !slices.Equal(welcome.Symbols, listed) {
		t.Errorf("%+v", welcome)
	}
	if len(symbols) > 0 {
		p.writes(`{"type":"subscribe","symbols":["` + strings.Join(symbols, `","`) + `"]}`)
	}
	return p, end
}

func (v viewer) writes(message string) {
	v.t.Helper()
	if err := v.s.Write(v.t.Context(), edgews.Text, []byte(message)); err != nil {
		v.t.Fatal(err)
	}
}

func (v viewer) leaves() {
	v.s.Close(edgews.StatusNormalClosure, "")
	<-v.s.Done()
}

// receive returns the next message.
func receive[T any](v viewer) T {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.t.Context(), time.Minute)
	defer cancel()
	got, err := edgews.ReceiveJSON[T](ctx, v.s)
	if err != nil {
		v.t.Fatal(err)
	}
	return got
}

// sees receives updates until one has that state of the feed and quotes of all these symbols.
func (v viewer) sees(feed string, symbols ...string) {
	v.t.Helper()
	missing := make(map[string]bool)
	for _, name := range symbols {
		missing[name] = true
	}
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		u := receive[update](v)
		for _, q := range u.Quotes {
			delete(missing, q.Symbol)
		}
		if strings.HasPrefix(u.Feed, feed) && len(missing) == 0 {
			return
		}
	}
	v.t.Fatalf("the page does not see %q and %v", feed, symbols)
}

// ends receives until the board closes the socket, and returns how.
func (v viewer) ends() *edgews.CloseError {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.t.Context(), time.Minute)
	defer cancel()
	for {
		_, err := v.s.Receive(ctx)
		if end := new(edgews.CloseError); errors.As(err, &end) {
			return end
		}
		if err != nil {
			v.t.Fatal(err)
		}
	}
}

// TestOneConnection: the board has one connection to the exchange for all pages, and none without pages.
func TestOneConnection(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		for round := range 2 {
			var all []viewer
			for range 20 {
				v, _ := s.visit(t, listed...)
				all = append(all, v)
			}
			for _, v := range all {
				v.sees("live", listed...)
			}
			synctest.Wait()
			for o := range s.boards.Objects() {
				if o.Sockets != 20 || !slices.Equal(o.Pins, []string{"WaitUntil", "outbound socket"}) {
					t.Errorf("%+v", o)
				}
			}
			if n := s.connections(); n != [2]int{round + 1, 1} {
				t.Errorf("connections: %v", n)
			}
			for _, v := range all {
				v.leaves()
			}
			time.Sleep(time.Minute) // of the bubble
			for o := range s.boards.Objects() {
				if o.State != edgews.ObjectHibernated {
					t.Errorf("%+v", o)
				}
			}
			if n := s.connections(); n != [2]int{round + 1, 0} {
				t.Errorf("connections: %v", n)
			}
		}
	})
}

// replace puts a server with another handler in the place of the exchange.
func (m *market) replace(h http.HandlerFunc) {
	m.t.Helper()
	m.stop()
	l, err := m.net.Listen(exchangeAddr)
	if err != nil {
		m.t.Fatal(err)
	}
	server := &http.Server{Handler: h}
	go server.Serve(l)
	m.stop = func() { server.Close() }
}

// TestReload: a page that comes when the last one has left uses the connection that there is, or gets one after it.
func TestReload(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		var open, accepted atomic.Int64
		s.replace(func(w http.ResponseWriter, r *http.Request) {
			feed, err := edgews.Upgrade(w, r, nil)
			if err != nil {
				t.Error(err)
				return
			}
			accepted.Add(1)
			if n := open.Add(1); n > 1 {
				t.Errorf("%d connections at a time", n)
			}
			feed.OnClose(func(e edgews.CloseEvent) {
				if e.Code != edgews.StatusGoingAway {
					t.Error(e)
				}
				open.Add(-1)
				feed.Close(e.Code, "")
			})
			feed.AcceptHalfOpen() // so the board waits for the listener
		})
		for n := range 30 {
			v, _ := s.visit(t, "ANT")
			v.sees("live")
			v.leaves()
			time.Sleep(time.Duration(n) * interval / 10) // of the bubble
		}
		if n := accepted.Load(); n < 2 || n > 25 {
			t.Errorf("%d connections", n)
		}
	})
}

func TestSubscriptions(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		v, _ := s.visit(t, "ANT", "BEE")
		v.sees("live", "ANT", "BEE")
		v.writes(`{"type":"unsubscribe","symbols":["ANT","CAT"]}`)
		v.writes("ping")
		for { // updates of before
			msg, err := v.s.Receive(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if msg.Text() == "pong" {
				break
			}
		}
		v.sees("live", "BEE")
		for range 50 {
			for _, q := range receive[update](v).Quotes {
				if q.Symbol != "BEE" || q.Low > q.Last || q.Last > q.High || q.PerSecond <= 0 || q.High >= 1e6 {
					t.Errorf("%+v", q)
				}
			}
		}
		v.writes(`{"type":"subscribe","symbols":["ANT"]}`)
		v.sees("live", "ANT", "BEE")
	})
}

func TestRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		for _, message := range []string{
			"", "{}", `{"type":"buy"}`, `{"type":"subscribe","symbols":"ANT"}`, `{"type":"subscribe","symbols":["ANT","UNICORN"]}`,
		} {
			v, _ := s.visit(t)
			v.writes(message)
			if end := v.ends(); end.Code != edgews.StatusPolicyViolation {
				t.Errorf("%s: %v", message, end)
			}
		}
	})
}

// TestSlowPage: a page that does not take its updates has one that waits. When it takes that, the next one has the newest prices, and
// everything that the chart needs.
func TestSlowPage(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		slow, end := s.visit(t, listed...)
		slow.sees("live", listed...)

		fast, _ := s.visit(t, listed...)
		last := make(map[string]float64) // what the fast page shows
		updates := 0
		go func() {
			for msg, err := range fast.s.Messages(t.Context()) {
				var u update
				if err != nil || json.Unmarshal(msg.Data, &u) != nil {
					return
				}
				updates++
				for _, q := range u.Quotes {
					last[q.Symbol] = q.Last
				}
			}
		}()

		time.Sleep(2 * interval) // of the bubble
		waiting := end.BufferedAmount()
		if waiting == 0 {
			t.Fatal("no update waits")
		}
		time.Sleep(30 * time.Second)
		if n := end.BufferedAmount(); n != waiting {
			t.Errorf("%d bytes wait, and then %d", waiting, n)
		}
		old := receive[update](slow)
		newest := receive[update](slow)
		synctest.Wait()
		if updates < 290 {
			t.Errorf("the fast page has got %d updates", updates)
		}
		if len(newest.Quotes) != len(listed) {
			t.Errorf("%d quotes", len(newest.Quotes))
		}
		for _, q := range newest.Quotes {
			if q.Last != last[q.Symbol] {
				t.Errorf("%s: %v, and the fast page shows %v", q.Symbol, q.Last, last[q.Symbol])
			}
			if n := len(q.Seconds); n < 25 || n > 32 {
				t.Errorf("%s: %d seconds", q.Symbol, n)
			}
		}
		for _, q := range old.Quotes {
			if age := time.Now().Unix() - q.Seconds[len(q.Seconds)-1].At; age < 29 {
				t.Errorf("the update that has waited is of %d s ago", age)
			}
		}
	})
}

// TestExchangeIsAway: pages see that the exchange is away, and get prices again when it is back.
func TestExchangeIsAway(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		ann, _ := s.visit(t, listed...)
		bob, _ := s.visit(t, "ANT")
		for _, end := range []func(){
			func() { s.stop() },
			func() { s.net.Cut(exchangeAddr); s.stop() },
		} {
			ann.sees("live", listed...)
			bob.sees("live", "ANT")
			end()
			ann.sees("The exchange is away (edgews: ")
			bob.sees("The exchange is away (edgews: ")
			time.Sleep(time.Minute) // of the bubble
			s.start()
		}
		ann.sees("live", listed...)
		bob.sees("live", "ANT")
		if n := s.connections(); n != [2]int{3, 1} {
			t.Errorf("connections: %v", n)
		}
	})
}

// TestExchangeRefuses: pages have to come again later. Then the board tries again.
func TestExchangeRefuses(t *testing.T) {
	log.SetOutput(io.Discard)
	defer log.SetOutput(os.Stderr)
	inBubble(t, func(t *testing.T, s *site) {
		s.replace(http.NotFound)
		for range 3 {
			v, _ := s.visit(t)
			if end := v.ends(); end.Code != edgews.StatusTryAgainLater {
				t.Error(end)
			}
		}
		s.stop()
		s.start()
		time.Sleep(time.Second) // of the bubble
		v, _ := s.visit(t, "ANT")
		v.sees("live", "ANT")
	})
}

// TestSymbol adds up trades.
func TestSymbol(t *testing.T) {
	start := time.Unix(1_000_000, 0)
	at := func(seconds int) int64 { return start.Unix() + int64(seconds) }
	type fact struct {
		after  int // seconds since start
		price  float64
		volume int
	}
	for _, tt := range []struct {
		name   string
		facts  []fact
		trades int // that the page knows
		want   quote
	}{
		{"one trade", []fact{{0, 10, 7}}, 0, quote{
			Last: 10, Low: 10, High: 10, PerSecond: 7, Seconds: []second{{at(0), 10, 10, 10, 7, 1}},
		}},
		{"one second", []fact{{0, 10, 7}, {0, 8, 1}, {0, 9, 2}}, 0, quote{
			Last: 9, Low: 8, High: 10, PerSecond: 10, Seconds: []second{{at(0), 8, 10, 9, 10, 3}},
		}},
		{"what the page knows is left out", []fact{{0, 10, 7}, {1, 12, 1}, {3, 11, 4}}, 1, quote{
			Last: 11, Low: 10, High: 12, PerSecond: 3, Seconds: []second{{at(1), 12, 12, 12, 1, 2}, {at(3), 11, 11, 11, 4, 3}},
		}},
		{"a second goes on", []fact{{0, 10, 7}, {0, 12, 1}}, 1, quote{
			Last: 12, Low: 10, High: 12, PerSecond: 8, Seconds: []second{{at(0), 10, 12, 12, 8, 2}},
		}},
		{"old trades do not count", []fact{{0, 1, 1000}, {1, 10, 59}, {60, 11, 1}}, 0, quote{
			Last: 11, Low: 10, High: 11, PerSecond: 1, Seconds: []second{{at(1), 10, 10, 10, 59, 2}, {at(60), 11, 11, 11, 1, 3}},
		}},
		{"the clock is set back", []fact{{5, 10, 1}, {3, 12, 1}}, 0, quote{
			Last: 12, Low: 10, High: 12, PerSecond: 2, Seconds: []second{{at(5), 10, 12, 12, 2, 2}},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var s symbol
			for _, f := range tt.facts {
				s.add(f.price, f.volume, start.Add(time.Duration(f.after)*time.Second))
			}
			if got := s.quote("", tt.trades); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

func TestSymbolIsBounded(t *testing.T) {
	var s symbol
	for n := range 10_000 {
		s.add(1, 1, time.Unix(int64(n), 0))
	}
	if len(s.seconds) != window || cap(s.seconds) > 4*window {
		t.Errorf("%d seconds in the memory of %d", len(s.seconds), cap(s.seconds))
	}
}

// TestFilter: trades that did not happen, and those that the board does not know, have no effect.
func TestFilter(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		s.visit(t)
		synctest.Wait()
		b := s.board
		before := func() (n int) {
			if err := b.st.Do(t.Context(), func() error { n = b.symbols["ANT"].trades; return nil }); err != nil {
				t.Fatal(err)
			}
			return n
		}
		n := before()
		for _, message := range []string{
			"", "{", "[]", `{"symbol":"ANT","price":1,"volume":1,"test":true}`, `{"symbol":"ANT","price":0,"volume":1}`,
			`{"symbol":"ANT","price":1}`, `{"symbol":"ANT","price":-1,"volume":1}`, `{"symbol":"UNICORN","price":1,"volume":1}`,
		} {
			if err := b.handle(t.Context(), []byte(message)); err != nil {
				t.Error(err)
			}
		}
		if got := before(); got != n {
			t.Errorf("%d trades, and then %d", n, got)
		}
		if err := b.handle(t.Context(), []byte(`{"symbol":"ANT","price":1,"volume":1}`)); err != nil || before() != n+1 {
			t.Errorf("a trade does not count: %v", err)
		}
	})
}

// TestBrowser chooses symbols with the keyboard, stops the exchange, and then the board.
func TestBrowser(t *testing.T) {
	tab := browser.Start(t)
	m := newMarket(t)
	newSite := func() (h http.Handler, stop func()) {
		boards := newBoards("ws://"+exchangeAddr, m.net.Client())
		return handler(boards), func() { boards.Shutdown(context.Background()) }
	}
	var current atomic.Pointer[http.Handler]
	site, stop := newSite()
	current.Store(&site)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*current.Load()).ServeHTTP(w, r) }))
	t.Cleanup(func() { server.Close(); stop() })

	browser.Act(t, tab, chromedp.EmulateViewport(360, 640), chromedp.Navigate(server.URL))
	// UNICORN was chosen when it was still listed.
	browser.Evaluate(t, tab, `localStorage.setItem("symbols", '["UNICORN","DOE","ANT","CAT","BEE"]')`)
	browser.Act(t, tab, chromedp.Reload())
	browser.Holds(t, tab, "live", `document.getElementById("state").textContent === "live"`)
	browser.Holds(t, tab, "showing four symbols", `document.querySelectorAll("article").length === 4`)
	browser.Holds(t, tab, "drawing", `document.querySelector("#ANT .line").getAttribute("d")?.split("L").length > 3`)
	browser.Holds(t, tab, "of the width of the screen", `document.documentElement.scrollWidth <= 360`)
	browser.Screenshot(t, tab, "dashboard-360.png")

	// With the keyboard: the tab key goes to the first symbol, space takes it away and brings it back.
	browser.Act(t, tab, chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(" "))
	browser.Holds(t, tab, "without ANT", `!document.getElementById("ANT") && document.querySelectorAll("article").length === 3`)
	browser.Act(t, tab, chromedp.KeyEvent(" "))
	browser.Holds(t, tab, "drawing ANT again", `document.querySelector("#ANT .line")?.getAttribute("d")?.split("L").length > 3`)
	browser.Holds(t, tab, "in order", `document.querySelector("article").id === "ANT"`)

	m.stop()
	browser.Holds(t, tab, "told that the exchange is away", `document.getElementById("state").textContent.startsWith("The exchange is away")`)
	m.start()
	browser.Holds(t, tab, "live again", `document.getElementById("state").textContent === "live"`)

	away := http.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "away", http.StatusServiceUnavailable)
	}))
	current.Store(&away)
	stop()
	browser.Holds(t, tab, "waiting", `document.getElementById("state").textContent.includes("next attempt")`)
	site, stop = newSite()
	current.Store(&site)
	browser.Holds(t, tab, "live after a restart", `document.getElementById("state").textContent === "live"`)
	browser.Evaluate(t, tab, `window.before = document.querySelector("#BEE .last").textContent`)
	browser.Holds(t, tab, "showing new prices", `document.querySelector("#BEE .last").textContent !== window.before`)

	browser.Holds(t, tab, "drawing within the charts", `[...document.querySelectorAll("svg")].every(svg => {
		const box = svg.getBoundingClientRect(), drawn = svg.querySelector(".range").getBoundingClientRect();
		return drawn.height > 0 && drawn.top >= box.top && drawn.bottom <= box.bottom && drawn.left >= box.left && drawn.right <= box.right;
	})`)

	browser.Act(t, tab, chromedp.EmulateViewport(1200, 800))
	browser.Screenshot(t, tab, "dashboard.png")
}

func TestRun(t *testing.T) {
	taken, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	if err := run(t.Context(), taken.Addr().String()); err == nil || !strings.Contains(err.Error(), "-addr") {
		t.Errorf("a port that is taken: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := run(ctx, "localhost:0"); err != nil {
		t.Errorf("an interrupt: %v", err)
	}
}
