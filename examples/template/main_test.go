package main

import (
	"context"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/edgews/edgews"
	"github.com/edgews/edgews/examples/internal/browser"
)

func serve(t *testing.T) (url string) {
	t.Helper()
	server := httptest.NewServer(new(counter).handler())
	t.Cleanup(server.Close)
	return server.URL
}

func TestAnswers(t *testing.T) {
	s, _, err := edgews.Dial(t.Context(), serve(t)+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		message string
		want    answer
	}{
		{"click", answer{Count: 1}},
		{"", answer{Error: "unknown message"}},
		{"Click", answer{Error: "unknown message"}},
		{"click", answer{Count: 2}},
	} {
		if err := s.Write(t.Context(), edgews.Text, []byte(tt.message)); err != nil {
			t.Fatal(err)
		}
		got, err := edgews.ReceiveJSON[answer](t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		if got.Time.IsZero() {
			t.Errorf("%q: the answer has no time", tt.message)
		}
		if got.Time = (time.Time{}); got != tt.want {
			t.Errorf("%q: got %+v, want %+v", tt.message, got, tt.want)
		}
	}
	if err := s.Write(t.Context(), edgews.Text, []byte("ping")); err != nil {
		t.Fatal(err)
	}
	if pong, err := s.Receive(t.Context()); err != nil || pong.Text() != "pong" {
		t.Errorf("ping: %q, %v", pong.Text(), err)
	}
	s.Close(edgews.StatusNormalClosure, "bye")
	<-s.Done()
	if end := s.Err().(*edgews.CloseError); end.Code != edgews.StatusNormalClosure || !end.WasClean {
		t.Error(end)
	}
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

// TestBrowser presses the buttons of two pages, which count together.
func TestBrowser(t *testing.T) {
	first, second := browser.Start(t), browser.Start(t)
	url := serve(t)
	for _, tab := range []context.Context{first, second} {
		browser.Act(t, tab, chromedp.Navigate(url))
		shows(t, tab, "#state", "connected")
	}
	browser.Act(t, first, browser.Click("#click"))
	shows(t, first, "#clicks", "1")
	browser.Act(t, second, browser.Click("#click"))
	shows(t, second, "#clicks", "2")

	browser.Act(t, first, browser.Click("#unknown"))
	shows(t, first, "#error", "unknown message")
	browser.Act(t, first, browser.Click("#click"))
	shows(t, first, "#clicks", "3")
	shows(t, first, "#error", "")
	said, err := chromedp.Run(first, chromedp.Evaluate[[]string](`[...document.querySelectorAll("#log li")].map(li => li.firstChild.data)`))
	if err != nil || strings.Join(said, ", ") != "click 3, unknown message, click 1" {
		t.Errorf("the page shows %q: %v", said, err)
	}
	times, err := chromedp.Run(first, chromedp.Evaluate[[]string](`[...document.querySelectorAll("#log time")].map(time => time.dateTime)`))
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range times {
		if _, err := time.Parse(time.RFC3339Nano, at); err != nil {
			t.Error(err)
		}
	}

	browser.Act(t, first, browser.Click("#close"))
	shows(t, first, "#state", "closed: 1000 done")
	browser.Act(t, first, browser.WaitVisible("#click:disabled"))
}

// shows waits until an element has that text.
func shows(t *testing.T, tab context.Context, selector, text string) {
	t.Helper()
	browser.Act(t, tab, chromedp.Poll[chromedp.Void](
		`document.querySelector("`+selector+`").textContent === "`+text+`"`, chromedp.WithPollingTimeout(time.Minute)))
}
