package edgews_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// proxied is a target, and a proxy before it.
type proxied struct {
	target, front *httptest.Server
	client        *http.Client
}

// proxyKinds are the kinds of connection before and behind a proxy.
var proxyKinds = []struct {
	name               string
	frontTLS, upperTLS bool
}{{"tcp-tcp", false, false}, {"tls-tcp", true, false}, {"tcp-tls", false, true}, {"tls-tls", true, true}}

func eachProxy(t *testing.T, target http.Handler, opts *edgews.ProxyOptions, f func(t *testing.T, p *proxied)) {
	for _, k := range proxyKinds {
		t.Run(k.name, func(t *testing.T) { f(t, serveProxied(t, k.frontTLS, k.upperTLS, target, opts)) })
	}
}

func serveProxied(t *testing.T, frontTLS, targetTLS bool, target http.Handler, opts *edgews.ProxyOptions) *proxied {
	p := &proxied{target: startServer(t, targetTLS, target)}
	o := edgews.ProxyOptions{}
	if opts != nil {
		o = *opts
	}
	if o.HTTPClient == nil {
		o.HTTPClient = p.target.Client()
	}
	p.front = startServer(t, frontTLS, edgews.Proxy(p.target.URL, &o))
	p.client = p.front.Client()
	return p
}

func startServer(t *testing.T, overTLS bool, h http.Handler) *httptest.Server {
	s := httptest.NewUnstartedServer(h)
	if overTLS {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s
}

func (p *proxied) dial(t *testing.T, path string, opts *edgews.DialOptions) (*edgews.Socket, *http.Response) {
	t.Helper()
	o := edgews.DialOptions{}
	if opts != nil {
		o = *opts
	}
	o.HTTPClient = p.client
	s, resp, err := edgews.Dial(t.Context(), p.front.URL+path, &o)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close(1000, "") })
	return s, resp
}

// echoTo echoes the messages of a socket, and gives the socket to all.
func echoTo(t *testing.T, opts *edgews.UpgradeOptions, all chan<- *edgews.Socket) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s, err := edgews.Upgrade(w, r, opts)
		if err != nil {
			return
		}
		s.OnMessage(func(m edgews.MessageEvent) { _ = s.Write(context.Background(), m.Kind, m.Data) })
		assert.NoError(t, s.Accept())
		if all != nil {
			all <- s
		}
	}
}

func TestProxyPassesMessages(t *testing.T) {
	eachProxy(t, echoTo(t, nil, nil), nil, func(t *testing.T, p *proxied) {
		for _, disable := range []bool{false, true} {
			s, resp := p.dial(t, "/", &edgews.DialOptions{Options: edgews.Options{Compression: &edgews.Compression{Disable: disable}}})
			assert.Equal(t, disable, resp.Header.Get("Sec-Websocket-Extensions") == "")
			for _, size := range []int{0, 1, 125, 126, 65_535, 65_536, 3 << 20} {
				want := bytes.Repeat([]byte("x1y2"), size/4+1)[:size]
				for _, kind := range []edgews.Kind{edgews.Text, edgews.Binary} {
					require.NoError(t, s.Write(t.Context(), kind, want))
					got, err := s.Receive(t.Context())
					require.NoError(t, err)
					require.Equal(t, kind, got.Kind)
					require.True(t, bytes.Equal(want, got.Data), "%d bytes", size)
				}
			}
			_, err := s.Ping(t.Context())
			require.NoError(t, err)
		}
	})
}

func TestProxyPassesClosesBothWays(t *testing.T) {
	all := make(chan *edgews.Socket, 1)
	eachProxy(t, echoTo(t, nil, all), nil, func(t *testing.T, p *proxied) {
		for _, c := range []edgews.CloseError{{Code: 1000, Reason: "done"}, {Code: 4005, Reason: "over"}, {Code: 1005}, {Code: 1012, Reason: "later"}} {
			for _, fromServer := range []bool{false, true} {
				client, _ := p.dial(t, "/", nil)
				require.NoError(t, client.Accept())
				server := <-all
				from := client
				if fromServer {
					from = server
				}
				code := c.Code
				if code == 1005 {
					code = 0
				}
				require.NoError(t, from.Close(code, c.Reason))
				for _, s := range []*edgews.Socket{client, server} {
					<-s.Done()
					var got *edgews.CloseError
					require.ErrorAs(t, s.Err(), &got)
					assert.Equal(t, edgews.CloseError{Code: c.Code, Reason: c.Reason, WasClean: true}, *got)
				}
			}
		}
	})
}

