package handshake_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews/internal/handshake"
)

// opening returns a correct opening handshake.
func opening() *http.Request {
	r := httptest.NewRequest(http.MethodGet, "http://example.com/", nil)
	r.Header = http.Header{
		"Upgrade": {"websocket"}, "Connection": {"Upgrade"},
		handshake.VersionHeader: {handshake.Version}, handshake.KeyHeader: {rfcKey},
	}
	return r
}

func TestCheckRequest(t *testing.T) {
	require.Nil(t, handshake.CheckRequest(opening()))
	for _, tt := range []struct {
		name   string
		edit   func(*http.Request)
		status int
		detail string
	}{
		{"HTTP/1.0", func(r *http.Request) { r.ProtoMinor = 0 }, 400, "cannot be upgraded"},
		{"HTTP/2", func(r *http.Request) { r.ProtoMajor, r.ProtoMinor = 2, 0 }, 505, "a WebSocket is not opened with GET"},
		{"POST", func(r *http.Request) { r.Method = http.MethodPost }, 405, `the method is "POST"`},
		{"body of unknown length", func(r *http.Request) { r.ContentLength = -1 }, 400, "the request has a body"},
		{"no Upgrade", func(r *http.Request) { r.Header.Del("Upgrade") }, 426, "this is a WebSocket endpoint"},
		{"no Connection", func(r *http.Request) { r.Header.Del("Connection") }, 400, "the Connection header is"},
		{"version", func(r *http.Request) { r.Header[handshake.VersionHeader] = []string{"8"} }, 426, `is "8"`},
		{"key in both spellings", func(r *http.Request) { r.Header.Set(handshake.KeyHeader, rfcKey) }, 400, "send 16 bytes in base64, once"},
		{"protocol", func(r *http.Request) { r.Header[handshake.ProtocolHeader] = []string{"a, b c"} }, 400, `contains "b c"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := opening()
			tt.edit(r)
			refused := handshake.CheckRequest(r)
			require.NotNil(t, refused)
			assert.Equal(t, tt.status, refused.Status)
			assert.Contains(t, refused.Detail, tt.detail)
		})
	}
}

func TestIsUpgradeLooksAtUpgradeAlone(t *testing.T) {
	r := opening()
	r.Header.Del("Connection")
	assert.True(t, handshake.IsUpgrade(r))
	r.Header.Set("Upgrade", "h2c")
	assert.False(t, handshake.IsUpgrade(r))
}
