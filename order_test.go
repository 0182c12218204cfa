package edgews_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The tests in this file check that frames take effect in the order in which they arrive, for all ways to receive, and that a socket can
// still write after the peer has closed its side.

// styles are the ways to receive from a socket. Each echoes messages until the socket ends.
var styles = map[string]func(s *edgews.Socket){
	"listener":  echoFromListener,
	"half open": echoHalfOpen,
	"receive":   func(s *edgews.Socket) { go echoReceived(s) },
	"messages":  func(s *edgews.Socket) { go echoMessages(s) },
	"reader":    func(s *edgews.Socket) { go echoStreams(s) },
}

func echoFromListener(s *edgews.Socket) {
	s.OnMessage(func(e edgews.MessageEvent) { _ = s.Write(context.Background(), e.Kind, e.Data) })
	_ = s.Accept()
}

// echoHalfOpen echoes messages, and answers the peer's Close frame after 100 ms.
func echoHalfOpen(s *edgews.Socket) {
	s.OnMessage(func(e edgews.MessageEvent) { _ = s.Write(context.Background(), e.Kind, e.Data) })
	s.OnClose(func(e edgews.CloseEvent) {
		time.AfterFunc(100*time.Millisecond, func() { _ = s.Close(e.Code, e.Reason) })
	})
	_ = s.AcceptHalfOpen()
}

func echoReceived(s *edgews.Socket) {
	for {
		m, err := s.Receive(context.Background())
		if err != nil || s.Write(context.Background(), m.Kind, m.Data) != nil {
			return
		}
	}
}

func echoMessages(s *edgews.Socket) {
	for m, err := range s.Messages(context.Background()) {
		if err != nil || s.Write(context.Background(), m.Kind, m.Data) != nil {
			return
		}
	}
}

func echoStreams(s *edgews.Socket) {
	ctx := context.Background()
	for {
		kind, r, err := s.NextReader(ctx)
		if err != nil {
			return
		}
		w, err := s.NextWriter(ctx, kind)
		if err != nil {
			return
		}
		if _, err := io.Copy(w, r); err != nil {
			return
		}
		_ = w.Close()
	}
}

// echoObject returns a handler whose sockets belong to an object that echoes each message after 5 ms.
func echoObject(t testing.TB, opts edgews.Options) http.HandlerFunc {
	n := newRooms(t, nil, func(r *room) {
		r.serve = func(w http.ResponseWriter, req *http.Request) {
			s, err := edgews.Upgrade(w, req, &edgews.UpgradeOptions{Options: opts})
			if assert.NoError(t, err) {
				assert.NoError(t, r.st.AcceptWebSocket(s))
			}
		}
		r.message = func(ctx context.Context, s *edgews.Socket, m edgews.Message) error {
			select {
			case <-ctx.Done():
			case <-time.After(5 * time.Millisecond):
			}
			return s.Write(ctx, m.Kind, m.Data)
		}
	})
	return n.Get(n.IDFromName("x")).ServeHTTP
}

// echoing returns a handler whose sockets echo in the named style: one of styles, or "object".
func echoing(t testing.TB, style string, opts edgews.Options) http.HandlerFunc {
	if style == "object" {
		return echoObject(t, opts)
	}
	return func(w http.ResponseWriter, r *http.Request) {
		s, err := edgews.Upgrade(w, r, &edgews.UpgradeOptions{Options: opts})
		if assert.NoError(t, err) {
			styles[style](s)
		}
	}
}

// styleNames returns the names of styles, and "object".
func styleNames() []string {
	names := []string{"object"}
	for name := range styles {
		names = append(names, name)
	}
	return names
}

// overWrapped is TCP through a net.Conn whose type the library does not know, as with a wrapping net.Listener.
var overWrapped = network{name: "wrapped", real: true, serve: serveWrapped}

type wrappedConn struct{ *net.TCPConn }

// SyscallConn hides TCPConn's method, so that the connection does not move to the event loop.
func (wrappedConn) SyscallConn() {}

type wrappingListener struct{ net.Listener }

func (l wrappingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return wrappedConn{conn.(*net.TCPConn)}, nil
}

func serveWrapped(t testing.TB, handler http.HandlerFunc) (func() net.Conn, string, *http.Client) {
	server := httptest.NewUnstartedServer(handler)
	server.Listener = wrappingListener{server.Listener}
	server.Start()
	t.Cleanup(server.Close)
	return dialer(t, server), server.URL, server.Client()
}

