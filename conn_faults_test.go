package edgews_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/edgewstest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A faultyLink is two sockets, not accepted, and the client's end of their connection.
type faultyLink struct {
	client, server *edgews.Socket
	conn           *edgewstest.Conn
}

// overFaultyLinks runs f over a connection in memory, in a bubble, and over TCP.
func overFaultyLinks(t *testing.T, f func(t *testing.T, l faultyLink)) {
	t.Helper()
	t.Run("memory", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			sockets := make(chan *edgews.Socket, 1)
			srv := edgewstest.New(t, upgradeInto(t, sockets, edgews.Options{}))
			client := srv.Dial("/", nil)
			server := <-sockets
			endWith(t, server)
			f(t, faultyLink{client, server, srv.Conn(client)})
		})
	})
	t.Run("tcp", func(t *testing.T) {
		sockets := make(chan *edgews.Socket, 1)
		srv := httptest.NewServer(upgradeInto(t, sockets, edgews.Options{}))
		t.Cleanup(srv.Close)
		var conn *edgewstest.Conn
		httpClient := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			tcp, err := new(net.Dialer).DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			conn = edgewstest.FaultConn(tcp, edgewstest.Faults{}, edgewstest.Faults{})
			return conn, nil
		}}}
		client, _, err := edgews.Dial(t.Context(), srv.URL, &edgews.DialOptions{HTTPClient: httpClient})
		require.NoError(t, err)
		server := <-sockets
		endWith(t, client)
		endWith(t, server)
		f(t, faultyLink{client, server, conn})
	})
}

// A connection that fails in the middle of messages: what has arrived before is delivered, in order, then one close event comes, and
// nothing after it. The other end notices too.
func TestConnFailsAtAByte(t *testing.T) {
	var sent []string
	for i := range 20 {
		sent = append(sent, message(fmt.Sprintf("message %d %s", i, strings.Repeat("x", i))))
	}
	for name, faults := range map[string]func(at int64) edgewstest.Faults{
		"cut":               func(at int64) edgewstest.Faults { return edgewstest.Faults{CutAt: at} },
		"reset":             func(at int64) edgewstest.Faults { return edgewstest.Faults{ResetAt: at} },
		"cut, byte by byte": func(at int64) edgewstest.Faults { return edgewstest.Faults{CutAt: at, ReadSize: 1} },
	} {
		for _, at := range []int64{1, 2, 3, 15, 16, 17, 100, 200, 300} {
			t.Run(fmt.Sprintf("%s/%d", name, at), func(t *testing.T) {
				overFaultyLinks(t, func(t *testing.T, l faultyLink) {
					ofClient, ofServer := record(t, l.client), record(t, l.server)
					acceptBoth(t, l.client, l.server)
					l.conn.Incoming().Set(faults(at))
					for i := range sent {
						if l.server.Send(fmt.Sprintf("message %d %s", i, strings.Repeat("x", i))) != nil {
							break
						}
					}
					waitDone(t, l.client)
					waitDone(t, l.server)
					got := withoutError(ofClient.Lines())
					assert.Equal(t, cut, got[len(got)-1])
					got = got[:len(got)-1]
					assert.Equal(t, sent[:len(got)], got)
					assert.Equal(t, []string{cut}, withoutError(ofServer.Lines()))
				})
			})
		}
	}
}

// withoutError returns a transcript without the error event: there is one if the socket still had something to send.
func withoutError(lines []string) []string {
	return slices.DeleteFunc(lines, func(line string) bool { return strings.HasPrefix(line, "error ") })
}

// Messages pass a slow connection whole and in order.
func TestConnIsSlow(t *testing.T) {
	for name, faults := range map[string]edgewstest.Faults{
		"one byte per read": {ReadSize: 1}, "a small buffer": {Buffer: 3}, "a delay": {Delay: 10 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			overFaultyLinks(t, func(t *testing.T, l faultyLink) {
				l.conn.Incoming().Set(faults)
				l.conn.Outgoing().Set(faults)
				events := record(t, l.client)
				l.server.OnMessage(func(e edgews.MessageEvent) { l.server.Write(context.Background(), e.Kind, e.Data) })
				acceptBoth(t, l.client, l.server)
				var want []string
				for i := range 10 {
					text := strings.Repeat(fmt.Sprint(i), 300)
					require.NoError(t, l.client.Write(within(t), edgews.Text, []byte(text)))
					want = append(want, message(text))
				}
				events.wants(want...)
				require.NoError(t, l.client.Close(1000, "bye"))
				events.wantsEnd(closed(1000, "bye", true))
			})
		})
	}
}

// A connection that stalls for less than the time-outs does no harm; what was sent meanwhile arrives after it.
func TestConnStallsAndResumes(t *testing.T) {
	overFaultyLinks(t, func(t *testing.T, l faultyLink) {
		events, ofServer := record(t, l.client), record(t, l.server)
		acceptBoth(t, l.client, l.server)
		l.conn.Incoming().Set(edgewstest.Faults{StallAt: 5}) // in the middle of a frame
		require.NoError(t, l.server.Send("held"))
		require.NoError(t, l.server.Send("held too"))
		require.NoError(t, l.client.Send("the other direction works"))
		ofServer.wants(message("the other direction works"))
		assert.Empty(t, events.Rest())
		l.conn.Incoming().Resume()
		events.wants(message("held"), message("held too"))
	})
}
