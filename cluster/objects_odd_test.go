package cluster_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews"
)

// odd is an object that does with requests what few programs do.
type odd struct{ st *edgews.State }

func (o *odd) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Header.Get("Do") {
	case "hijack":
		conn, buf, err := w.(http.Hijacker).Hijack()
		if err != nil {
			http.Error(w, err.Error(), http.StatusNotImplemented)
			return
		}
		defer conn.Close()
		fmt.Fprint(buf, "HTTP/1.1 299 Own\r\nContent-Length: 0\r\n\r\n")
		buf.Flush()
	case "trailer":
		w.Header().Set("Trailer", "X-Declared")
		_, _ = io.Copy(w, r.Body)
		_ = http.NewResponseController(w).Flush()
		w.Header().Set("X-Declared", "d")
		w.Header().Set(http.TrailerPrefix+"X-Other", "o")
	case "hints":
		w.Header().Set("Link", "</style.css>")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		fmt.Fprint(w, "hinted")
	case "header":
		w.Header().Set("X-Answer", r.Header.Get("X-Sent"))
	case "too long":
		w.Header().Set("Content-Length", "5")
		_, err := w.Write([]byte("too long"))
		fmt.Fprint(w, errors.Is(err, http.ErrContentLength), "!")
	case "echo":
		_, _ = io.Copy(w, r.Body)
	case "large":
		w.Write([]byte(strings.Repeat("x", 100_000)))
	default:
		fmt.Fprintf(w, "%s %s %s tls=%t", r.Method, r.URL.Path, r.URL.RawQuery, r.TLS != nil)
	}
}

func startOdd(t *testing.T) (home, edge *site) {
	sites := startSitesOf(t, func(_ context.Context, st *edgews.State) (edgews.Object, error) { return &odd{st}, nil }, nil, "a", "b")
	home, others := settledHomeOf(t, sites, "desk")
	return home, others[0]
}

// ofDesk has the object desk answer all requests.
func ofDesk(s *site) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.rooms.ByName("desk").ServeHTTP(w, r) })
}

// TestOddURLs: a handler in front of the object may have shortened the path so that it does not begin with a slash.
func TestOddURLs(t *testing.T) {
	home, edge := startOdd(t)
	for _, s := range []*site{home, edge} {
		server := httptest.NewServer(http.StripPrefix("/rooms/", ofDesk(s)))
		defer server.Close()
		for path, want := range map[string]string{
			"/rooms/desk?x=1":  "GET desk x=1 tls=false",
			"/rooms/a:b?":      "GET a:b  tls=false",
			"/rooms/a%2Fb%20c": "GET a/b c  tls=false",
			"/rooms/":          "GET   tls=false",
			"/rooms//x":        "GET /x  tls=false",
			"/rooms/*":         "GET *  tls=false",
		} {
			resp, err := server.Client().Get(server.URL + path)
			require.NoError(t, err)
			assert.Equal(t, want, read(t, resp.Body), path)
			resp.Body.Close()
		}
	}
}

// TestTLSOfTheClient: the object sees that its client came by TLS.
func TestTLSOfTheClient(t *testing.T) {
	_, edge := startOdd(t)
	server := httptest.NewTLSServer(ofDesk(edge))
	defer server.Close()
	resp, err := server.Client().Get(server.URL + "/desk")
	require.NoError(t, err)
	defer resp.Body.Close()
	assert.Equal(t, "GET /desk  tls=true", read(t, resp.Body))
}

func doOdd(t *testing.T, edge *site, do string, body io.Reader) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "POST", "http"+edge.url[2:]+"/desk", body)
	require.NoError(t, err)
	r.Header.Set("Do", do)
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	require.NoError(t, err)
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

// TestTakenOverRequest: a handler that takes the connection over, which is at an edge, gets an error, and the client no success.
func TestTakenOverRequest(t *testing.T) {
	_, edge := startOdd(t)
	resp := doOdd(t, edge, "hijack", nil)
	assert.GreaterOrEqual(t, resp.StatusCode, 500)
}

// TestTrailers: what a handler sets behind the body goes through.
func TestTrailers(t *testing.T) {
	_, edge := startOdd(t)
	resp := doOdd(t, edge, "trailer", io.MultiReader(strings.NewReader("body")))
	assert.Equal(t, "body", read(t, resp.Body))
	assert.Equal(t, "d", resp.Trailer.Get("X-Declared"))
	assert.Equal(t, "o", resp.Trailer.Get("X-Other"))
}

// TestEarlyHints: what comes before the answer arrives before it, and does not become a part of it.
func TestEarlyHints(t *testing.T) {
	_, edge := startOdd(t)
	var hints []string
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		hints = append(hints, fmt.Sprint(code, h.Get("Link")))
		return nil
	}})
	r, err := http.NewRequestWithContext(ctx, "GET", "http"+edge.url[2:]+"/desk", nil)
	require.NoError(t, err)
	r.Header.Set("Do", "hints")
	resp, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	assert.Equal(t, []string{"103</style.css>"}, hints)
	assert.Equal(t, 200, resp.StatusCode)
	assert.Empty(t, resp.Header.Get("Link"))
	assert.Equal(t, "hinted", read(t, resp.Body))
}

// TestAnswerLongerThanAnnounced: the handler gets the error of net/http, and may still write what it has announced.
func TestAnswerLongerThanAnnounced(t *testing.T) {
	_, edge := startOdd(t)
	assert.Equal(t, "true!", read(t, doOdd(t, edge, "too long", nil).Body))
}

