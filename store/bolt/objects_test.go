package bolt

import (
	"context"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// clock is asked by a request to ring an hour later.
type clock struct {
	storage *edgews.Storage
	rang    chan<- time.Time
}

func (c clock) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := c.storage.SetAlarm(r.Context(), time.Now().Add(time.Hour)); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

func (c clock) Alarm(ctx context.Context) error {
	c.rang <- time.Now()
	return c.storage.Put(ctx, "rang", []byte("yes"))
}

// An alarm goes off in the process that is there when it is due, whichever has set it, and once.
func TestAlarmOutlivesProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "objects.db")
	synctest.Test(t, func(t *testing.T) {
		rang := make(chan time.Time, 10)
		process := func(live func(clocks *edgews.Namespace)) {
			s, err := Open(path, nil)
			require.NoError(t, err)
			clocks := edgews.NewNamespace("clocks", func(_ context.Context, st *edgews.State) (edgews.Object, error) {
				return clock{st.Storage(), rang}, nil
			}, &edgews.NamespaceOptions{Store: s})
			live(clocks)
			require.NoError(t, clocks.Shutdown(context.Background()))
			require.NoError(t, s.Close())
		}
		begin := time.Now()
		process(func(clocks *edgews.Namespace) {
			answer := httptest.NewRecorder()
			clocks.Get(clocks.IDFromName("kitchen")).ServeHTTP(answer, httptest.NewRequest("GET", "/", nil))
			require.Equal(t, http.StatusOK, answer.Code, answer.Body)
		})
		process(func(*edgews.Namespace) { time.Sleep(time.Minute) })
		require.Empty(t, rang)
		process(func(*edgews.Namespace) {
			at := <-rang
			assert.False(t, at.Before(begin.Add(time.Hour)))
		})
		process(func(*edgews.Namespace) { time.Sleep(24 * time.Hour) })
		assert.Empty(t, rang)
	})
}
