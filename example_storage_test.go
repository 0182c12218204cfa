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

// stateOfNew returns the State of a new object.
func stateOfNew() (st *edgews.State) {
	objects := edgews.NewNamespace("objects", func(_ context.Context, s *edgews.State) (edgews.Object, error) {
		st = s
		return http.NotFoundHandler(), nil
	}, nil)
	ask(objects.Get(objects.NewUniqueID()))
	return st
}

// The newest page of a history, and the page before it. However long the history is, a page costs the same.
func ExampleStorage_Scan() {
	ctx, storage := context.Background(), stateOfNew().Storage()
	for i, text := range []string{"hello", "anyone?", "hi!", "how are you", "fine"} {
		storage.Put(ctx, fmt.Sprintf("said/%08d", i+1), []byte(text))
	}

	page := func(before string) (oldest string) {
		r := edgews.Range{Prefix: "said/", End: before, Reverse: true, Limit: 2}
		for e, err := range storage.Scan(ctx, r) {
			if err != nil {
				fmt.Println(err)
				return ""
			}
			fmt.Printf("%s %s\n", e.Key, e.Value)
			oldest = e.Key
		}
		return oldest
	}
	oldest := page("")
	fmt.Println("before", oldest)
	page(oldest)
	// Output:
	// said/00000005 fine
	// said/00000004 how are you
	// before said/00000004
	// said/00000003 hi!
	// said/00000002 anyone?
}

// A history that keeps its newest three entries. KeysOnly does not read the texts of those that go.
func ExampleTx_Scan() {
	ctx, storage := context.Background(), stateOfNew().Storage()
	say := func(n int, text string) error {
		return storage.Update(ctx, func(tx *edgews.Tx) error {
			if err := tx.Put(fmt.Sprintf("said/%08d", n), []byte(text)); err != nil {
				return err
			}
			oldest := fmt.Sprintf("said/%08d", max(n-2, 0))
			for e, err := range tx.Scan(edgews.Range{Prefix: "said/", End: oldest, KeysOnly: true}) {
				if err != nil {
					return err
				}
				if err := tx.Delete(e.Key); err != nil {
					return err
				}
			}
			return nil
		})
	}
	for i, text := range []string{"hello", "anyone?", "hi!", "how are you", "fine"} {
		if err := say(i+1, text); err != nil {
			fmt.Println(err)
		}
	}
	for e := range storage.Scan(ctx, edgews.Range{}) {
		fmt.Printf("%s %s\n", e.Key, e.Value)
	}
	// Output:
	// said/00000003 hi!
	// said/00000004 how are you
	// said/00000005 fine
}

// Several values as they were at one moment. What is not in storage is not in the map.
func ExampleStorage_GetMany() {
	ctx, storage := context.Background(), stateOfNew().Storage()
	storage.Put(ctx, "name", []byte("lobby"))
	storage.Put(ctx, "owner", []byte("ann"))

	values, err := storage.GetMany(ctx, "name", "owner", "topic")
	if err != nil {
		fmt.Println(err)
		return
	}
	topic, hasTopic := values["topic"]
	fmt.Printf("%s of %s: %q %v\n", values["name"], values["owner"], topic, hasTopic)
	// Output: lobby of ann: "" false
}

// An engine that looks for its first key and goes on to its end needs nothing else of a Range's fields about keys.
func ExampleRange_Bounds() {
	first, end := edgews.Range{Prefix: "said/", After: "said/7"}.Bounds()
	fmt.Printf("from %q, before %q\n", first, end)
	// Output: from "said/7\x00", before "said0"
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
