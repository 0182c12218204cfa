package frameworks

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-chi/chi/v5/middleware"
	"github.com/klauspost/compress/gzhttp"
	"github.com/valyala/fasthttp"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
)

// Upgrade finds the connection through every wrapper around every router, although some of them have a Hijack method that fails, or panics, if
// the writer below has Unwrap alone. Nothing else writes to the connection, and a request that is refused gets its answer.
func TestEveryRouterBehindEveryWrapper(t *testing.T) {
	routers := map[string]http.Handler{
		"none": http.HandlerFunc(socket), "chi": chiRouter(), "gin": ginRouter(), "echo": echoRouter(),
	}
	wrappers := map[string]func(http.Handler) http.Handler{
		"none": func(h http.Handler) http.Handler { return h },
		"Unwrap alone": func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(&statusWriter{ResponseWriter: w}, r) })
		},
		"gzhttp":       func(h http.Handler) http.Handler { return gzhttp.GzipHandler(h) },
		"otelhttp":     func(h http.Handler) http.Handler { return otelhttp.NewHandler(h, "socket") },
		"chi.Compress": middleware.Compress(5),
	}
	for routed, router := range routers {
		for outer, wrapOutside := range wrappers {
			for inner, wrapInside := range wrappers {
				t.Run(routed+" in "+inner+" in "+outer, func(t *testing.T) {
					var logged bytes.Buffer
					server := httptest.NewUnstartedServer(wrapOutside(wrapInside(router)))
					server.Config.ErrorLog = log.New(&logged, "", 0)
					server.Start()
					url := server.URL + "/rooms/lobby"
					if answer := say(url, "hello"); !strings.HasSuffix(answer, "hello") {
						t.Errorf("the answer is %q", answer)
					}
					resp, err := http.Get(url)
					if err != nil {
						t.Fatal(err)
					}
					body, err := io.ReadAll(resp.Body)
					resp.Body.Close()
					if err != nil || resp.StatusCode != http.StatusUpgradeRequired || !strings.Contains(string(body), "this is a WebSocket endpoint") {
						t.Errorf("a page: %s %q, %v", resp.Status, body, err)
					}
					server.Close() // waits for the handlers
					if logged.Len() > 0 {
						t.Errorf("the server has logged %s", &logged)
					}
				})
			}
		}
	}
}

// A wrapper without Unwrap is named in the answer, whatever is around it.
func TestEveryWrapperAroundOneWithoutUnwrap(t *testing.T) {
	for name, router := range map[string]http.Handler{"none": http.HandlerFunc(socket), "chi": chiRouter(), "gin": ginRouter(), "echo": echoRouter()} {
		t.Run(name, func(t *testing.T) {
			url, stop := serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { router.ServeHTTP(opaqueWriter{w}, r) }))
			defer stop()
			if answer := say(url+"/rooms/lobby", "hello"); !strings.HasPrefix(answer, "500: frameworks.opaqueWriter cannot hand over its connection") {
				t.Errorf("the answer is %q", answer)
			}
		})
	}
}

// fasthttp reads requests in advance: frames that a client sends right behind its request, and the following ones, arrive in order, over TCP and TLS.
func TestFasthttpKeepsTheBytesBehindTheRequest(t *testing.T) {
	certificates := httptest.NewTLSServer(http.NotFoundHandler())
	defer certificates.Close()
	for name, wrap := range map[string]struct {
		server func(net.Listener) net.Listener
		client func(net.Conn) net.Conn
	}{
		"tcp": {func(l net.Listener) net.Listener { return l }, func(c net.Conn) net.Conn { return c }},
		"tls": {
			func(l net.Listener) net.Listener {
				return tls.NewListener(l, &tls.Config{Certificates: certificates.TLS.Certificates})
			},
			func(c net.Conn) net.Conn { return tls.Client(c, &tls.Config{InsecureSkipVerify: true}) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			listener, err := net.Listen("tcp", "localhost:0")
			if err != nil {
				t.Fatal(err)
			}
			server := &fasthttp.Server{Handler: fastSocket, KeepHijackedConns: true, ReadTimeout: time.Minute, WriteTimeout: time.Minute}
			served := make(chan error, 1)
			go func() { served <- server.Serve(wrap.server(listener)) }()
			conn, err := net.Dial("tcp", listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			conn = wrap.client(conn)
			conn.SetDeadline(time.Now().Add(time.Minute))
			frame := func(s string) string { return string([]byte{0x81, 0x80 | byte(len(s)), 0, 0, 0, 0}) + s } // the mask is zero
			request := "GET /x HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
				"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
			third := frame("three")
			if _, err := io.WriteString(conn, request+frame("one")+frame("two")+third[:3]); err != nil {
				t.Fatal(err)
			}
			in := bufio.NewReader(conn)
			resp, err := http.ReadResponse(in, nil)
			if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
				t.Fatal(resp, err)
			}
			if _, err := io.WriteString(conn, third[3:]); err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{"/x: one", "/x: two", "/x: three"} {
				got := make([]byte, 2+len(want))
				if _, err := io.ReadFull(in, got); err != nil || string(got[2:]) != want {
					t.Fatalf("%q instead of %q: %v", got, want, err)
				}
			}
			conn.Close()
			if err := server.Shutdown(); err != nil {
				t.Error(err)
			}
			if err := <-served; err != nil {
				t.Error(err)
			}
		})
	}
}
