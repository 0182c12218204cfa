package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/edgews/edgews"
	"github.com/edgews/edgews/examples/internal/browser"
)

func serve(t *testing.T) string {
	t.Helper()
	srv := httptest.NewServer(new(echo).handler())
	t.Cleanup(srv.Close)
	return srv.URL
}

func dial(t *testing.T, url string) *edgews.Socket {
	t.Helper()
	s, _, err := edgews.Dial(t.Context(), url, &edgews.DialOptions{Protocols: []string{"echo"}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestEcho(t *testing.T) {
	ctx, s := t.Context(), dial(t, serve(t)+"/ws")
	if s.Protocol() != "echo" {
		t.Errorf("the subprotocol is %q", s.Protocol())
	}
	for _, sent := range []edgews.Message{
		{Kind: edgews.Text},
		{Kind: edgews.Text, Data: []byte("hello")},
		{Kind: edgews.Binary, Data: bytes.Repeat([]byte{0, 1, 2, 255}, 1<<18)},
	} {
		if err := s.Write(ctx, sent.Kind, sent.Data); err != nil {
			t.Fatal(err)
		}
		got, err := s.Receive(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if got.Kind != sent.Kind || !bytes.Equal(got.Data, sent.Data) {
			t.Errorf("sent %d bytes of %v, got %d bytes of %v", len(sent.Data), sent.Kind, len(got.Data), got.Kind)
		}
	}
	if err := s.Close(edgews.StatusNormalClosure, "bye"); err != nil {
		t.Fatal(err)
	}
	<-s.Done()
	if end := s.Err().(*edgews.CloseError); end.Code != edgews.StatusNormalClosure || !end.WasClean {
		t.Error(end)
	}
}

func TestPage(t *testing.T) {
	resp, err := http.Get(serve(t))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK || !bytes.Equal(body, page) {
		t.Error(resp.Status)
	}
	if bytes.Contains(body, []byte("http://")) || bytes.Contains(body, []byte("https://")) {
		t.Error("the page refers to other sites: it has to work offline")
	}
}

func TestShutdown(t *testing.T) {
	e := new(echo)
	srv := httptest.NewServer(e.handler())
	defer srv.Close()
	s := dial(t, srv.URL+"/ws")
	if _, err := s.Ping(t.Context()); err != nil { // now the server's handler is receiving
		t.Fatal(err)
	}
	if err := e.close(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-s.Done()
	if end := s.Err().(*edgews.CloseError); end.Code != edgews.StatusGoingAway {
		t.Error(end)
	}

	late := dial(t, srv.URL+"/ws")
	_, err := late.Receive(t.Context())
	var end *edgews.CloseError
	if !errors.As(err, &end) || end.Code != edgews.StatusServiceRestart {
		t.Error(err)
	}
}

func TestRun(t *testing.T) {
	taken, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	err = run(t.Context(), taken.Addr().String())
	if err == nil || !strings.Contains(err.Error(), "-addr") {
		t.Errorf("a port that is taken: %v", err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := run(ctx, "localhost:0"); err != nil {
		t.Errorf("an interrupt: %v", err)
	}
}

// TestBrowser presses the page's self-test button in Chromium.
func TestBrowser(t *testing.T) {
	ctx := browser.Start(t)
	browser.Act(t, ctx,
		chromedp.Navigate(serve(t)),
		browser.Click("#run"),
		browser.WaitVisible("#summary.passed, #summary.failed"),
	)
	t.Log(browser.Text(t, ctx, "#tests"))
	if summary := browser.Text(t, ctx, "#summary"); summary != "all passed" {
		t.Error(summary)
	}
}

// TestBrowserByHand connects, sends and disconnects with the page's buttons.
func TestBrowserByHand(t *testing.T) {
	ctx := browser.Start(t)
	browser.Act(t, ctx,
		chromedp.Navigate(serve(t)),
		browser.Click("#connect"),
		browser.Click("#text:enabled"),
		browser.Click("#binary:enabled"),
		chromedp.Poll[chromedp.Void](`document.getElementById("log").textContent.split("←").length > 2`),
	)
	protocol, extensions := browser.Text(t, ctx, "#protocol"), browser.Text(t, ctx, "#extensions")
	if protocol != "echo" || !strings.HasPrefix(extensions, "permessage-deflate") {
		t.Errorf("protocol %q, extensions %q", protocol, extensions)
	}
	browser.Act(t, ctx,
		browser.Click("#disconnect:enabled"),
		browser.WaitVisible("#connect:enabled"),
	)
	if log := browser.Text(t, ctx, "#log"); !strings.Contains(log, "close 1000 bye") {
		t.Errorf("no clean close in the log:\n%s", log)
	}
}
