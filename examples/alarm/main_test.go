package main

import (
	"context"
	"fmt"
	"net"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edgews/edgews"
)

// open serves the reminders in store until stop is called, and opens a socket.
func open(t *testing.T, store edgews.Store) (s *edgews.Socket, lists *edgews.Namespace, stop func() (due bool)) {
	t.Helper()
	lists = newLists(store)
	server := httptest.NewServer(handler(lists))
	s, _, err := edgews.Dial(t.Context(), server.URL+"/socket", nil)
	if err != nil {
		t.Fatal(err)
	}
	return s, lists, func() (due bool) {
		received := make(chan bool)
		go func() { received <- receiveAll(s) }() // and so answers the Close
		server.Close()
		lists.Shutdown(context.Background())
		return <-received
	}
}

// receiveAll receives until the socket ends. It reports whether a reminder has become due.
func receiveAll(s *edgews.Socket) (due bool) {
	for m, err := range s.Messages(context.Background()) {
		due = due || err == nil && strings.Contains(m.Text(), `"due"`)
	}
	return due
}

func wish(t *testing.T, s *edgews.Socket, message string) {
	t.Helper()
	if err := s.Write(t.Context(), edgews.Text, []byte(message)); err != nil {
		t.Fatal(err)
	}
}

func comes(t *testing.T, s *edgews.Socket, what, text string) reminder {
	t.Helper()
	got, err := edgews.ReceiveJSON[reminder](t.Context(), s)
	if err != nil || got.Type != what || got.Text != text {
		t.Fatalf("got %+v and %v, not that %q is %s", got, err, text, what)
	}
	return got
}

func TestReminders(t *testing.T) {
	s, lists, stop := open(t, edgews.NewMemoryStore())
	defer stop()
	wish(t, s, `{"seconds": 3600, "text": "later"}`)
	comes(t, s, "set", "later")
	wish(t, s, `{"seconds": 0.3, "text": "soon"}`)
	comes(t, s, "set", "soon")
	if err := lists.Hibernate(t.Context(), lists.IDFromName("all")); err != nil {
		t.Fatal(err)
	}
	if early := comes(t, s, "due", "soon"); early.At.After(time.Now()) {
		t.Errorf("it comes %v too early", time.Until(early.At))
	}
}

// TestRestart: a reminder that becomes due while the server is down is sent later.
func TestRestart(t *testing.T) {
	store := edgews.NewMemoryStore()
	for seconds := 0.2; ; seconds *= 4 {
		s, _, stop := open(t, store)
		wish(t, s, fmt.Sprintf(`{"seconds": %v, "text": "tea"}`, seconds))
		set := comes(t, s, "set", "tea")
		if due := stop(); !due { // otherwise a busy machine has needed longer to stop the server
			time.Sleep(time.Until(set.At)) // the time passes while the server is down
			break
		}
	}

	s, _, stop := open(t, store)
	defer stop()
	for {
		got, err := edgews.ReceiveJSON[reminder](t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		if got.Type == "due" {
			return
		}
	}
}

func TestRefused(t *testing.T) {
	for _, message := range []string{"tea", `{"seconds": 1}`, `{"seconds": -1, "text": "x"}`, `{"seconds": 1e300, "text": "x"}`} {
		s, _, stop := open(t, edgews.NewMemoryStore())
		wish(t, s, message)
		s.Accept()
		<-s.Done()
		if end := s.Err().(*edgews.CloseError); end.Code != edgews.StatusPolicyViolation {
			t.Errorf("%s: %v", message, end)
		}
		stop()
	}
}

func TestRun(t *testing.T) {
	taken, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	data := filepath.Join(t.TempDir(), "alarm.db")
	if err := run(t.Context(), taken.Addr().String(), data); err == nil || !strings.Contains(err.Error(), "-addr") {
		t.Errorf("a port that is taken: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := run(ctx, "localhost:0", data); err != nil {
		t.Errorf("an interrupt: %v", err)
	}
}
