package edgews

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// redirecting answers every request with a redirect to location.
func redirecting(location string) func(p *rawPeer, _ string) {
	return func(p *rawPeer, _ string) {
		io.WriteString(p, "HTTP/1.1 302 Found\r\nContent-Length: 0\r\nConnection: close\r\nLocation: "+location+"\r\n\r\n")
	}
}

// seeing switches protocols and reports the head of each request.
func seeing(t *testing.T) (addr string, heads chan string) {
	heads = make(chan string, 10)
	addr = originServer(t, func(p *rawPeer, head string) {
		heads <- head
		io.WriteString(p, switching(head))
	})
	return addr, heads
}

// secrets are what a client tells one server only.
func secrets() *DialOptions {
	return &DialOptions{
		Protocols: []string{"bearer.token-of-ann"},
		Header: http.Header{
			"Authorization": {"Bearer token-of-ann"}, "Cookie": {"session=token-of-ann"}, "X-Api-Key": {"token-of-ann"},
			"Host": {"token-of-ann.example"},
		},
	}
}

func TestRedirectToAnotherHostCarriesNoSecrets(t *testing.T) {
	addr, heads := seeing(t)
	first := originServer(t, redirecting("ws://"+addr+"/elsewhere"))
	_, resp := mustDial(t, "ws://ann:token-of-ann@"+first+"/?key=token-of-ann", secrets())
	head := <-heads
	assert.Equal(t, addr, resp.Request.URL.Host)
	assert.NotContains(t, head, "token-of-ann")
	assert.Contains(t, head, "Host: "+addr+"\r\n")
	assert.Contains(t, head, "Sec-WebSocket-Extensions: ", "the handshake itself is whole")
}

// Secrets that were dropped do not come back, neither on a further redirect of the other host nor at the first.
func TestRedirectBackCarriesNoSecrets(t *testing.T) {
	heads := make(chan string, 10)
	var second string
	first := originServer(t, func(p *rawPeer, head string) {
		heads <- head
		if strings.HasPrefix(head, "GET /back ") {
			io.WriteString(p, switching(head))
			return
		}
		redirecting("ws://"+second+"/one")(p, head)
	})
	second = originServer(t, func(p *rawPeer, head string) {
		heads <- head
		if strings.HasPrefix(head, "GET /one ") {
			redirecting("/two")(p, head)
			return
		}
		redirecting("ws://"+first+"/back")(p, head)
	})
	mustDial(t, "ws://"+first, secrets())
	assert.Contains(t, <-heads, "token-of-ann")
	for range 3 {
		assert.NotContains(t, <-heads, "token-of-ann")
	}
}

func TestRedirectOnTheSameHostCarriesEverything(t *testing.T) {
	heads := make(chan string, 10)
	addr := originServer(t, func(p *rawPeer, head string) {
		heads <- head
		if strings.HasPrefix(head, "GET /again ") {
			io.WriteString(p, switching(head, "Sec-WebSocket-Protocol: bearer.token-of-ann"))
			return
		}
		redirecting("/again")(p, head)
	})
	c, _ := mustDial(t, "ws://"+addr, secrets())
	assert.Equal(t, "bearer.token-of-ann", c.protocol)
	<-heads
	head := <-heads
	for _, line := range []string{"Authorization: Bearer token-of-ann", "Cookie: session=token-of-ann", "X-Api-Key: token-of-ann",
		"Sec-WebSocket-Protocol: bearer.token-of-ann", "Host: token-of-ann.example"} {
		assert.Contains(t, head, line+"\r\n")
	}
}

func TestSameEndpoint(t *testing.T) {
	for _, tt := range []struct {
		from, to string
		want     bool
	}{
		{"http://a.example/1", "http://a.example/2", true},
		{"http://a.example", "http://A.example:80", true},
		{"https://a.example:443", "https://a.example", true},
		{"http://a.example", "https://a.example", true},
		{"http://a.example:8080", "https://a.example:8080", true},
		{"http://a.example:8080", "https://a.example", false},
		{"https://a.example", "http://a.example", false},
		{"http://a.example", "http://a.example:81", false},
		{"http://a.example", "http://sub.a.example", false},
		{"http://sub.a.example", "http://a.example", false},
		{"http://a.example", "http://b.example", false},
	} {
		from, err := url.Parse(tt.from)
		require.NoError(t, err)
		to, err := url.Parse(tt.to)
		require.NoError(t, err)
		assert.Equal(t, tt.want, sameEndpoint(from, to), "%s to %s", tt.from, tt.to)
	}
}

