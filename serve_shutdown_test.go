package edgews_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// blockingHandler blocks in requests for /block, and then does what the path behind it says.
type blockingHandler struct {
	begun   chan *http.Request
	release chan struct{}
}

func newBlockingHandler() *blockingHandler {
	return &blockingHandler{begun: make(chan *http.Request, 10), release: make(chan struct{})}
}

func (h *blockingHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, blocks := strings.CutPrefix(r.URL.Path, "/block")
	if blocks {
		h.begun <- r
		<-h.release
	}
	behaviours[path](w, r)
}

// Shutdown waits for the requests that are being served, of whatever kind, and for as long as its context lasts.
func TestServeShutdownWaits(t *testing.T) {
	requests := map[string]struct{ request, want string }{
		"a plain request":            {"GET /block/text HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200"},
		"an upgrade":                 {upgradeHead("/block/upgrade"), "HTTP/1.1 101"},
		"an upgrade that is refused": {upgradeHead("/block/error"), "HTTP/1.1 403"},
	}
	for name, c := range requests {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, f serveFunc) {
				h := newBlockingHandler()
				srv := &http.Server{Handler: h}
				s := f.start(t, srv)
				conn := s.dial(t)
				_, err := io.WriteString(conn, c.request)
				require.NoError(t, err)
				r := <-h.begun

				short, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
				defer cancel()
				assert.ErrorIs(t, srv.Shutdown(short), context.DeadlineExceeded)
				assert.ErrorIs(t, s.ends(), http.ErrServerClosed)
				assert.NoError(t, r.Context().Err())

				ended := make(chan error, 1)
				go func() { ended <- srv.Shutdown(context.Background()) }()
				select {
				case <-ended:
					assert.Fail(t, "Shutdown has not waited")
				case <-time.After(20 * time.Millisecond):
				}
				close(h.release)
				assert.Contains(t, readHead(t, bufio.NewReader(conn)), c.want)
				assert.NoError(t, <-ended)
			})
		})
	}
}

// Close cuts the requests that are being served.
func TestServeClose(t *testing.T) {
	for name, request := range map[string]string{
		"a plain request":     "GET /block/text HTTP/1.1\r\nHost: x\r\n\r\n",
		"an upgrade":          upgradeHead("/block/upgrade"),
		"an upgrade, refused": upgradeHead("/block/error"),
		"half a request":      "GET / HT",
		"nothing":             "",
	} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, f serveFunc) {
				for _, afterShutdown := range []bool{false, true} {
					h := newBlockingHandler()
					srv := &http.Server{Handler: h}
					states := newConnStates(srv)
					s := f.start(t, srv)
					conn := s.dial(t)
					_, err := io.WriteString(conn, request)
					require.NoError(t, err)
					if strings.Contains(request, "block") {
						<-h.begun
					} else {
						states.becomes(t, "new")
					}
					if afterShutdown {
						canceled, cancel := context.WithCancel(context.Background())
						cancel()
						srv.Shutdown(canceled)
					}
					assert.NoError(t, srv.Close())
					assert.ErrorIs(t, s.ends(), http.ErrServerClosed)
					_, err = conn.Read(make([]byte, 1))
					var timeout net.Error
					assert.False(t, err == nil || errors.As(err, &timeout) && timeout.Timeout(), "the connection is not closed: %v", err)
					close(h.release)
				}
			})
		})
	}
}

