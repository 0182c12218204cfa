package edgews_test

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// respond gives client to Respond, for a request of a raw client, which it returns.
func (p network) respond(t testing.TB, client, server *edgews.Socket, offers ...string) *peer {
	t.Helper()
	done := make(chan error, 1)
	dial, _, _ := p.serve(t, func(w http.ResponseWriter, r *http.Request) { done <- edgews.Respond(w, r, client, nil) })
	conn := dial()
	raw := &peer{t, conn, bufio.NewReader(conn), true}
	raw.upgrades(offers...)
	require.NoError(t, <-done)
	endWith(t, server, conn)
	return raw
}

// overBoth runs f over a pipe and over TCP.
func overBoth(t *testing.T, f func(t *testing.T, p network)) {
	t.Helper()
	overPipe.run(t, f)
	overTCP.run(t, f)
}

func TestRespondWithAServerAcceptedBefore(t *testing.T) {
	overBoth(t, func(t *testing.T, where network) {
		client, server := edgews.NewPair()
		events := record(t, server)
		require.NoError(t, server.Accept())
		require.NoError(t, server.Send("queued"))
		require.NoError(t, server.SendBytes([]byte("before")))
		p := where.respond(t, client, server)
		p.expects(text("queued"), binaryOf("before"))
		p.sends(text("hello"))
		events.wants(message("hello"))
		require.NoError(t, server.Send("after"))
		p.expects(text("after"))
		p.closesCleanly(1000, "bye")
		events.wantsEnd(closed(1000, "bye", true))
	})
}

func TestRespondWithAServerAcceptedLater(t *testing.T) {
	overBoth(t, func(t *testing.T, where network) {
		client, server := edgews.NewPair()
		p := where.respond(t, client, server)
		p.conn.SetWriteDeadline(time.Time{})
		go p.writesAll(p.encode(text("early")))
		events := record(t, server)
		require.NoError(t, server.Accept())
		events.wants(message("early"))
		p.closesCleanly(1000, "")
		events.wantsEnd(closed(1000, "", true))
	})
}

func TestRespondAfterClose(t *testing.T) {
	overBoth(t, func(t *testing.T, where network) {
		client, server := edgews.NewPair()
		events := record(t, server)
		require.NoError(t, server.Accept())
		require.NoError(t, server.Send("one thing"))
		require.NoError(t, server.Close(1013, "come back later"))
		p := where.respond(t, client, server)
		p.expects(text("one thing"), closing(1013, "come back later"))
		p.sends(closing(1013, "come back later"))
		p.expectsEOF()
		events.wantsEnd(closed(1013, "come back later", true))
	})
}

func TestUsedEnd(t *testing.T) {
	overBoth(t, func(t *testing.T, where network) {
		client, server := edgews.NewPair()
		where.respond(t, client, server)
		for name, err := range map[string]error{
			"Accept": client.Accept(), "AcceptHalfOpen": client.AcceptHalfOpen(),
			"Send": client.Send("x"), "Close": client.Close(1000, ""),
			"Write":   client.Write(within(t), edgews.Text, nil),
			"NetConn": func() error { _, err := edgews.NetConn(client, edgews.Text).Read(make([]byte, 1)); return err }(),
		} {
			assert.ErrorIs(t, err, edgews.ErrUsed, name)
		}
		_, err := client.Receive(within(t))
		assert.ErrorIs(t, err, edgews.ErrUsed)
		_, err = client.Ping(within(t))
		assert.ErrorIs(t, err, edgews.ErrUsed)
		_, err = client.NextWriter(within(t), edgews.Text)
		assert.ErrorIs(t, err, edgews.ErrUsed)
	})
}

func TestRespondKeepsPingsAndWriters(t *testing.T) {
	overBoth(t, func(t *testing.T, where network) {
		client, server := edgews.NewPair()
		pinged := make(chan error, 1)
		go func() {
			_, err := server.Ping(t.Context())
			pinged <- err
		}()
		p := where.respond(t, client, server)
		f := p.next()
		require.EqualValues(t, 9, f.opcode)
		p.sends(pong(f.payload))
		require.NoError(t, <-pinged)
	})
}

// A message that NextWriter has begun on a pair continues on the connection, in order and without compression.
func TestRespondInTheMiddleOfAMessage(t *testing.T) {
	overBoth(t, func(t *testing.T, where network) {
		client, server := edgews.NewPair()
		require.NoError(t, server.Accept())
		require.NoError(t, server.Send("before"))
		w, err := server.NextWriter(within(t), edgews.Text)
		require.NoError(t, err)
		io.WriteString(w, "begun ")
		require.NoError(t, server.Send("queued"))
		p := where.respond(t, client, server, "permessage-deflate")
		p.expects(text("before"), part(text("begun "), false))
		io.WriteString(w, "finished")
		require.NoError(t, w.Close())
		p.expects(continuation("finished", false), continuation("", true), text("queued"))
		require.NoError(t, server.Send(strings.Repeat("compressed ", 100)))
		f := p.next()
		assert.EqualValues(t, fin|rsv1, f.bits)
	})
}

// Messages that are sent while Respond replaces the end of a pair arrive.
func TestRespondWhileSending(t *testing.T) {
	const n = 3000
	for range 5 {
		client, server := edgews.NewPair()
		require.NoError(t, server.Accept())
		go func() {
			for i := range n {
				assert.NoError(t, server.Write(t.Context(), edgews.Binary, []byte{byte(i)}))
			}
		}()
		p := overTCP.respond(t, client, server)
		for i := range n {
			require.Equal(t, string([]byte{byte(i)}), p.next().payload)
		}
	}
}

func TestRespondWhenTheOtherEndHasEnded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		client, server := edgews.NewPair()
		require.NoError(t, server.Accept())
		require.NoError(t, server.Close(1000, ""))
		waitDone(t, server)
		done := make(chan error, 1)
		dial, _, _ := overPipe.serve(t, func(w http.ResponseWriter, r *http.Request) { done <- edgews.Respond(w, r, client, nil) })
		conn := dial()
		raw := &peer{t, conn, bufio.NewReader(conn), true}
		raw.upgrades()
		assert.ErrorIs(t, <-done, edgews.ErrClosed)
		raw.expectsEOF()
	})
}

// A NextWriter that has not written anything before Respond keeps its place in the order, and its message may be compressed.
func TestRespondBeforeTheFirstPiece(t *testing.T) {
	overBoth(t, func(t *testing.T, where network) {
		client, server := edgews.NewPair()
		require.NoError(t, server.Accept())
		require.NoError(t, server.Send("before"))
		w, err := server.NextWriter(within(t), edgews.Text)
		require.NoError(t, err)
		require.NoError(t, server.Send("queued"))
		p := where.respond(t, client, server, "permessage-deflate")
		p.expects(text("before"))
		require.NoError(t, server.Send("queued too"))
		assert.ErrorIs(t, writeFor(server, time.Millisecond, nil), context.DeadlineExceeded)
		io.WriteString(w, strings.Repeat("compressed ", 100))
		f := p.next()
		assert.EqualValues(t, rsv1, f.bits)
		require.NoError(t, w.Close())
		p.next()
		p.expects(text("queued"), text("queued too"))
	})
}
