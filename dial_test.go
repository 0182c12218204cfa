package edgews

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews/internal/handshake"
)

// originServer answers every connection by hand and returns its address. answer gets the head of the request.
func originServer(t *testing.T, answer func(p *rawPeer, head string)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			p := newRawPeer(t, conn)
			go func() {
				if head, ok := readHead(p.r); ok {
					answer(p, head)
				}
			}()
		}
	}()
	return ln.Addr().String()
}

// readHead is rawPeer.head for goroutines that may not fail the test.
func readHead(r *bufio.Reader) (string, bool) {
	var head strings.Builder
	for !strings.HasSuffix(head.String(), "\r\n\r\n") {
		line, err := r.ReadString('\n')
		if err != nil {
			return "", false
		}
		head.WriteString(line)
	}
	return head.String(), true
}

// switching returns a correct 101 to the request head, with more header lines.
func switching(head string, lines ...string) string {
	_, key, _ := strings.Cut(head, "\r\nSec-WebSocket-Key: ")
	key, _, _ = strings.Cut(key, "\r\n")
	lines = append([]string{"HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade",
		"Sec-WebSocket-Accept: " + handshake.AcceptFor(key)}, lines...)
	return strings.Join(lines, "\r\n") + "\r\n\r\n"
}

// testContext ends a broken test.
func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), testPatience)
	t.Cleanup(cancel)
	return ctx
}

// mustDial dials and closes the connection at the end of the test.
func mustDial(t *testing.T, url string, opts *DialOptions) (wireConfig, *http.Response) {
	t.Helper()
	c, resp, err := dial(testContext(t), url, opts)
	require.NoError(t, err)
	t.Cleanup(func() { c.conn.Close() })
	return c, resp
}

// echo upgrades every request and sends the bytes back as they come.
func echo(opts *UpgradeOptions) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := upgrade(w, r, opts)
		if err != nil {
			return
		}
		go func() {
			defer c.conn.Close()
			io.Copy(c.conn, io.MultiReader(bytes.NewReader(c.buffered), c.conn))
		}()
	})
}

// assertEchoes says hi.
func assertEchoes(t *testing.T, c wireConfig) {
	t.Helper()
	_, err := c.conn.Write(maskedHi)
	require.NoError(t, err)
	assert.Equal(t, maskedHi, readN(t, c, len(maskedHi)))
}

func TestDialRequest(t *testing.T) {
	heads := make(chan string, 1)
	addr := originServer(t, func(p *rawPeer, head string) {
		heads <- head
		io.WriteString(p, switching(head))
	})
	c, resp := mustDial(t, "ws://user:pass@"+addr+"/chat?room=1", &DialOptions{
		Protocols: []string{"b", "a"},
		Header: http.Header{
			"X-Room": {"1"}, "Host": {"example.com"}, "Origin": {"https://example.com"},
			// c-fetch-own-key
			"Sec-Websocket-Key": {"own"}, "Sec-WebSocket-Version": {"7"}, "Connection": {"close"}, "upgrade": {"h2c"},
		},
	})
	assert.Equal(t, 101, resp.StatusCode)
	assert.Equal(t, http.NoBody, resp.Body)
	assert.True(t, c.client)
	assert.Equal(t, "ws://user:pass@"+addr+"/chat?room=1", c.url)
	assert.Empty(t, c.protocol)
	assert.Empty(t, c.extensions)
	assert.IsType(t, (*net.TCPConn)(nil), c.conn, "the bare connection")

	head := <-heads
	assert.True(t, strings.HasPrefix(head, "GET /chat?room=1 HTTP/1.1\r\nHost: example.com\r\n"), head)
	for _, line := range []string{
		"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Protocol: b, a",
		"X-Room: 1", "Origin: https://example.com", "Authorization: Basic dXNlcjpwYXNz",
	} {
		assert.Contains(t, head, "\r\n"+line+"\r\n")
	}
	for _, name := range []string{"connection:", "upgrade:", "sec-websocket-key:", "sec-websocket-version:", "host:"} {
		assert.Equal(t, 1, strings.Count(strings.ToLower(head), "\r\n"+name), name)
	}
	assert.Contains(t, head, "\r\nSec-WebSocket-Extensions: permessage-deflate")
	_, key, _ := strings.Cut(head, "Sec-WebSocket-Key: ")
	assert.True(t, handshake.ValidKey(key[:24]), key)
}

