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

// alarmObject sets an alarm for an hour later at each request.
type alarmObject struct {
	storage *edgews.Storage
	fired   chan<- time.Time
}

func (o alarmObject) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := o.storage.SetAlarm(r.Context(), time.Now().Add(time.Hour)); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

func (o alarmObject) Alarm(ctx context.Context) error {
	o.fired <- time.Now()
	return o.storage.Put(ctx, "fired", []byte("yes"))
}

// An alarm fires once, in the process that runs when it is due, also if another process has set it.
func TestAlarmOutlivesProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "objects.db")
	synctest.Test(t, func(t *testing.T) {
		fired := make(chan time.Time, 10)
		process := func(use func(n *edgews.Namespace)) {
			s, err := Open(path, nil)
			require.NoError(t, err)
			n := edgews.NewNamespace("alarms", func(_ context.Context, st *edgews.State) (edgews.Object, error) {
				return alarmObject{st.Storage(), fired}, nil
			}, &edgews.NamespaceOptions{Store: s})
			use(n)
			require.NoError(t, n.Shutdown(context.Background()))
			require.NoError(t, s.Close())
		}
		begin := time.Now()
		process(func(n *edgews.Namespace) {
			answer := httptest.NewRecorder()
			n.Get(n.IDFromName("one")).ServeHTTP(answer, httptest.NewRequest("GET", "/", nil))
			require.Equal(t, http.StatusOK, answer.Code, answer.Body)
		})
		process(func(*edgews.Namespace) { time.Sleep(time.Minute) })
		require.Empty(t, fired)
		process(func(*edgews.Namespace) {
			at := <-fired
			assert.False(t, at.Before(begin.Add(time.Hour)))
		})
		process(func(*edgews.Namespace) { time.Sleep(24 * time.Hour) })
		assert.Empty(t, fired)
	})
}
