package edgews_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/internal/park"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// onBoth runs a test with Serve and with net/http.
func onBoth(t *testing.T, test func(t *testing.T, f serveFunc)) {
	for _, f := range serveFuncs {
		t.Run(f.name, func(t *testing.T) { test(t, f) })
	}
}

// connStates records the states of the connections of a server.
type connStates struct {
	mu     sync.Mutex
	states map[net.Conn][]http.ConnState
	order  []net.Conn
	change chan struct{}
}

func newConnStates(srv *http.Server) *connStates {
	r := &connStates{states: make(map[net.Conn][]http.ConnState), change: make(chan struct{}, 1)}
	srv.ConnState = func(c net.Conn, s http.ConnState) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.states[c] == nil {
			r.order = append(r.order, c)
		}
		r.states[c] = append(r.states[c], s)
		select {
		case r.change <- struct{}{}:
		default:
		}
	}
	return r
}

func (r *connStates) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []string
	for _, c := range r.order {
		all = append(all, strings.Trim(fmt.Sprint(r.states[c]), "[]"))
	}
	return strings.Join(all, "; ")
}

// becomes waits until the connections, in the order in which they have become known, have had the states want.
func (r *connStates) becomes(t *testing.T, want string) {
	t.Helper()
	late := time.After(patience)
	for r.String() != want {
		select {
		case <-r.change:
		case <-late:
			require.Equal(t, want, r.String())
		}
	}
}

func upgradeAndEcho(w http.ResponseWriter, r *http.Request) { behaviours["/upgrade"](w, r) }

// readHead reads a response up to and including the empty line.
func readHead(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	var head strings.Builder
	for {
		line, err := r.ReadString('\n')
		require.NoError(t, err, "after %q", head.String())
		head.WriteString(line)
		if line == "\r\n" {
			return head.String()
		}
	}
}

// A client that sends its request one byte at a time is served.
func TestServeSlowRequest(t *testing.T) {
	onBoth(t, func(t *testing.T, f serveFunc) {
		srv := &http.Server{Handler: http.HandlerFunc(upgradeAndEcho)}
		states := newConnStates(srv)
		s := f.start(t, srv)
		c := s.dial(t)
		states.becomes(t, "new")
		for _, b := range []byte(upgradeHead("/")) {
			_, err := c.Write([]byte{b})
			require.NoError(t, err)
		}
		r := bufio.NewReader(c)
		assert.True(t, strings.HasPrefix(readHead(t, r), "HTTP/1.1 101 "))
		for _, b := range []byte(clientFrames(text("slow"))) {
			_, err := c.Write([]byte{b})
			require.NoError(t, err)
		}
		got, err := readFrame(r)
		require.NoError(t, err)
		assert.Equal(t, binaryOf("slow"), got)
		states.becomes(t, "new active hijacked")
	})
}

// Requests that are not complete have neither a goroutine nor buffers of net/http.
func TestServeHalfOpenCost(t *testing.T) {
	if !park.HasLoop {
		t.Skip("this build has no event loop")
	}
	const n = 200
	srv := &http.Server{Handler: http.HandlerFunc(upgradeAndEcho)}
	states := newConnStates(srv)
	s := serveFuncs[0].start(t, srv)
	first := s.dial(t)
	states.becomes(t, "new")
	goroutines := runtime.NumGoroutine()
	var conns []net.Conn
	for range n {
		c := s.dial(t)
		_, err := io.WriteString(c, upgradeHead("/")[:40])
		require.NoError(t, err)
		conns = append(conns, c)
	}
	states.becomes(t, strings.Repeat("new; ", n)+"new")
	// On a busy machine, goroutines that begin the turns of new connections may still wait for a processor.
	eventually(t, func() bool { return runtime.NumGoroutine() < goroutines+n/4 }, "few goroutines")
	for _, c := range append(conns, first) { // all of them can go on
		request := upgradeHead("/")
		if c != net.Conn(first) {
			request = request[40:]
		}
		_, err := io.WriteString(c, request)
		require.NoError(t, err)
		assert.True(t, strings.HasPrefix(readHead(t, bufio.NewReader(c)), "HTTP/1.1 101 "))
	}
}

