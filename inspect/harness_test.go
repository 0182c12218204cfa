package inspect_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"testing"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/edgewstest"
	"github.com/edgews/edgews/inspect"
	"github.com/stretchr/testify/require"
)

var quiet = slog.New(slog.DiscardHandler)

func anyone(*http.Request) bool { return true }

// room is an object that stores what put says.
type room struct{ st *edgews.State }

func newRoom(_ context.Context, st *edgews.State) (edgews.Object, error) { return &room{st}, nil }

func (*room) ServeHTTP(http.ResponseWriter, *http.Request) {}

func put(key, value string) func(context.Context, edgews.Object) error {
	return func(ctx context.Context, o edgews.Object) error {
		return o.(*room).st.Storage().Put(ctx, key, []byte(value))
	}
}

// client makes calls to an inspector.
type client struct {
	socket  *edgews.Socket
	mux     edgews.Mux
	updates chan inspect.Update
}

func dial(t testing.TB, i *inspect.Inspector) *client {
	srv := edgewstest.New(t, i.Handler())
	c := &client{socket: srv.Dial("/debug/edgews/socket", nil), updates: make(chan inspect.Update, 1000)}
	edgews.Handle(&c.mux, inspect.TypeUpdate, func(_ context.Context, _ *edgews.Socket, u inspect.Update) error {
		c.updates <- u
		return nil
	})
	c.socket.OnMessage(func(e edgews.MessageEvent) { _ = c.mux.Dispatch(context.Background(), c.socket, e.Message) })
	require.NoError(t, c.socket.Accept())
	return c
}

func (c *client) request(t testing.TB, typ string, fields any) (json.RawMessage, error) {
	return edgews.Request[any, json.RawMessage](t.Context(), &c.mux, c.socket, typ, fields)
}

func call[Resp any](t testing.TB, c *client, typ string, fields any) (resp Resp) {
	t.Helper()
	raw, err := c.request(t, typ, fields)
	require.NoError(t, err, typ)
	require.NoError(t, json.Unmarshal(raw, &resp), typ)
	return resp
}
