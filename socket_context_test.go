package edgews_test

import (
	"context"
	"testing"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSocketContext(t *testing.T) {
	both(t, edgews.Options{}, func(t *testing.T, client, server *edgews.Socket) {
		ctx := server.Context()
		assert.Equal(t, ctx, server.Context())
		inListener := make(chan error, 1)
		server.OnClose(func(edgews.CloseEvent) { inListener <- ctx.Err() })
		after := make(chan edgews.ReadyState, 1)
		context.AfterFunc(ctx, func() { after <- server.ReadyState() })
		acceptBoth(t, client, server)
		child, cancel := context.WithCancel(ctx)
		defer cancel()
		_, err := client.Ping(within(t))
		require.NoError(t, err)
		require.NoError(t, ctx.Err())
		require.NoError(t, client.Close(4000, "bye"))
		waitDone(t, server)
		assert.NoError(t, <-inListener, "it ends after the close event")
		<-child.Done()
		assert.Equal(t, edgews.Closed, <-after)
		assert.ErrorIs(t, ctx.Err(), context.Canceled)
		assert.Same(t, server.Err(), context.Cause(ctx))
		waitDone(t, client)
		assert.Same(t, client.Err(), context.Cause(client.Context()), "asked after the end")
		_, hasDeadline := ctx.Deadline()
		assert.False(t, hasDeadline)
	})
}

func TestContextOfALostSocket(t *testing.T) {
	withPeer(t, edgews.Options{}, func(t *testing.T, s *edgews.Socket, p *peer) {
		ctx := s.Context()
		require.NoError(t, s.Accept())
		p.hangsUp()
		<-ctx.Done()
		var end *edgews.CloseError
		require.ErrorAs(t, context.Cause(ctx), &end)
		assert.Equal(t, edgews.StatusAbnormalClosure, end.Code)
	})
}

func TestContextOfAnObjectsSocket(t *testing.T) {
	both(t, edgews.Options{}, func(t *testing.T, client, server *edgews.Socket) {
		n := newRooms(t, nil, nil)
		st := n.wake(n.NewUniqueID())
		ctx := server.Context()
		require.NoError(t, st.AcceptWebSocket(server))
		require.NoError(t, client.Accept())
		require.NoError(t, client.Close(1000, ""))
		<-ctx.Done()
		assert.Same(t, server.Err(), context.Cause(ctx))
	})
}

func TestContextOfASocketThatIsNotAccepted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		client, server := edgews.NewPair()
		require.NoError(t, client.Accept())
		require.NoError(t, client.Close(1000, ""))
		waitDone(t, client)
		assert.NoError(t, server.Context().Err())
	})
}
