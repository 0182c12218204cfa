package edgews_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// serveFunc serves like http.Server.Serve.
type serveFunc struct {
	name  string
	serve func(net.Listener, *http.Server) error
}

// serveFuncs are Serve, and the server that it must not be distinguishable from.
var serveFuncs = []serveFunc{
	{"Serve", edgews.Serve},
	{"net/http", func(l net.Listener, srv *http.Server) error { return srv.Serve(l) }},
}

// served is a server that runs in a test.
type served struct {
	t      testing.TB
	srv    *http.Server
	addr   string
	l      net.Listener
	result chan error // of Serve
	log    *lockedBuffer
}

// start serves srv until the test ends. Its log is kept.
func (f serveFunc) start(t testing.TB, srv *http.Server) *served {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &served{t: t, srv: srv, addr: l.Addr().String(), l: l, result: make(chan error, 1), log: new(lockedBuffer)}
	srv.ErrorLog = log.New(s.log, "", 0)
	go func() { s.result <- f.serve(l, srv) }()
	t.Cleanup(func() { srv.Close() })
	return s
}

func (s *served) dial(t testing.TB) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", s.addr)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
	return c.(*net.TCPConn)
}

// exchange sends a request, ends the stream and returns everything that the server sends.
func (s *served) exchange(t testing.TB, request string) (answer string, err error) {
	t.Helper()
	c := s.dial(t)
	defer c.Close()
	if _, err := io.WriteString(c, request); err != nil {
		return "", err
	}
	if err := c.CloseWrite(); err != nil {
		return "", err
	}
	all, err := io.ReadAll(c)
	assert.NotErrorIs(t, err, os.ErrDeadlineExceeded, "nothing happens after %q, which answers %q", all, request)
	return dateHeader.ReplaceAllString(string(all), "Date: now"), err
}

var dateHeader = regexp.MustCompile(`Date: [^\r]*`)

// ends waits until Serve returns.
func (s *served) ends() error {
	s.t.Helper()
	select {
	case err := <-s.result:
		return err
	case <-time.After(patience):
		require.FailNow(s.t, "Serve does not return")
		return nil
	}
}

// upgradeHead is an opening handshake for path, with further header lines.
func upgradeHead(path string, lines ...string) string {
	head := "GET " + path + " HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	for _, line := range lines {
		head += line + "\r\n"
	}
	return head + "\r\n"
}

// seenRequest is what a handler sees of a request.
type seenRequest struct {
	Method, URL, RequestURI, Proto, Host string
	Major, Minor                         int
	Header                               http.Header
	ContentLength                        int64
	TransferEncoding                     []string
	Close, TLS, Body, Form               bool
	Trailer                              http.Header
	Server, Local, Remote                string
}

func seen(r *http.Request, s *served) seenRequest {
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	server := "none"
	if r.Context().Value(http.ServerContextKey) == s.srv {
		server = "srv"
	}
	host, port, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil || port == "" {
		host = "no address: " + r.RemoteAddr
	}
	localHost := "none"
	if local != nil && local.String() == s.addr {
		localHost = "the listener's"
	}
	return seenRequest{
		Method: r.Method, URL: fmt.Sprintf("%#v", *r.URL), RequestURI: r.RequestURI, Proto: r.Proto, Major: r.ProtoMajor, Minor: r.ProtoMinor,
		Host: r.Host, Header: r.Header.Clone(), ContentLength: r.ContentLength, TransferEncoding: r.TransferEncoding, Close: r.Close,
		TLS: r.TLS != nil, Body: r.Body == http.NoBody, Form: r.Form != nil || r.PostForm != nil || r.MultipartForm != nil, Trailer: r.Trailer,
		Server: server, Local: localHost, Remote: host,
	}
}

