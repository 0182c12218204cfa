package main

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/edgews/edgews"
)

func TestDial(t *testing.T) {
	echoing := echoServer(t)
	says := func(messages ...string) string {
		return serveSockets(t, func(s *edgews.Socket, _ *http.Request) {
			accept(s)
			for _, m := range messages {
				s.Send(m)
			}
		})
	}
	closes := func(code edgews.StatusCode, reason string) string {
		return serveSockets(t, func(s *edgews.Socket, _ *http.Request) {
			accept(s)
			s.Send("last")
			s.Close(code, reason)
		})
	}
	asks := serveSockets(t, func(s *edgews.Socket, r *http.Request) {
		accept(s)
		s.Send(r.Header.Get("X-Test") + " " + r.Header.Get("Origin") + " " + s.Protocol() + " " + s.Extensions())
	})
	host := strings.TrimPrefix(asks, "ws")

	for _, test := range []struct {
		name     string
		url      string
		stdin    string
		args     string
		code     int
		out, err string
	}{
		{"lines", echoing, "one\ntwo\r\nthree", "-count 3", exitSuccess, "one\ntwo\nthree\n", "1000"},
		{"nothing", echoing, "", "-wait 0s", exitSuccess, "", "connected to ws://"},
		{"quiet", echoing, "one\n", "-count 1 -quiet", exitSuccess, "one\n", ""},
		{"whole", echoing, "one\ntwo\n", "-whole -count 1 -format raw", exitSuccess, "one\ntwo\n\n", ""},
		{"binary", echoing, "one\n", "-binary -count 1", exitSuccess, "6f6e65\n", ""},
		{"hex", echoing, "/binary 00 ff\n", "-count 1", exitSuccess, "00ff\n", ""},
		{"slash", echoing, "//help\n", "-count 1", exitSuccess, "/help\n", ""},
		{"plain", echoing, "/help\n", "-plain -count 1", exitSuccess, "/help\n", ""},
		{"ping", echoing, "/ping\n", "-wait 0s", exitSuccess, "", "pong after "},
		{"info", echoing, "/info\n", "-wait 0s", exitSuccess, "", "0 bytes wait to be sent"},
		{"help", echoing, "/help\n", "-wait 0s", exitSuccess, "", "/expect REGEXP"},
		{"expect", echoing, "one\ntwo\n/expect ^t\n", "-wait 0s", exitSuccess, "two\n", ""},
		{"expect twice", echoing, "one\ntwo\n/expect one\n/expect two\n/close\nnever\n", "-wait -1s", exitSuccess, "two\n", ""},
		{"unmet", echoing, "one\n/expect two\n", "-patience 50ms", exitUnmet, "one\n", `no message has matched "two"`},
		{"expect until the end", closes(1000, ""), "/expect two\n", "", exitUnmet, "last\n", "the socket has ended"},
		{"expect after the end", closes(1000, ""), "/wait 1h\n/expect last\n", "", exitSuccess, "last\n", ""},
		{"wrong pattern", echoing, "/expect (\n", "", exitUsage, "", "/expect"},
		{"wrong command", echoing, "/nope\n", "", exitUsage, "", `no command "/nope"`},
		{"wrong hex", echoing, "/binary 0\n", "", exitUsage, "", "/binary"},
		{"wrong duration", echoing, "/wait 5\n", "", exitUsage, "", "/wait"},
		{"not UTF-8", echoing, "\xff\n", "", exitUsage, "", "not UTF-8"},
		{"close with a code", echoing, "/wait 1ms\n/close 4001 bye\n", "", exitSuccess, "", ""},
		{"close with a wrong code", echoing, "/close 1005\n", "", exitUsage, "", "close"},
		{"count unmet", closes(1000, "bye"), "", "-count 2 -wait -1s", exitUnmet, "last\n", "1 messages have arrived, not 2"},
		{"closed by the server", closes(1000, "bye"), "", "-wait -1s", exitSuccess, "last\n", `"bye"`},
		{"closed with an error", closes(1011, "oh"), "", "-wait -1s", exitFailure, "last\n", "1011"},
		{"closed with a code of the application", closes(4400, "oh"), "", "-wait -1s", exitFailure, "last\n", "4400"},
		{"headers", asks, "", "-count 1 -H X-Test:yes -origin http" + host + " -protocol none -protocol chat.v2 -no-compression", exitSuccess, "yes http" + host + " chat.v2 \n", ""},
		{"compression", asks, "", "-count 1", exitSuccess, "permessage-deflate", "permessage-deflate"},
		{"JSON", says(`{"a":[1]}`), "", "-count 1", exitSuccess, `{"a":[1]}` + "\n", ""},
		{"indented", says(`{"a":[1]}`), "", "-count 1 -pretty always", exitSuccess, "{\n    \"a\": [\n      1\n    ]\n  }\n", ""},
		{"as JSON", says("a\u009b"), "", "-count 1 -format json", exitSuccess, `"kind":"text","text":"a\u009b"}` + "\n", ""},
		{"limit", says("abcdef"), "", "-count 1 -limit 2", exitSuccess, "ab (4 bytes more)\n", ""},
		{"hostile text", says("\x1b]0;owned\a\nedgews: fake"), "", "-count 1", exitSuccess, `\x1b]0;owned\a\nedgews: fake` + "\n", ""},
		{"hostile reason", closes(1000, "\x1b[2J"), "", "-wait -1s", exitSuccess, "", `\x1b[2J`},
		{"too large", says(strings.Repeat("x", 100)), "", "-max-size 10 -wait -1s", exitFailure, "", "too big"},
		{"refused origin", asks, "", "-origin https://elsewhere.example", exitRefused, "", "403"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := runs(t, test.stdin, append(append([]string{"dial"}, strings.Fields(test.args)...), test.url)...)
			r.wants(t, test.code, test.out, test.err)
			if !harmless(r.out+r.err, true) {
				t.Errorf("this can control a terminal: %q, %q", r.out, r.err)
			}
			if strings.Contains(test.args, "-quiet") && r.err != "" {
				t.Errorf("stderr has %q in spite of -quiet", r.err)
			}
		})
	}
}