// TestLargeAnswerBeforeTheBody: a client that waits for the answer before it sends the rest of its body gets a large answer, too.
func TestLargeAnswerBeforeTheBody(t *testing.T) {
	_, edge := startOdd(t)
	conn, err := net.Dial("tcp", edge.url[5:])
	require.NoError(t, err)
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "POST /desk HTTP/1.1\r\nHost: x\r\nDo: large\r\nContent-Length: 1000000\r\n\r\nbeginning")
	require.NoError(t, err)
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	assert.Len(t, read(t, resp.Body), 100_000)
}

// TestExpectContinue, OPTIONS and an unknown method go through.
func TestExpectContinue(t *testing.T) {
	_, edge := startOdd(t)
	conn, err := net.Dial("tcp", edge.url[5:])
	require.NoError(t, err)
	defer conn.Close()
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	in := bufio.NewReader(conn)
	fmt.Fprintf(conn, "POST /desk HTTP/1.1\r\nHost: x\r\nDo: trailer\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
	line, err := in.ReadString('\n')
	require.NoError(t, err)
	assert.Contains(t, line, "100 Continue")
	in.ReadString('\n')
	fmt.Fprint(conn, "body")
	resp, err := http.ReadResponse(in, nil)
	require.NoError(t, err)
	assert.Equal(t, "body", read(t, resp.Body))
	for _, method := range []string{"OPTIONS", "TRACE", "BREW"} {
		fmt.Fprintf(conn, "%s /desk HTTP/1.1\r\nHost: x\r\n\r\n", method)
		resp, err := http.ReadResponse(in, nil)
		require.NoError(t, err)
		assert.Equal(t, method+" /desk  tls=false", read(t, resp.Body))
	}
}

// TestHeaderBytes: values of headers are bytes, mostly of ASCII, but not always of UTF-8.
func TestHeaderBytes(t *testing.T) {
	_, edge := startOdd(t)
	for _, value := range []string{"caf\xe9", "café", "<&>\u2028", "\xff\xfe"} {
		r, err := http.NewRequestWithContext(t.Context(), "GET", "http"+edge.url[2:]+"/desk", nil)
		require.NoError(t, err)
		r.Header = http.Header{"Do": {"header"}, "X-Sent": {value}}
		resp, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		resp.Body.Close()
		assert.Equal(t, []byte(value), []byte(resp.Header.Get("X-Answer")))
	}
}

// TestEchoedBody: an object may answer while it reads, and gets the whole body.
func TestEchoedBody(t *testing.T) {
	_, edge := startOdd(t)
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for i := range 50 {
		body := make([]byte, 40_000+i*6_000)
		for j := range body {
			body[j] = byte(j / 251)
		}
		r, err := http.NewRequestWithContext(t.Context(), "POST", "http"+edge.url[2:]+"/desk", bytes.NewReader(body))
		require.NoError(t, err)
		r.Header.Set("Do", "echo")
		resp, err := client.Do(r)
		require.NoError(t, err)
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		require.NoError(t, err)
		require.Equal(t, len(body), len(got))
		require.True(t, bytes.Equal(body, got), "%d bytes", len(body))
	}
}

// TestRestOfABody: what a client sends of a body that the object has not read is not taken for a request.
func TestRestOfABody(t *testing.T) {
	home, edge := startOdd(t)
	for _, s := range []*site{home, edge} {
		conn, err := net.Dial("tcp", s.url[5:])
		require.NoError(t, err)
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		_, err = fmt.Fprintf(conn, "POST /desk HTTP/1.1\r\nHost: x\r\nDo: large\r\nContent-Length: 1000\r\n\r\nbeginning")
		require.NoError(t, err)
		in := bufio.NewReader(conn)
		resp, err := http.ReadResponse(in, nil)
		require.NoError(t, err)
		assert.Len(t, read(t, resp.Body), 100_000)
		_, _ = fmt.Fprint(conn, "GET /desk HTTP/1.1\r\nHost: x\r\n\r\n")
		rest, _ := io.ReadAll(in)
		assert.Empty(t, rest)
	}
}

// endedPair is an object that answers with an end of a pair whose other end has ended.
type endedPair struct {
	t      *testing.T
	failed chan error
}

func (o *endedPair) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	client, server := edgews.NewPair()
	assert.NoError(o.t, server.Accept())
	assert.NoError(o.t, server.Close(1000, ""))
	<-server.Done()
	o.failed <- edgews.Respond(w, r, client, &edgews.UpgradeOptions{Protocols: []string{"tally"}})
}

// TestRespondFailsAfterTheUpgrade: the client is told, with 1011, when Respond fails behind its answer. On one node its connection is cut.
func TestRespondFailsAfterTheUpgrade(t *testing.T) {
	failed := make(chan error, 1)
	sites := startSitesOf(t, func(context.Context, *edgews.State) (edgews.Object, error) { return &endedPair{t, failed}, nil }, nil, "a", "b")
	home, others := settledHomeOf(t, sites, "lobby")
	c := others[0].dial(t, "lobby", "1")
	require.NoError(t, c.Accept())
	assert.ErrorIs(t, <-failed, edgews.ErrClosed)
	awaits(t, "the client is told", func() bool { return c.ReadyState() == edgews.Closed })
	var end *edgews.CloseError
	require.ErrorAs(t, c.Err(), &end)
	assert.Equal(t, edgews.StatusInternalError, end.Code)
	awaits(t, "no socket is left", func() bool { return home.OpenSockets()+others[0].OpenSockets() == 0 })
}