// The states that ConnState is told of are those of net/http.
func TestServeConnStates(t *testing.T) {
	plain := "GET /text HTTP/1.1\r\nHost: x\r\n\r\n"
	cases := []struct {
		name, request string
		timeout       bool   // ReadHeaderTimeout is short
		want          string // while the connection is open
		end           string // after the client has closed it
	}{
		{name: "nothing", want: "new", end: "new closed"},
		{name: "part of a head", request: "GET / HT", want: "new", end: "new active closed"},
		{name: "an upgrade", request: upgradeHead("/upgrade"), want: "new active hijacked", end: "new active hijacked"},
		{name: "a hijack", request: upgradeHead("/hijack"), want: "new active hijacked", end: "new active hijacked"},
		{name: "a refused upgrade", request: upgradeHead("/error"), want: "new active idle", end: "new active idle closed"},
		{name: "a refused upgrade, then a request", request: upgradeHead("/error") + plain, want: "new active idle active idle", end: "new active idle active idle closed"},
		{name: "a plain request", request: plain, want: "new active idle", end: "new active idle closed"},
		{name: "two plain requests", request: plain + plain, want: "new active idle active idle", end: "new active idle active idle closed"},
		{name: "a plain request, then an upgrade", request: plain + upgradeHead("/upgrade"), want: "new active idle active hijacked", end: "new active idle active hijacked"},
		{name: "a bad request", request: upgradeHead("/text", "X Y: z"), want: "new active closed", end: "new active closed"},
		{name: "a panic", request: upgradeHead("/panic"), want: "new active closed", end: "new active closed"},
		{name: "closed by the handler", request: upgradeHead("/close"), want: "new active closed", end: "new active closed"},
		{name: "nothing in time", timeout: true, want: "new closed", end: "new closed"},
		{name: "half a head in time", timeout: true, request: "GET / HT", want: "new active closed", end: "new active closed"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, f serveFunc) {
				srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { behaviours[r.URL.Path](w, r) })}
				if c.timeout {
					srv.ReadHeaderTimeout = 50 * time.Millisecond
				}
				states := newConnStates(srv)
				s := f.start(t, srv)
				conn := s.dial(t)
				_, err := io.WriteString(conn, c.request)
				require.NoError(t, err)
				states.becomes(t, c.want)
				require.NoError(t, conn.Close())
				states.becomes(t, c.end)
			})
		})
	}
}

// ReadHeaderTimeout, or ReadTimeout, cuts a connection whose request is not complete in time, also after it has been handed to net/http.
func TestServeHeaderTimeout(t *testing.T) {
	cases := map[string]string{
		"nothing":                    "",
		"half a head":                upgradeHead("/")[:50],
		"half a head of more":        upgradeHead("/", "X-Long: "+strings.Repeat("x", 10<<10))[:10<<10],
		"half a head of another one": "POST / HTTP/1.1\r\nHost: x\r\n",
	}
	for name, request := range cases {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, f serveFunc) {
				for _, srv := range []*http.Server{{ReadHeaderTimeout: 50 * time.Millisecond}, {ReadTimeout: 50 * time.Millisecond}} {
					s := f.start(t, srv)
					c := s.dial(t)
					_, err := io.WriteString(c, request)
					require.NoError(t, err)
					got, err := io.ReadAll(c)
					assert.Empty(t, string(got))
					assert.NoError(t, err)
				}
			})
		})
	}
}

// A client that is slow within the time-out is served, and idle connections are cut after IdleTimeout.
func TestServeIdleTimeout(t *testing.T) {
	onBoth(t, func(t *testing.T, f serveFunc) {
		s := f.start(t, &http.Server{Handler: behaviours["/error"], IdleTimeout: 50 * time.Millisecond, ReadHeaderTimeout: patience})
		c := s.dial(t)
		_, err := io.WriteString(c, upgradeHead("/error"))
		require.NoError(t, err)
		answer, err := io.ReadAll(c)
		require.NoError(t, err)
		assert.Contains(t, string(answer), "403 Forbidden")
		assert.NotContains(t, string(answer), "close")
	})
}

