// Alarm is a server for reminders. Its object hibernates until its alarm is due.
//
//	go run ./examples/alarm
//
// Then open the URL that it prints. Reminders survive a restart: one that became due meanwhile is sent after it.
package main

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/examples/internal/start"
)

//go:embed index.html
var page []byte

func main() {
	log.SetFlags(0)
	addr := flag.String("addr", "localhost:8080", "the address to listen on")
	data := flag.String("data", "alarm.db", "the file in which the reminders are kept")
	start.ParseFlags()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr, *data); err != nil {
		log.Fatal("alarm: ", err)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, addr, data string) error {
	store, err := start.OpenStore(data)
	if err != nil {
		return err
	}
	defer store.Close()
	l, url, err := start.Listen(addr)
	if err != nil {
		return err
	}
	lists := newLists(store)
	server := &http.Server{Handler: handler(lists), ReadHeaderTimeout: 10 * time.Second}
	fmt.Printf("Open %s in a browser. Ctrl-C stops the server.\n", url)
	context.AfterFunc(ctx, func() { server.Close() })
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	grace, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return lists.Shutdown(grace)
}

// newLists returns the namespace of the lists in store.
func newLists(store edgews.Store) *edgews.Namespace {
	return edgews.NewNamespace("reminders", newReminders, &edgews.NamespaceOptions{Store: store})
}

func handler(lists *edgews.Namespace) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Write(page)
	})
	mux.Handle("GET /socket", lists.Get(lists.IDFromName("all")))
	return mux
}

// reminders is the object of a list of reminders. Its alarm is set to the first of them.
type reminders struct{ st *edgews.State }

// reminder is stored under its time, so that the earliest one is the first in storage.
type reminder struct {
	Type string    `json:"type"` // "set" or "due"
	At   time.Time `json:"at"`
	Text string    `json:"text"`
}

func newReminders(_ context.Context, st *edgews.State) (edgews.Object, error) {
	return &reminders{st}, nil
}

// ServeHTTP accepts a page and sends it the reminders that are not due yet.
func (r *reminders) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	s, err := edgews.Upgrade(w, req, nil)
	if err != nil {
		return // answered already
	}
	if err := r.st.AcceptWebSocket(s); err != nil {
		s.Accept()
		s.Close(edgews.StatusTryAgainLater, err.Error())
		return
	}
	for entry, err := range r.st.Storage().List(req.Context(), "at/") {
		if err != nil {
			break // the next line meets the same error
		}
		s.Send(string(entry.Value))
	}
	if err := r.remind(req.Context()); err != nil {
		s.Close(edgews.StatusInternalError, "the reminders cannot be read")
	}
}

// WebSocketMessage sets a reminder: {"seconds": 10, "text": "tea"}.
func (r *reminders) WebSocketMessage(ctx context.Context, s *edgews.Socket, msg edgews.Message) error {
	var wish struct {
		Seconds float64
		Text    string
	}
	err := json.Unmarshal(msg.Data, &wish)
	if err != nil || wish.Seconds < 0 || wish.Seconds > 366*24*3600 || strings.TrimSpace(wish.Text) == "" || len(wish.Text) > 500 {
		return s.Close(edgews.StatusPolicyViolation, "a reminder has a text, and comes within a year")
	}
	due := time.Now().Add(time.Duration(wish.Seconds * float64(time.Second)))
	data, err := json.Marshal(reminder{"set", due, wish.Text})
	if err != nil {
		return err
	}
	err = r.st.Storage().Update(ctx, func(tx *edgews.Tx) error {
		return tx.Put(fmt.Sprintf("at/%020d", due.UnixNano()), data)
	})
	if err != nil {
		return err
	}
	r.st.Broadcast(edgews.Prepare(edgews.Text, data))
	return r.remind(ctx)
}

// Alarm is called at the time of the alarm, also if the object has to be constructed first. If it returns an error, it is called again.
// Reminders that are due while no page is connected stay in storage until one is.
func (r *reminders) Alarm(ctx context.Context) error {
	if len(r.st.WebSockets()) == 0 {
		return nil
	}
	return r.remind(ctx)
}

// remind sends the reminders that are due to all pages, and sets the alarm to the next one. An object has one alarm.
func (r *reminders) remind(ctx context.Context) error {
	for entry, err := range r.st.Storage().List(ctx, "at/") {
		var m reminder
		if err = cmp.Or(err, json.Unmarshal(entry.Value, &m)); err != nil {
			return err
		}
		if m.At.After(time.Now()) {
			return r.st.Storage().SetAlarm(ctx, m.At)
		}
		m.Type = "due"
		data, _ := json.Marshal(m)
		r.st.Broadcast(edgews.Prepare(edgews.Text, data))
		if err := r.st.Storage().Delete(ctx, entry.Key); err != nil {
			return err
		}
	}
	return nil
}
