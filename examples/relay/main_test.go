package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/edgews/edgews"
	"github.com/edgews/edgews/examples/internal/browser"
	"github.com/edgews/edgews/examples/internal/memnet"
)

// site is the example in a network in memory.
type site struct {
	t      *testing.T
	net    memnet.Network
	chat   *chatServer
	relays *edgews.Namespace
	bots   *edgews.Namespace
}

// inBubble runs f in a synctest bubble, which waits until all goroutines of the example have ended.
func inBubble(t *testing.T, f func(t *testing.T, s *site)) {
	synctest.Test(t, func(t *testing.T) {
		s := &site{t: t}
		s.chat = &chatServer{addr: "chat:80", listen: s.net.Listen}
		s.start()
		s.relays, s.bots = newRelays(s.chat.url(), s.net.Client()), newBots(s.chat.url(), s.net.Client())
		l, err := s.net.Listen("relay:80")
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: handler(s.relays, s.bots, s.chat)}
		go server.Serve(l)
		t.Cleanup(func() {
			server.Close()
			s.chat.stop()
			if err := errors.Join(s.relays.Shutdown(context.Background()), s.bots.Shutdown(context.Background())); err != nil {
				t.Error(err)
			}
		})
		f(t, s)
	})
}

// start starts the chat server.
func (s *site) start() {
	s.t.Helper()
	if err := s.chat.start(); err != nil {
		s.t.Fatal(err)
	}
}

// onPair is a relay whose page is one end of a pair.
type onPair struct {
	*relay
	end  *edgews.Socket
	name string
}

func (o onPair) ServeHTTP(http.ResponseWriter, *http.Request) { o.join(o.end, o.name) }

// visit returns a page of the user with that name, whose relay is connected to the chat server.
func (s *site) visit(name string) visitor {
	s.t.Helper()
	client, end := edgews.NewPair()
	relays := edgews.NewNamespace("relays on pairs", func(_ context.Context, st *edgews.State) (edgews.Object, error) {
		r, err := newRelay(st, s.chat.url(), s.net.Client())
		return onPair{r, end, name}, err
	}, nil)
	client.Accept()
	relays.Get(relays.NewUniqueID()).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	v := visitor{s.t, client}
	s.t.Cleanup(func() {
		v.leaves()
		if err := relays.Shutdown(context.Background()); err != nil {
			s.t.Error(err)
		}
	})
	v.connected()
	return v
}

// connected waits until the relay and the chat server know of their connection. A message that the chat server gets before does not reach
// the page.
func (v visitor) connected() {
	v.t.Helper()
	v.hears(heard{Type: "system", Text: "Connected to the chat server.", Up: up})
	synctest.Wait()
}

// dial connects to the server of the example.
func (s *site) dial(path string) (visitor, *http.Response, error) {
	socket, resp, err := edgews.Dial(s.t.Context(), "ws://relay"+path, &edgews.DialOptions{HTTPClient: s.net.Client()})
	v := visitor{s.t, socket}
	if err == nil {
		s.t.Cleanup(v.leaves)
		synctest.Wait() // until the object of the bot, and the chat server, know the connection
	}
	return v, resp, err
}

// visitor is the page's end of a socket, or the bot's.
type visitor struct {
	t *testing.T
	s *edgews.Socket
}

// heard is any message of a relay.
type heard struct {
	Type, Name, Text, Why string
	Up                    *bool
}

var up, down = new(true), new(false)

func (h heard) String() string {
	data, _ := json.Marshal(h)
	return string(data)
}

// says sends a message of a page, which is JSON.
func (v visitor) says(text string) {
	v.t.Helper()
	data, _ := json.Marshal(map[string]string{"text": text})
	v.writes(string(data))
}

func (v visitor) writes(line string) {
	v.t.Helper()
	if err := v.s.Write(v.t.Context(), edgews.Text, []byte(line)); err != nil {
		v.t.Fatal(err)
	}
}

// hears checks the next messages. Of texts that are longer only the beginnings are compared.
func (v visitor) hears(all ...heard) {
	v.t.Helper()
	for _, want := range all {
		ctx, cancel := context.WithTimeout(v.t.Context(), time.Minute)
		got, err := edgews.ReceiveJSON[heard](ctx, v.s)
		cancel()
		if err != nil {
			v.t.Fatalf("%v, want %v", err, want)
		}
		got.Text, got.Why = got.Text[:min(len(got.Text), len(want.Text))], got.Why[:min(len(got.Why), len(want.Why))]
		if got.String() != want.String() {
			v.t.Fatalf("got %v, want %v", got, want)
		}
	}
}

