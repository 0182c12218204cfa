package edgews_test

import (
	"crypto/rand"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The tests in this file check that writing never waits for reading: a listener that blocks delays what the peer sends, not what the peer
// receives.

// wrapping is a listener whose connections have a type that the library does not know.
type wrapping struct{ net.Listener }

type wrapped struct{ net.Conn }

func (l wrapping) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return wrapped{conn}, nil
}

var slowWrapped = network{name: "wrapped", real: true, serve: func(t testing.TB, handler http.HandlerFunc) (func() net.Conn, string, *http.Client) {
	server := httptest.NewUnstartedServer(handler)
	server.Listener = wrapping{smallBuffers{server.Listener}}
	server.Start()
	t.Cleanup(server.Close)
	return slowDialer(t, server), server.URL, slowClient(server)
}}

var slowPlaces = []network{slowTCP, slowTLS, slowWrapped}

// noTimeouts has no time-outs, so that a write that is not continued blocks until the test fails.
var noTimeouts = edgews.Options{WriteTimeout: -1, KeepAlive: -1, SendBuffer: 128 << 10, Logger: quiet}

// whileListening runs listener in its socket's turn. The peer reads nothing until the listener calls read; then it runs then.
func whileListening(t *testing.T, listener func(t *testing.T, s *edgews.Socket, read func()), then func(p *peer)) {
	for _, where := range slowPlaces {
		t.Run(where.name, func(t *testing.T) {
			s, p := where.serverAndPeer(t, noTimeouts)
			may, done := make(chan struct{}), make(chan struct{})
			s.OnMessage(func(edgews.MessageEvent) {
				defer close(done)
				listener(t, s, func() { close(may) })
			})
			require.NoError(t, s.Accept())
			p.sends(text("begin"))
			select {
			case <-may:
			case <-time.After(patience):
				require.FailNow(t, "the listener does not call read")
			}
			then(p)
			select {
			case <-done:
			case <-time.After(patience):
				require.FailNow(t, "the listener does not return")
			}
		})
	}
}

// bulk is more than the kernel has room for on a slow place, in bytes.
const bulk = 256 << 10

func TestWriteInAListener(t *testing.T) {
	whileListening(t, func(t *testing.T, s *edgews.Socket, read func()) {
		assert.NoError(t, s.SendBytes(make([]byte, bulk)))
		read()
		for range 4 {
			assert.NoError(t, s.Write(within(t), edgews.Binary, make([]byte, 64<<10)))
		}
	}, func(p *peer) {
		require.Len(p.t, p.next().payload, bulk)
		for range 4 {
			require.Len(p.t, p.next().payload, 64<<10)
		}
	})
}

func TestFlushInAListener(t *testing.T) {
	whileListening(t, func(t *testing.T, s *edgews.Socket, read func()) {
		assert.NoError(t, s.SendBytes(make([]byte, bulk)))
		read()
		assert.NoError(t, s.Flush(within(t)))
	}, func(p *peer) { require.Len(p.t, p.next().payload, bulk) })
}

func TestRoomAgainInAListener(t *testing.T) {
	whileListening(t, func(t *testing.T, s *edgews.Socket, read func()) {
		assert.NoError(t, s.SendBytes(make([]byte, bulk)))
		assert.ErrorIs(t, s.Send("no room"), edgews.ErrBufferFull)
		read()
		for ctx := within(t); s.Send("room again") != nil; {
			if !assert.NoError(t, ctx.Err(), "there is no room again") {
				return
			}
			<-time.After(time.Millisecond)
		}
	}, func(p *peer) {
		require.Len(p.t, p.next().payload, bulk)
		p.expects(text("room again"))
	})
}

// What other goroutines send is written while a listener blocks.
func TestOthersSendWhileAListenerBlocks(t *testing.T) {
	whileListening(t, func(t *testing.T, s *edgews.Socket, read func()) {
		sent := make(chan error)
		go func() {
			ctx := within(t)
			err := s.Write(ctx, edgews.Binary, make([]byte, bulk))
			ponged := make(chan struct{})
			go func() {
				s.Ping(ctx) // ends with the socket
				close(ponged)
			}()
			read()
			err = errors.Join(err, s.Write(ctx, edgews.Text, []byte("behind it")), s.Flush(ctx), s.Close(1000, "bye"))
			sent <- err
			<-ponged
		}()
		assert.NoError(t, <-sent)
	}, func(p *peer) {
		var got []byte
		for f := p.next(); f.opcode != 8; f = p.next() {
			got = append(got, '0'+f.opcode)
		}
		require.Contains(p.t, []string{"291", "219"}, string(got), "the large message, a ping, and a small one")
		p.hangsUp()
	})
}

func TestWriteInTheCloseListenerOfAHalfOpenSocket(t *testing.T) {
	for _, where := range slowPlaces {
		t.Run(where.name, func(t *testing.T) {
			s, p := where.serverAndPeer(t, noTimeouts)
			filled := make(chan struct{})
			s.OnClose(func(edgews.CloseEvent) {
				assert.NoError(t, s.SendBytes(make([]byte, bulk)))
				close(filled)
				assert.NoError(t, s.Write(within(t), edgews.Text, []byte("after Close")))
				assert.NoError(t, s.Flush(within(t)))
				assert.NoError(t, s.Close(1000, "done"))
			})
			require.NoError(t, s.AcceptHalfOpen())
			p.sends(closing(1000, "done"))
			<-filled
			require.Len(t, p.next().payload, bulk)
			p.expects(text("after Close"), closing(1000, "done"))
			p.hangsUp()
			waitDone(t, s)
		})
	}
}

// The same works for dialed sockets.
func TestWriteInAListenerOfADialedSocket(t *testing.T) {
	for _, where := range slowPlaces {
		t.Run(where.name, func(t *testing.T) {
			client, server := where.connect(t, noTimeouts)
			filled, large := make(chan struct{}), make([]byte, 1<<20)
			rand.Read(large) // incompressible
			client.OnMessage(func(edgews.MessageEvent) {
				assert.NoError(t, client.SendBytes(large))
				close(filled)
				assert.NoError(t, client.Write(within(t), edgews.Text, []byte("behind it")))
				assert.NoError(t, client.Flush(within(t)))
			})
			require.NoError(t, client.Accept())
			require.NoError(t, client.Send("ready"))
			require.NoError(t, client.Flush(within(t))) // the outbox is empty before the large message
			_, err := server.Receive(within(t))         // the server now pauses reading until it is asked for a message
			require.NoError(t, err)
			require.NoError(t, server.Write(t.Context(), edgews.Text, nil))
			<-filled
			for range 2 {
				_, err := server.Receive(within(t))
				require.NoError(t, err)
			}
		})
	}
}
