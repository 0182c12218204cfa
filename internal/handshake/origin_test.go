package handshake_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews/internal/handshake"
)

func TestCheckOrigin(t *testing.T) {
	for _, tt := range []struct {
		name    string
		host    string
		origins []string
		allowed []string
		ok      bool
	}{
		{"no origin", "example.com", nil, nil, true},
		{"same host", "example.com", []string{"https://example.com"}, nil, true},
		{"same host over http", "example.com", []string{"http://example.com"}, nil, true},
		{"case", "Example.COM", []string{"https://eXample.com"}, nil, true},
		{"same port", "example.com:8080", []string{"http://example.com:8080"}, nil, true},
		{"default port in Host", "example.com:443", []string{"https://example.com"}, nil, true},
		{"default port in Origin", "example.com", []string{"http://example.com:80"}, nil, true},
		{"the other scheme's port", "example.com:80", []string{"https://example.com"}, nil, false},
		{"other port", "example.com:8080", []string{"http://example.com"}, nil, false},
		{"IPv6", "[::1]:8080", []string{"http://[::1]:8080"}, nil, true},
		{"IPv6 without port", "[::1]", []string{"http://[::1]"}, nil, true},
		{"other host", "example.com", []string{"https://evil.example"}, nil, false},
		{"subdomain", "example.com", []string{"https://a.example.com"}, nil, false},
		{"prefix", "example.com", []string{"https://example.com.evil.example"}, nil, false},
		{"user name", "example.com", []string{"https://evil@example.com"}, nil, false},
		{"path", "example.com", []string{"https://example.com/"}, nil, false},
		{"query", "example.com", []string{"https://example.com?"}, nil, false},
		{"no scheme", "example.com", []string{"example.com"}, nil, false},
		{"empty", "example.com", []string{""}, nil, false},
		{"empty host", "", []string{"http://"}, nil, false},
		{"null", "example.com", []string{"null"}, nil, false},
		{"null allowed", "example.com", []string{"null"}, []string{"null"}, true},
		{"two lines", "example.com", []string{"https://example.com", "https://example.com"}, nil, false},
		{"list", "example.com", []string{"https://example.com, https://evil.example"}, nil, false},

		{"allowed", "api.example.com", []string{"https://example.com"}, []string{"https://example.com"}, true},
		{"allowed, default port", "x", []string{"https://example.com"}, []string{"https://example.com:443"}, true},
		{"allowed, case", "x", []string{"https://example.com"}, []string{"HTTPS://Example.com"}, true},
		{"allowed, other scheme", "x", []string{"http://example.com"}, []string{"https://example.com"}, false},
		{"allowed, other port", "x", []string{"https://example.com:8443"}, []string{"https://example.com"}, false},
		{"any scheme", "x", []string{"http://example.com"}, []string{"example.com"}, true},
		{"any scheme, port", "x", []string{"http://example.com:81"}, []string{"example.com:81"}, true},
		{"own scheme", "x", []string{"capacitor://localhost"}, []string{"capacitor://localhost"}, true},
		{"any port", "x", []string{"http://localhost:5173"}, []string{"http://localhost:*"}, true},
		{"any port, default", "x", []string{"http://localhost"}, []string{"http://localhost:*"}, true},
		{"wildcard", "x", []string{"https://a.example.com"}, []string{"https://*.example.com"}, true},
		{"wildcard, deep", "x", []string{"https://a.b.example.com"}, []string{"https://*.example.com"}, true},
		{"wildcard, apex", "x", []string{"https://example.com"}, []string{"https://*.example.com"}, false},
		{"wildcard, look-alike", "x", []string{"https://evilexample.com"}, []string{"https://*.example.com"}, false},
		{"wildcard, empty label", "x", []string{"https://.example.com"}, []string{"https://*.example.com"}, false},
		{"wildcard, localhost", "x", []string{"http://a.localhost:3000"}, []string{"http://*.localhost:*"}, true},
		{"empty, with a pattern", "x", []string{""}, []string{"https://a"}, false},
		{"file", "x", []string{"file://"}, nil, false},
		{"file allowed", "x", []string{"file://"}, []string{"file://"}, true},
		{"file is not null", "x", []string{"null"}, []string{"file://"}, false},
		{"file with a path", "x", []string{"file:///tmp/x.html"}, []string{"file://"}, false},
		{"Unicode", "x", []string{"https://xn--bcher-kva.example"}, []string{"https://bücher.example"}, true},
		{"Unicode, case", "x", []string{"https://xn--bcher-kva.example"}, []string{"https://BÜCHER.example"}, true},
		{"Unicode wildcard", "x", []string{"https://a.xn--bcher-kva.example"}, []string{"https://*.bücher.example"}, true},
		{"Unicode sent", "x", []string{"https://bücher.example"}, []string{"https://bücher.example"}, true},
		{"Unicode Host", "bücher.example", []string{"https://xn--bcher-kva.example"}, nil, true},
		{"second pattern", "x", []string{"https://b"}, []string{"https://a", "https://b"}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.Host = tt.host
			r.Header["Origin"] = tt.origins
			allowed, err := handshake.ParseOrigins(tt.allowed)
			require.NoError(t, err)
			refused := handshake.CheckOrigin(r, allowed)
			if tt.ok {
				assert.Nil(t, refused)
				return
			}
			require.NotNil(t, refused)
			assert.Equal(t, http.StatusForbidden, refused.Status)
		})
	}
}

