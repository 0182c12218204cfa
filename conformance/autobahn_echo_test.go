package conformance

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/require"
)

// echoStyle is a way to receive messages and send them back.
type echoStyle struct {
	name      string
	echo      func(s *edgews.Socket) // returns at once
	fragments bool                   // it sends fragments
}

// echoStyles are all ways in which an application can receive. Every case has to pass with each of them.
var echoStyles = []echoStyle{
	{"listener", echoFromListener, false},
	{"receive", func(s *edgews.Socket) { go echoReceived(s) }, false},
	{"messages", func(s *edgews.Socket) { go echoMessages(s) }, false},
	{"reader", func(s *edgews.Socket) { go echoStreams(s) }, true},
}

func echoFromListener(s *edgews.Socket) {
	s.OnMessage(func(e edgews.MessageEvent) {
		if e.Kind == edgews.Text {
			_ = s.Send(e.Text())
		} else {
			_ = s.SendBytes(e.Data)
		}
	})
	s.OnClose(func(edgews.CloseEvent) {}) // without a listener the close event would be delayed
	_ = s.Accept()
}

func echoReceived(s *edgews.Socket) {
	ctx := context.Background()
	for {
		m, err := s.Receive(ctx)
		if err != nil || s.Write(ctx, m.Kind, m.Data) != nil {
			return
		}
	}
}

func echoMessages(s *edgews.Socket) {
	ctx := context.Background()
	for m, err := range s.Messages(ctx) {
		if err != nil || s.Write(ctx, m.Kind, m.Data) != nil {
			return
		}
	}
}

func echoStreams(s *edgews.Socket) {
	for echoStream(context.Background(), s) == nil {
	}
}

// echoStream sends a message back while it is received.
func echoStream(ctx context.Context, s *edgews.Socket) error {
	kind, r, err := s.NextReader(ctx)
	if err != nil {
		return err
	}
	w, err := s.NextWriter(ctx, kind)
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, r); err != nil {
		return err
	}
	return w.Close()
}

// subjects are edgews in each role, with each style.
func subjects(t testing.TB, opts edgews.Options) map[string]subject {
	all := make(map[string]subject)
	for _, style := range echoStyles {
		all["server/"+style.name] = newEchoServer(t, style, &edgews.UpgradeOptions{Options: opts})
		all["client/"+style.name] = newEchoClient(t, style, &edgews.DialOptions{Options: opts})
	}
	return all
}

// echoServer is an edgews server that echoes. It provides its sockets, so that a test can check how they end.
type echoServer struct {
	*httptest.Server
	style   echoStyle
	sockets chan *edgews.Socket
}

func newEchoServer(t testing.TB, style echoStyle, opts *edgews.UpgradeOptions) *echoServer {
	e := &echoServer{style: style, sockets: make(chan *edgews.Socket, 1000)}
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := edgews.Upgrade(w, r, opts)
		if err != nil {
			t.Error(err)
			return
		}
		e.sockets <- s
		style.echo(s)
	}))
	t.Cleanup(e.Close)
	return e
}

func (e *echoServer) addr() string { return strings.TrimPrefix(e.URL, "http://") }

// subject is the edgews side of a case: an echo server, or a client that echoes.
type subject interface {
	// connect opens a connection and returns the raw peer and the edgews socket. extensions is the peer's offer or answer.
	connect(t testing.TB, extensions string) (*rawPeer, *edgews.Socket)
}

func (e *echoServer) connect(t testing.TB, extensions string) (*rawPeer, *edgews.Socket) {
	p := dialRaw(t, e.addr(), extensions)
	p.joins = e.style.fragments
	return p, <-e.sockets
}

// echoClient is an edgews client that echoes.
type echoClient struct {
	l     net.Listener
	style echoStyle
	opts  *edgews.DialOptions
}

func newEchoClient(t testing.TB, style echoStyle, opts *edgews.DialOptions) *echoClient {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	return &echoClient{l, style, opts}
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
	p.joins = e.style.fragments
	d := <-done
	require.NoError(t, d.err)
	e.style.echo(d.s)
	return p, d.s
}