// Shutdown closes connections that have sent no complete request, and idle ones. Sockets live on.
func TestServeShutdownClosesTheRest(t *testing.T) {
	onBoth(t, func(t *testing.T, f serveFunc) {
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { behaviours[r.URL.Path](w, r) })}
		states := newConnStates(srv)
		s := f.start(t, srv)
		called := make(chan struct{})
		srv.RegisterOnShutdown(func() { close(called) })
		socket := s.dial(t)
		_, err := io.WriteString(socket, upgradeHead("/upgrade"))
		require.NoError(t, err)
		states.becomes(t, "new active hijacked")
		r := bufio.NewReader(socket)
		readHead(t, r)
		idle := s.dial(t)
		_, err = io.WriteString(idle, upgradeHead("/error"))
		require.NoError(t, err)
		states.becomes(t, "new active hijacked; new active idle")
		var silent *net.TCPConn
		if f.name == "Serve" { // net/http waits for five seconds
			silent = s.dial(t)
			_, err = io.WriteString(silent, "GET /")
			require.NoError(t, err)
			states.becomes(t, "new active hijacked; new active idle; new")
		}

		assert.NoError(t, srv.Shutdown(context.Background()))
		assert.ErrorIs(t, s.ends(), http.ErrServerClosed)
		<-called
		answer, err := io.ReadAll(idle)
		assert.NoError(t, err)
		assert.Contains(t, string(answer), " 403 ")
		if silent != nil {
			_, err = silent.Read(make([]byte, 1))
			assert.Error(t, err)
			assert.NotErrorIs(t, err, os.ErrDeadlineExceeded)
			states.becomes(t, "new active hijacked; new active idle closed; new active closed")
		}
		_, err = io.WriteString(socket, clientFrames(text("still here")))
		require.NoError(t, err)
		got, err := readFrame(r)
		require.NoError(t, err)
		assert.Equal(t, binaryOf("still here"), got)

		_, err = net.Dial("tcp", s.addr)
		assert.Error(t, err)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		assert.ErrorIs(t, f.serve(l, srv), http.ErrServerClosed)
		assert.Error(t, l.Close(), "Serve closes the listener")
	})
}

// When the program closes the listener, Serve returns its error, and connections live on until Shutdown.
func TestServeListenerClosed(t *testing.T) {
	onBoth(t, func(t *testing.T, f serveFunc) {
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { behaviours[r.URL.Path](w, r) })}
		states := newConnStates(srv)
		s := f.start(t, srv)
		slow, idle := s.dial(t), s.dial(t)
		states.becomes(t, "new; new")
		require.NoError(t, s.l.Close())
		err := s.ends()
		assert.ErrorIs(t, err, net.ErrClosed)
		assert.ErrorContains(t, err, "accept tcp "+s.addr+": use of closed network connection")

		_, err = io.WriteString(slow, upgradeHead("/upgrade")+clientFrames(closing(1000, "")))
		require.NoError(t, err)
		assert.Contains(t, readHead(t, bufio.NewReader(slow)), " 101 ")
		_, err = io.WriteString(idle, upgradeHead("/error"))
		require.NoError(t, err)
		eventually(t, func() bool { return strings.HasPrefix(states.String(), "new active hijacked; new active idle") }, "both are answered")
		require.NoError(t, srv.Shutdown(context.Background()))
		answer, err := io.ReadAll(idle)
		assert.NoError(t, err)
		assert.Contains(t, string(answer), " 403 ")
	})
}

// Also after the program has closed the listener, Shutdown waits for requests, and Close cuts all connections.
func TestServeCloseAfterListenerClosed(t *testing.T) {
	onBoth(t, func(t *testing.T, f serveFunc) {
		h := newBlockingHandler()
		srv := &http.Server{Handler: h}
		states := newConnStates(srv)
		s := f.start(t, srv)
		blocked := s.dial(t)
		_, err := io.WriteString(blocked, upgradeHead("/block/error"))
		require.NoError(t, err)
		r := <-h.begun
		idle := s.dial(t)
		_, err = io.WriteString(idle, upgradeHead("/error"))
		require.NoError(t, err)
		states.becomes(t, "new active; new active idle")
		require.NoError(t, s.l.Close())
		require.ErrorIs(t, s.ends(), net.ErrClosed)

		short, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		defer cancel()
		assert.ErrorIs(t, srv.Shutdown(short), context.DeadlineExceeded)
		assert.NoError(t, r.Context().Err())
		require.NoError(t, srv.Close())
		for _, c := range []*net.TCPConn{idle, blocked} {
			_, err = io.Copy(io.Discard, c)
			assert.NotErrorIs(t, err, os.ErrDeadlineExceeded)
		}
		<-r.Context().Done()
		close(h.release)
	})
}

