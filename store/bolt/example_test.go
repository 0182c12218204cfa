package bolt_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/store/bolt"
)

// counter counts its requests permanently.
type counter struct{ storage *edgews.Storage }

func (c counter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	marks, err := c.storage.Get(r.Context(), "marks") // nil at first
	if err == nil || err == edgews.ErrKeyNotFound {
		marks = append(marks, '|')
		err = c.storage.Put(r.Context(), "marks", marks)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	fmt.Fprintf(w, "%s", marks)
}

// What an object has stored is there when the next process opens the file.
func Example() {
	folder, err := os.MkdirTemp("", "edgews")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(folder)

	for range 3 { // processes
		store, err := bolt.Open(filepath.Join(folder, "objects.db"), &bolt.Options{LockTimeout: time.Minute})
		if err != nil {
			log.Fatal(err)
		}
		counters := edgews.NewNamespace("counters", func(_ context.Context, st *edgews.State) (edgews.Object, error) {
			return counter{st.Storage()}, nil
		}, &edgews.NamespaceOptions{Store: store})

		answer := httptest.NewRecorder()
		counters.Get(counters.IDFromName("visits")).ServeHTTP(answer, httptest.NewRequest("GET", "/", nil))
		fmt.Println(answer.Body)

		counters.Shutdown(context.Background())
		store.Close()
	}
	// Output:
	// |
	// ||
	// |||
}