// TestProxyRequest sends a handshake with all kinds of headers, and looks at the request that the target gets.
func TestProxyRequest(t *testing.T) {
	requests := make(chan *http.Request, 1)
	target := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests <- r
		w.Header().Set("Set-Cookie", "seen=1")
		w.Header().Set("X-From-Target", "yes")
		_, _ = edgews.Upgrade(w, r, &edgews.UpgradeOptions{Protocols: []string{"b", "a"}, InsecureSkipOriginCheck: true})
	})
	header := http.Header{
		"Cookie": {"id=7"}, "Origin": {"https://page.example"}, "X-Own": {"1", "2"}, "X-Forwarded-For": {"6.6.6.6"}, "Forwarded": {"for=6.6.6.6"},
		"Te": {"trailers"}, "Proxy-Authorization": {"Basic x"}, "Authorization": {"Bearer y"}, "User-Agent": {"me"},
	}
	for _, c := range []struct {
		name, base, path string
		rewrite          func(*httputil.ProxyRequest)
		want             string // path and query
		check            func(t *testing.T, p *proxied, r *http.Request)
	}{
		{name: "nothing", path: "/a/b%20c?d=e&f", want: "/a/b%20c?d=e&f", check: func(t *testing.T, p *proxied, r *http.Request) {
			assert.Equal(t, strings.TrimPrefix(p.target.URL, "http://"), r.Host)
			assert.Equal(t, []string{"127.0.0.1"}, r.Header["X-Forwarded-For"])
			assert.Equal(t, []string{strings.TrimPrefix(p.front.URL, "http://")}, r.Header["X-Forwarded-Host"])
			assert.Equal(t, []string{"http"}, r.Header["X-Forwarded-Proto"])
		}},
		{name: "base path", base: "/base?x=1", path: "/a?y=2", want: "/base/a?x=1&y=2"},
		{name: "path", path: "/old", want: "/new?q=1", rewrite: func(r *httputil.ProxyRequest) { r.Out.URL.Path, r.Out.URL.RawQuery = "/new", "q=1" }},
		{name: "host", path: "/", want: "/", rewrite: func(r *httputil.ProxyRequest) { r.Out.Host = r.In.Host },
			check: func(t *testing.T, p *proxied, r *http.Request) {
				assert.Equal(t, strings.TrimPrefix(p.front.URL, "http://"), r.Host)
			}},
		{name: "own X-Forwarded", path: "/", want: "/", rewrite: func(r *httputil.ProxyRequest) {
			r.Out.Header["X-Forwarded-For"] = []string{"1.2.3.4"}
			r.Out.Header["X-Forwarded-Host"] = nil
		}, check: func(t *testing.T, p *proxied, r *http.Request) {
			assert.Equal(t, []string{"1.2.3.4"}, r.Header["X-Forwarded-For"])
			assert.Empty(t, r.Header["X-Forwarded-Host"])
			assert.Equal(t, []string{"http"}, r.Header["X-Forwarded-Proto"])
		}},
		{name: "SetXForwarded", path: "/", want: "/", rewrite: func(r *httputil.ProxyRequest) { r.SetXForwarded() },
			check: func(t *testing.T, p *proxied, r *http.Request) {
				assert.Equal(t, []string{"127.0.0.1"}, r.Header["X-Forwarded-For"])
			}},
		{name: "handshake headers cannot be broken", path: "/", want: "/", rewrite: func(r *httputil.ProxyRequest) {
			r.Out.Header.Del("Sec-Websocket-Key")
			r.Out.Header.Set("Upgrade", "h2c")
			r.Out.Header.Set("Sec-Websocket-Version", "8")
			r.Out.Method = "POST"
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &proxied{target: startServer(t, false, target)}
			p.front = startServer(t, false, edgews.Proxy(strings.Replace(p.target.URL, "http", "ws", 1)+c.base, &edgews.ProxyOptions{Rewrite: c.rewrite}))
			p.client = p.front.Client()
			s, resp := p.dial(t, c.path, &edgews.DialOptions{Header: header, Protocols: []string{"a", "b"}})
			r := <-requests
			assert.Equal(t, c.want, r.URL.RequestURI())
			assert.Equal(t, "GET", r.Method)
			assert.Equal(t, []string{"1", "2"}, r.Header["X-Own"])
			assert.Equal(t, "id=7", r.Header.Get("Cookie"))
			assert.Equal(t, "https://page.example", r.Header.Get("Origin"))
			assert.Equal(t, "Bearer y", r.Header.Get("Authorization"))
			assert.Equal(t, "me", r.Header.Get("User-Agent"))
			for _, name := range []string{"Te", "Proxy-Authorization", "Forwarded"} {
				assert.Empty(t, r.Header[name], name)
			}
			assert.NotContains(t, r.Header["X-Forwarded-For"], "6.6.6.6")
			assert.Equal(t, "b", s.Protocol())
			assert.Equal(t, "seen=1", resp.Header.Get("Set-Cookie"))
			assert.Equal(t, "yes", resp.Header.Get("X-From-Target"))
			assert.Contains(t, s.Extensions(), "permessage-deflate")
			if c.check != nil {
				c.check(t, p, r)
			}
		})
	}
}

