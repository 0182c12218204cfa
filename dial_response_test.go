package edgews

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// inBubble returns a client whose only connection leads to serve, in memory, so that time may be virtual.
func inBubble(serve func(p *rawPeer, head string)) *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		go func() {
			p := &rawPeer{Conn: far, r: bufio.NewReader(far)}
			if head, ok := readHead(p.r); ok {
				serve(p, head)
			}
			io.Copy(io.Discard, p.r)
			far.Close()
		}()
		return near, nil
	}}}
}

// The status decides: a body that never ends does not keep Dial.
func TestDialDoesNotWaitForTheBodyOfARefusal(t *testing.T) {
	dribble := func(p *rawPeer, status string) {
		io.WriteString(p, "HTTP/1.1 "+status+"\r\n\r\n")
		for {
			if _, err := io.WriteString(p, "tick\n"); err != nil {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
	for _, tt := range []struct {
		name, body string
		answer     func(p *rawPeer, head string)
	}{
		{"an endless event stream", "data: 1\n\n", func(p *rawPeer, _ string) {
			io.WriteString(p, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
		}},
		{"nothing at all", "", func(p *rawPeer, _ string) { io.WriteString(p, "HTTP/1.1 200 OK\r\n\r\n") }},
		{"a part of what was promised", "no", func(p *rawPeer, _ string) {
			io.WriteString(p, "HTTP/1.1 503 Busy\r\nContent-Length: 1000\r\n\r\nno")
		}},
		{"a dribble", "tick\n", func(p *rawPeer, _ string) { dribble(p, "200 OK") }},
		{"a dribbling redirect without a target", "tick\n", func(p *rawPeer, _ string) { dribble(p, "302 Found") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				_, resp, err := Dial(t.Context(), "ws://memory", &DialOptions{HTTPClient: inBubble(tt.answer)})
				assert.ErrorContains(t, err, "expected status 101, but received ")
				require.NotNil(t, resp)
				assert.LessOrEqual(t, time.Since(start), 2*time.Second)
				body, err := io.ReadAll(resp.Body)
				assert.NoError(t, err)
				assert.True(t, strings.HasPrefix(string(body), tt.body), "%q", body)
				time.Sleep(time.Second) // for the server to notice
			})
		})
	}
}

func TestNewWebSocketDoesNotWaitForTheBodyOfARefusal(t *testing.T) {
	addr, release := heldOrigin(t, func(p *rawPeer, _ string) {
		io.WriteString(p, "HTTP/1.1 401 Unauthorized\r\nContent-Type: text/plain\r\n\r\nunknown token\n") // and never ends
	})
	s, err := NewWebSocket("ws://" + addr)
	require.NoError(t, err)
	failed := make(chan error, 1)
	s.OnError(func(e ErrorEvent) { failed <- e.Err })
	release()
	select {
	case err := <-failed:
		assert.ErrorContains(t, err, "received 401 Unauthorized: unknown token")
	case <-time.After(connectTimeout / 2):
		assert.Fail(t, "it waits for the body")
	}
}

// Neither does the body of a redirect that is followed, which net/http reads a part of.
func TestDialDoesNotWaitForTheBodyOfARedirect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := inBubble(func(p *rawPeer, head string) {
			if strings.HasPrefix(head, "GET /there ") {
				io.WriteString(p, switching(head))
				return
			}
			io.WriteString(p, "HTTP/1.1 302 Found\r\nLocation: /there\r\n\r\nwait")
		})
		start := time.Now()
		mustDial(t, "ws://memory", &DialOptions{HTTPClient: client})
		assert.LessOrEqual(t, time.Since(start), 2*time.Second)
	})
}

func TestDialReadsARefusalOnlyUntilTheContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		start := time.Now()
		_, resp, err := Dial(ctx, "ws://memory", &DialOptions{HTTPClient: inBubble(func(p *rawPeer, _ string) {
			io.WriteString(p, "HTTP/1.1 404 Not Found\r\n\r\nno such room")
		})})
		assert.Equal(t, 200*time.Millisecond, time.Since(start))
		assert.ErrorContains(t, err, "received 404 Not Found: no such room")
		assert.Equal(t, 404, resp.StatusCode)
	})
}

// A body that does not heed its own Close cannot keep Dial either.
func TestDialDoesNotWaitForABodyThatCannotBeClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		client := &http.Client{Transport: tripper(func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 403, Body: stuckBody{release}, Request: r, Header: http.Header{}}, nil
		})}
		start := time.Now()
		_, _, err := Dial(t.Context(), "ws://memory", &DialOptions{HTTPClient: client})
		assert.ErrorContains(t, err, "received 403")
		assert.LessOrEqual(t, time.Since(start), 2*time.Second)
		close(release)
	})
}

type stuckBody struct{ until chan struct{} }

func (b stuckBody) Read([]byte) (int, error) { <-b.until; return 0, io.EOF }
func (b stuckBody) Close() error             { <-b.until; return nil }

