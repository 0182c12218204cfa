//go:build linux

package store

import (
	"context"
	"net/http"
	"path/filepath"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/store/bolt"
)

// storage has an object for each writer. A write is an event of the object, which puts the entry into its Storage.
type storage struct {
	store   *bolt.Store
	objects *edgews.Namespace
	stubs   []*edgews.Stub
}

// keeper is the value of an object.
type keeper struct{ st *edgews.State }

// ServeHTTP belongs to edgews.Object. There are no requests.
func (*keeper) ServeHTTP(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }

func openStorage(c Config) (writer, error) {
	s, err := bolt.Open(filepath.Join(c.Dir, "objects.db"), nil)
	if err != nil {
		return nil, err
	}
	construct := func(_ context.Context, st *edgews.State) (edgews.Object, error) { return &keeper{st}, nil }
	w := &storage{store: s, objects: edgews.NewNamespace("bench", construct, &edgews.NamespaceOptions{Store: s})}
	for range c.Writers {
		w.stubs = append(w.stubs, w.objects.Get(w.objects.NewUniqueID()))
	}
	return w, nil
}

func (w *storage) write(ctx context.Context, writer int, value []byte) error {
	return w.stubs[writer].Do(ctx, func(ctx context.Context, o edgews.Object) error {
		return o.(*keeper).st.Storage().Put(ctx, key, value)
	})
}

func (w *storage) close() error {
	if err := w.objects.Shutdown(context.Background()); err != nil {
		return err
	}
	return w.store.Close()
}
