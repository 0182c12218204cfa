package objects_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/edgewstest"
	"github.com/stretchr/testify/require"
)

// Dashboard has the sockets of a user, who follows matches on them.
type Dashboard struct{ st *edgews.State }

func NewDashboard(_ context.Context, st *edgews.State) (edgews.Object, error) {
	return &Dashboard{st}, nil
}

func (o *Dashboard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s, err := edgews.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	if err := o.st.AcceptWebSocket(s); err != nil {
		s.Accept()
		s.Close(edgews.StatusTryAgainLater, "")
	}
}

func (o *Dashboard) WebSocketMessage(ctx context.Context, s *edgews.Socket, m edgews.Message) error {
	if err := o.st.Subscribe("match:"+m.Text(), s); err != nil {
		return s.Send(err.Error()) // the name is too long, or there are too many
	}
	return nil
}

// goal tells all who follow a match, in whatever object their sockets are.
func goal(ctx context.Context, dashboards *edgews.Namespace, match, text string) error {
	return dashboards.Publish(ctx, "match:"+match, edgews.Prepare(edgews.Text, []byte(text)))
}

func TestTopics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dashboards := edgews.NewNamespace("dashboards", NewDashboard, nil)
		srv := edgewstest.New(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			dashboards.ByName(r.URL.Query().Get("user")).ServeHTTP(w, r)
		}))
		follows := func(user string, matches ...string) *edgewstest.Recorder {
			s := srv.Dial("/?user="+user, nil)
			client := edgewstest.Record(t, s)
			require.NoError(t, s.Accept())
			for _, match := range matches {
				client.Send(match)
				client.Want(fmt.Sprintf("sent text %q", match))
			}
			return client
		}
		ann, bob := follows("ann", "1", "2"), follows("bob", "2")
		ann.WantNothing(time.Minute) // both objects hibernate
		require.NoError(t, goal(t.Context(), dashboards, "1", "1:0"))
		require.NoError(t, goal(t.Context(), dashboards, "2", "0:1"))
		ann.Want(`text "1:0"`, `text "0:1"`)
		bob.Want(`text "0:1"`)
		for o := range dashboards.Objects() {
			require.Equal(t, edgews.ObjectHibernated, o.State, "nothing has woken it")
		}
		require.NoError(t, dashboards.Shutdown(context.Background()))
	})
}