// Close alone cuts them as well.
func TestServeOnlyCloseAfterListenerClosed(t *testing.T) {
	onBoth(t, func(t *testing.T, f serveFunc) {
		srv := &http.Server{Handler: behaviours["/error"]}
		states := newConnStates(srv)
		s := f.start(t, srv)
		silent := s.dial(t)
		states.becomes(t, "new")
		idle := s.dial(t)
		_, err := io.WriteString(idle, upgradeHead("/error"))
		require.NoError(t, err)
		states.becomes(t, "new; new active idle")
		require.NoError(t, s.l.Close())
		require.ErrorIs(t, s.ends(), net.ErrClosed)
		require.NoError(t, srv.Close())
		for _, c := range []*net.TCPConn{idle, silent} {
			_, err = io.Copy(io.Discard, c)
			assert.NotErrorIs(t, err, os.ErrDeadlineExceeded)
		}
	})
}

// A connection that arrives after the program has closed the listener is not served.
func TestServeNothingAfterListenerClosed(t *testing.T) {
	onBoth(t, func(t *testing.T, f serveFunc) {
		s := f.start(t, &http.Server{Handler: http.HandlerFunc(upgradeAndEcho)})
		_, err := s.exchange(t, upgradeHead("/"))
		require.NoError(t, err)
		require.NoError(t, s.l.Close())
		if c, err := net.Dial("tcp", s.addr); err == nil { // the kernel may still take it
			defer c.Close()
			require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
			_, _ = io.WriteString(c, upgradeHead("/"))
			n, err := c.Read(make([]byte, 1))
			assert.Zero(t, n)
			assert.NotErrorIs(t, err, os.ErrDeadlineExceeded)
		}
		assert.ErrorIs(t, s.ends(), net.ErrClosed)
	})
}

// SetKeepAlivesEnabled also concerns the connections that Serve has handed over.
func TestServeKeepAlivesDisabled(t *testing.T) {
	onBoth(t, func(t *testing.T, f serveFunc) {
		srv := &http.Server{Handler: behaviours["/error"]}
		srv.SetKeepAlivesEnabled(false)
		s := f.start(t, srv)
		c := s.dial(t)
		_, err := io.WriteString(c, upgradeHead("/"))
		require.NoError(t, err)
		answer, err := io.ReadAll(c)
		require.NoError(t, err)
		assert.Contains(t, string(answer), "Connection: close")
	})
}

// ServeTLS serves HTTP/1.1 with upgrades and HTTP/2.
func TestServeTLS(t *testing.T) {
	pair := httptest.NewUnstartedServer(nil)
	pair.StartTLS()
	certificate, roots := pair.TLS.Certificates[0], pair.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	pair.Close()
	srv := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if edgews.IsUpgrade(r) {
				echo(w, r)
				return
			}
			io.WriteString(w, r.Proto)
		}),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}},
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- edgews.ServeTLS(l, srv, "", "") }()
	client := func(proto string) *http.Client {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, NextProtos: []string{proto}}, ForceAttemptHTTP2: proto == "h2"}
		t.Cleanup(transport.CloseIdleConnections)
		return &http.Client{Transport: transport}
	}
	for proto, want := range map[string]string{"h2": "HTTP/2.0", "http/1.1": "HTTP/1.1"} {
		resp, err := client(proto).Get("https://" + l.Addr().String())
		require.NoError(t, err)
		got, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		resp.Body.Close()
		assert.Equal(t, want, string(got))
	}
	s, _, err := edgews.Dial(t.Context(), "wss://"+l.Addr().String(), &edgews.DialOptions{HTTPClient: client("http/1.1")})
	require.NoError(t, err)
	require.NoError(t, s.Write(t.Context(), edgews.Text, []byte("secret")))
	msg, err := s.Receive(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "secret", msg.Text())
	s.Close(edgews.StatusNormalClosure, "")
	<-s.Done()
	require.NoError(t, srv.Shutdown(t.Context()))
	assert.ErrorIs(t, <-ended, http.ErrServerClosed)
}

