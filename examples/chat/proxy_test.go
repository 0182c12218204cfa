package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/edgews/edgews/examples/internal/browser"
)

// Configurations of proxies that use HTTP/2 with the browser. haproxy accepts the WebSocket over HTTP/2 (RFC 8441), forwards it over
// HTTP/1.1, and refuses other requests for it here. nginx does not support that, so the browser opens another connection.
const (
	nginxConfig = `daemon off; master_process off; pid %[1]s/nginx.pid; error_log stderr;
events {}
http {
	access_log off; client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi; uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
	map $http_upgrade $upgrading { default upgrade; '' close; }
	server {
		listen %[2]s ssl http2;
		ssl_certificate %[1]s/both.pem; ssl_certificate_key %[1]s/both.pem;
		location / {
			proxy_pass http://%[3]s; proxy_http_version 1.1;
			proxy_set_header Host $http_host; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $upgrading;
		}
	}
}
`
	haproxyConfig = `defaults
	mode http
	timeout connect 5s
	timeout client 30s
	timeout server 30s
	timeout tunnel 30s
frontend front
	bind %[2]s ssl crt %[1]s/both.pem alpn h2,http/1.1
	http-request deny unless { req.ver 2.0 }
	default_backend room
backend room
	server chat %[3]s
`
)

// proxies are the programs with their arguments for the configuration file.
var proxies = []struct{ name, config, flag string }{
	{"nginx", nginxConfig, "-c"},
	{"haproxy", haproxyConfig, "-f"},
}

// A page that closes its socket sees a clean close with any proxy in between. A proxy forwards the browser's Close and right after it
// the end of its side of the connection.
func TestCloseThroughProxies(t *testing.T) {
	for _, proxy := range proxies {
		t.Run(proxy.name, func(t *testing.T) {
			path := programOrSkip(t, proxy.name)
			tab := browser.Start(t, chromedp.Flag("ignore-certificate-errors", true))
			p := build(t)
			p.start()
			front := startProxy(t, path, proxy.flag, proxy.config, p.addr)
			browser.Act(t, tab,
				chromedp.Navigate("https://"+front),
				browser.SetValue("#name", "Ann"),
				browser.Click("#naming button"),
			)
			shows(t, tab, "#state", "connected")
			hop, err := chromedp.Run(tab, chromedp.Evaluate[string](`performance.getEntriesByType("navigation")[0].nextHopProtocol`))
			if err != nil || hop != "h2" {
				t.Fatalf("the page came over %q, not over HTTP/2: %v", hop, err)
			}
			say(t, tab, "hello through "+proxy.name)
			shows(t, tab, "#log", "hello through "+proxy.name)
			for range 5 {
				browser.Act(t, tab, chromedp.Poll[chromedp.Void](`(() => {
					socket.onclose = e => { window.ended = e.code + " " + e.wasClean; };
					socket.close(1000, "bye");
					return true;
				})()`))
				browser.Act(t, tab, chromedp.Poll[chromedp.Void](`window.ended !== undefined`))
				ended, err := chromedp.Run(tab, chromedp.Evaluate[string](`window.ended`))
				if err != nil || ended != "1000 true" {
					t.Fatalf("the page saw %q, want a clean 1000: %v", ended, err)
				}
				browser.Act(t, tab, chromedp.Poll[chromedp.Void](`(() => { delete window.ended; connect(); return true; })()`))
				shows(t, tab, "#state", "connected")
			}
		})
	}
}

// programOrSkip returns the path of a program. Without it the test is skipped, or fails in CI.
func programOrSkip(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		path = "/usr/sbin/" + name // Debian's place, which is not always in PATH
		_, err = os.Stat(path)
	}
	switch {
	case err != nil && os.Getenv("CI") == "true":
		t.Fatalf("%s is not installed, and in CI it has to be", name)
	case err != nil:
		t.Skipf("%s is not installed", name)
	}
	return path
}

// startProxy starts a proxy for the server at backend, and returns its address.
func startProxy(t *testing.T, path, flag, config, backend string) (front string) {
	t.Helper()
	dir := t.TempDir()
	front = freeAddr(t)
	writeCertificate(t, filepath.Join(dir, "both.pem"))
	file := filepath.Join(dir, "config")
	if err := os.WriteFile(file, fmt.Appendf(nil, config, dir, front, backend), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, flag, file)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Signal(os.Interrupt); cmd.Process.Kill(); cmd.Wait() })
	client := &http.Client{Transport: &http.Transport{ // the certificate is self-signed
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true,
	}}
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if resp, err := client.Get("https://" + front + "/room/lobby"); err == nil {
			resp.Body.Close()
			return front
		}
	}
	t.Fatal("the proxy does not answer")
	return ""
}

// writeCertificate writes a key and a self-signed certificate for localhost.
func writeCertificate(t *testing.T, path string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	both := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...)
	if err := os.WriteFile(path, both, 0o600); err != nil {
		t.Fatal(err)
	}
}