func TestDialSaysWhatTheServerSaid(t *testing.T) {
	for _, tt := range []struct {
		name, status, header, body, want string
	}{
		{"a line", "401 Unauthorized", "", "unknown token\nask ann\n", "expected status 101, but received 401 Unauthorized: unknown token"},
		{"nothing", "403 Forbidden", "", "", "expected status 101, but received 403 Forbidden"},
		{"blank lines first", "403 Forbidden", "", "\r\n \n  no entry  \r\nmore", "received 403 Forbidden: no entry"},
		{"a status without a name", "599 Whatever", "", "x", "received 599: x"},
		{"control characters", "400 Bad Request", "", "a\x1b[31m\tb\x00c\u202ed", "received 400 Bad Request: a [31m b c d"},
		{"no UTF-8", "400 Bad Request", "", "a\xff\xfeb", "received 400 Bad Request: a b"},
		{"long", "400 Bad Request", "", strings.Repeat("é", 500), "received 400 Bad Request: " + strings.Repeat("é", 300) + "…"},
		{"a page", "502 Bad Gateway", "Content-Type: text/html\r\n", "<html>\n", "received 502 Bad Gateway"},
		{"a page without a type", "502 Bad Gateway", "", " <!DOCTYPE html>", "received 502 Bad Gateway"},
		{"compressed", "502 Bad Gateway", "Content-Encoding: br\r\n", "garbage", "received 502 Bad Gateway"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr := originServer(t, func(p *rawPeer, _ string) {
				fmt.Fprintf(p, "HTTP/1.1 %s\r\nConnection: close\r\n%sContent-Length: %d\r\n\r\n%s", tt.status, tt.header, len(tt.body), tt.body)
			})
			_, resp, err := Dial(testContext(t), "ws://"+addr, nil)
			var e *HandshakeError
			require.ErrorAs(t, err, &e)
			assert.True(t, strings.HasSuffix(e.Detail, tt.want), e.Detail)
			body, err := io.ReadAll(resp.Body)
			assert.NoError(t, err)
			assert.Equal(t, tt.body, string(body), "the error does not use the body up")
		})
	}
}

// tokenPassword is a password that no text may show.
const tokenPassword = "hunter2"

func TestErrorsSayTheSchemeAndNoPassword(t *testing.T) {
	closed := httptest.NewServer(nil)
	addr := closed.Listener.Addr().String()
	closed.Close()
	for _, tt := range []struct{ url, want string }{
		{"ws://ann:hunter2@" + addr + "/x", `"ws://ann:xxxxx@` + addr + `/x"`},
		{"wss://ann:hunter2@" + addr + "/x", `"wss://ann:xxxxx@` + addr + `/x"`},
		{"http://ann:hunter2@" + addr + "/x", `"http://ann:xxxxx@` + addr + `/x"`},
		{"ws://ann:hunter2@host/#x", `"ws://ann:xxxxx@host/#x"`},
		{"//ann:hunter2@host/", `"//ann:xxxxx@host/" has no scheme`},
		{"ftp://ann:hunter2@host/", `it is "ftp"`},
		{"ws://ann:hunter2@", `"ws://ann:xxxxx@" has no host`},
		{"ws://ann:hunter2@host:port/", `ws://ann:xxxxx@host:port/`},
		{"ws://ann:hun/hunter2@host/", `ws://ann:xxxxx@host/`},
		{"ws://ann:hunter2%@host/", `ws://ann:xxxxx@host/`},
	} {
		_, _, err := Dial(testContext(t), tt.url, nil)
		if assert.Error(t, err, tt.url) {
			assert.NotContains(t, err.Error(), tokenPassword)
			assert.Contains(t, err.Error(), tt.want)
		}
	}
}

// twice is a RoundTripper that makes a second request with the same context, as those for hedging and telemetry do.
type twice struct {
	base  http.RoundTripper
	other string
	after bool
}

func (t twice) RoundTrip(r *http.Request) (*http.Response, error) {
	if !t.after {
		t.request(r.Context())
	}
	resp, err := t.base.RoundTrip(r)
	if t.after {
		t.request(r.Context())
	}
	return resp, err
}

func (t twice) request(ctx context.Context) {
	r, err := http.NewRequestWithContext(ctx, "GET", t.other, nil)
	if err != nil {
		return
	}
	if resp, err := t.base.RoundTrip(r); err == nil {
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
}

func TestDialTakesTheConnectionOfItsOwnAnswer(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "counted") }))
	defer other.Close()
	for _, after := range []bool{false, true} {
		for _, wrapped := range []bool{false, true} {
			t.Run(fmt.Sprintf("after=%t wrapped=%t", after, wrapped), func(t *testing.T) {
				srv := httptest.NewServer(echo(nil))
				defer srv.Close()
				transport := new(http.Transport)
				defer transport.CloseIdleConnections()
				var tripping http.RoundTripper = twice{transport, other.URL, after}
				if wrapped {
					tripping = wrapping{tripping}
				}
				c, _ := mustDial(t, srv.URL, &DialOptions{HTTPClient: &http.Client{Transport: tripping}})
				assertEchoes(t, c)
				if wrapped {
					assert.NotEqual(t, other.Listener.Addr().String(), c.conn.RemoteAddr().String())
				} else {
					assert.Equal(t, srv.Listener.Addr().String(), c.conn.RemoteAddr().String())
					assert.IsType(t, (*net.TCPConn)(nil), c.conn)
				}
			})
		}
	}
}