// TestProxyWithAnotherTarget: a Rewrite that sets a host chooses the target.
func TestProxyWithAnotherTarget(t *testing.T) {
	other := startServer(t, false, echoTo(t, nil, nil))
	to, err := url.Parse(other.URL)
	require.NoError(t, err)
	front := startServer(t, false, edgews.Proxy("http://127.0.0.1:1/unused", &edgews.ProxyOptions{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) },
	}))
	p := &proxied{front: front, client: front.Client()}
	s, _ := p.dial(t, "/", nil)
	require.NoError(t, s.Write(t.Context(), edgews.Text, []byte("x")))
	m, err := s.Receive(t.Context())
	require.NoError(t, err)
	require.Equal(t, "x", m.Text())
}

// TestProxyPassesRefusals: the client gets what the target has answered instead of 101.
func TestProxyPassesRefusals(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		status int
		body   string
		header map[string]string
	}{
		{"403", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Why", "no")
			http.Error(w, "go away", http.StatusForbidden)
		}, 403, "go away\n", map[string]string{"X-Why": "no"}},
		{"503 with Retry-After", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(http.StatusServiceUnavailable)
		}, 503, "", map[string]string{"Retry-After": "7"}},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) }, 302, "",
			map[string]string{"Location": "/elsewhere"}},
		{"401", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Www-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
		}, 401, "", map[string]string{"Www-Authenticate": `Basic realm="x"`}},
		{"200", func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "a page") }, 200, "a page", nil},
		{"a long body", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(1<<20))
			w.WriteHeader(http.StatusTeapot)
			_, _ = w.Write(make([]byte, 1<<20))
		}, 418, string(make([]byte, 64<<10)), nil},
		{"cut", func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) }, 502, "the target of the proxy could not be reached\n", nil},
		{"a wrong key", func(w http.ResponseWriter, r *http.Request) {
			conn, _, _ := http.NewResponseController(w).Hijack()
			_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n")
			conn.Close()
		}, 502, "the target of the proxy could not be reached\n", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := serveProxied(t, false, false, c.answer, nil)
			_, resp := refusedBy(t, p.front.URL)
			body, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			assert.Equal(t, c.status, resp.StatusCode)
			if c.body != "" {
				assert.Equal(t, c.body, string(body))
			}
			for name, value := range c.header {
				assert.Equal(t, value, resp.Header.Get(name))
			}
			assert.True(t, resp.Close)
		})
	}
}

// refusedBy sends a handshake with net/http, and returns the response to it.
func refusedBy(t *testing.T, url string) (*http.Request, *http.Response) {
	r, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	require.NoError(t, err)
	r.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}}
	resp, err := http.DefaultTransport.RoundTrip(r)
	require.NoError(t, err)
	t.Cleanup(func() { resp.Body.Close() })
	return r, resp
}

func TestProxyWithoutATarget(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and never answers
	require.NoError(t, err)
	defer l.Close()
	silent := edgews.Proxy("http://"+l.Addr().String(), &edgews.ProxyOptions{HTTPClient: &http.Client{Timeout: 50 * time.Millisecond}})
	for _, c := range []struct {
		name   string
		proxy  http.Handler
		status int
		body   string
	}{
		{"nothing listens", edgews.Proxy("ws://127.0.0.1:1", nil), 502, "the target of the proxy could not be reached"},
		{"time-out", silent, 504, "the target of the proxy did not answer in time"},
		{"no URL", edgews.Proxy("::", nil), 500, "the url is invalid"},
		{"a wrong scheme", edgews.Proxy("ftp://x", nil), 500, "the url scheme must be ws, wss, http or https"},
		{"an invalid option", edgews.Proxy("ws://x", &edgews.ProxyOptions{Options: edgews.Options{SendBuffer: -1}}), 500, "ProxyOptions.SendBuffer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, resp := refusedBy(t, startServer(t, false, c.proxy).URL)
			body, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			assert.Equal(t, c.status, resp.StatusCode)
			assert.Contains(t, string(body), c.body)
		})
	}
}