// The context of a request ends when its handler returns, and when the client hangs up before.
func TestServeRequestContext(t *testing.T) {
	onBoth(t, func(t *testing.T, f serveFunc) {
		type key struct{}
		contexts := make(chan context.Context, 1)
		gone := make(chan error, 1)
		srv := &http.Server{
			BaseContext: func(l net.Listener) context.Context {
				return context.WithValue(context.Background(), key{}, "base of "+l.Addr().Network())
			},
			ConnContext: func(ctx context.Context, c net.Conn) context.Context {
				return context.WithValue(ctx, key{}, fmt.Sprint(ctx.Value(key{}), ", connection from ", c.RemoteAddr(), " to ", c.LocalAddr()))
			},
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				contexts <- r.Context()
				if r.URL.Path == "/wait" || r.URL.Path == "/answer" {
					if r.URL.Path == "/answer" {
						http.NewResponseController(w).Flush()
					}
					<-r.Context().Done()
					gone <- context.Cause(r.Context())
				}
			}),
		}
		s := f.start(t, srv)
		c := s.dial(t)
		_, err := io.WriteString(c, upgradeHead("/"))
		require.NoError(t, err)
		readHead(t, bufio.NewReader(c))
		ctx := <-contexts
		assert.Equal(t, fmt.Sprintf("base of tcp, connection from %s to %s", c.LocalAddr(), s.addr), ctx.Value(key{}))
		assert.Same(t, srv, ctx.Value(http.ServerContextKey))
		assert.Equal(t, s.addr, ctx.Value(http.LocalAddrContextKey).(net.Addr).String())
		<-ctx.Done()

		for _, path := range []string{"/wait", "/answer"} {
			for name, hangUp := range map[string]func(*net.TCPConn) error{
				"close":       (*net.TCPConn).Close,
				"close write": (*net.TCPConn).CloseWrite,
				"reset":       func(c *net.TCPConn) error { return errors.Join(c.SetLinger(0), c.Close()) },
			} {
				t.Run(path[1:]+", "+name, func(t *testing.T) {
					c := s.dial(t)
					_, err := io.WriteString(c, upgradeHead(path))
					require.NoError(t, err)
					ctx := <-contexts
					require.NoError(t, ctx.Err())
					require.NoError(t, hangUp(c))
					assert.ErrorIs(t, <-gone, context.Canceled)
				})
			}
			t.Run(path[1:]+", with the request", func(t *testing.T) {
				c := s.dial(t)
				_, err := io.WriteString(c, upgradeHead(path))
				require.NoError(t, err)
				require.NoError(t, c.CloseWrite())
				<-contexts
				assert.ErrorIs(t, <-gone, context.Canceled)
			})
		}
	})
}

// A handler that blocks does not hold up other connections, nor does one that ends its goroutine.
func TestServeHandlersBlock(t *testing.T) {
	onBoth(t, func(t *testing.T, f serveFunc) {
		release := make(chan struct{})
		s := f.start(t, &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/block":
				<-release
			case "/exit":
				runtime.Goexit()
			}
			upgradeAndEcho(w, r)
		})})
		var blocked []*net.TCPConn
		for range 20 {
			c := s.dial(t)
			_, err := io.WriteString(c, upgradeHead("/block"))
			require.NoError(t, err)
			blocked = append(blocked, c)
			exits := s.dial(t)
			_, err = io.WriteString(exits, upgradeHead("/exit"))
			require.NoError(t, err)
			got, err := io.ReadAll(exits)
			assert.Empty(t, got)
			assert.NoError(t, err)
		}
		answer, err := s.exchange(t, upgradeHead("/")+clientFrames(closing(1000, "")))
		require.NoError(t, err)
		assert.Contains(t, answer, " 101 ")
		close(release)
		for _, c := range blocked {
			assert.Contains(t, readHead(t, bufio.NewReader(c)), " 101 ")
		}
	})
}

// wrapper is middleware that has an Unwrap method.
type wrapper struct{ http.ResponseWriter }

func (w wrapper) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// hijackWrapper is middleware that has a Hijack method.
type hijackWrapper struct{ http.ResponseWriter }

func (w hijackWrapper) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return w.ResponseWriter.(http.Hijacker).Hijack()
}

// Middleware works, and so do Stubs.
func TestServeMiddleware(t *testing.T) {
	rooms := edgews.NewNamespace("served rooms", func(context.Context, *edgews.State) (edgews.Object, error) {
		return http.HandlerFunc(upgradeAndEcho), nil
	}, nil)
	t.Cleanup(func() { rooms.Shutdown(context.Background()) })
	handlers := map[string]http.Handler{
		"Unwrap": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { upgradeAndEcho(wrapper{wrapper{w}}, r) }),
		"Hijack": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { upgradeAndEcho(hijackWrapper{w}, r) }),
		"both":   http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { upgradeAndEcho(wrapper{hijackWrapper{w}}, r) }),
		"a Stub": rooms.Get(rooms.IDFromName("one")),
		"TimeoutHandler": http.TimeoutHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			upgradeAndEcho(w, r)
		}), patience, "late"),
	}
	for name, h := range handlers {
		t.Run(name, func(t *testing.T) {
			var answers []string
			onBoth(t, func(t *testing.T, f serveFunc) {
				s := f.start(t, &http.Server{Handler: h})
				c := s.dial(t)
				_, err := io.WriteString(c, upgradeHead("/")+clientFrames(text("a"), closing(1000, "")))
				require.NoError(t, err)
				all, err := io.ReadAll(c)
				if err != nil {
					require.ErrorContains(t, err, "reset")
				}
				answers = append(answers, dateHeader.ReplaceAllString(string(all), ""))
			})
			assert.Equal(t, answers[1], answers[0])
			assert.NotEmpty(t, answers[0])
		})
	}
}