// rawClient connects a raw client to handler.
func (p network) rawClient(t testing.TB, handler http.HandlerFunc, offers ...string) *peer {
	dial, _, _ := p.serve(t, handler)
	conn := dial()
	raw := &peer{t, conn, bufio.NewReader(conn), true}
	raw.upgrades(offers...)
	return raw
}

// expectsMessage is expects for a message that may be fragmented.
func (p *peer) expectsMessage(want aFrame) {
	p.t.Helper()
	got := p.next()
	for whole := &got; whole.bits&fin == 0; {
		next := p.next()
		require.Zero(p.t, next.opcode, "a continuation")
		whole.payload, whole.bits = whole.payload+next.payload, next.bits
	}
	require.Equal(p.t, want.String(), got.String())
	require.True(p.t, want.payload == got.payload, "the payload is not what was sent")
}

// ends are the ways in which a peer ends a socket.
var ends = map[string]struct {
	frame aFrame
	code  int
}{
	"Close":          {closing(4000, "enough"), 4000},
	"unknown opcode": {aFrame{bits: fin, opcode: 3}, 1002},
	"invalid text":   {text("\xff"), 1007},
	"too large":      {text(strings.Repeat("x", 2000)), 1009},
}

// Messages before a Close frame or an invalid frame are answered before the socket ends.
func TestEndBehindMessages(t *testing.T) {
	for name, end := range ends {
		for _, style := range styleNames() {
			for _, where := range []network{overPipe, overTCP, overTLS, overWrapped} {
				t.Run(name+"/"+style, func(t *testing.T) {
					where.run(t, func(t *testing.T, where network) {
						p := where.rawClient(t, echoing(t, style, edgews.Options{MaxMessageSize: 1000}))
						go p.writesAll(p.encode(text("1"), part(text("2"), false), ping("now"), continuation("2", true), text("3"), end.frame))
						p.expectsAmong(pong("now"), text("1"), text("22"), text("3"))
						p.expectsClose(end.code)
						p.hangsUp()
					})
				})
			}
		}
	}
}

// expectsAmong expects messages in that order, and pong at any place among them.
func (p *peer) expectsAmong(pong aFrame, messages ...aFrame) {
	p.t.Helper()
	ponged := false
	for range len(messages) + 1 {
		f := p.next()
		if f.opcode == pong.opcode {
			require.False(p.t, ponged)
			require.Equal(p.t, pong.String(), f.String())
			ponged = true
			continue
		}
		for f.bits&fin == 0 {
			next := p.next()
			if next.opcode == pong.opcode {
				require.Equal(p.t, pong.String(), next.String())
				ponged = true
				continue
			}
			f.payload, f.bits = f.payload+next.payload, next.bits
		}
		require.NotEmpty(p.t, messages, "got %v", f)
		require.Equal(p.t, messages[0].String(), f.String())
		if messages = messages[1:]; len(messages) == 0 && ponged {
			return
		}
	}
}

func TestEndBehindMessagesOfAClient(t *testing.T) {
	for name, end := range ends {
		for style, echo := range styles {
			t.Run(name+"/"+style, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					s, p := clientAndPeer(t, edgews.Options{MaxMessageSize: 1000})
					echo(s)
					go p.writesAll(p.encode(text("1"), text("2"), end.frame))
					p.expectsMessage(text("1"))
					p.expectsMessage(text("2"))
					p.expectsClose(end.code)
					p.hangsUp()
				})
			})
		}
	}
}

func TestCloseBehindMessagesOfAPair(t *testing.T) {
	for style, echo := range styles {
		t.Run(style, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				a, b := edgews.NewPair()
				events := record(t, a)
				require.NoError(t, a.Accept())
				for _, s := range []string{"1", "2", "3"} {
					require.NoError(t, a.Send(s))
				}
				start := time.Now()
				require.NoError(t, a.Close(4000, "enough"))
				echo(b)
				events.wantsEnd(message("1"), message("2"), message("3"), closed(4000, "enough", true))
				assert.LessOrEqual(t, time.Since(start), 100*time.Millisecond)
				waitDone(t, b)
			})
		})
	}
	t.Run("not received", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			a, b := edgews.NewPair()
			events := record(t, a)
			require.NoError(t, a.Accept())
			require.NoError(t, a.Send("1"))
			_, err := b.Receive(t.Context())
			require.NoError(t, err)
			start := time.Now()
			require.NoError(t, a.Close(4000, "enough"))
			time.Sleep(4 * time.Second)
			require.NoError(t, b.Send("still here"))
			events.wantsEnd(message("still here"), closed(4000, "enough", true))
			assert.Less(t, time.Since(start), 5*time.Second)
			waitDone(t, b)
		})
	})
}

