package edgews_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPublicOnly(t *testing.T) {
	for _, address := range []string{
		"127.0.0.1:80", "127.9.9.9:80", "[::1]:80", "0.0.0.0:80", "[::]:80", "10.1.2.3:80", "172.16.0.1:80", "192.168.1.1:80", "169.254.169.254:80",
		"100.64.0.1:80", "224.0.0.1:80", "255.255.255.255:80", "[fe80::1%eth0]:80", "[fd00::1]:80", "[fd00:ec2::254]:80", "[ff02::1]:80",
		"[::ffff:127.0.0.1]:80", "[::ffff:10.0.0.1]:80", "[::127.0.0.1]:80", "[64:ff9b::a00:1]:80", "[2002:7f00:1::]:80", "192.0.2.1:80", "/run/socket", "",
	} {
		assert.Error(t, publicOnly("tcp", address, nil), address)
	}
	for _, address := range []string{"1.1.1.1:443", "[2606:4700:4700::1111]:443", "[::ffff:1.1.1.1]:80", "172.32.0.1:80", "100.128.0.1:80"} {
		assert.NoError(t, publicOnly("tcp", address, nil), address)
	}
}

// A Dialer.Control also sees the addresses that redirects and the targets of a Proxy resolve to.
func TestControlOfTheDialerIsAsked(t *testing.T) {
	reached := make(chan string, 1)
	inside := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { reached <- r.URL.Path }))
	defer inside.Close()
	insideURL := strings.Replace(inside.URL, "127.0.0.1", "localhost", 1)

	t.Run("redirect", func(t *testing.T) {
		outside := rawServer(t, func(string) string {
			return "HTTP/1.1 302 Found\r\nLocation: " + insideURL + "\r\nContent-Length: 0\r\n\r\n"
		})
		dialer := &net.Dialer{Control: func(network, address string, c syscall.RawConn) error {
			if "ws://"+address == outside { // a server of the test has no public address
				return nil
			}
			return publicOnly(network, address, c)
		}}
		client := &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext}}
		_, _, err := edgews.Dial(t.Context(), outside, &edgews.DialOptions{HTTPClient: client})
		assert.ErrorContains(t, err, "is not a public address")
	})
	t.Run("proxy", func(t *testing.T) {
		front := httptest.NewServer(edgews.Proxy(insideURL, &edgews.ProxyOptions{HTTPClient: publicClient()}))
		defer front.Close()
		_, resp, err := edgews.Dial(t.Context(), "ws"+strings.TrimPrefix(front.URL, "http"), nil)
		require.Error(t, err)
		require.NotNil(t, resp)
		assert.Equal(t, http.StatusBadGateway, resp.StatusCode)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		assert.NotContains(t, string(body), "localhost", "the client is not told of the network behind the proxy")
	})
	assert.Empty(t, reached)
}
