package bolt_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/store/bolt"
)

// tally counts its requests, for good.
type tally struct{ storage *edgews.Storage }

func (t tally) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	marks, err := t.storage.Get(r.Context(), "marks") // nil at first
	if err == nil || err == edgews.ErrKeyNotFound {
		marks = append(marks, '|')
		err = t.storage.Put(r.Context(), "marks", marks)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	fmt.Fprintf(w, "%s", marks)
}

// What an object puts into its storage is there when the next process opens the file.
func Example() {
	folder, err := os.MkdirTemp("", "edgews")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(folder)

	for range 3 { // processes
		store, err := bolt.Open(filepath.Join(folder, "objects.db"), nil)
		if err != nil {
			log.Fatal(err)
		}
		tallies := edgews.NewNamespace("tallies", func(_ context.Context, st *edgews.State) (edgews.Object, error) {
			return tally{st.Storage()}, nil
		}, &edgews.NamespaceOptions{Store: store})

		answer := httptest.NewRecorder()
		tallies.Get(tallies.IDFromName("visits")).ServeHTTP(answer, httptest.NewRequest("GET", "/", nil))
		fmt.Println(answer.Body)

		tallies.Shutdown(context.Background())
		store.Close()
	}
	// Output:
	// |
	// ||
	// |||
}