// Pass-through works behind Serve.
func TestServeProxy(t *testing.T) {
	upstream := serveFuncs[0].start(t, &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { behaviours[r.URL.Path](w, r) })})
	onBoth(t, func(t *testing.T, f serveFunc) {
		s := f.start(t, &http.Server{Handler: edgews.Proxy("ws://"+upstream.addr, nil)})
		c := s.dial(t)
		_, err := io.WriteString(c, upgradeHead("/upgrade")+clientFrames(text("early")))
		require.NoError(t, err)
		r := bufio.NewReader(c)
		assert.Contains(t, readHead(t, r), " 101 ")
		for _, message := range []string{"early", "late", strings.Repeat("long ", 100_000)} {
			if message != "early" {
				_, err = io.WriteString(c, clientFrames(text(message)))
				require.NoError(t, err)
			}
			got, err := readFrame(r)
			require.NoError(t, err)
			assert.Equal(t, binaryOf(message), got)
		}
		_, err = io.WriteString(c, clientFrames(closing(1000, "bye")))
		require.NoError(t, err)
		got, err := readFrame(r)
		require.NoError(t, err)
		assert.Equal(t, closing(1000, "bye"), got)
		c = s.dial(t)
		_, err = io.WriteString(c, upgradeHead("/error"))
		require.NoError(t, err)
		assert.Contains(t, readHead(t, bufio.NewReader(c)), " 403 ")
	})
}

// Hijack of a connection that Serve has read returns one that works as net/http's.
func TestServeHijackedConn(t *testing.T) {
	onBoth(t, func(t *testing.T, f serveFunc) {
		taken := make(chan net.Conn, 1)
		s := f.start(t, &http.Server{
			ReadTimeout: 20 * time.Millisecond, WriteTimeout: 20 * time.Millisecond,
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				conn, rw, err := w.(http.Hijacker).Hijack()
				if err != nil {
					panic(err)
				}
				assert.NotNil(t, rw)
				taken <- conn
			}),
		})
		c := s.dial(t)
		_, err := io.WriteString(c, upgradeHead("/"))
		require.NoError(t, err)
		conn := <-taken
		defer conn.Close()
		assert.IsType(t, (*net.TCPConn)(nil), conn)
		assert.Equal(t, c.LocalAddr().String(), conn.RemoteAddr().String())
		assert.Equal(t, s.addr, conn.LocalAddr().String())
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(-time.Second)))
		_, err = conn.Read(make([]byte, 1))
		var timeout net.Error
		require.ErrorAs(t, err, &timeout)
		assert.True(t, timeout.Timeout())
		require.NoError(t, conn.SetReadDeadline(time.Time{}))
		go c.Write([]byte("later"))
		got := make([]byte, 5)
		_, err = io.ReadFull(conn, got)
		require.NoError(t, err)
		assert.Equal(t, "later", string(got))
		_, err = io.Copy(conn, strings.NewReader("back"))
		require.NoError(t, err)
		conn.Close()
		back, err := io.ReadAll(c)
		require.NoError(t, err)
		assert.Equal(t, "back", string(back))
	})
}

