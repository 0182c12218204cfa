package dialh2_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/dialh2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// haproxyConfig has a frontend with TLS on a Unix socket, and one server.
const haproxyConfig = `defaults
	mode http
	timeout connect 30s
	timeout client 60s
	timeout server 60s
	timeout tunnel 60s
frontend front
	bind unix@%[1]s/front ssl crt %[1]s/both.pem alpn h2,http/1.1
	default_backend edge
backend edge
	server edge %[2]s %[3]s
`

// TestHAProxy opens WebSockets through haproxy, which speaks RFC 8441 with the client, with the server, or with both. It translates between
// HTTP/1.1 and HTTP/2.
func TestHAProxy(t *testing.T) {
	path := haproxyOrSkip(t)
	for _, c := range []struct {
		name           string
		client, server int // the version of HTTP
	}{
		{"HTTP/2 to HTTP/1.1", 2, 1}, {"HTTP/2 to HTTP/2", 2, 2}, {"HTTP/1.1 to HTTP/2", 1, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			sockets := make(chan *edgews.Socket, 10)
			backend := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if !edgews.IsUpgrade(r) {
					_, _ = io.WriteString(w, "a page")
					return
				}
				assert.Equal(t, c.server, r.ProtoMajor)
				s, err := edgews.Upgrade(w, r, &edgews.UpgradeOptions{Protocols: []string{"chat"}})
				if assert.NoError(t, err) {
					sockets <- s
				}
			}))
			options := "ssl verify none alpn http/1.1"
			if c.server == 2 {
				options = "ssl verify none alpn h2 ws h2"
			}
			client := startHAProxy(t, path, backend, options, c.client)
			var open, servers []*edgews.Socket
			for range 3 {
				socket, resp, err := edgews.Dial(within(t), "wss://127.0.0.1/", &edgews.DialOptions{HTTPClient: client, Protocols: []string{"chat"}})
				require.NoError(t, err)
				assert.Equal(t, c.client, resp.ProtoMajor)
				assert.Equal(t, "chat", socket.Protocol())
				assert.NotEmpty(t, socket.Extensions())
				server := <-sockets
				echoAll(server)
				says(t, socket, "hello", "hello")
				big := strings.Repeat("large ", 50_000)
				says(t, socket, big, big)
				open, servers = append(open, socket), append(servers, server)
			}
			require.NoError(t, open[0].Close(edgews.StatusNormalClosure, "by the client"))
			require.NoError(t, servers[1].Close(4001, "by the server"))
			want := []*edgews.CloseError{
				{Code: edgews.StatusNormalClosure, Reason: "by the client", WasClean: true}, {Code: 4001, Reason: "by the server", WasClean: true},
			}
			for i, want := range want {
				_, err := open[i].Receive(within(t))
				require.Error(t, err)
				assert.Equal(t, want, ended(t, open[i]))
				assert.Equal(t, want, ended(t, servers[i]))
			}
			says(t, open[2], "still here", "still here")
			require.NoError(t, edgews.NetConn(open[2], edgews.Text).Close())
			ended(t, servers[2])
		})
	}
}

// haproxyOrSkip returns the path of haproxy. Without it the test is skipped, or fails in CI.
func haproxyOrSkip(t *testing.T) string {
	path, err := exec.LookPath("haproxy")
	if err != nil {
		path = "/usr/sbin/haproxy" // Debian's place, which is not always in PATH
		_, err = os.Stat(path)
	}
	switch {
	case err != nil && os.Getenv("CI") == "true":
		t.Fatal("haproxy is not installed, and in CI it has to be")
	case err != nil:
		t.Skip("haproxy is not installed: apt-get install haproxy")
	}
	return path
}

// startHAProxy starts haproxy in front of backend, and returns a client that connects to it with a version of HTTP.
func startHAProxy(t *testing.T, path string, backend *server, options string, version int) *http.Client {
	dir, err := os.MkdirTemp("", "haproxy") // a short path, because that of a Unix socket is limited
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	certificate := backend.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	require.NoError(t, err)
	both := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "both.pem"), both, 0o600))
	config := filepath.Join(dir, "config")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, haproxyConfig, dir, backend.Listener.Addr(), options), 0o600))
	cmd := exec.Command(path, "-f", config)
	cmd.Stderr = t.Output()
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, "front"))
	}
	require.Eventually(t, func() bool {
		conn, err := dial(t.Context(), "", "")
		if err == nil {
			conn.Close()
		}
		return err == nil
	}, patience, 5*time.Millisecond, "haproxy does not start")
	trusting := &tls.Config{InsecureSkipVerify: true}
	if version == 1 {
		return &http.Client{Transport: &http.Transport{DialContext: dial, TLSClientConfig: trusting}}
	}
	client := &http.Client{Transport: &dialh2.Transport{DialContext: dial, TLSClientConfig: trusting}}
	t.Cleanup(client.CloseIdleConnections)
	return client
}
