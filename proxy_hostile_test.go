package edgews_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// handshakeLines are the lines of an opening handshake behind the request line and Host. sampleAccept answers its key.
const (
	handshakeLines = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + aKey + "\r\n"
	sampleAccept   = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
)

// sendRaw sends raw to a server, and returns the response and what follows.
func sendRaw(t *testing.T, address, raw string) (*http.Response, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	_, err = io.WriteString(conn, raw)
	require.NoError(t, err)
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	require.NoError(t, err)
	return resp, r
}

// answering serves connections by reading a request and writing answer; then it reads to the end.
func answering(t *testing.T, answer string) (address string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					_, _ = io.WriteString(conn, answer)
				}
				_, _ = io.Copy(io.Discard, conn)
			}()
		}
	}()
	return l.Addr().String()
}

// TestProxyRequestTarget: whatever a client writes as the target of its request, it gets to no other path than below that of the target.
func TestProxyRequestTarget(t *testing.T) {
	requests := make(chan *http.Request, 1)
	target := startServer(t, false, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests <- r
		w.WriteHeader(http.StatusTeapot)
	}))
	front := startServer(t, false, edgews.Proxy(target.URL+"/base?own=1", nil))
	for _, c := range []struct{ target, want string }{
		{"/a", "/base/a?own=1"},
		{"/a/?x=1;y=2", "/base/a/?own=1&x=1;y=2"},
		{"/a?x=%zz&&", "/base/a?own=1&x=%zz&&"},
		{"/", "/base/?own=1"},
		{"/a%2fb/%2e", "/base/a%2fb/%2e?own=1"},
		{"http://elsewhere/a", "/base/a?own=1"},
		{"http://me:secret@elsewhere/a", "/base/a?own=1"},
		{"a:http://elsewhere/admin", "/base/?own=1"},
		{"a:admin?x=1", "/base/?own=1&x=1"},
	} {
		for _, lines := range []string{handshakeLines, "Connection: close\r\n"} {
			t.Run(c.target, func(t *testing.T) {
				resp, _ := sendRaw(t, front.Listener.Addr().String(), "GET "+c.target+" HTTP/1.1\r\nHost: x\r\n"+lines+"\r\n")
				assert.Equal(t, http.StatusTeapot, resp.StatusCode)
				select {
				case r := <-requests:
					assert.Equal(t, c.want, r.RequestURI)
					assert.Equal(t, target.Listener.Addr().String(), r.Host)
					assert.Empty(t, r.Header["Authorization"])
				default:
					t.Error("no request")
				}
			})
		}
	}
}

// TestProxyRewriteReplacesTheRequest: Rewrite may set fields of r.Out, and r.Out itself, to other values, as with httputil.ReverseProxy.
func TestProxyRewriteReplacesTheRequest(t *testing.T) {
	target := startServer(t, false, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Host+" "+r.RequestURI+" "+r.Header.Get("X-Forwarded-Proto"))
	}))
	type key struct{}
	for name, rewrite := range map[string]func(*httputil.ProxyRequest){
		"a clone": func(r *httputil.ProxyRequest) {
			r.Out = r.Out.Clone(context.WithValue(r.Out.Context(), key{}, 1))
			r.Out.Host = "other"
			r.Out.URL.Path = "/new"
		},
		"a copy": func(r *httputil.ProxyRequest) {
			r.Out = r.Out.WithContext(context.WithValue(r.Out.Context(), key{}, 1))
			r.Out.Host = "other"
			r.Out.URL = &url.URL{Path: "/new"}
		},
		"no header": func(r *httputil.ProxyRequest) {
			r.Out.Header = nil
			r.Out.Host = "other"
			r.Out.URL.Path = "/new"
		},
		"no URL": func(r *httputil.ProxyRequest) {
			r.Out.Host = "other"
			r.Out.URL = nil
			r.SetXForwarded()
			r.Out.URL = &url.URL{Path: "/new"}
		},
		"a body": func(r *httputil.ProxyRequest) {
			r.Out.Host = "other"
			r.Out.URL.Path = "/new"
			if r.Out.Body == nil {
				r.Out.Body, r.Out.ContentLength = io.NopCloser(strings.NewReader("x")), 1
			}
		},
	} {
		for _, lines := range []string{handshakeLines, "Connection: close\r\n"} {
			t.Run(name, func(t *testing.T) {
				front := startServer(t, false, edgews.Proxy(target.URL, &edgews.ProxyOptions{Rewrite: rewrite}))
				resp, _ := sendRaw(t, front.Listener.Addr().String(), "GET /old HTTP/1.1\r\nHost: x\r\n"+lines+"\r\n")
				body, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				assert.Equal(t, 200, resp.StatusCode)
				assert.Equal(t, "other /new http", string(body))
			})
		}
	}
}

