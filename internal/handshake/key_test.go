package handshake_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/edgews/edgews/internal/handshake"
)

// The key of RFC 6455 §1.3 and its answer.
const (
	rfcKey    = "dGhlIHNhbXBsZSBub25jZQ=="
	rfcAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

func TestAcceptFor(t *testing.T) {
	assert.Equal(t, rfcAccept, handshake.AcceptFor(rfcKey))
}

func TestNewKey(t *testing.T) {
	a, b := handshake.NewKey(), handshake.NewKey()
	assert.True(t, handshake.ValidKey(a))
	assert.NotEqual(t, a, b)
}

func TestValidKey(t *testing.T) {
	for key, want := range map[string]bool{
		rfcKey:                         true,
		"AAAAAAAAAAAAAAAAAAAAAA==":     true,
		"":                             false,
		"dGhlIHNhbXBsZSBub25jZQ":       false, // no padding
		"dGhlIHNhbXBsZSBub25j":         false, // 15 bytes
		"dGhlIHNhbXBsZSBub25jZTE=":     false, // 17 bytes
		"!!!!!!!!!!!!!!!!!!!!!!!!":     false, // 24 characters, as gobwas wants it
		"dGhlIHNhbXBsZSBub25jZQ==, x":  false,
		"__hlIHNhbXBsZSBub25jZQ==":     false, // the URL alphabet
		"ZGdobElITmhiWEJzWlNCdWIyNWo=": false,
	} {
		assert.Equal(t, want, handshake.ValidKey(key), "%q", key)
	}
}