// Many connections of every kind leave no descriptor and no goroutine.
func TestServeLeavesNothing(t *testing.T) {
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { behaviours[r.URL.Path](w, r) })}
	states := newConnStates(srv)
	s := serveFuncs[0].start(t, srv)
	_, _ = s.exchange(t, upgradeHead("/error"))
	_, _ = s.exchange(t, upgradeHead("/upgrade")+clientFrames(closing(1000, "")))
	requests := []string{
		"", "GET", upgradeHead("/error"), upgradeHead("/hijack"), upgradeHead("/panic"), upgradeHead("/upgrade"),
		upgradeHead("/upgrade") + clientFrames(text("a"), closing(1000, "")), "GET /text HTTP/1.1\r\nHost: x\r\n\r\n", "nonsense\r\n\r\n",
	}
	fds, goroutines := descriptors(t), runtime.NumGoroutine()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for i := range 100 {
				c := s.dial(t)
				io.WriteString(c, requests[i%len(requests)])
				if i%3 == 0 {
					c.CloseWrite()
					_, err := io.Copy(io.Discard, c)
					assert.NotErrorIs(t, err, os.ErrDeadlineExceeded, requests[i%len(requests)])
				}
				c.Close()
			}
		})
	}
	all.Wait()
	require.NoError(t, srv.Shutdown(context.Background()))
	require.ErrorIs(t, s.ends(), http.ErrServerClosed)
	eventually(t, func() bool { return descriptors(t) <= fds }, "the descriptors are closed")
	eventually(t, func() bool { return runtime.NumGoroutine() <= goroutines }, "the goroutines have ended")
	eventually(t, func() bool {
		states.mu.Lock()
		defer states.mu.Unlock()
		for _, all := range states.states {
			if last := all[len(all)-1]; last != http.StateClosed && last != http.StateHijacked {
				return false
			}
		}
		return true
	}, "ConnState has been told of the end of all connections")
}

// The connection that ConnState gets can be closed, limited and written before a request has arrived.
func TestServeHookedConn(t *testing.T) {
	onBoth(t, func(t *testing.T, f serveFunc) {
		hooks := map[string]struct {
			hook func(net.Conn)
			want string
		}{
			"close":    {func(c net.Conn) { c.Close() }, ""},
			"deadline": {func(c net.Conn) { c.SetReadDeadline(time.Now().Add(20 * time.Millisecond)) }, ""},
		}
		for name, h := range hooks {
			t.Run(name, func(t *testing.T) {
				srv := &http.Server{Handler: http.HandlerFunc(upgradeAndEcho)}
				srv.ConnState = func(c net.Conn, s http.ConnState) {
					if s == http.StateNew {
						h.hook(c)
					}
				}
				s := f.start(t, srv)
				c := s.dial(t)
				got, err := io.ReadAll(c)
				assert.NotErrorIs(t, err, os.ErrDeadlineExceeded)
				assert.Equal(t, h.want, string(got))
			})
		}
	})
}

// descriptors returns how many descriptors the process has open, or 0 if the system does not say.
func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if runtime.GOOS == "linux" {
		require.NoError(t, err)
	}
	return len(entries)
}

// A connection that the program closes while its request is being answered does not make the handler run a second time.
func TestServeHandlerRunsOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, f serveFunc) {
		var mu sync.Mutex
		calls := make(map[string]int)
		active := make(chan net.Conn, 1)
		s := f.start(t, &http.Server{
			ConnState: func(c net.Conn, state http.ConnState) {
				if state == http.StateActive {
					active <- c
				}
			},
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				calls[r.URL.Path]++
				mu.Unlock()
				w.WriteHeader(http.StatusForbidden)
			}),
		})
		for i := range 500 {
			c := s.dial(t)
			_, err := io.WriteString(c, upgradeHead(fmt.Sprint("/", i)))
			require.NoError(t, err)
			conn := <-active
			for range i % 50 * 20 { // the connection is handed over to net/http at some time
				runtime.Gosched()
			}
			conn.Close()
			_, err = io.Copy(io.Discard, c)
			require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
			require.NoError(t, c.Close())
		}
		mu.Lock()
		defer mu.Unlock()
		for path, n := range calls {
			assert.Equal(t, 1, n, path)
		}
	})
}

// After Hijack, the deadlines of http.ResponseController are those of the connection.
func TestServeDeadlinesAfterHijack(t *testing.T) {
	onBoth(t, func(t *testing.T, f serveFunc) {
		done := make(chan error, 1)
		s := f.start(t, &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c := http.NewResponseController(w)
			conn, rw, err := c.Hijack()
			if err != nil {
				done <- err
				return
			}
			defer conn.Close()
			if err = errors.Join(c.SetWriteDeadline(time.Now().Add(patience)), c.SetReadDeadline(time.Now().Add(-time.Second)), c.EnableFullDuplex()); err == nil {
				if _, err = rw.ReadByte(); errors.Is(err, os.ErrDeadlineExceeded) {
					err = nil
				}
			}
			done <- err
		})})
		c := s.dial(t)
		_, err := io.WriteString(c, upgradeHead("/"))
		require.NoError(t, err)
		assert.NoError(t, <-done)
	})
}
