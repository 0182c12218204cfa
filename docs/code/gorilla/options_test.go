package gorilla_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// trusted says whether pages of an origin may connect.
func trusted(origin string) bool { return origin == "" || origin == "https://app.example.com" }

var gorillaUpgrader = websocket.Upgrader{
	HandshakeTimeout:  10 * time.Second,
	ReadBufferSize:    4096,
	WriteBufferSize:   4096,
	Subprotocols:      []string{"chat.v2", "chat.v1"},
	CheckOrigin:       func(r *http.Request) bool { return trusted(r.Header.Get("Origin")) },
	EnableCompression: true,
}

func gorillaUpgrade(w http.ResponseWriter, r *http.Request) (*websocket.Conn, error) {
	return gorillaUpgrader.Upgrade(w, r, http.Header{"X-Server": {"a"}})
}

var upgradeOptions = &edgews.UpgradeOptions{
	Protocols:      []string{"chat.v2", "chat.v1"},
	AllowedOrigins: []string{"https://app.example.com"},
	Header:         http.Header{"X-Server": {"a"}},
}

func upgrade(w http.ResponseWriter, r *http.Request) (*edgews.Socket, error) {
	return edgews.Upgrade(w, r, upgradeOptions)
}

var errOrigin = errors.New("this page may not connect")

// upgradeChecked is for a CheckOrigin that no list of patterns can replace.
func upgradeChecked(w http.ResponseWriter, r *http.Request) (*edgews.Socket, error) {
	if !trusted(r.Header.Get("Origin")) {
		http.Error(w, errOrigin.Error(), http.StatusForbidden)
		return nil, errOrigin
	}
	return edgews.Upgrade(w, r, &edgews.UpgradeOptions{
		Protocols:               []string{"chat.v2", "chat.v1"},
		InsecureSkipOriginCheck: true, // checked above
		Header:                  http.Header{"X-Server": {"a"}},
	})
}

// TestUpgraders checks that the three do the same.
func TestUpgraders(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"gorilla": func(w http.ResponseWriter, r *http.Request) {
			if conn, err := gorillaUpgrade(w, r); err == nil {
				conn.Close()
			}
		},
		"edgews": func(w http.ResponseWriter, r *http.Request) {
			if s, err := upgrade(w, r); err == nil {
				s.Accept()
				s.Close(edgews.StatusNormalClosure, "")
			}
		},
		"edgews, with a function": func(w http.ResponseWriter, r *http.Request) {
			if s, err := upgradeChecked(w, r); err == nil {
				s.Accept()
				s.Close(edgews.StatusNormalClosure, "")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(handler)
			defer server.Close()
			dial := func(origin string) (*websocket.Conn, *http.Response, error) {
				dialer := &websocket.Dialer{Subprotocols: []string{"chat.v1", "chat.v2"}, EnableCompression: true}
				return dialer.Dial(wsURL(server), http.Header{"Origin": {origin}})
			}
			conn, resp, err := dial("https://app.example.com")
			require.NoError(t, err)
			defer conn.Close()
			assert.Equal(t, "chat.v2", conn.Subprotocol(), "the server's preference decides")
			assert.Equal(t, "a", resp.Header.Get("X-Server"))
			assert.Contains(t, resp.Header.Get("Sec-WebSocket-Extensions"), "permessage-deflate")
			_, resp, err = dial("https://other.example.com")
			require.Error(t, err)
			assert.Equal(t, http.StatusForbidden, resp.StatusCode)
		})
	}
}

func gorillaConnect(ctx context.Context, url string, config *tls.Config, jar http.CookieJar) (*websocket.Conn, error) {
	dialer := &websocket.Dialer{
		Proxy:            http.ProxyFromEnvironment,
		TLSClientConfig:  config,
		HandshakeTimeout: 10 * time.Second,
		Jar:              jar,
		Subprotocols:     []string{"chat.v1"},
	}
	conn, _, err := dialer.DialContext(ctx, url, http.Header{"Authorization": {"Bearer x"}})
	return conn, err
}

// newClient returns the http.Client that takes the place of a Dialer. Make it once.
func newClient(config *tls.Config, jar http.CookieJar) *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone() // with ProxyFromEnvironment
	transport.TLSClientConfig = config
	return &http.Client{Transport: transport, Jar: jar, Timeout: 10 * time.Second}
}

func connect(ctx context.Context, url string, client *http.Client) (*edgews.Socket, error) {
	s, _, err := edgews.Dial(ctx, url, &edgews.DialOptions{
		HTTPClient: client,
		Protocols:  []string{"chat.v1"},
		Header:     http.Header{"Authorization": {"Bearer x"}},
	})
	return s, err
}

func TestDialers(t *testing.T) {
	for name, dial := range map[string]func(url string, config *tls.Config, jar http.CookieJar) (protocol string, err error){
		"gorilla": func(url string, config *tls.Config, jar http.CookieJar) (string, error) {
			conn, err := gorillaConnect(t.Context(), url, config, jar)
			if err != nil {
				return "", err
			}
			return conn.Subprotocol(), conn.Close()
		},
		"edgews": func(url string, config *tls.Config, jar http.CookieJar) (string, error) {
			s, err := connect(t.Context(), url, newClient(config, jar))
			if err != nil {
				return "", err
			}
			s.Accept()
			return s.Protocol(), s.Close(edgews.StatusNormalClosure, "")
		},
	} {
		requests := make(chan *http.Request, 2)
		server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			requests <- r
			http.SetCookie(w, &http.Cookie{Name: "seen", Value: "1"})
			if s, err := edgews.Upgrade(w, r, upgradeOptions); err == nil {
				s.Accept()
			}
		}))
		config := server.Client().Transport.(*http.Transport).TLSClientConfig
		jar, err := cookiejar.New(nil)
		require.NoError(t, err)
		for _, cookie := range []string{"", "seen=1"} {
			protocol, err := dial("wss"+server.URL[len("https"):], config, jar)
			require.NoError(t, err, name)
			assert.Equal(t, "chat.v1", protocol, name)
			r := <-requests
			assert.Equal(t, "Bearer x", r.Header.Get("Authorization"), name)
			assert.Equal(t, cookie, r.Header.Get("Cookie"), name)
		}
		server.Close()
	}
}
