package conformance

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/require"
)

// echo makes s send back what it gets.
func echo(s *edgews.Socket) {
	s.OnMessage(func(e edgews.MessageEvent) {
		if e.Kind == edgews.Text {
			_ = s.Send(e.Text())
		} else {
			_ = s.SendBytes(e.Data)
		}
	})
	s.OnClose(func(edgews.CloseEvent) {}) // or the close event waits a moment for somebody who wants it
	_ = s.Accept()
}

// echoServer is an edgews server that echoes. It hands the sockets out, so that a test can see how they end.
type echoServer struct {
	*httptest.Server
	sockets chan *edgews.Socket
}

func newEchoServer(t testing.TB, opts *edgews.UpgradeOptions) *echoServer {
	e := &echoServer{sockets: make(chan *edgews.Socket, 1000)}
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := edgews.Upgrade(w, r, opts)
		if err != nil {
			t.Error(err)
			return
		}
		e.sockets <- s
		echo(s)
	}))
	t.Cleanup(e.Close)
	return e
}

func (e *echoServer) addr() string { return strings.TrimPrefix(e.URL, "http://") }

// subject is what a raw peer talks to: an edgews echo server, or an edgews client that echoes.
type subject interface {
	// connect returns a peer of a fresh connection and the edgews end of it. extensions is the peer's offer or answer.
	connect(t testing.TB, extensions string) (*rawPeer, *edgews.Socket)
}

func (e *echoServer) connect(t testing.TB, extensions string) (*rawPeer, *edgews.Socket) {
	p := dialRaw(t, e.addr(), extensions)
	return p, <-e.sockets
}

// echoClient is an edgews client that echoes.
type echoClient struct {
	l    net.Listener
	opts *edgews.DialOptions
}

func newEchoClient(t testing.TB, opts *edgews.DialOptions) *echoClient {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	return &echoClient{l, opts}
}

func (e *echoClient) connect(t testing.TB, extensions string) (*rawPeer, *edgews.Socket) {
	type dialed struct {
		s   *edgews.Socket
		err error
	}
	done := make(chan dialed, 1)
	go func() {
		s, _, err := edgews.Dial(context.Background(), "ws://"+e.l.Addr().String(), e.opts)
		done <- dialed{s, err}
	}()
	p := acceptRaw(t, e.l, extensions)
	d := <-done
	require.NoError(t, d.err)
	echo(d.s)
	return p, d.s
}