func TestDialChosen(t *testing.T) {
	for _, tt := range []struct {
		name                 string
		opts                 DialOptions
		line                 string
		protocol, extensions string
	}{
		{"c-proto-agreed", DialOptions{Protocols: []string{"a", "chat"}}, "Sec-WebSocket-Protocol: chat", "chat", ""},
		{"c-ext-accepted", DialOptions{}, "Sec-WebSocket-Extensions: permessage-deflate", "", "permessage-deflate"},
		{"lower-case names", DialOptions{Protocols: []string{"a"}}, "sec-websocket-protocol: a", "a", ""},
		{"empty extensions", DialOptions{Options: Options{Compression: &Compression{Disable: true}}}, "Sec-WebSocket-Extensions:", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr := originServer(t, func(p *rawPeer, head string) { io.WriteString(p, switching(head, tt.line)) })
			c, _ := mustDial(t, "ws://"+addr, &tt.opts)
			assert.Equal(t, tt.protocol, c.protocol)
			assert.True(t, strings.HasPrefix(c.extensions, tt.extensions), c.extensions)
			assert.Equal(t, tt.extensions != "", c.deflate != nil)
		})
	}
}

// status is an answer without an upgrade.
func statusLine(line string, lines ...string) func(string) string {
	return func(string) string {
		return "HTTP/1.1 " + line + "\r\nContent-Length: 4\r\n" + strings.Join(append(lines, ""), "\r\n") + "\r\nnope"
	}
}

// replacing is a 101 with one piece replaced.
func replacing(old, new string) func(string) string {
	return func(head string) string { return strings.Replace(switching(head), old, new, 1) }
}

// adding is a 101 with one more line.
func adding(line string) func(string) string {
	return func(head string) string { return switching(head, line) }
}