// A server that refuses has the exit code 3, and its words cannot control the terminal.
func TestDialRefused(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("WWW-Authenticate", "Bearer realm=x")
		http.Error(w, "\x1b[2Jgo away", http.StatusUnauthorized)
	}))
	defer server.Close()
	r := runs(t, "", "dial", server.URL)
	r.wants(t, exitRefused, "", "go away")
	r.wants(t, exitRefused, "", "(WWW-Authenticate: Bearer realm=x)")
	if !harmless(r.err, true) {
		t.Errorf("this can control a terminal: %q", r.err)
	}
}

func TestDialNoServer(t *testing.T) {
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	runs(t, "", "dial", "ws://"+l.Addr().String()).wants(t, exitFailure, "", "handshake failed")
}

// A signal ends a conversation that waits, with a Close that the server sees.
func TestDialInterrupted(t *testing.T) {
	closed := make(chan edgews.CloseEvent, 1)
	url := serveSockets(t, func(s *edgews.Socket, _ *http.Request) {
		s.OnClose(func(e edgews.CloseEvent) { closed <- e })
		accept(s)
		s.Send("here")
	})
	r := start(t, strings.NewReader(""), "dial", "-wait", "-1s", url)
	eventually(t, func() bool { return r.out.String() == "here\n" }, func() string { return r.err.String() })
	r.interrupt(&signalError{os.Interrupt})
	if code := r.wait(); code != exitInterrupted {
		t.Errorf("exit code %d, want %d", code, exitInterrupted)
	}
	if e := <-closed; e.Code != edgews.StatusGoingAway || !e.WasClean {
		t.Errorf("the server got %v, clean %v", e.Code, e.WasClean)
	}
}
