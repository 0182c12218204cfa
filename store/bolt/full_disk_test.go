package bolt

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
)

// writer puts the key that a request names.
type writer struct{ storage *edgews.Storage }

func (wr writer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := wr.storage.Put(r.Context(), r.URL.Path, make([]byte, 16<<10)); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// Keys whose Put has returned nil are in the file, although the disk became full and Shutdown interrupted running requests.
func TestPutWhileShutdownCutsOnAFullDisk(t *testing.T) {
	for round := range 10 {
		path := filepath.Join(t.TempDir(), "objects.db")
		small := &bbolt.Options{MaxSize: 2 << 20, FreelistType: bbolt.FreelistMapType}
		s, err := open(path, defaultFileMode, small)
		require.NoError(t, err)
		construct := func(_ context.Context, st *edgews.State) (edgews.Object, error) { return writer{st.Storage()}, nil }
		rooms := edgews.NewNamespace("rooms", construct, &edgews.NamespaceOptions{Store: s})
		stored := make([][]string, 40)
		var writers sync.WaitGroup
		for n := range stored {
			writers.Go(func() {
				for i := range 200 {
					answer := httptest.NewRecorder()
					key := fmt.Sprint("/", i)
					rooms.Get(rooms.IDFromName(fmt.Sprint(n))).ServeHTTP(answer, httptest.NewRequest("GET", key, nil))
					if answer.Code == http.StatusOK {
						stored[n] = append(stored[n], key)
					}
				}
			})
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(5+5*round)*time.Millisecond)
		_ = rooms.Shutdown(ctx) // it may be cut
		cancel()
		writers.Wait()
		require.NoError(t, s.Close())

		s, err = open(path, defaultFileMode, small)
		require.NoError(t, err)
		for n, keys := range stored {
			o, err := s.Open(context.Background(), edgews.ObjectKey{Namespace: "rooms", ID: rooms.IDFromName(fmt.Sprint(n))}, edgews.Fence{Epoch: 1})
			require.NoError(t, err)
			for _, key := range keys {
				_, err := o.Get(context.Background(), key)
				assert.NoError(t, err, "round %d, object %d: %s was stored", round, n, key)
			}
		}
		require.NoError(t, s.Close())
	}
}