func (v visitor) reads(want string) {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.t.Context(), time.Minute)
	defer cancel()
	if got, err := v.s.Receive(ctx); err != nil || got.Text() != want {
		v.t.Fatalf("got %q and %v, want %q", got.Data, err, want)
	}
}

// ends receives until the server closes the socket, and returns how.
func (v visitor) ends() *edgews.CloseError {
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

func (v visitor) leaves() {
	v.s.Close(edgews.StatusNormalClosure, "")
	<-v.s.Done()
}

func system(text string) heard { return heard{Type: "system", Text: text} }

func said(name, text string) heard { return heard{Type: "said", Name: name, Text: text} }

// TestFilters: what pages say gets a prefix on its way to the chat server, and the relay filters what comes back.
func TestFilters(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		ann, bob := s.visit("Ann"), s.visit("Bob")
		bot, _, err := s.dial("/raw")
		if err != nil {
			t.Fatal(err)
		}
		ann.says("hello: all")
		bot.reads("Ann: hello: all")
		ann.hears(said("Ann", "hello: all"))
		bob.hears(said("Ann", "hello: all"))
		bot.writes("beep")
		bot.reads("beep")
		ann.hears(said("", "beep"))
		bob.hears(said("", "beep"))

		bob.says("/mute Ann")
		bob.hears(system("You do not get messages of Ann."))
		ann.says("Bob?")
		bot.reads("Ann: Bob?")
		bot.writes("Bot: beep")
		bob.hears(said("Bot", "beep"))
		bob.says("/unmute Ann")
		bob.hears(system("You get messages of Ann."))
		ann.says("still there?")
		bob.hears(said("Ann", "still there?"))
		ann.hears(said("Ann", "Bob?"), said("Bot", "beep"), said("Ann", "still there?"))
	})
}

func TestNotSent(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		ann := s.visit("Ann")
		for text, want := range map[string]string{
			"":                                      "A message has 1 to 500 characters: this one has 0.",
			strings.Repeat("é", maxText+1):          "A message has 1 to 500 characters: this one has 501.",
			"/kick Bob":                             "/kick was not sent",
			"/mute":                                 "/mute was not sent",
			"/unmute ":                              "/unmute was not sent",
			"/mute " + strings.Repeat("é", maxText): "A message has 1 to 500 characters",
		} {
			ann.says(text)
			ann.hears(system(want))
		}
		ann.writes("hello")
		if end := ann.ends(); end.Code != edgews.StatusUnsupportedData {
			t.Error(end)
		}
	})
}

// TestUpstreamIsAway: the page gets a system message when the chat server stops, or crashes, and the relay connects again when it is back.
func TestUpstreamIsAway(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		ann, bob := s.visit("Ann"), s.visit("Bob")
		for _, way := range []struct {
			why  string
			goes func()
		}{
			{"edgews: connection closed: 1001", func() { s.chat.stop(); s.chat.stop() }},
			{"edgews: connection lost: 1006", func() { s.net.Cut("chat:80"); s.chat.stop() }},
		} {
			way.goes()
			for _, v := range []visitor{ann, bob} {
				v.hears(heard{Type: "system", Text: "The chat server has gone away.", Why: way.why, Up: down})
			}
			ann.says("hello?")
			ann.hears(system("Not sent, because the chat server is away: hello?"))
			if _, resp, err := s.dial("/raw"); err == nil || resp.StatusCode != http.StatusBadGateway {
				t.Errorf("a bot: %v", err)
			}
			s.start()
			s.start()
			for _, v := range []visitor{ann, bob} {
				v.connected()
			}
			bob.says("we are back")
			for _, v := range []visitor{ann, bob} {
				v.hears(said("Bob", "we are back"))
			}
		}
	})
}

// TestObject: the connection to the chat server keeps the object of a page awake, and ends with the page.
func TestObject(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		ann, _, err := s.dial("/socket?name=Ann")
		if err != nil {
			t.Fatal(err)
		}
		ann.connected()
		all := slices.Collect(s.relays.Objects())
		if len(all) != 1 || !slices.Equal(all[0].Pins, []string{"WaitUntil", "outbound socket"}) {
			t.Errorf("%+v", all)
		}
		ann.writes("ping")
		ann.reads("pong")
		ann.leaves()
		synctest.Wait()
		for o := range s.relays.Objects() {
			if len(o.Pins) > 0 {
				t.Errorf("%+v", o)
			}
		}
	})
}

// TestBotEnds: Relay forwards the end of the chat server to the bot.
func TestBotEnds(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		bot, _, err := s.dial("/raw")
		if err != nil {
			t.Fatal(err)
		}
		s.chat.stop()
		if end := bot.ends(); end.Code != edgews.StatusGoingAway {
			t.Error(end)
		}
	})
}