// TestProxyAnswers: what the target answers, correct or not, does not break the answer to the client.
func TestProxyAnswers(t *testing.T) {
	big := string(bytes.Repeat([]byte("0123456789abcdef"), 4<<10))
	for _, c := range []struct {
		name, answer string
		status       int
		behind       string // the 101, or the body
		check        func(t *testing.T, h http.Header)
	}{
		{name: "64 KiB behind the 101", answer: sampleAccept + "\r\n" + big, status: 101, behind: big},
		{name: "Content-Length", answer: sampleAccept + "Content-Length: 3\r\n\r\nabcdef", status: 101, behind: "abcdef", check: func(t *testing.T, h http.Header) {
			assert.Empty(t, h["Content-Length"])
		}},
		{name: "chunked", answer: sampleAccept + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", status: 101, behind: "3\r\nabc\r\n0\r\n\r\n"},
		{name: "informational", answer: "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + sampleAccept + "\r\nabc", status: 101, behind: "abc"},
		{name: "headers of one connection", answer: sampleAccept + "Connection: X-Hop\r\nX-Hop: 1\r\nProxy-Authenticate: x\r\nX-End: 1\r\nKeep-Alive: timeout=5\r\n\r\nabc", status: 101, behind: "abc",
			check: func(t *testing.T, h http.Header) {
				assert.Equal(t, "1", h.Get("X-End"))
				for _, name := range []string{"X-Hop", "Proxy-Authenticate", "Keep-Alive"} {
					assert.Empty(t, h[name], name)
				}
			}},
		{name: "cookies", answer: sampleAccept + "Set-Cookie: a=1\r\nSet-Cookie: b=2; Path=/\r\n\r\n", status: 101, check: func(t *testing.T, h http.Header) {
			assert.Equal(t, []string{"a=1", "b=2; Path=/"}, h["Set-Cookie"])
		}},
		{name: "folded", answer: sampleAccept + "X-Fold: a\r\n b\r\n\r\n", status: 101, check: func(t *testing.T, h http.Header) {
			assert.Equal(t, "a b", h.Get("X-Fold"))
		}},
		{name: "a bare CR", answer: sampleAccept + "X-Bad: a\rX-Injected: b\r\n\r\n", status: 502, behind: "the target of the proxy could not be reached\n"},
		{name: "status 000", answer: "HTTP/1.1 000 Nothing\r\nContent-Length: 1\r\n\r\nx", status: 502, behind: "the target of the proxy could not be reached\n"},
		{name: "status 099", answer: "HTTP/1.1 099 Nothing\r\nContent-Length: 1\r\n\r\nx", status: 502, behind: "the target of the proxy could not be reached\n"},
		{name: "204", answer: "HTTP/1.1 204 No Content\r\n\r\n", status: 204},
		{name: "304", answer: "HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n\r\n", status: 304},
		{name: "unasked protocol", answer: sampleAccept + "Sec-WebSocket-Protocol: a\r\n\r\n", status: 502, behind: "the target of the proxy could not be reached\n"},
		{name: "nothing", answer: "\r\n", status: 502, behind: "the target of the proxy could not be reached\n"},
		{name: "999", answer: "HTTP/1.1 999 Odd\r\nContent-Length: 1\r\n\r\nx", status: 999, behind: "x"},
	} {
		t.Run(c.name, func(t *testing.T) {
			front := startServer(t, false, edgews.Proxy("ws://"+answering(t, c.answer), nil))
			resp, r := sendRaw(t, front.Listener.Addr().String(), "GET / HTTP/1.1\r\nHost: x\r\n"+handshakeLines+"\r\n")
			require.Equal(t, c.status, resp.StatusCode)
			body := io.Reader(r)
			if c.status != 101 {
				body = resp.Body
			}
			got := make([]byte, len(c.behind))
			_, err := io.ReadFull(body, got)
			require.NoError(t, err)
			assert.Equal(t, c.behind, string(got))
			if c.check != nil {
				c.check(t, resp.Header)
			}
		})
		if c.status == 502 && c.name != "unasked protocol" {
			t.Run(c.name+", no handshake", func(t *testing.T) {
				front := startServer(t, false, edgews.Proxy("ws://"+answering(t, c.answer), nil))
				resp, _ := sendRaw(t, front.Listener.Addr().String(), "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
				require.Equal(t, 502, resp.StatusCode)
			})
		}
	}
}

// roundTripper is an http.RoundTripper.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestProxyWithAnOddRoundTripper: a RoundTripper of the program's own may return anything.
func TestProxyWithAnOddRoundTripper(t *testing.T) {
	switching := func(h http.Header) *http.Response {
		h["Upgrade"], h["Connection"], h["Sec-Websocket-Accept"] = []string{"websocket"}, []string{"Upgrade"}, []string{"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="}
		a, b := net.Pipe()
		t.Cleanup(func() { a.Close(); b.Close() })
		return &http.Response{StatusCode: 101, Header: h, Body: a}
	}
	for _, c := range []struct {
		name   string
		resp   func() *http.Response
		status int
	}{
		{"nil", func() *http.Response { return nil }, 502},
		{"nothing", func() *http.Response { return new(http.Response) }, 502},
		{"status 1000", func() *http.Response { return &http.Response{StatusCode: 1000} }, 502},
		{"status -1", func() *http.Response { return &http.Response{StatusCode: -1} }, 502},
		{"no header and no body", func() *http.Response { return &http.Response{StatusCode: 403} }, 403},
		{"101 without a body", func() *http.Response { r := switching(http.Header{}); r.Body = nil; return r }, 502},
		{"101", func() *http.Response { return switching(http.Header{"X-Own": {"a\r\nInjected: 1"}}) }, 101},
		{"a line break in the protocol", func() *http.Response { return switching(http.Header{"Sec-Websocket-Protocol": {"a\r\nInjected: 1"}}) }, 502},
		{"a line break in the extensions", func() *http.Response { return switching(http.Header{"Sec-Websocket-Extensions": {"a\r\nInjected: 1"}}) }, 502},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := &http.Client{Transport: roundTripper(func(*http.Request) (*http.Response, error) { return c.resp(), nil })}
			front := startServer(t, false, edgews.Proxy("ws://target", &edgews.ProxyOptions{HTTPClient: client}))
			resp, _ := sendRaw(t, front.Listener.Addr().String(), "GET / HTTP/1.1\r\nHost: x\r\nSec-WebSocket-Protocol: a\r\nSec-WebSocket-Extensions: a\r\n"+handshakeLines+"\r\n")
			assert.Equal(t, c.status, resp.StatusCode)
			assert.Empty(t, resp.Header["Injected"])
		})
	}
}

// TestProxyInAContextThatEnds: a time-out of middleware is answered as one.
func TestProxyInAContextThatEnds(t *testing.T) {
	silent := answering(t, "")
	for _, lines := range []string{handshakeLines, ""} {
		proxy := edgews.Proxy("ws://"+silent, nil)
		front := startServer(t, false, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), 50*time.Millisecond)
			defer cancel()
			proxy.ServeHTTP(w, r.WithContext(ctx))
		}))
		resp, _ := sendRaw(t, front.Listener.Addr().String(), "GET / HTTP/1.1\r\nHost: x\r\n"+lines+"\r\n")
		assert.Equal(t, http.StatusGatewayTimeout, resp.StatusCode)
	}
}