// wrapping has every body of its own.
type wrapping struct{ http.RoundTripper }

func (w wrapping) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := w.RoundTripper.RoundTrip(r)
	if err == nil && resp.StatusCode == http.StatusSwitchingProtocols {
		resp.Body = struct{ io.ReadWriteCloser }{resp.Body.(io.ReadWriteCloser)}
	}
	return resp, err
}

// A connection that only another request of the same context has used is not the one below a body from elsewhere.
func TestDialDoesNotTakeTheOnlyOtherConnection(t *testing.T) {
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	near, far := net.Pipe()
	defer far.Close()
	memory := inMemory(struct{ io.ReadWriteCloser }{near}).Transport
	transport := new(http.Transport)
	defer transport.CloseIdleConnections()
	c, _ := mustDial(t, "ws://memory", &DialOptions{HTTPClient: &http.Client{Transport: tripper(func(r *http.Request) (*http.Response, error) {
		twice{transport, other.URL, false}.request(r.Context())
		return memory.RoundTrip(r)
	})}})
	assert.Equal(t, "response body", c.conn.RemoteAddr().String())
}

func TestDialHeaderKeys(t *testing.T) {
	addr, heads := seeing(t)
	mustDial(t, "ws://"+addr, &DialOptions{Header: http.Header{
		"host": {"example.com"}, "x-api-KEY": {"1"}, "user-agent": {"me"}, "content-length": {"5"}, "CONNECTION": {"close"},
	}})
	head := <-heads
	assert.Equal(t, 1, strings.Count(strings.ToLower(head), "\r\nhost:"))
	assert.Contains(t, head, "\r\nHost: example.com\r\n")
	assert.Contains(t, head, "\r\nX-Api-Key: 1\r\n")
	assert.Equal(t, 1, strings.Count(strings.ToLower(head), "\r\nuser-agent:"))
	assert.Contains(t, head, "\r\nUser-Agent: me\r\n")
	assert.NotContains(t, strings.ToLower(head), "content-length")

	for _, tt := range []struct {
		header http.Header
		want   string
	}{
		{http.Header{"Host": {"a", "b"}}, "DialOptions.Header: Host has 2 values"},
		{http.Header{"Host": {"a"}, "HOST": {"b"}}, "DialOptions.Header: Host has 2 values"},
		{http.Header{"a b": {"1"}}, `DialOptions.Header: "a b" is not a header name`},
		{http.Header{"X": {"a\r\nb"}}, "DialOptions.Header: the value of X contains a line break or NUL"},
		{http.Header{"sec-websocket-protocol": {"x"}}, "in Protocols"},
	} {
		_, _, err := Dial(t.Context(), "ws://host", &DialOptions{Header: tt.header})
		assert.ErrorContains(t, err, tt.want)
		_, ok := errors.AsType[*HandshakeError](err)
		assert.True(t, ok)
	}
}

// A RoundTripper may return less than net/http's does.
func TestDialThroughARoundTripperWithoutABody(t *testing.T) {
	for _, tt := range []struct {
		resp *http.Response
		want string
	}{
		{nil, "nil *Response"},
		{&http.Response{StatusCode: http.StatusForbidden}, "received 403 Forbidden"},
		{&http.Response{StatusCode: http.StatusSwitchingProtocols}, `expected "Upgrade: websocket"`},
		{&http.Response{StatusCode: http.StatusFound, Header: http.Header{"Location": {"ws://other.test/"}}}, "stopped after 10 redirects"},
	} {
		client := &http.Client{Transport: tripper(func(*http.Request) (*http.Response, error) { return tt.resp, nil })}
		_, _, err := Dial(t.Context(), "ws://host.test/", &DialOptions{HTTPClient: client})
		assert.ErrorContains(t, err, tt.want)
	}
	whole := inMemory(struct{ io.ReadWriteCloser }{}).Transport
	client := &http.Client{Transport: tripper(func(r *http.Request) (*http.Response, error) {
		resp, err := whole.RoundTrip(r)
		resp.Body = nil
		return resp, err
	})}
	_, _, err := Dial(t.Context(), "ws://host.test/", &DialOptions{HTTPClient: client})
	assert.ErrorContains(t, err, "to which nothing can be written")
}