// The end of a pair that is accepted after the other end's Close is closed after CloseTimeout, too.
func TestCloseOfAPairThatIsReceivedLate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, b := edgews.NewPair()
		events := record(t, a)
		require.NoError(t, a.Accept())
		require.NoError(t, a.Send("1"))
		require.NoError(t, a.Close(4000, "enough"))
		_, err := b.Receive(t.Context())
		require.NoError(t, err)
		require.NoError(t, b.Send("answer"))
		events.wantsEnd(message("answer"), cut)
		waitDone(t, b)
		assert.ErrorContains(t, b.Err(), "4000")
		assert.ErrorIs(t, b.Send("too late"), edgews.ErrClosed)
	})
}

// The close frame for a rate limit waits until the messages before it have been received.
func TestRateLimitBehindMessages(t *testing.T) {
	withPeer(t, edgews.Options{RateLimit: edgews.RateLimit{Messages: 2}}, func(t *testing.T, s *edgews.Socket, p *peer) {
		go echoReceived(s)
		p.sends(append([]aFrame{text("1"), text("2")}, slices.Repeat([]aFrame{text("3")}, 100)...)...)
		p.expects(text("1"), text("2"))
		f := p.next()
		for f.opcode != 8 { // time may have passed meanwhile
			require.Equal(t, text("3").String(), f.String())
			f = p.next()
		}
		require.Equal(t, closing(1008, "rate limit exceeded").String(), f.String())
		p.hangsUp()
	})
}

// An end waits for a receiver that does not take the messages before it for most of CloseTimeout. Sending works until then.
func TestEndBehindMessagesThatAreNotReceived(t *testing.T) {
	for name, end := range ends {
		for _, taken := range []int{0, 1, 2} {
			t.Run(fmt.Sprintf("%s/%d taken", name, taken), func(t *testing.T) {
				overAPipe(t, edgews.Options{MaxMessageSize: 1000, CloseTimeout: 8 * time.Second}, func(t *testing.T, s *edgews.Socket, p *peer) {
					_, err := receiveFor(s, time.Microsecond)
					require.Error(t, err)
					start := time.Now()
					p.sends(text("1"), text("2"), end.frame)
					for range taken {
						_, err := s.Receive(t.Context())
						require.NoError(t, err)
					}
					time.Sleep(6 * time.Second)
					assert.Equal(t, edgews.Open, s.ReadyState())
					require.NoError(t, s.Send("still here"))
					p.expects(text("still here"))
					p.expectsClose(end.code)
					assert.InDelta(t, 7.5*float64(time.Second), float64(time.Since(start)), float64(time.Second/2))
					assert.ErrorIs(t, s.Send("too late"), edgews.ErrClosed)
					for range 2 - taken {
						_, err := s.Receive(t.Context())
						require.NoError(t, err, "what has arrived can still be received")
					}
					_, err = s.Receive(t.Context())
					require.Error(t, err)
					p.hangsUp()
				})
			})
		}
	}
}

// The peer's Close frame is answered at once if no message waits.
func TestCloseOfASocketThatOnlyWrites(t *testing.T) {
	overAPipe(t, edgews.Options{}, func(t *testing.T, s *edgews.Socket, p *peer) {
		require.NoError(t, s.Write(t.Context(), edgews.Text, []byte("news")))
		p.expects(text("news"))
		start := time.Now()
		p.closesCleanly(1000, "")
		assert.Zero(t, time.Since(start))
	})
}

// After Close, the peer's Close frame does not wait for the messages before it.
func TestOwnCloseEndsTheWaitOfThePeers(t *testing.T) {
	overAPipe(t, edgews.Options{}, func(t *testing.T, s *edgews.Socket, p *peer) {
		_, err := receiveFor(s, time.Microsecond)
		require.Error(t, err)
		p.sends(text("1"), closing(1000, "enough"))
		_, err = s.Receive(t.Context())
		require.NoError(t, err)
		start := time.Now()
		require.NoError(t, s.Close(1001, "me too"))
		p.expects(closing(1001, "me too"))
		waitDone(t, s)
		assert.ErrorContains(t, s.Err(), "1000")
		assert.Zero(t, time.Since(start))
		p.hangsUp()
	})
}