func TestParseOriginsRefusesMistakes(t *testing.T) {
	for pattern, want := range map[string]string{
		"*":                     "InsecureSkipOriginCheck",
		"https://*":             "InsecureSkipOriginCheck",
		"*:*":                   "InsecureSkipOriginCheck",
		"":                      "is not an origin",
		"*example.com":          "is not an origin",
		"https://a.*.com":       "is not an origin",
		"https://example.com/":  "is not an origin",
		"https://example.com:x": "is not an origin",
		"https://":              "is not an origin",
		"*.":                    "is not an origin",
		"a.com, b.com":          "is not an origin",
		"://example.com":        "has no scheme",
		"https://*.com":         "allows every site under .com, and anybody can have one",
		"*.com":                 "allows every site under .com",
		"*.com.:*":              "allows every site under .com",
		"*.рф":                  "allows every site under .рф",
		"https://*.127.0.0.1":   "an address has no subdomains",
		"https://*.[::1]":       "an address has no subdomains",
		"bu\u0308cher.example":  "use the punycode form",
	} {
		_, err := handshake.ParseOrigins([]string{pattern})
		if assert.Error(t, err, "%q", pattern) {
			assert.Contains(t, err.Error(), want)
		}
	}
}

// The refusal says what to do about the origin that was sent.
func TestRefusedOriginAdvice(t *testing.T) {
	for _, tt := range []struct {
		origins []string
		want    string
	}{
		{[]string{"https://evil.example"}, "add it to AllowedOrigins if it should; if it is the server's own, a proxy in between has replaced the Host header and has to pass it on (in nginx: proxy_set_header Host $http_host)"},
		{[]string{"null"}, `origin "null" may not open a WebSocket on host "example.com": add it to AllowedOrigins if it should`},
		{[]string{"example.com"}, "an origin begins with a scheme, as in https://example.com"},
		{[]string{""}, "an origin begins with a scheme"},
		{[]string{"https://example.com/"}, "an origin ends with its host or port, without a slash"},
		{[]string{"https://example.com", "https://example.com"}, "a request has one Origin"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header["Origin"] = tt.origins
		if refused := handshake.CheckOrigin(r, nil); assert.NotNil(t, refused, "%q", tt.origins) {
			assert.Contains(t, refused.Detail, tt.want)
		}
	}
}
