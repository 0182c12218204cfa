package edgews_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// callingContext is a context of the program's own that calls back when it is asked.
type callingContext struct {
	context.Context
	call func()
}

func (c callingContext) Err() error {
	c.call()
	return c.Context.Err()
}

func (c callingContext) Value(key any) any {
	c.call()
	return c.Context.Value(key)
}

// No lock is held while the methods of a context run: they may use the socket, or the object, that they are given to.
func TestContextsMayCallBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		client, server := edgews.NewPair()
		ctx := callingContext{t.Context(), func() {
			client.ReadyState()
			server.BufferedAmount()
		}}
		require.NoError(t, client.Write(ctx, edgews.Text, []byte("one")))
		require.NoError(t, client.Write(ctx, edgews.Text, []byte("two")))
		m, err := server.Receive(ctx)
		require.NoError(t, err)
		assert.Equal(t, "one", m.Text())
		_, _, err = server.NextReader(ctx)
		require.NoError(t, err)
		require.NoError(t, client.Flush(ctx))
		_, err = client.Ping(ctx)
		require.NoError(t, err)
		w, err := client.NextWriter(ctx, edgews.Text)
		require.NoError(t, err)
		require.NoError(t, w.Close())
	})
}

func TestContextsMayCallBackIntoObjects(t *testing.T) {
	inRooms(t, nil, func(t *testing.T, n *rooms, id edgews.ID) {
		st := n.wake(id)
		ctx := callingContext{t.Context(), func() { n.info(id) }}
		require.NoError(t, st.Storage().Put(ctx, "key", nil))
		_, err := st.Storage().Get(ctx, "key")
		require.NoError(t, err)
		require.NoError(t, st.Do(ctx, func() error { return nil }))
	})
}

func TestContextsOfRequestsMayCallBack(t *testing.T) {
	client, server := edgews.NewPair()
	responded := make(chan error, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = r.WithContext(callingContext{r.Context(), func() { server.ReadyState() }})
		responded <- edgews.Respond(w, r, client, nil)
	}))
	defer srv.Close()
	s, _, err := edgews.Dial(t.Context(), "ws"+strings.TrimPrefix(srv.URL, "http"), nil)
	require.NoError(t, err)
	require.NoError(t, s.Accept())
	require.NoError(t, s.Close(1000, ""))
	select {
	case err := <-responded:
		require.NoError(t, err)
	case <-within(t).Done():
		require.FailNow(t, "Respond hangs")
	}
}