// behaviours are what handlers do, by the path of the request.
var behaviours = map[string]http.HandlerFunc{
	"/nothing": func(http.ResponseWriter, *http.Request) {},
	"/text":    func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "text") },
	"/error":   func(w http.ResponseWriter, r *http.Request) { http.Error(w, "go away", http.StatusForbidden) },
	"/status":  func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusTeapot) },
	"/204":     func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNoContent) },
	"/204body": func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusNoContent)
		_, err := w.Write([]byte("x"))
		if err != http.ErrBodyNotAllowed {
			panic(err)
		}
	},
	"/304": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"x"`)
		w.WriteHeader(http.StatusNotModified)
	},
	"/header": func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Add("Set-Cookie", "a=1")
		h.Add("Set-Cookie", "b=2")
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, "{}")
		h.Set("X-Late", "not sent")
	},
	"/close": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		io.WriteString(w, "bye")
	},
	"/long": func(w http.ResponseWriter, r *http.Request) { w.Write(bytes.Repeat([]byte("long "), 2000)) },
	"/length": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "6")
		w.Write([]byte("123"))
		w.(http.Flusher).Flush()
		w.Write([]byte("456"))
	},
	"/short": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "6")
		w.Write([]byte("123"))
	},
	"/excess": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "3")
		if _, err := w.Write([]byte("123456")); err != http.ErrContentLength {
			panic(err)
		}
	},
	"/badlength": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "three")
		w.Write([]byte("123"))
	},
	"/flush": func(w http.ResponseWriter, r *http.Request) {
		for i := range 3 {
			fmt.Fprintf(w, "part %d\n", i)
			if err := http.NewResponseController(w).Flush(); err != nil {
				panic(err)
			}
		}
	},
	"/flushfirst": func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		io.WriteString(w, "after")
	},
	"/trailers": func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Trailer", "X-Sum")
		io.WriteString(w, "body")
		w.(http.Flusher).Flush()
		h.Set("X-Sum", "42")
		h.Set(http.TrailerPrefix+"X-More", "43")
	},
	"/informational": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		io.WriteString(w, "final")
	},
	"/twice": func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusCreated)
		w.WriteHeader(http.StatusAccepted)
	},
	"/readfrom": func(w http.ResponseWriter, r *http.Request) {
		io.Copy(w, bufio.NewReader(strings.NewReader(strings.Repeat("copied ", 500))))
	},
	"/html":    func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "<html><body>") },
	"/panic":   func(w http.ResponseWriter, r *http.Request) { panic("a test") },
	"/abort":   func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) },
	"/abort2":  func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "half"); panic(http.ErrAbortHandler) },
	"/invalid": func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(7) },
	"/deadlines": func(w http.ResponseWriter, r *http.Request) {
		c := http.NewResponseController(w)
		for _, err := range []error{c.SetReadDeadline(time.Now().Add(patience)), c.SetWriteDeadline(time.Now().Add(patience)), c.EnableFullDuplex()} {
			if err != nil {
				panic(err)
			}
		}
		io.WriteString(w, "in time")
	},
	"/body": func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%q %v", body, err)
	},
	"/hijack": func(w http.ResponseWriter, r *http.Request) { answerHijacked(w, true) },
	"/hijackreader": func(w http.ResponseWriter, r *http.Request) {
		answerHijacked(w, false)
		if _, err := w.Write([]byte("x")); err != http.ErrHijacked {
			panic(err)
		}
		if _, _, err := w.(http.Hijacker).Hijack(); err != http.ErrHijacked {
			panic(err)
		}
	},
	"/hijacklate": func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "before")
		w.(http.Flusher).Flush()
		answerHijacked(w, true)
	},
	"/switch": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Upgrade", "websocket")
		w.Header().Set("Connection", "Upgrade")
		w.WriteHeader(http.StatusSwitchingProtocols)
		answerHijacked(w, true)
	},
	"/deadlinehijack": func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).SetWriteDeadline(time.Now().Add(patience))
		answerHijacked(w, false)
	},
	"/upgrade": func(w http.ResponseWriter, r *http.Request) {
		s, err := edgews.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		s.OnMessage(func(e edgews.MessageEvent) { s.SendBytes(e.Data) })
		s.Accept()
	},
	"/upgradelate": func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "text")
		_, err := edgews.Upgrade(w, r, nil)
		fmt.Fprint(w, err)
	},
	"/upgradedeadline": func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).SetWriteDeadline(time.Now().Add(patience))
		w.Header().Set("X-Kept", "yes")
		s, err := edgews.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		s.OnMessage(func(e edgews.MessageEvent) { s.SendBytes(e.Data) })
		s.Accept()
	},
	"/respond": func(w http.ResponseWriter, r *http.Request) {
		client, server := edgews.NewPair()
		server.OnMessage(func(e edgews.MessageEvent) { server.Send("pair") })
		server.Accept()
		edgews.Respond(w, r, client, nil)
	},
}

// answerHijacked takes the connection, answers, and sends back what arrives until the peer ends the stream.
func answerHijacked(w http.ResponseWriter, direct bool) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	ahead := make([]byte, rw.Reader.Buffered())
	io.ReadFull(rw, ahead)
	rest, err := io.ReadAll(rw)
	answer := fmt.Sprintf("HTTP/1.1 101 Switching Protocols\r\n\r\n%s %v", slices.Concat(ahead, rest), err)
	if direct {
		io.WriteString(conn, answer)
		return
	}
	rw.WriteString(answer)
	rw.Flush()
}

// twins are a server of Serve and one of net/http with the same handlers.
type twins struct {
	servers []*served
	mu      sync.Mutex
	seen    map[*served][]seenRequest
}

func newTwins(t testing.TB, configure func(*http.Server)) *twins {
	both := &twins{seen: make(map[*served][]seenRequest)}
	for _, f := range serveFuncs {
		var s *served
		ready := make(chan struct{})
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			<-ready
			both.mu.Lock()
			both.seen[s] = append(both.seen[s], seen(r, s))
			both.mu.Unlock()
			do, ok := behaviours[r.URL.Path]
			if !ok {
				do = behaviours["/text"]
			}
			do(w, r)
		})}
		if configure != nil {
			configure(srv)
		}
		s = f.start(t, srv)
		close(ready)
		both.servers = append(both.servers, s)
	}
	return both
}

// compare sends a request to both servers and checks that the answers, and what the handlers see, are equal. It returns the answer.
func (w *twins) compare(t testing.TB, request string) string {
	t.Helper()
	var answers [2]string
	var failed [2]error
	for i, s := range w.servers {
		answers[i], failed[i] = s.exchange(t, request)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	assert.Equal(t, toJSON(w.seen[w.servers[1]]), toJSON(w.seen[w.servers[0]]), "seen by the handlers of %q", request)
	clear(w.seen)
	if failed[0] != nil || failed[1] != nil { // a reset may have destroyed what was sent
		return answers[1]
	}
	assert.Equal(t, answers[1], answers[0], "answers to %q", request)
	return answers[0]
}

func toJSON(v any) string {
	text, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// Whatever the handler of an opening handshake does, the client gets the same bytes as from net/http.
func TestServeAnswers(t *testing.T) {
	servers := newTwins(t, nil)
	for _, path := range slices.Sorted(maps.Keys(behaviours)) {
		t.Run(path[1:], func(t *testing.T) {
			answer := servers.compare(t, upgradeHead(path))
			if !strings.Contains(path, "abort") && path != "/panic" && path != "/invalid" {
				assert.True(t, strings.HasPrefix(answer, "HTTP/1.1 "), "%q", answer)
			}
			servers.compare(t, upgradeHead(path, "Connection: close"))
			servers.compare(t, upgradeHead(path)+"GET /text HTTP/1.1\r\nHost: x\r\n\r\n") // the second one is for net/http, or for the socket
			servers.compare(t, strings.Replace(upgradeHead(path), "GET", "HEAD", 1))
			servers.compare(t, strings.Replace(upgradeHead(path), "HTTP/1.1", "HTTP/1.0", 1))
			servers.compare(t, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n")
		})
	}
	for _, s := range servers.servers {
		assert.Contains(t, s.log.String(), "http: panic serving 127.0.0.1:", s.addr)
		assert.NotContains(t, s.log.String(), "abort Handler")
	}
}

// frames returns the frames that a client sends.
func clientFrames(frames ...aFrame) string {
	var b []byte
	for _, f := range frames {
		b = f.appendTo(b, true)
	}
	return string(b)
}

func TestServeRequests(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	cases := map[string]string{
		"frames behind the request":   upgradeHead("/upgrade") + clientFrames(text("a"), binaryOf("b"), closing(1000, "")),
		"many frames":                 upgradeHead("/upgrade") + clientFrames(binaryOf(strings.Repeat("y", 20_000)), closing(1000, "")),
		"a pair":                      upgradeHead("/respond") + clientFrames(text("a"), closing(1000, "")),
		"bytes behind a hijack":       upgradeHead("/hijack") + "raw bytes",
		"refused origin":              upgradeHead("/upgrade", "Origin: https://evil.example"),
		"no key":                      strings.Replace(upgradeHead("/upgrade"), "Sec-WebSocket-Key", "X-Key", 1),
		"version":                     strings.Replace(upgradeHead("/upgrade"), "13", "8", 1),
		"no host":                     strings.Replace(upgradeHead("/upgrade"), "Host", "X-Host", 1),
		"two hosts":                   upgradeHead("/upgrade", "Host: example.org"),
		"an empty host":               strings.Replace(upgradeHead("/upgrade"), "example.com", "", 1),
		"a bad host":                  strings.Replace(upgradeHead("/upgrade"), "example.com", "exa<mple", 1),
		"a host with a port":          strings.Replace(upgradeHead("/text"), "example.com", "[::1]:80", 1),
		"content length":              upgradeHead("/body", "Content-Length: 4") + "body",
		"content length 0":            upgradeHead("/body", "Content-Length: 0"),
		"two content lengths":         upgradeHead("/body", "Content-Length: 4", "Content-Length: 5") + "body",
		"equal content lengths":       upgradeHead("/body", "Content-Length: 4", "Content-Length: 4") + "body",
		"chunked":                     upgradeHead("/body", "Transfer-Encoding: chunked") + "4\r\nbody\r\n0\r\n\r\n",
		"chunked with a length":       upgradeHead("/body", "Transfer-Encoding: chunked", "Content-Length: 3") + "4\r\nbody\r\n0\r\n\r\n",
		"an unknown encoding":         upgradeHead("/body", "Transfer-Encoding: gzip") + "body",
		"trailer":                     upgradeHead("/text", "Trailer: X-Sum"),
		"expect":                      upgradeHead("/body", "Expect: 100-continue", "Content-Length: 4") + "body",
		"an unknown expectation":      upgradeHead("/text", "Expect: miracles"),
		"folded":                      upgradeHead("/text", "X-Folded: a\r\n b\r\n\tc"),
		"folded first line":           strings.Replace(upgradeHead("/text"), "Host", " Host", 1),
		"bare LF":                     strings.ReplaceAll(upgradeHead("/text"), "\r\n", "\n"),
		"one bare LF":                 strings.Replace(upgradeHead("/text"), "\r\n", "\n", 1),
		"bare LF at the end":          strings.Replace(upgradeHead("/text"), "\r\n\r\n", "\r\n\n", 1),
		"bare CR":                     upgradeHead("/text", "X-CR: a\rb"),
		"CR CR LF":                    upgradeHead("/text", "X-CR: a\r"),
		"space before the colon":      upgradeHead("/text", "X-Space : a"),
		"no colon":                    upgradeHead("/text", "X-No-Colon"),
		"an empty name":               upgradeHead("/text", ": a"),
		"a NUL":                       upgradeHead("/text", "X-Nul: a\x00b"),
		"a tab":                       upgradeHead("/text", "X-Tab:\ta\tb\t"),
		"UTF-8":                       upgradeHead("/text", "X-Utf8: ä"),
		"a name with a slash":         upgradeHead("/text", "X/Y: a"),
		"a lower-case name":           upgradeHead("/text", "x-lOWER-case: a"),
		"a repeated name":             upgradeHead("/text", "X-A: 1", "x-a: 2", "X-A:", "X-B: 3"),
		"pragma":                      upgradeHead("/text", "Pragma: no-cache"),
		"pragma and cache control":    upgradeHead("/text", "Pragma: no-cache", "Cache-Control: max-age=0"),
		"connection close":            upgradeHead("/text", "Connection: Close"),
		"a query":                     upgradeHead("/text?a=b&c=%20"),
		"an empty query":              upgradeHead("/text?"),
		"a fragment":                  upgradeHead("/text#fragment"),
		"two slashes":                 upgradeHead("//example.org/text"),
		"three slashes":               upgradeHead("///text"),
		"an escape":                   upgradeHead("/te%78t"),
		"a bad escape":                upgradeHead("/te%zzt"),
		"a colon":                     upgradeHead("/a:b"),
		"an absolute URL":             upgradeHead("http://example.org/text"),
		"an asterisk":                 upgradeHead("*"),
		"OPTIONS":                     strings.Replace(upgradeHead("*"), "GET", "OPTIONS", 1),
		"CONNECT":                     strings.Replace(upgradeHead("example.org:80"), "GET", "CONNECT", 1),
		"POST":                        strings.Replace(upgradeHead("/body", "Content-Length: 4"), "GET", "POST", 1) + "body",
		"lower-case method":           strings.Replace(upgradeHead("/text"), "GET", "get", 1),
		"no target":                   strings.Replace(upgradeHead("/text"), "/text ", "", 1),
		"an empty target":             strings.Replace(upgradeHead("/text"), "/text", "", 1),
		"two spaces":                  strings.Replace(upgradeHead("/text"), "GET ", "GET  ", 1),
		"a space in the target":       upgradeHead("/te xt"),
		"a space behind":              strings.Replace(upgradeHead("/text"), "HTTP/1.1", "HTTP/1.1 ", 1),
		"HTTP/1.0":                    strings.Replace(upgradeHead("/text"), "HTTP/1.1", "HTTP/1.0", 1),
		"HTTP/1.2":                    strings.Replace(upgradeHead("/text"), "HTTP/1.1", "HTTP/1.2", 1),
		"HTTP/2.0":                    strings.Replace(upgradeHead("/text"), "HTTP/1.1", "HTTP/2.0", 1),
		"the preface of HTTP/2":       "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"an empty line before":        "\r\n" + upgradeHead("/text"),
		"another protocol":            strings.Replace(upgradeHead("/text"), "websocket", "h2c", 1),
		"several protocols":           strings.Replace(upgradeHead("/upgrade"), "websocket", "h2c, WebSocket", 1),
		"an upgrade without a value":  strings.Replace(upgradeHead("/text"), "websocket", "", 1),
		"Upgrade twice":               upgradeHead("/text", "Upgrade: h2c"),
		"a head of 9 KiB":             upgradeHead("/text", "X-Long: "+long[:9<<10]),
		"a head of 1 MiB":             upgradeHead("/text", "X-Long: "+long),
		"a target of 16 KiB":          upgradeHead("/" + long[:16<<10]),
		"many headers":                upgradeHead("/text", slices.Repeat([]string{"X-Many: 1"}, 300)...),
		"nothing":                     "",
		"one byte":                    "G",
		"half a line":                 "GET / HT",
		"half a head":                 upgradeHead("/text")[:60],
		"no empty line":               strings.TrimSuffix(upgradeHead("/text"), "\r\n"),
		"not HTTP":                    "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
		"two upgrades":                upgradeHead("/text") + upgradeHead("/text"),
		"an upgrade that is answered": upgradeHead("/error") + upgradeHead("/upgrade") + clientFrames(text("a"), closing(1000, "")),
		"a request, then an upgrade":  "GET /text HTTP/1.1\r\nHost: x\r\n\r\n" + upgradeHead("/upgrade") + clientFrames(text("a"), closing(1000, "")),
		"a bad request behind":        upgradeHead("/text") + "nonsense\r\n\r\n",
	}
	servers := newTwins(t, nil)
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		t.Run(name, func(t *testing.T) { servers.compare(t, cases[name]) })
	}
}

// A head that is larger than MaxHeaderBytes permits is refused as by net/http.
func TestServeMaxHeaderBytes(t *testing.T) {
	servers := newTwins(t, func(srv *http.Server) { srv.MaxHeaderBytes = 100 })
	for _, n := range []int{10, 100, 1000, 4000, 4096, 4200, 8000, 20_000} {
		servers.compare(t, upgradeHead("/text", "X-Long: "+strings.Repeat("x", n)))
	}
}

// FuzzServe compares Serve with net/http for any bytes.
func FuzzServe(f *testing.F) {
	for path := range behaviours {
		f.Add(upgradeHead(path))
	}
	f.Add(upgradeHead("/upgrade") + clientFrames(text("a"), closing(1000, "")))
	f.Add(upgradeHead("/text", "Content-Length: 4") + "bodyGET / HTTP/1.1\r\nHost: x\r\n\r\n")
	f.Add(upgradeHead("/text", "Transfer-Encoding: chunked", "Content-Length: 4") + "0\r\n\r\n")
	f.Add(strings.ReplaceAll(upgradeHead("/text"), "\r\n", "\n"))
	f.Add(upgradeHead("/text", "X: a\r\n b", "Host: y"))
	f.Add("GET http://example.org/text HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n")
	servers := newTwins(f, nil)
	f.Fuzz(func(t *testing.T, request string) { servers.compare(t, request) })
}

func ExampleServe() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	srv := &http.Server{Handler: http.HandlerFunc(echo), ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error)
	go func() { ended <- edgews.Serve(l, srv) }()

	ctx := context.Background()
	s, _, err := edgews.Dial(ctx, "ws://"+l.Addr().String(), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	s.Write(ctx, edgews.Text, []byte("hello"))
	msg, err := s.Receive(ctx)
	fmt.Println(msg.Text(), err)
	s.Close(edgews.StatusNormalClosure, "")
	<-s.Done()

	srv.Shutdown(ctx)
	fmt.Println(<-ended)
	// Output:
	// hello <nil>
	// http: Server closed
}