func TestRedirectAwayFromTLSIsRefused(t *testing.T) {
	addr, heads := seeing(t)
	secure := httptest.NewTLSServer(http.RedirectHandler("ws://"+addr+"/", http.StatusFound))
	defer secure.Close()
	for _, tt := range []struct{ given, shown string }{
		{"wss://", "wss://"}, {"https://", "https://"},
	} {
		dialed := tt.given + secure.Listener.Addr().String()
		s, resp, err := Dial(testContext(t), dialed, &DialOptions{HTTPClient: secure.Client()})
		assert.Nil(t, s)
		require.NotNil(t, resp)
		assert.Equal(t, 302, resp.StatusCode)
		var e *HandshakeError
		require.ErrorAs(t, err, &e)
		assert.Equal(t, 302, e.StatusCode)
		assert.ErrorContains(t, err, "the redirect was not followed")
		assert.ErrorContains(t, err, "away from TLS")
		assert.ErrorContains(t, err, tt.shown+secure.Listener.Addr().String())
		assert.Empty(t, heads, "nothing was sent in clear")
	}
}

// A policy of the caller sees the request without the secrets, may add what it wants the other host to have, and decides
// before the check of the scheme.
func TestRedirectPolicyOfTheCaller(t *testing.T) {
	addr, heads := seeing(t)
	first := originServer(t, redirecting("ws://"+addr+"/elsewhere"))
	client := &http.Client{CheckRedirect: func(r *http.Request, via []*http.Request) error {
		assert.Len(t, via, 1)
		assert.Equal(t, "http", r.URL.Scheme)
		assert.Empty(t, r.Header.Get("Authorization"))
		r.Header.Set("Authorization", "Bearer token-for-the-other")
		return nil
	}}
	opts := secrets()
	opts.HTTPClient = client
	mustDial(t, "ws://"+first, opts)
	head := <-heads
	assert.Contains(t, head, "Authorization: Bearer token-for-the-other\r\n")
	assert.NotContains(t, head, "token-of-ann")

	secure := httptest.NewTLSServer(http.RedirectHandler("ws://"+addr+"/", http.StatusFound))
	defer secure.Close()
	last := *secure.Client()
	last.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	_, resp, err := Dial(testContext(t), secure.URL, &DialOptions{HTTPClient: &last})
	assert.ErrorContains(t, err, "received 302")
	assert.Equal(t, 302, resp.StatusCode)

	follow := *secure.Client()
	follow.CheckRedirect = func(*http.Request, []*http.Request) error { return nil }
	_, _, err = Dial(testContext(t), secure.URL, &DialOptions{HTTPClient: &follow})
	assert.ErrorContains(t, err, "away from TLS", "a policy that allows everything does not allow this")
}

// The cookies of a jar are bound to hosts by the jar.
func TestRedirectToAnotherHostCarriesItsOwnCookies(t *testing.T) {
	addr, heads := seeing(t)
	first := originServer(t, redirecting("http://"+addr+"/elsewhere"))
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	jar.SetCookies(&url.URL{Scheme: "http", Host: addr}, []*http.Cookie{{Name: "own", Value: "1"}})
	opts := secrets()
	opts.HTTPClient = &http.Client{Jar: jar}
	mustDial(t, "ws://"+first, opts)
	assert.Contains(t, <-heads, "Cookie: own=1\r\n")
}

// A subprotocol that was not asked for on this host cannot be chosen by it.
func TestRedirectedSubprotocolIsNotAskedFor(t *testing.T) {
	addr := originServer(t, func(p *rawPeer, head string) {
		io.WriteString(p, switching(head, "Sec-WebSocket-Protocol: bearer.token-of-ann"))
	})
	first := originServer(t, redirecting("ws://"+addr))
	_, _, err := Dial(testContext(t), "ws://"+first, secrets())
	assert.ErrorContains(t, err, "expected no subprotocol")
}

func TestRedirectLoopStillEnds(t *testing.T) {
	addr := originServer(t, redirecting("/again"))
	_, resp, err := Dial(testContext(t), "ws://"+addr, nil)
	assert.ErrorContains(t, err, "stopped after 10 redirects")
	assert.Equal(t, 302, resp.StatusCode)
	assert.False(t, errors.Is(err, context.DeadlineExceeded))
}
