package edgews_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/edgews/edgews"
)

// Counter counts, and goes on counting after it has hibernated.
type Counter struct{ st *edgews.State }

func NewCounter(_ context.Context, st *edgews.State) (edgews.Object, error) {
	return &Counter{st}, nil
}

func (c *Counter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var count int
	err := c.st.Storage().Update(r.Context(), func(tx *edgews.Tx) error {
		value, err := tx.Get("count")
		if err != nil && !errors.Is(err, edgews.ErrKeyNotFound) {
			return err
		}
		fmt.Sscan(string(value), &count)
		count++
		return tx.Put("count", fmt.Append(nil, count))
	})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	fmt.Fprintln(w, count)
}

func ask(h http.Handler) string {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	return w.Body.String()
}

// What an object keeps is there when it wakes.
func ExampleStorage() {
	counters := edgews.NewNamespace("counters", NewCounter, nil)
	id := counters.IDFromName("visitors")
	fmt.Print(ask(counters.Get(id)), ask(counters.Get(id)))
	counters.Hibernate(context.Background(), id)
	fmt.Print(ask(counters.Get(id)))
	// Output:
	// 1
	// 2
	// 3
}

// Keys are ordered, so that what belongs together lies together.
func ExampleStorage_List() {
	var st *edgews.State
	games := edgews.NewNamespace("games", func(_ context.Context, s *edgews.State) (edgews.Object, error) {
		st = s
		return http.NotFoundHandler(), nil
	}, nil)
	ask(games.Get(games.NewUniqueID()))

	ctx := context.Background()
	st.Storage().Put(ctx, "move:02", []byte("e7 e5"))
	st.Storage().Put(ctx, "move:01", []byte("e2 e4"))
	st.Storage().Put(ctx, "player:white", []byte("ann"))
	for e, err := range st.Storage().List(ctx, "move:") {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s %s\n", e.Key, e.Value)
	}
	// Output:
	// move:01 e2 e4
	// move:02 e7 e5
}

// Reminder says something later, when its alarm is due. It needs no request for that.
type Reminder struct {
	st   *edgews.State
	said chan string
}

func (r *Reminder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	text, _ := io.ReadAll(req.Body)
	err := r.st.Storage().Update(req.Context(), func(tx *edgews.Tx) error {
		return errors.Join(tx.Put("text", text), tx.SetAlarm(time.Now().Add(10*time.Millisecond)))
	})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// Alarm is called at least once. If it fails it is called again.
func (r *Reminder) Alarm(ctx context.Context) error {
	text, err := r.st.Storage().Get(ctx, "text")
	if err != nil {
		return err
	}
	r.said <- string(text)
	return r.st.Storage().DeleteAll(ctx)
}

// The process that sets an alarm need not be the one in which it goes off.
func ExampleStorage_SetAlarm() {
	ctx, store := context.Background(), edgews.NewMemoryStore() // or one that keeps it on a disk
	said := make(chan string, 1)
	open := func() *edgews.Namespace {
		return edgews.NewNamespace("reminders", func(_ context.Context, st *edgews.State) (edgews.Object, error) {
			return &Reminder{st, said}, nil
		}, &edgews.NamespaceOptions{Store: store})
	}

	reminders := open()
	reminders.Get(reminders.IDFromName("tea")).ServeHTTP(httptest.NewRecorder(),
		httptest.NewRequest("POST", "/", strings.NewReader("drink it")))
	reminders.Shutdown(ctx)

	reminders = open()
	fmt.Printf("%q\n", <-said)
	fmt.Println(reminders.Shutdown(ctx), store.Close())
	// Output:
	// "drink it"
	// <nil> <nil>
}
