package edgews_test

import (
	"bufio"
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews"
)

// serveAnyProtocol starts a server that accepts every subprotocol, and compression. It returns a function that opens a connection to it.
func serveAnyProtocol(t *testing.T) func(protocol string) (*edgews.Socket, *peer) {
	sockets := make(chan *edgews.Socket, 1)
	dial, _, _ := overTCP.serve(t, func(w http.ResponseWriter, r *http.Request) {
		s, err := edgews.Upgrade(w, r, &edgews.UpgradeOptions{Protocols: r.Header.Values("Sec-WebSocket-Protocol")})
		if assert.NoError(t, err) {
			sockets <- s
		}
	})
	return func(protocol string) (*edgews.Socket, *peer) {
		p := &peer{t: t, conn: dial(), client: true}
		p.r = bufio.NewReader(p.conn)
		p.upgrades("permessage-deflate; client_no_context_takeover\r\nSec-WebSocket-Protocol: " + protocol)
		s := <-sockets
		endWith(t, s, p.conn)
		return s, p
	}
}

// Sockets with the same subprotocol and extensions share their identity, and no other state.
func TestSocketsWithTheSameProtocolShareOnlyTheIdentity(t *testing.T) {
	open := serveAnyProtocol(t)
	a, fromA := open("chat")
	b, fromB := open("chat")
	fromBoth := record(t, b)
	acceptBoth(t, a, b)

	require.NoError(t, a.SetAttachment("a's"))
	var attached any
	assert.ErrorIs(t, b.Attachment(&attached), edgews.ErrNoAttachment)
	a.OnMessage(func(e edgews.MessageEvent) { _ = a.Send("first got " + string(e.Data)) })
	a.OnMessage(func(e edgews.MessageEvent) { _ = a.Send("second got " + string(e.Data)) })

	fromA.sends(text("1"))
	fromA.expects(text("first got 1"), text("second got 1"))
	fromB.sends(text("2"))
	fromBoth.wants(message("2"))

	require.NoError(t, a.Close(4000, ""))
	fromA.expectsClose(4000)
	assert.Equal(t, edgews.Open, b.ReadyState())
	for _, s := range []*edgews.Socket{a, b} {
		assert.Equal(t, "chat", s.Protocol())
		assert.Equal(t, "permessage-deflate; client_no_context_takeover", s.Extensions())
	}
}

// A server may see more subprotocols than maxCachedIdentities.
func TestMoreProtocolsThanAreCached(t *testing.T) {
	open := serveAnyProtocol(t)
	for i := range 1_100 {
		protocol := fmt.Sprint("version-", i)
		s, p := open(protocol)
		require.Equal(t, protocol, s.Protocol())
		require.Equal(t, "permessage-deflate; client_no_context_takeover", s.Extensions())
		p.hangsUp()
	}
}