// TestSlowPage: a page that does not take its messages delays no other, and the memory of what waits for it is bounded.
func TestSlowPage(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		ann := s.visit("Ann")
		bot, _, err := s.dial("/raw")
		if err != nil {
			t.Fatal(err)
		}
		random := make([]byte, 48<<10)
		rand.Read(random) // it cannot be compressed
		line := base64.StdEncoding.EncodeToString(random)
		const lines = 64 // 4 MiB
		for range lines {
			bot.writes(line)
			bot.reads(line)
		}
		waiting := 0
		for {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, err := ann.s.Receive(ctx)
			cancel()
			if err != nil {
				break
			}
			waiting++
		}
		if waiting == 0 || waiting > 40 { // 1 MiB for the page, and 1 MiB, compressed to three quarters, for its relay
			t.Errorf("%d lines have waited", waiting)
		}
		bot.writes("still there?")
		ann.hears(said("", "still there?"))
	})
}

func TestRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		for _, name := range []string{"", "   ", strings.Repeat("é", maxName+1), "\xff", "Ann: hello", "/Ann"} {
			_, resp, err := s.dial("/socket?name=" + url.QueryEscape(name))
			if err == nil || resp.StatusCode != http.StatusBadRequest {
				t.Errorf("name %q: %v", name, err)
			}
		}
	})
}

// TestBrowser stops and starts the chat server with the button of the page.
func TestBrowser(t *testing.T) {
	tab := browser.Start(t)
	var network memnet.Network // of the chat server, whose port can then always be taken again
	chat := &chatServer{addr: "chat:80", listen: network.Listen}
	if err := chat.start(); err != nil {
		t.Fatal(err)
	}
	relays, bots := newRelays(chat.url(), network.Client()), newBots(chat.url(), network.Client())
	server := httptest.NewServer(handler(relays, bots, chat))
	t.Cleanup(func() {
		server.Close()
		chat.stop()
		relays.Shutdown(context.Background())
		bots.Shutdown(context.Background())
	})

	browser.Act(t, tab, chromedp.EmulateViewport(360, 640), chromedp.Navigate(server.URL), browser.SetValue("#name", "Ann"))
	browser.Evaluate(t, tab, `document.getElementById("name").onchange()`)
	shows(t, tab, "Connected to the chat server.")
	connected(t, tab, true)
	say(t, tab, "hello <b>")
	shows(t, tab, "Ann: hello <b>")
	browser.Screenshot(t, tab, "relay-360.png")

	browser.Act(t, tab, browser.Click("#switch"))
	shows(t, tab, "The chat server has gone away.")
	connected(t, tab, false)
	say(t, tab, "hello?")
	shows(t, tab, "Not sent, because the chat server is away: hello?")
	browser.Screenshot(t, tab, "relay-360-away.png")

	browser.Act(t, tab, browser.Click("#switch"))
	connected(t, tab, true)
	say(t, tab, "here again")
	shows(t, tab, "Ann: here again")
	if wide, err := chromedp.Run(tab, chromedp.Evaluate[int](`document.documentElement.scrollWidth`)); err != nil || wide > 360 {
		t.Errorf("the page is %d wide: %v", wide, err)
	}
	browser.Act(t, tab, chromedp.EmulateViewport(1000, 700))
	browser.Screenshot(t, tab, "relay.png")
}

func say(t *testing.T, tab context.Context, text string) {
	t.Helper()
	browser.Act(t, tab, browser.SetValue("#text", text), browser.Click("#send"))
}

// shows waits until the log has that text.
func shows(t *testing.T, tab context.Context, text string) {
	t.Helper()
	quoted, _ := json.Marshal(text)
	browser.Holds(t, tab, "showing "+text, fmt.Sprintf(`document.getElementById("log").textContent.includes(%s)`, quoted))
}

// connected waits until the page shows whether the relay is connected to the chat server.
func connected(t *testing.T, tab context.Context, up bool) {
	t.Helper()
	browser.Holds(t, tab, fmt.Sprint("showing ", up), fmt.Sprintf(`document.getElementById("toServer").classList.contains("up") === %v`, up))
}

func TestRun(t *testing.T) {
	taken, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	if err := run(t.Context(), taken.Addr().String(), "localhost:0"); err == nil || !strings.Contains(err.Error(), "-addr") {
		t.Errorf("a port that is taken: %v", err)
	}
	if err := run(t.Context(), "localhost:0", taken.Addr().String()); err == nil || !strings.Contains(err.Error(), "-upstream") {
		t.Errorf("a port that is taken: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := run(ctx, "localhost:0", "localhost:0"); err != nil {
		t.Errorf("an interrupt: %v", err)
	}
}