// HTTP/2 without TLS works if srv.Protocols has it.
func TestServeUnencryptedHTTP2(t *testing.T) {
	onBoth(t, func(t *testing.T, f serveFunc) {
		h := newBlockingHandler()
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Proto", r.Proto)
			h.ServeHTTP(w, r)
		}), Protocols: new(http.Protocols)}
		srv.Protocols.SetHTTP1(true)
		srv.Protocols.SetUnencryptedHTTP2(true)
		states := newConnStates(srv)
		s := f.start(t, srv)
		transport := &http.Transport{Protocols: new(http.Protocols)}
		transport.Protocols.SetUnencryptedHTTP2(true)
		defer transport.CloseIdleConnections()
		client := &http.Client{Transport: transport}
		answered := make(chan *http.Response, 1)
		go func() {
			resp, err := client.Get("http://" + s.addr + "/block/text")
			assert.NoError(t, err)
			answered <- resp
		}()
		<-h.begun
		states.becomes(t, "new active idle active")
		answer, err := s.exchange(t, upgradeHead("/upgrade")+clientFrames(closing(1000, "")))
		require.NoError(t, err)
		assert.Contains(t, answer, " 101 ")
		short, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		defer cancel()
		assert.ErrorIs(t, srv.Shutdown(short), context.DeadlineExceeded)
		close(h.release)
		resp := <-answered
		require.NotNil(t, resp)
		resp.Body.Close()
		assert.Equal(t, "HTTP/2.0", resp.Header.Get("X-Proto"))
		require.NoError(t, srv.Shutdown(context.Background()))
	})
}

// wrappedListener is a listener of a type that Serve does not know.
type wrappedListener struct{ net.Listener }

// For a listener that is not one of TCP, net/http serves everything.
func TestServeOtherListeners(t *testing.T) {
	listen := map[string]func(t *testing.T) net.Listener{
		"wrapped": func(t *testing.T) net.Listener {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			return wrappedListener{l}
		},
		"unix": func(t *testing.T) net.Listener {
			l, err := net.Listen("unix", t.TempDir()+"/s")
			require.NoError(t, err)
			return l
		},
		"IPv6": func(t *testing.T) net.Listener {
			l, err := net.Listen("tcp", "[::1]:0")
			if err != nil {
				t.Skip(err)
			}
			return l
		},
		"every address": func(t *testing.T) net.Listener {
			l, err := net.Listen("tcp", ":0")
			require.NoError(t, err)
			return l
		},
	}
	for name, open := range listen {
		t.Run(name, func(t *testing.T) {
			l := open(t)
			srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("X-Local", r.Context().Value(http.LocalAddrContextKey).(net.Addr).String())
				w.Header().Set("X-Remote", r.RemoteAddr)
				upgradeAndEcho(w, r)
			})}
			ended := make(chan error, 1)
			go func() { ended <- edgews.Serve(l, srv) }()
			c, err := net.Dial(l.Addr().Network(), l.Addr().String())
			require.NoError(t, err)
			defer c.Close()
			require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
			_, err = io.WriteString(c, upgradeHead("/"))
			require.NoError(t, err)
			head := readHead(t, bufio.NewReader(c))
			assert.Contains(t, head, " 101 ")
			assert.Contains(t, head, "X-Local: "+c.RemoteAddr().String()+"\r\n")
			if name != "unix" {
				assert.Contains(t, head, "X-Remote: "+c.LocalAddr().String()+"\r\n")
			}
			require.NoError(t, srv.Close())
			assert.ErrorIs(t, <-ended, http.ErrServerClosed)
		})
	}
}