func TestDialRefusesAnswers(t *testing.T) {
	plain := DialOptions{Options: Options{Compression: &Compression{Disable: true}}}
	for _, tt := range []struct {
		name   string
		opts   DialOptions
		answer func(head string) string
		status int
		want   string
	}{
		{"c-status-400", DialOptions{}, statusLine("400 Bad Request"), 400, "expected status 101, but received 400"},
		{"c-status-404", DialOptions{}, statusLine("404 Not Found"), 404, "expected status 101, but received 404"},
		{"c-status-500", DialOptions{}, statusLine("500 Oops"), 500, "expected status 101, but received 500"},
		{"302 without a Location", DialOptions{}, statusLine("302 Found"), 302, "expected status 101, but received 302"},
		{"200", DialOptions{}, statusLine("200 OK", "Upgrade: websocket", "Connection: Upgrade"), 200, "but received 200"},
		{"c-bad-accept", DialOptions{}, replacing("Accept: ", "Accept: x"), 101, `expected Sec-WebSocket-Accept "`},
		{"no accept", DialOptions{}, replacing("Accept", "Except"), 101, `but received ""`},
		{"two accepts", DialOptions{}, replacing("Sec-WebSocket-Accept", "Sec-WebSocket-Accept: x\r\nSec-WebSocket-Accept"), 101, "expected Sec-WebSocket-Accept"},
		{"c-no-upgrade", DialOptions{}, replacing("Upgrade: websocket\r\n", ""), 101, `expected "Upgrade: websocket", but received ""`},
		{"other upgrade", DialOptions{}, replacing("websocket", "h2c, websocket"), 101, `but received "h2c, websocket"`},
		{"no Connection", DialOptions{}, replacing("Connection: Upgrade\r\n", ""), 101, `expected "Connection: Upgrade", but received ""`},
		{"c-proto-unasked", DialOptions{}, adding("Sec-WebSocket-Protocol: chat"), 101, `but received "chat"`},
		{"another protocol", DialOptions{Protocols: []string{"a"}}, adding("Sec-WebSocket-Protocol: chat"), 101, `expected one of the subprotocols ["a"] or none, but received "chat"`},
		{"other case", DialOptions{Protocols: []string{"chat"}}, adding("Sec-WebSocket-Protocol: Chat"), 101, `but received "Chat"`},
		{"c-proto-two-chosen", DialOptions{Protocols: []string{"a", "b"}}, adding("Sec-WebSocket-Protocol: a, b"), 101, `but received "a, b"`},
		{"two protocol lines", DialOptions{Protocols: []string{"a", "b"}}, adding("Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: b"), 101, `but received "a, b"`},
		{"c-ext-unknown", DialOptions{}, adding("Sec-WebSocket-Extensions: x-unknown"), 101, "x-unknown"},
		{"c-ext-bad-param", DialOptions{}, adding("Sec-WebSocket-Extensions: permessage-deflate; bogus"), 101, ""},
		{"c-ext-accepted@nocomp", plain, adding("Sec-WebSocket-Extensions: permessage-deflate"), 101, `expected no extension, but received "permessage-deflate"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			closed := make(chan error, 1)
			addr := originServer(t, func(p *rawPeer, head string) {
				io.WriteString(p, tt.answer(head))
				_, err := p.r.ReadByte()
				closed <- err
			})
			// A client of its own, so that the idle connection of a complete answer can be closed.
			transport := new(http.Transport)
			tt.opts.HTTPClient = &http.Client{Transport: transport}
			s, resp, err := Dial(testContext(t), "ws://"+addr, &tt.opts)
			assert.Nil(t, s)
			require.NotNil(t, resp)
			assert.Equal(t, tt.status, resp.StatusCode)

			var e *HandshakeError
			require.ErrorAs(t, err, &e)
			assert.Equal(t, tt.status, e.StatusCode)
			assert.Contains(t, e.Detail, tt.want)

			body, err := io.ReadAll(resp.Body)
			assert.NoError(t, err)
			if tt.status != 101 {
				assert.Equal(t, "nope", string(body))
			}
			transport.CloseIdleConnections()
			assert.Equal(t, io.EOF, <-closed, "the connection is let go")
		})
	}
}

func TestDialKeepsTheBeginningOfARefusal(t *testing.T) {
	addr := originServer(t, func(p *rawPeer, _ string) {
		io.WriteString(p, "HTTP/1.1 503 Busy\r\n\r\n"+strings.Repeat("x", 10_000)) // and never ends
	})
	_, resp, err := Dial(testContext(t), "ws://"+addr, nil)
	require.Error(t, err)
	body, err := io.ReadAll(resp.Body)
	assert.NoError(t, err)
	assert.Len(t, body, maxSavedBody)
}

func TestDialWithoutAnAnswer(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer func(p *rawPeer)
		want   string
	}{
		{"c-garbage", func(p *rawPeer) { io.WriteString(p, "SSH-2.0-OpenSSH_9.9\r\n\r\n") }, "malformed HTTP"},
		{"c-early-fin", func(p *rawPeer) { p.Close() }, "EOF"},
		{"c-early-rst", func(p *rawPeer) { p.Conn.(*net.TCPConn).SetLinger(0); p.Close() }, "reset"},
		{"half an answer", func(p *rawPeer) { io.WriteString(p, "HTTP/1.1 101 Swi"); p.Close() }, "EOF"},
		{"endless header", func(p *rawPeer) {
			io.WriteString(p, "HTTP/1.1 101 Switching Protocols\r\n")
			for p.Conn != nil {
				if _, err := io.WriteString(p, "X: "+strings.Repeat("x", 1<<16)+"\r\n"); err != nil {
					return
				}
			}
		}, "exceeded"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr := originServer(t, func(p *rawPeer, _ string) { tt.answer(p) })
			s, resp, err := Dial(testContext(t), "ws://"+addr, nil)
			assert.Nil(t, s)
			assert.Nil(t, resp)
			var e *HandshakeError
			require.ErrorAs(t, err, &e)
			assert.Zero(t, e.StatusCode)
			assert.Contains(t, err.Error(), tt.want)
			var cause *url.Error
			assert.ErrorAs(t, err, &cause)
		})
	}
}

func TestDialRefused(t *testing.T) {
	_, _, err := Dial(testContext(t), "ws://"+freeAddr(t), nil)
	assert.ErrorContains(t, err, "refused")
}

func TestDialArguments(t *testing.T) {
	for _, tt := range []struct {
		url  string
		opts DialOptions
		want string
	}{
		{"", DialOptions{}, "the url is invalid"},
		{"/relative", DialOptions{}, "the url is invalid"},
		{"ws://", DialOptions{}, "the url is invalid"},
		{"ws://%zz", DialOptions{}, "the url is invalid"},
		{"ftp://host", DialOptions{}, `the url scheme must be ws, wss, http or https: it is "ftp"`},
		{"ws://host/#top", DialOptions{}, "the url fragment must be empty"},
		{"ws://host/#", DialOptions{}, "the url fragment must be empty"},
		{"ws://host", DialOptions{Protocols: []string{""}}, `the protocol header token is invalid: ""`},
		{"ws://host", DialOptions{Header: http.Header{"Sec-Websocket-Protocol": {"x"}}}, "in Protocols"},
		{"ws://host", DialOptions{Header: http.Header{"sec-websocket-extensions": {"x"}}}, "in Compression"},
	} {
		s, resp, err := Dial(t.Context(), tt.url, &tt.opts)
		assert.Nil(t, s)
		assert.Nil(t, resp)
		assert.ErrorContains(t, err, tt.want, tt.url)
		_, ok := errors.AsType[*HandshakeError](err)
		assert.True(t, ok, tt.url)
	}
}

// c-server-close-now: what comes in the same segment as the 101 is read first, and nothing else is touched.
func TestDialKeepsEarlyFrames(t *testing.T) {
	for _, size := range []int{4, 4000, 100_000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			early := bytes.Repeat(plainHi, size/4)
			more := make(chan struct{})
			addr := originServer(t, func(p *rawPeer, head string) {
				p.Write(append([]byte(switching(head)), early...))
				<-more
				p.Write(plainHi)
			})
			c, _ := mustDial(t, "ws://"+addr, nil)
			assert.True(t, bytes.HasPrefix(early, c.buffered))
			if size == 4 {
				assert.Equal(t, early, c.buffered)
			}
			close(more)
			assert.Equal(t, append(early, plainHi...), readN(t, c, size+4))
		})
	}
}

// A server may send and close before Dial has returned: the frames are received, and then the end.
func TestDialKeepsFramesBeforeAnEarlyEnd(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, refused := handshake.Hijack(w)
		if assert.Nil(t, refused) {
			conn.Write(append(handshake.Respond(r.Header, nil, Options{}.resolve().Compression.want()).Bytes(), plainHi...))
			conn.Close()
		}
	})
	plain, secure := httptest.NewServer(handler), httptest.NewTLSServer(handler)
	defer plain.Close()
	defer secure.Close()
	for _, srv := range []*httptest.Server{plain, secure} {
		c, _ := mustDial(t, srv.URL, &DialOptions{HTTPClient: srv.Client()})
		rest, err := io.ReadAll(io.MultiReader(bytes.NewReader(c.buffered), c.conn))
		assert.NoError(t, err)
		assert.Equal(t, plainHi, rest)
	}
}

func TestDialOverTLS(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, "HTTP/1.1", r.Proto)
		if r.URL.Path == "/page" {
			return
		}
		conn, _, refused := handshake.Hijack(w)
		if !assert.Nil(t, refused) {
			return
		}
		a := handshake.Respond(r.Header, nil, Options{}.resolve().Compression.want())
		conn.Write(append(a.Bytes(), plainHi...)) // one TLS record
		conn.Write(plainHi)                       // a second one, read ahead by TLS itself or not
		go func() { io.Copy(conn, conn); conn.Close() }()
	}))
	srv.StartTLS()
	defer srv.Close()
	c, resp := mustDial(t, srv.URL, &DialOptions{HTTPClient: srv.Client()})
	assert.NotNil(t, resp.TLS)
	assert.IsType(t, (*tls.Conn)(nil), c.conn)
	assert.True(t, bytes.HasPrefix(c.buffered, plainHi))
	assert.Equal(t, append(bytes.Clone(plainHi), plainHi...), readN(t, c, 2*len(plainHi)))
	c.buffered = nil
	assertEchoes(t, c) // the time-out of drain was not final
}

// A client that has an HTTP/2 connection to the host opens a second one with HTTP/1.1.
func TestDialBesideHTTP2(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if IsUpgrade(r) {
			echo(nil).ServeHTTP(w, r)
			return
		}
		io.WriteString(w, r.Proto)
	}))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	resp, err := srv.Client().Get(srv.URL)
	require.NoError(t, err)
	proto, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	require.Equal(t, "HTTP/2.0", string(proto))
	c, _ := mustDial(t, strings.Replace(srv.URL, "https", "wss", 1), &DialOptions{HTTPClient: srv.Client()})
	assertEchoes(t, c)
}

func TestDialThroughAProxy(t *testing.T) {
	handler, tunnels := tunnelProxy(t)
	proxy := httptest.NewServer(handler)
	defer proxy.Close()
	srv := httptest.NewTLSServer(echo(nil))
	defer srv.Close()
	transport := srv.Client().Transport.(*http.Transport).Clone()
	transport.Proxy = through(proxy.URL).Proxy
	c, _ := mustDial(t, "wss://"+srv.Listener.Addr().String(), &DialOptions{HTTPClient: &http.Client{Transport: transport}})
	assertEchoes(t, c)
	assert.Len(t, tunnels, 1)
}

func TestDialSendsAndKeepsCookies(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		cookie, err := r.Cookie("user")
		if assert.NoError(t, err) {
			assert.Equal(t, "ann", cookie.Value)
		}
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "1"})
		echo(nil).ServeHTTP(w, r)
	}))
	defer srv.Close()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	u, err := url.Parse(srv.URL)
	require.NoError(t, err)
	jar.SetCookies(u, []*http.Cookie{{Name: "user", Value: "ann"}})
	mustDial(t, srv.URL, &DialOptions{HTTPClient: &http.Client{Jar: jar}})
	assert.Len(t, jar.Cookies(u), 2)
}

func TestDialFollowsRedirects(t *testing.T) {
	target := httptest.NewServer(echo(&UpgradeOptions{Protocols: []string{"chat"}}))
	defer target.Close()
	for _, scheme := range []string{"ws://", "http://"} {
		addr := originServer(t, func(p *rawPeer, _ string) {
			io.WriteString(p, "HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: "+scheme+target.Listener.Addr().String()+"\r\n\r\n")
		})
		c, resp := mustDial(t, "ws://"+addr, &DialOptions{Protocols: []string{"chat"}})
		assert.Empty(t, c.protocol, "another host is not asked for it")
		assert.Equal(t, target.Listener.Addr().String(), resp.Request.URL.Host)
		assert.Equal(t, target.Listener.Addr(), c.conn.RemoteAddr())
		assertEchoes(t, c)
	}
}

func TestDialRedirectPolicy(t *testing.T) {
	addr := originServer(t, func(p *rawPeer, _ string) {
		io.WriteString(p, "HTTP/1.1 302 Found\r\nContent-Length: 0\r\nConnection: close\r\nLocation: /again\r\n\r\n")
	})
	_, _, err := Dial(testContext(t), "ws://"+addr, nil)
	assert.ErrorContains(t, err, "stopped after 10 redirects")

	mine := errors.New("my policy")
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return mine }}
	_, resp, err := Dial(testContext(t), "ws://"+addr, &DialOptions{HTTPClient: client})
	assert.ErrorIs(t, err, mine)
	assert.Equal(t, 302, resp.StatusCode)
}

func TestDialTimeoutIsOfTheHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		client := &http.Client{Timeout: time.Second, Transport: &http.Transport{
			DialContext: func(context.Context, string, string) (net.Conn, error) { return near, nil },
		}}
		go func() {
			r := bufio.NewReader(far)
			head, _ := readHead(r)
			io.WriteString(far, switching(head))
			io.Copy(far, r)
		}()
		c, _ := mustDial(t, "ws://memory", &DialOptions{HTTPClient: client})
		time.Sleep(time.Hour)
		assertEchoes(t, c)
		assert.Equal(t, time.Second, client.Timeout, "the client is not changed")
	})
}

func TestDialTimesOut(t *testing.T) {
	silent := originServer(t, func(*rawPeer, string) {})
	_, _, err := Dial(testContext(t), "ws://"+silent, &DialOptions{HTTPClient: &http.Client{Timeout: 20 * time.Millisecond}})
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	assert.ErrorContains(t, err, "HTTPClient.Timeout of 20ms exceeded")
}

func TestDialContext(t *testing.T) {
	arrived := make(chan struct{}, 1)
	silent := originServer(t, func(*rawPeer, string) { arrived <- struct{}{} })
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-arrived; cancel() }()
	_, _, err := Dial(ctx, "ws://"+silent, nil)
	assert.ErrorIs(t, err, context.Canceled)

	srv := httptest.NewServer(echo(nil))
	defer srv.Close()
	ctx, cancel = context.WithCancel(t.Context())
	c, resp, err := dial(ctx, srv.URL, nil)
	require.NoError(t, err)
	defer c.conn.Close()
	cancel()
	assertEchoes(t, c)
	assert.NoError(t, resp.Request.Context().Err(), "a RoundTripper that watches its request sees nothing")
}

func TestDialContextEndsWithTheAnswer(t *testing.T) {
	near, far := net.Pipe()
	memory := inMemory(near).Transport
	ctx, cancel := context.WithCancel(t.Context())
	client := &http.Client{Transport: tripper(func(r *http.Request) (*http.Response, error) {
		resp, err := memory.RoundTrip(r)
		cancel()
		return resp, err
	})}
	_, _, err := Dial(ctx, "ws://memory", &DialOptions{HTTPClient: client})
	assert.ErrorIs(t, err, context.Canceled)
	_, err = far.Read(make([]byte, 1))
	assert.ErrorIs(t, err, io.EOF, "the connection is closed")
}

func TestDialReturnsASocket(t *testing.T) {
	addr := originServer(t, func(p *rawPeer, head string) { io.WriteString(p, switching(head)) })
	s, resp, err := Dial(testContext(t), "ws://"+addr, nil)
	require.NoError(t, err)
	defer s.Close(0, "")
	assert.Equal(t, 101, resp.StatusCode)
	assert.Equal(t, "ws://"+addr, s.URL())
}

// tripper answers in memory.
type tripper func(*http.Request) (*http.Response, error)

func (t tripper) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }

// inMemory returns a client whose server is the far end of the pipe.
func inMemory(body io.ReadCloser) *http.Client {
	return &http.Client{Transport: tripper(func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 101, Body: body, Request: r, Header: http.Header{
			"Upgrade": {"websocket"}, "Connection": {"upgrade"}, handshake.AcceptHeader: {handshake.AcceptFor(handshake.Values(r.Header, handshake.KeyHeader)[0])},
		}}, nil
	})}
}

func TestDialOtherRoundTrippers(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	c, _ := mustDial(t, "ws://memory", &DialOptions{HTTPClient: inMemory(near)})
	assert.Same(t, near, c.conn)

	c, _ = mustDial(t, "ws://memory", &DialOptions{HTTPClient: inMemory(struct{ io.ReadWriteCloser }{near})})
	for _, set := range []func(time.Time) error{c.conn.SetDeadline, c.conn.SetReadDeadline, c.conn.SetWriteDeadline} {
		assert.ErrorIs(t, set(time.Now()), os.ErrNoDeadline)
	}
	assert.Equal(t, "response body", c.conn.RemoteAddr().String())
	assert.Equal(t, "http", c.conn.LocalAddr().Network())
	go far.Write(plainHi)
	assert.Equal(t, plainHi, readN(t, c, len(plainHi)))

	_, _, err := Dial(testContext(t), "ws://memory", &DialOptions{HTTPClient: inMemory(io.NopCloser(near))})
	assert.ErrorContains(t, err, "to which nothing can be written")
}

// countingBody is the body of a RoundTripper that watches what passes, as those for tracing do.
type countingBody struct {
	io.ReadWriteCloser
	read *atomic.Int64
}

func (b countingBody) Read(p []byte) (int, error) {
	n, err := b.ReadWriteCloser.Read(p)
	b.read.Add(int64(n))
	return n, err
}

func TestDialKeepsWrappedBodiesInThePath(t *testing.T) {
	var read atomic.Int64
	addr := originServer(t, func(p *rawPeer, head string) {
		p.Write(append([]byte(switching(head)), plainHi...))
		io.Copy(p, p.r)
	})
	c, _ := mustDial(t, "ws://"+addr, &DialOptions{HTTPClient: &http.Client{Transport: tripper(func(r *http.Request) (*http.Response, error) {
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err == nil {
			resp.Body = countingBody{resp.Body.(io.ReadWriteCloser), &read}
		}
		return resp, err
	})}})
	assert.Equal(t, addr, c.conn.RemoteAddr().String())
	assert.NotEqual(t, addr, c.conn.LocalAddr().String())
	assert.Equal(t, plainHi, readN(t, c, len(plainHi)))
	assertEchoes(t, c)
	assert.EqualValues(t, len(plainHi)+len(maskedHi), read.Load())
	require.NoError(t, c.conn.SetDeadline(time.Now().Add(-time.Second)))
	_, err := c.conn.Read(make([]byte, 1))
	assert.ErrorIs(t, err, os.ErrDeadlineExceeded, "deadlines work")
}

// A net.Conn from the caller's own dialer may ignore deadlines; Dial must not wait for the peer to send.
func TestDialOwnDialer(t *testing.T) {
	srv := httptest.NewServer(echo(nil))
	defer srv.Close()
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		return deafConn{conn}, err
	}}}
	c, _ := mustDial(t, srv.URL, &DialOptions{HTTPClient: client})
	assertEchoes(t, c)
}

// deafConn ignores deadlines.
type deafConn struct{ net.Conn }

func (deafConn) SetDeadline(time.Time) error     { return nil }
func (deafConn) SetReadDeadline(time.Time) error { return nil }

func TestNewWebSocketArguments(t *testing.T) {
	for _, tt := range []struct {
		url       string
		protocols []string
		want      string
	}{
		{"", nil, "the url is invalid"},
		{"example.com", nil, "the url is invalid"},
		{"/chat", nil, "the url is invalid"},
		{"ws://[", nil, "the url is invalid"},
		{"wss://", nil, "the url is invalid"},
		{"http://example.com", nil, `the url scheme must be ws or wss: it is "http"`},
		{"https://example.com", nil, "the url scheme must be ws or wss"},
		{"mailto:a@example.com", nil, "the url scheme must be ws or wss"},
		{"ws://example.com/#a", nil, "the url fragment must be empty"},
		{"ws://example.com/#", nil, "the url fragment must be empty"},
		{"ws://example.com", []string{""}, `the protocol header token is invalid: ""`},
		{"ws://example.com", []string{"a b"}, "the protocol header token is invalid"},
		{"ws://example.com", []string{`a"b`}, "the protocol header token is invalid"},
		{"ws://example.com", []string{"a", "b/c"}, `one of the protocol header tokens is invalid: "b/c"`},
		{"ws://example.com", []string{"a", "b", "a"}, `the protocols header cannot have repeating values: "a"`},
	} {
		s, err := NewWebSocket(tt.url, tt.protocols...)
		assert.Nil(t, s)
		assert.ErrorContains(t, err, tt.want, "%q %q", tt.url, tt.protocols)
		_, ok := errors.AsType[*HandshakeError](err)
		assert.True(t, ok)
	}
}

// heldOrigin answers once release is closed: listeners are there by then.
func heldOrigin(t *testing.T, answer func(p *rawPeer, head string)) (addr string, release func()) {
	held := make(chan struct{})
	return originServer(t, func(p *rawPeer, head string) {
		<-held
		answer(p, head)
	}), func() { close(held) }
}

func TestNewWebSocketOpens(t *testing.T) {
	heads := make(chan string, 1)
	addr, release := heldOrigin(t, func(p *rawPeer, head string) {
		heads <- head
		io.WriteString(p, switching(head, "Sec-WebSocket-Protocol: chat"))
	})
	given := "WS://user:pass@" + addr + "/Path"
	s, err := NewWebSocket(given, "chat", "Chat")
	require.NoError(t, err)
	defer s.Close(0, "")
	assert.Equal(t, given, s.URL())
	opened := make(chan OpenEvent, 1)
	s.OnOpen(func(e OpenEvent) { opened <- e })
	release()
	assert.Same(t, s, (<-opened).Target)
	assert.Equal(t, "chat", s.Protocol())
	head := <-heads
	assert.Contains(t, head, "GET /Path HTTP/1.1")
	assert.Contains(t, head, "Sec-WebSocket-Protocol: chat, Chat\r\n")
	assert.NotContains(t, head, "Authorization", "c-userinfo")
}

func TestNewWebSocketFails(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer func(head string) string
		status int
		want   string
	}{
		{"c-status-301", statusLine("301 Moved", "Location: /elsewhere"), 301, "failed to establish the WebSocket connection: expected status 101, but received 301"},
		{"c-status-302", statusLine("302 Found", "Location: /elsewhere"), 302, "expected status 101, but received 302"},
		{"c-status-404", statusLine("404 Not Found"), 404, "expected status 101, but received 404"},
		{"c-bad-accept", replacing("Accept: ", "Accept: x"), 101, "expected Sec-WebSocket-Accept"},
		{"c-garbage", func(string) string { return "garbage\r\n\r\n" }, 0, "failed to establish the WebSocket connection: no answer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr, release := heldOrigin(t, func(p *rawPeer, head string) { io.WriteString(p, tt.answer(head)) })
			s, err := NewWebSocket("ws://" + addr)
			require.NoError(t, err)
			failed, closed := make(chan ErrorEvent, 1), make(chan CloseEvent, 1)
			s.OnError(func(e ErrorEvent) { failed <- e })
			s.OnClose(func(e CloseEvent) { closed <- e })
			release()
			var e *HandshakeError
			require.ErrorAs(t, (<-failed).Err, &e)
			assert.Equal(t, tt.status, e.StatusCode)
			assert.Contains(t, e.Detail, tt.want)
			end := <-closed
			assert.Equal(t, StatusAbnormalClosure, end.Code)
			assert.Equal(t, "Failed to establish websocket connection", end.Reason)
			assert.False(t, end.WasClean)
		})
	}
}

func TestNewWebSocketGivenUp(t *testing.T) {
	gone := make(chan error, 1)
	arrived := make(chan struct{})
	addr := originServer(t, func(p *rawPeer, _ string) {
		close(arrived)
		_, err := p.r.ReadByte()
		gone <- err
	})
	s, err := NewWebSocket("ws://" + addr)
	require.NoError(t, err)
	<-arrived
	s.Close(0, "")
	assert.Equal(t, io.EOF, <-gone)
}
