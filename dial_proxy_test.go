package edgews

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews/internal/handshake"
)

// tunnelling tells about one CONNECT.
type tunnelling struct {
	target string
	header http.Header
}

// tunnelProxy serves as an HTTP proxy that only tunnels, and tells about each tunnel.
func tunnelProxy(t *testing.T) (http.HandlerFunc, chan tunnelling) {
	tunnels := make(chan tunnelling, 10)
	return func(w http.ResponseWriter, r *http.Request) {
		tunnels <- tunnelling{r.Method + " " + r.RequestURI, r.Header}
		if r.Method != http.MethodConnect {
			http.Error(w, "this proxy only tunnels", http.StatusMethodNotAllowed)
			return
		}
		up, err := net.Dial("tcp", r.Host)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		w.WriteHeader(http.StatusOK)
		down, early, refused := handshake.Hijack(w)
		if !assert.Nil(t, refused) {
			return
		}
		up.Write(early)
		go func() { io.Copy(up, down); up.Close() }()
		go func() { io.Copy(down, up); down.Close() }()
	}, tunnels
}

func through(proxy string) *http.Transport {
	u, err := url.Parse(proxy)
	if err != nil {
		panic(err)
	}
	return &http.Transport{Proxy: http.ProxyURL(u)}
}

func TestDialPlainThroughAProxyTunnels(t *testing.T) {
	handler, tunnels := tunnelProxy(t)
	plain, secure := httptest.NewServer(handler), httptest.NewTLSServer(handler)
	defer plain.Close()
	defer secure.Close()
	srv := httptest.NewServer(echo(nil))
	defer srv.Close()
	addr := srv.Listener.Addr().String()
	trusting := secure.Client().Transport.(*http.Transport).TLSClientConfig
	for _, tt := range []struct {
		name, proxy string
		change      func(*http.Transport)
		header      string // that CONNECT has, "Name: value"
	}{
		{"plain", plain.URL, func(*http.Transport) {}, ""},
		{"TLS", secure.URL, func(t *http.Transport) { t.TLSClientConfig = trusting }, ""},
		{"TLS of the caller", secure.URL, func(t *http.Transport) {
			t.DialTLSContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
				return (&tls.Dialer{Config: trusting}).DialContext(ctx, network, addr)
			}
		}, ""},
		{"password", strings.Replace(plain.URL, "//", "//ann:secret@", 1), func(*http.Transport) {}, "Proxy-Authorization: Basic YW5uOnNlY3JldA=="},
		{"header", plain.URL, func(t *http.Transport) { t.ProxyConnectHeader = http.Header{"X-Zone": {"1"}} }, "X-Zone: 1"},
		{"computed header", plain.URL, func(t *http.Transport) {
			t.GetProxyConnectHeader = func(_ context.Context, _ *url.URL, target string) (http.Header, error) {
				return http.Header{"X-Target": {target}}, nil
			}
		}, "X-Target: " + addr},
		{"dialer of the caller", plain.URL, func(t *http.Transport) { t.DialContext = new(net.Dialer).DialContext }, ""},
	} {
		for _, scheme := range []string{"ws://", "http://"} {
			t.Run(tt.name+" "+scheme, func(t *testing.T) {
				transport := through(tt.proxy)
				tt.change(transport)
				c, resp := mustDial(t, scheme+"user:pass@"+addr+"/chat", &DialOptions{HTTPClient: &http.Client{Transport: transport}})
				assertEchoes(t, c)
				assert.Equal(t, addr, resp.Request.URL.Host)
				got := <-tunnels
				assert.Equal(t, "CONNECT "+addr, got.target)
				assert.Empty(t, got.header.Get("Authorization"), "that is for the server")
				if name, value, ok := strings.Cut(tt.header, ": "); ok {
					assert.Equal(t, value, got.header.Get(name))
				}
				assert.Empty(t, tunnels)
				if strings.HasPrefix(tt.proxy, "http://") {
					assert.IsType(t, (*net.TCPConn)(nil), c.conn, "the bare connection")
				}
			})
		}
	}
}

// Each request of a chain of redirects goes through a tunnel of its own, or around the proxy, as the client's Proxy says.
func TestDialRedirectedThroughAProxy(t *testing.T) {
	handler, tunnels := tunnelProxy(t)
	proxy := httptest.NewServer(handler)
	defer proxy.Close()
	direct := httptest.NewServer(echo(nil))
	defer direct.Close()
	first := httptest.NewServer(http.RedirectHandler("ws"+strings.TrimPrefix(direct.URL, "http"), http.StatusFound))
	defer first.Close()
	transport := through(proxy.URL)
	always := transport.Proxy
	transport.Proxy = func(r *http.Request) (*url.URL, error) {
		if "http://"+r.URL.Host == direct.URL {
			return nil, nil
		}
		return always(r)
	}
	c, _ := mustDial(t, first.URL, &DialOptions{HTTPClient: &http.Client{Transport: transport}})
	assertEchoes(t, c)
	assert.Equal(t, "CONNECT "+first.Listener.Addr().String(), (<-tunnels).target)
	assert.Empty(t, tunnels)
}

