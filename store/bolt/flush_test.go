package bolt

import (
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// The uses that Flush has reported as saved are in the file, each of them once, even if earlier flushes have failed.
func TestFlushOnAFullDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "meter.db")
	var saved, used int64
	for range 10 {
		s, err := open(path, defaultFileMode, &bbolt.Options{MaxSize: 1 << 20})
		require.NoError(t, err)
		m := edgews.NewMeter(&edgews.MeterOptions{Store: s, Logger: quiet, Interval: time.Hour})
		n := edgews.NewNamespace("served", newEmptyObject, &edgews.NamespaceOptions{Options: edgews.Options{Meter: m, Logger: quiet}})
		other := openObject(t, s, "room", 1)
		var wg sync.WaitGroup
		for range 20 {
			n.Get(n.NewUniqueID()).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
			used++
			for range 4 {
				wg.Go(func() { _ = other.Commit(t.Context(), put("large", strings.Repeat("x", 2<<20))) })
			}
			ctx, cancel := context.WithTimeout(t.Context(), rand.N(2*time.Millisecond))
			if m.Flush(ctx) == nil {
				saved = used
			}
			cancel()
			wg.Wait()
		}
		cut, cancel := context.WithCancel(t.Context())
		cancel()
		_ = n.Shutdown(cut)
		require.NoError(t, s.Close())

		s, err = Open(path, nil)
		require.NoError(t, err)
		total, err := edgews.NewMeter(&edgews.MeterOptions{Store: s}).Total(t.Context())
		require.NoError(t, err)
		require.GreaterOrEqual(t, total.HTTPRequests, saved)
		require.LessOrEqual(t, total.HTTPRequests, used)
		used, saved = total.HTTPRequests, total.HTTPRequests // uses that were not saved are lost with their process
		require.NoError(t, s.Close())
	}
}

type emptyObject struct{}

func newEmptyObject(context.Context, *edgews.State) (edgews.Object, error) { return emptyObject{}, nil }

func (emptyObject) ServeHTTP(http.ResponseWriter, *http.Request) {}
