package inspect_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/edgews/edgews/inspect"
	"github.com/stretchr/testify/assert"
)

func TestAccess(t *testing.T) {
	const get, ok, no = http.MethodGet, http.StatusOK, http.StatusForbidden
	cases := []struct {
		name, method, peer, host, path string
		fields                         map[string]string
		proto                          int // minor version
		authorize                      func(*http.Request) bool
		want                           int
	}{
		{"local", get, "127.0.0.1:5", "localhost:80", "/debug/edgews/", nil, 1, nil, ok},
		{"local, IPv6", get, "[::1]:5", "[::1]:80", "/", nil, 1, nil, ok},
		{"local, IPv4 in IPv6", get, "[::ffff:127.0.0.9]:5", "127.0.0.9", "/x/", nil, 1, nil, ok},
		{"another machine", get, "10.0.0.1:5", "localhost", "/", nil, 1, nil, no},
		{"no address", get, "@", "localhost", "/", nil, 1, nil, no},
		{"another host", get, "127.0.0.1:5", "evil.example", "/", nil, 1, nil, no},
		{"a host that looks local", get, "127.0.0.1:5", "localhost.evil.example", "/", nil, 1, nil, no},
		{"no host", get, "127.0.0.1:5", "", "/", nil, 1, nil, no},
		{"HTTP/1.0", get, "127.0.0.1:5", "localhost", "/", nil, 0, nil, no},
		{"X-Forwarded-For", get, "127.0.0.1:5", "localhost", "/", map[string]string{"X-Forwarded-For": "127.0.0.1"}, 1, nil, no},
		{"X-Forwarded-Prefix", get, "127.0.0.1:5", "localhost", "/", map[string]string{"X-Forwarded-Prefix": ""}, 1, nil, no},
		{"Forwarded", get, "127.0.0.1:5", "localhost", "/", map[string]string{"Forwarded": "for=x"}, 1, nil, no},
		{"Via", get, "127.0.0.1:5", "localhost", "/", map[string]string{"Via": "1.1 x"}, 1, nil, no},
		{"X-Real-IP", get, "127.0.0.1:5", "localhost", "/", map[string]string{"X-Real-IP": "::1"}, 1, nil, no},
		{"authorized from anywhere", get, "10.0.0.1:5", "a.example", "/", map[string]string{"Via": "1.1 x"}, 1, anyone, ok},
		{"not authorized", get, "127.0.0.1:5", "localhost", "/", nil, 1, func(*http.Request) bool { return false }, no},
		{"the socket is as closed", get, "10.0.0.1:5", "localhost", "/socket", nil, 1, nil, no},
		{"the socket without an upgrade", get, "127.0.0.1:5", "localhost", "/socket", nil, 1, nil, http.StatusUpgradeRequired},
		{"a module", get, "127.0.0.1:5", "localhost", "/a/calls.js", nil, 1, nil, ok},
		{"the licence of uPlot", get, "127.0.0.1:5", "localhost", "/uPlot.LICENSE.txt", nil, 1, nil, ok},
		{"notes for those who work on the page", get, "127.0.0.1:5", "localhost", "/uPlot.README.md", nil, 1, nil, http.StatusNotFound},
		{"no file", get, "127.0.0.1:5", "localhost", "/a/b", nil, 1, nil, http.StatusNotFound},
		{"POST", http.MethodPost, "127.0.0.1:5", "localhost", "/", nil, 1, nil, http.StatusMethodNotAllowed},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest(c.method, "http://x"+c.path, nil)
			r.RemoteAddr, r.Host, r.ProtoMinor = c.peer, c.host, c.proto
			for name, value := range c.fields {
				r.Header.Set(name, value)
			}
			w := httptest.NewRecorder()
			inspect.New(&inspect.Options{Authorize: c.authorize}).Handler().ServeHTTP(w, r)
			assert.Equal(t, c.want, w.Code, w.Body)
			assert.Equal(t, "no-store", w.Header().Get("Cache-Control"))
			assert.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
			assert.Contains(t, w.Header().Get("Content-Security-Policy"), "frame-ancestors 'none'")
		})
	}
}

func TestForeignOriginIsRefused(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "http://localhost/socket", nil)
	r.RemoteAddr = "127.0.0.1:5"
	for name, value := range map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
		"Origin": "http://evil.example",
	} {
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	inspect.New(&inspect.Options{Logger: quiet}).Handler().ServeHTTP(w, r)
	assert.Equal(t, http.StatusForbidden, w.Code)
}