func TestDialThroughAProxyThatRefuses(t *testing.T) {
	for _, tt := range []struct{ name, answer, want string }{
		{"forbidden", "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "CONNECT server.example:80 was answered with 403 Forbidden"},
		{"authentication", "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "was answered with 407 Proxy Authentication Required"},
		{"no HTTP", "220 smtp\r\n\r\n", "no answer to CONNECT server.example:80"},
		{"too much", "HTTP/1.1 200 OK\r\n\r\nhello", "more than its answer"},
		{"endless", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<20), "no answer to CONNECT"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr := originServer(t, func(p *rawPeer, _ string) { io.WriteString(p, tt.answer) })
			s, resp, err := Dial(testContext(t), "ws://server.example/", &DialOptions{HTTPClient: &http.Client{Transport: through("http://ann:hunter2@" + addr)}})
			assert.Nil(t, s)
			assert.Nil(t, resp)
			assert.ErrorContains(t, err, tt.want)
			assert.ErrorContains(t, err, "http://ann:xxxxx@"+addr)
			assert.NotContains(t, err.Error(), tokenPassword)
		})
	}
	failing := errors.New("no proxy today")
	transport := &http.Transport{Proxy: func(*http.Request) (*url.URL, error) { return nil, failing }}
	_, _, err := Dial(testContext(t), "ws://server.example/", &DialOptions{HTTPClient: &http.Client{Transport: transport}})
	assert.ErrorIs(t, err, failing)
	transport = through("http://proxy.example")
	transport.DialContext = func(context.Context, string, string) (net.Conn, error) { return nil, failing }
	_, _, err = Dial(testContext(t), "ws://server.example/", &DialOptions{HTTPClient: &http.Client{Transport: transport}})
	assert.ErrorIs(t, err, failing)
	transport = through("http://" + originServer(t, func(p *rawPeer, _ string) { io.WriteString(p, "HTTP/1.1 200 OK\r\n\r\n") }))
	transport.OnProxyConnectResponse = func(context.Context, *url.URL, *http.Request, *http.Response) error { return failing }
	_, _, err = Dial(testContext(t), "ws://server.example/", &DialOptions{HTTPClient: &http.Client{Transport: transport}})
	assert.ErrorIs(t, err, failing)
}

// The context bounds the wait for a proxy that says nothing, and the connection to it does not outlive that.
func TestDialThroughASilentProxy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		transport := through("http://proxy.example")
		transport.DialContext = func(context.Context, string, string) (net.Conn, error) { return near, nil }
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		gone := make(chan error, 1)
		go func() {
			_, err := io.Copy(io.Discard, far)
			gone <- err
		}()
		_, _, err := Dial(ctx, "ws://server.example/", &DialOptions{HTTPClient: &http.Client{Transport: transport}})
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.NoError(t, <-gone)
	})
}

// peerProgram returns the path of a program that a test needs, or skips the test; in CI its lack is a failure.
func peerProgram(t *testing.T, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") == "true" {
		require.FailNow(t, "program missing", "%v", names)
	}
	t.Skipf("no %s here", names[0])
	return ""
}

// squid starts Squid and returns the address of its proxy.
func squid(t *testing.T) string {
	program := peerProgram(t, "squid", "/usr/sbin/squid")
	addr := freeAddr(t)
	dir, err := os.MkdirTemp("", "squid") // the user that Squid becomes has to reach it, which t.TempDir does not allow
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o777))
	config := filepath.Join(dir, "squid.conf")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, `
http_port %s
http_access allow all
cache deny all
access_log stdio:%[2]s/access.log
cache_log %[2]s/cache.log
pid_filename none
coredump_dir %[2]s
netdb_filename none
pinger_enable off
shutdown_lifetime 0 seconds
`, addr, dir), 0o644))
	cmd := exec.Command(program, "-N", "-f", config)
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	require.NoError(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-ended
	})
	for deadline := time.After(testPatience); ; {
		if conn, err := net.Dial("tcp", addr); err == nil {
			conn.Close()
			return addr
		}
		select {
		case err := <-ended:
			ended <- err
			require.FailNow(t, "Squid has ended", "%v: %s", err, said.String())
		case <-deadline:
			require.FailNow(t, "Squid does not listen")
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func TestDialThroughSquid(t *testing.T) {
	proxy := squid(t)
	plain, secure := httptest.NewServer(echo(nil)), httptest.NewTLSServer(echo(nil))
	defer plain.Close()
	defer secure.Close()
	for _, srv := range []*httptest.Server{plain, secure} {
		transport := srv.Client().Transport.(*http.Transport).Clone()
		transport.Proxy = through("http://" + proxy).Proxy
		c, _ := mustDial(t, "ws"+strings.TrimPrefix(srv.URL, "http"), &DialOptions{HTTPClient: &http.Client{Transport: transport}})
		assertEchoes(t, c)
		assert.Equal(t, proxy, c.conn.RemoteAddr().String())
	}
}