// halfClose closes the peer's side of the connection (TCP FIN, TLS close_notify).
func (p *peer) halfClose() {
	p.t.Helper()
	require.NoError(p.t, p.conn.(interface{ CloseWrite() error }).CloseWrite())
}

// A peer may send FIN right behind its Close frame, as a proxy does that uses HTTP/2 on its other side. It still receives everything.
func TestFinBehindClose(t *testing.T) {
	large := 8 << 20
	if testing.Short() || raceEnabled {
		large = 2 << 20
	}
	for _, size := range []int{2, large} {
		for _, style := range styleNames() {
			for _, where := range []network{overTCP, overTLS, overWrapped} {
				t.Run(fmt.Sprintf("%d bytes/%s/%s", size, style, where.name), func(t *testing.T) {
					opts := edgews.Options{SendBuffer: 16 << 20, WriteTimeout: patience, CloseTimeout: patience}
					opts.Compression = &edgews.Compression{Disable: true}
					p := where.rawClient(t, echoing(t, style, opts))
					message := binaryOf(strings.Repeat("hi", size/2))
					p.sends(message, closing(1000, "bye"))
					p.halfClose()
					p.expectsMessage(message)
					p.expects(closing(1000, "bye"))
					p.expectsEOF()
				})
			}
		}
	}
}

// A message may have any number of fragments.
func TestManyFragments(t *testing.T) {
	frames := []aFrame{part(text("01234"), false)}
	for range 9_998 {
		frames = append(frames, continuation("56789", false))
	}
	frames = append(frames, continuation("", false), continuation("abcde", true))
	want := "01234" + strings.Repeat("56789", 9_998) + "abcde"
	for _, style := range styleNames() {
		for _, where := range []network{overPipe, overTCP, overTLS, overWrapped} {
			t.Run(style, func(t *testing.T) {
				where.run(t, func(t *testing.T, where network) {
					p := where.rawClient(t, echoing(t, style, edgews.Options{}))
					go p.writesAll(p.encode(frames...))
					p.expectsMessage(text(want))
					p.hangsUp()
				})
			})
		}
	}
}

// FIN without a Close frame ends the socket at once.
func TestFinWithoutClose(t *testing.T) {
	for _, where := range []network{overTCP, overTLS, overWrapped} {
		where.run(t, func(t *testing.T, where network) {
			s, p := where.serverAndPeer(t, edgews.Options{CloseTimeout: time.Hour})
			events := record(t, s)
			require.NoError(t, s.Accept())
			p.sends(text("so long"))
			p.halfClose()
			events.wantsEnd(message("so long"), cut)
			p.expectsEOF()
		})
	}
}

// After the peer's Close frame and FIN, CloseTimeout limits an application that does not answer, and WriteTimeout a peer that takes nothing.
func TestFinBehindCloseIsBounded(t *testing.T) {
	for _, where := range []network{overTCP, overTLS, overWrapped} {
		t.Run("no answer/"+where.name, func(t *testing.T) {
			noGoroutinesLeft(t)
			s, p := where.serverAndPeer(t, edgews.Options{CloseTimeout: 200 * time.Millisecond})
			require.NoError(t, s.AcceptHalfOpen())
			p.sends(closing(1000, ""))
			p.halfClose()
			waitDone(t, s)
			p.expectsEOF()
			eventually(t, func() bool { return s.ReadyState() == edgews.Closed }, "closed")
			assert.ErrorIs(t, s.Close(1000, ""), edgews.ErrClosed)
			p.hangsUp()
		})
		t.Run("nothing taken/"+where.name, func(t *testing.T) {
			noGoroutinesLeft(t)
			s, p := where.serverAndPeer(t, edgews.Options{WriteTimeout: 200 * time.Millisecond, CloseTimeout: time.Second, SendBuffer: 64 << 20})
			require.NoError(t, s.Accept())
			require.NoError(t, s.SendBytes(bytes.Repeat([]byte("x"), 32<<20)))
			p.sends(closing(1000, ""))
			p.halfClose()
			waitDone(t, s)
			eventually(t, func() bool { return s.BufferedAmount() == 0 || s.ReadyState() == edgews.Closed }, "given up")
			ctx := within(t)
			require.ErrorIs(t, s.Flush(ctx), edgews.ErrClosed)
			p.hangsUp()
		})
	}
}