func TestProxyRefusesBadHandshakes(t *testing.T) {
	var asked atomic.Int32
	p := serveProxied(t, false, false, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }), nil)
	r, err := http.NewRequest("GET", p.front.URL, nil)
	require.NoError(t, err)
	r.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"short"}}
	resp, err := http.DefaultTransport.RoundTrip(r)
	require.NoError(t, err)
	resp.Body.Close()
	assert.Equal(t, http.StatusBadRequest, resp.StatusCode)
	assert.Zero(t, asked.Load())
}

// TestProxyPassesOtherRequests: what is no handshake is passed on as by httputil.ReverseProxy.
func TestProxyPassesOtherRequests(t *testing.T) {
	target := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s %s", r.Method, r.URL.RequestURI(), body, r.Header.Get("X-Forwarded-For"))
	})
	rewrite := func(r *httputil.ProxyRequest) { r.Out.URL.Path = "/rewritten" + r.Out.URL.Path }
	eachProxy(t, target, &edgews.ProxyOptions{Rewrite: rewrite}, func(t *testing.T, p *proxied) {
		resp, err := p.client.Post(p.front.URL+"/form?x=1", "text/plain", strings.NewReader("the body"))
		require.NoError(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		assert.Equal(t, "POST /rewritten/form?x=1 the body 127.0.0.1", string(body))
	})
}

// TestProxyKeepsWhatArrivesEarly: frames right behind the request, and behind the 101, are not lost.
func TestProxyKeepsWhatArrivesEarly(t *testing.T) {
	target := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if !assert.NoError(t, err) {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, sampleAccept+"\r\n\x81\x05early")
		got := make([]byte, 11)
		_, err = io.ReadFull(rw, got)
		assert.NoError(t, err)
		_, _ = conn.Write(got)
	})
	p := serveProxied(t, false, false, target, nil)
	conn, err := net.Dial("tcp", p.front.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n"+handshakeLines+"\r\n\x81\x85\x00\x00\x00\x00hello")
	require.NoError(t, err)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(patience)))
	got, err := io.ReadAll(conn)
	require.NoError(t, err)
	_, frames, ok := strings.Cut(string(got), "\r\n\r\n")
	require.True(t, ok)
	assert.Equal(t, "\x81\x05early\x81\x85\x00\x00\x00\x00hello", frames)
}

// TestProxyCountsOneConnection: whatever a proxied WebSocket carries, its meter counts one connection and no time.
func TestProxyCountsOneConnection(t *testing.T) {
	var log recordLog
	meter := edgews.NewMeter(&edgews.MeterOptions{Record: log.add})
	p := serveProxied(t, false, false, echoTo(t, nil, nil), &edgews.ProxyOptions{Meter: meter})
	s, _ := p.dial(t, "/", nil)
	for range 10 {
		require.NoError(t, s.Write(t.Context(), edgews.Text, []byte("x")))
		_, err := s.Receive(t.Context())
		require.NoError(t, err)
	}
	time.Sleep(5 * time.Millisecond)
	require.NoError(t, s.Close(1000, ""))
	assert.Equal(t, edgews.Usage{Connections: 1}, meter.Usage())
	require.NoError(t, meter.Flush(t.Context()))
	log.mu.Lock()
	defer log.mu.Unlock()
	require.Len(t, log.records, 1)
	assert.Equal(t, edgews.FactPassThrough, log.records[0].Fact)
}

func TestProxyAsksTheQuota(t *testing.T) {
	meter := edgews.NewMeter(nil)
	meter.SetQuota(edgews.Plan{Requests: edgews.Rate{Included: 1}})
	p := serveProxied(t, false, false, echoTo(t, nil, nil), &edgews.ProxyOptions{Meter: meter})
	p.dial(t, "/", nil)
	_, resp := refusedBy(t, p.front.URL)
	assert.Equal(t, http.StatusTooManyRequests, resp.StatusCode)
}

// TestProxyAuthorizes: the user name and password of the target's URL are sent, unless the client authorizes itself.
func TestProxyAuthorizes(t *testing.T) {
	users := make(chan string, 1)
	target := startServer(t, false, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		users <- user + ":" + password
	}))
	front := startServer(t, false, edgews.Proxy(strings.Replace(target.URL, "://", "://me:secret@", 1), nil))
	refusedBy(t, front.URL)
	assert.Equal(t, "me:secret", <-users)
	resp, err := http.Get(front.URL)
	require.NoError(t, err)
	resp.Body.Close()
	assert.Equal(t, "me:secret", <-users)
	resp, err = http.Get(strings.Replace(front.URL, "://", "://other:own@", 1))
	require.NoError(t, err)
	resp.Body.Close()
	assert.Equal(t, "other:own", <-users)
}
