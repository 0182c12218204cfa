package edgews_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// validUpgrade is a correct opening handshake.
func validUpgrade() *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	for name, value := range map[string]string{
		"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": aKey,
	} {
		r.Header.Set(name, value)
	}
	return r
}

// Options that can never work are refused wherever they are given, and named.
func TestOptionsThatCanNeverWork(t *testing.T) {
	for _, tt := range []struct {
		opts edgews.Options
		want string
	}{
		{edgews.Options{SendBuffer: -1}, ".SendBuffer: -1 bytes"},
		{edgews.Options{Overflow: 9}, ".Overflow: 9: use OverflowError"},
		{edgews.Options{KeepAliveTimeout: -time.Second}, ".KeepAliveTimeout: -1s"},
		{edgews.Options{CloseTimeout: -1}, ".CloseTimeout: -1ns"},
		{edgews.Options{RateLimit: edgews.RateLimit{Messages: -1}}, ".RateLimit.Messages: -1 per second"},
		{edgews.Options{RateLimit: edgews.RateLimit{Bytes: -5}}, ".RateLimit.Bytes: -5 per second"},
		{edgews.Options{Compression: &edgews.Compression{PeerWindowBits: 99}}, ".Compression.PeerWindowBits: 99: a window has 8 to 15 bits"},
		{edgews.Options{Compression: &edgews.Compression{WindowBits: 7}}, ".Compression.WindowBits: 7"},
		{edgews.Options{Compression: &edgews.Compression{WindowBits: -1}}, ".Compression.WindowBits: -1"},
		{edgews.Options{Compression: &edgews.Compression{Threshold: -1}}, ".Compression.Threshold: -1 bytes"},
		{edgews.Options{Compression: &edgews.Compression{Level: -1}}, ".Compression.Level: -1: levels are 0 to 9"},
		{edgews.Options{Compression: &edgews.Compression{Level: 10}}, ".Compression.Level: 10: levels are 0 to 9"},
	} {
		t.Run(tt.want, func(t *testing.T) {
			_, _, err := edgews.Dial(t.Context(), "ws://host.invalid", &edgews.DialOptions{Options: tt.opts})
			assert.ErrorContains(t, err, "DialOptions"+tt.want)

			w := httptest.NewRecorder()
			_, err = edgews.Upgrade(w, validUpgrade(), &edgews.UpgradeOptions{Options: tt.opts})
			assert.ErrorContains(t, err, "UpgradeOptions"+tt.want)
			assert.Equal(t, http.StatusInternalServerError, w.Code)
			assert.Contains(t, w.Body.String(), tt.want)

			client, _ := edgews.NewPair()
			w = httptest.NewRecorder()
			assert.ErrorContains(t, edgews.Respond(w, validUpgrade(), client, &edgews.UpgradeOptions{Options: tt.opts}), tt.want)
			assert.Equal(t, http.StatusInternalServerError, w.Code)

			defer func() { assert.Contains(t, recover(), "edgews: NewNamespace: NamespaceOptions"+tt.want) }()
			edgews.NewNamespace("rooms", noObject, &edgews.NamespaceOptions{Options: tt.opts})
		})
	}
}

func TestShutdownCode(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := newRooms(t, &edgews.NamespaceOptions{ShutdownCode: edgews.StatusGoingAway}, nil)
		_, _, events := n.joins(n.NewUniqueID())
		require.NoError(t, n.Shutdown(context.Background()))
		events.wantsEnd(closed(1001, "service restart", true))
	})
	for _, code := range []edgews.StatusCode{999, 1005, 1006, 1015, 5000} {
		assert.Panics(t, func() { edgews.NewNamespace("rooms", noObject, &edgews.NamespaceOptions{ShutdownCode: code}) }, "%d", code)
	}
}
