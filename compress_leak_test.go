package edgews_test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/edgewstest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sizeOfSecret has a server send back what an attacker has chosen, and then a message with a secret. It returns the size of the latter's frames.
func sizeOfSecret(t *testing.T, compression *edgews.Compression, secret, guess string) (size int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		observer := observerFunc(func(m edgews.MessageObservation) {
			if m.Direction == edgews.Outbound {
				size = m.WireBytes
			}
		})
		opts := &edgews.UpgradeOptions{Options: edgews.Options{Compression: compression, Observer: observer}}
		srv := edgewstest.New(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s, err := edgews.Upgrade(w, r, opts)
			if !assert.NoError(t, err) {
				return
			}
			s.OnMessage(func(e edgews.MessageEvent) {
				assert.NoError(t, s.Send(e.Text()))
				assert.NoError(t, s.Send(secret))
			})
			assert.NoError(t, s.Accept())
		}))
		client := srv.Dial("/", nil)
		require.NoError(t, client.Accept())
		require.NoError(t, client.Send(guess))
		for range 2 {
			_, err := client.Receive(t.Context())
			require.NoError(t, err)
		}
		synctest.Wait()
	})
	return size
}

// The size of a compressed message tells whether a guess is right, unless one of the ways that SECURITY.md names is taken.
func TestSizesOfCompressedSecrets(t *testing.T) {
	noise := strings.Repeat("token=Zq8rT1vXw3Yk7LmN5pBc9dFgHjKs2uVe;", 8)
	secret, right := noise, noise
	wrong := strings.Map(func(r rune) rune { return 'a' + (r*7)%26 }, noise)
	isSecret := func(data []byte) bool { return bytes.HasPrefix(data, []byte("token=")) }
	cases := map[string]struct {
		compression *edgews.Compression
		tells       bool
	}{
		"default":                {nil, true},
		"Choose":                 {&edgews.Compression{Choose: func(_ edgews.Kind, data []byte) bool { return !isSecret(data) }}, false},
		"NoContextTakeover":      {&edgews.Compression{NoContextTakeover: true}, false},
		"Disable":                {&edgews.Compression{Disable: true}, false},
		"messages are too small": {&edgews.Compression{Threshold: 1 << 20}, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			ifRight, ifWrong := sizeOfSecret(t, c.compression, secret, right), sizeOfSecret(t, c.compression, secret, wrong)
			require.Positive(t, ifRight)
			if c.tells {
				assert.Less(t, ifRight, ifWrong)
				return
			}
			assert.Equal(t, ifRight, ifWrong)
		})
	}
}
