package conformance

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/edgews/edgews"
	"github.com/edgews/edgews/edgewsh2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// browser starts Chromium and returns the context of a tab in it.
func browser(t *testing.T, more ...chromedp.ExecAllocatorOption) context.Context {
	path, err := exec.LookPath("chromium")
	if err != nil {
		missing(t, "the browser: apt-get install chromium")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir()),
		// Chromium's own requests are blocked: on a machine without a network they fail and are repeated many times a second.
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
	)
	options = append(options, more...)
	// Not t.Context, which ends before the browser has closed.
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	ctx, cancelAllocator := chromedp.NewExecAllocator(ctx, options...)
	ctx, _ = chromedp.NewContext(ctx)
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx) // waits until the browser has ended, so that its folder can be removed
		cancelAllocator()
		cancel()
	})
	return ctx
}

// chromiumPage starts a server for the page and its sockets, and returns its URL.
func chromiumPage(t *testing.T) string {
	server := httptest.NewServer(chromiumHandler(t))
	t.Cleanup(server.Close)
	return server.URL
}

// chromiumHandler has the page and its sockets. The paths, such as "/default", select options.
func chromiumHandler(t *testing.T) http.Handler {
	mux := http.NewServeMux()
	page, err := os.ReadFile(filepath.Join("testdata", "peers", "chromium", "page.html"))
	require.NoError(t, err)
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(page)
	})
	for path, o := range map[string]edgews.Options{
		"/default":  {},
		"/plain":    {Compression: &edgews.Compression{Disable: true}},
		"/alone":    {Compression: &edgews.Compression{Threshold: 1, NoContextTakeover: true, PeerNoContextTakeover: true}},
		"/window9":  {Compression: &edgews.Compression{Threshold: 1, WindowBits: 9, PeerWindowBits: 9}},
		"/window15": wideOptions,
	} {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			s, err := edgews.Upgrade(w, r, &edgews.UpgradeOptions{Options: o, Protocols: []string{"chat"}})
			if err != nil {
				return // a page that must not connect; see TestPeerChromium/origin
			}
			if err := serveCommands(s); err != nil {
				t.Error(err)
			}
		})
	}
	return mux
}

// chromiumResult is the result of a function of page.html.
type chromiumResult struct {
	Protocol   string   `json:"protocol"`
	Extensions string   `json:"extensions"`
	Answers    []string `json:"answers"`
	Close      struct {
		Code     int    `json:"code"`
		Reason   string `json:"reason"`
		WasClean bool   `json:"wasClean"`
	} `json:"close"`
	Events []string `json:"events"`
}

// TestPeerChromium connects a page in Chromium to an edgews server.
func TestPeerChromium(t *testing.T) {
	tab := browser(t)
	testChromium(t, tab, chromiumPage(t), slices.Concat([]int{0}, peerSizes))
}

// TestPeerChromiumOverHTTP2 does the same over HTTP/2. The page's connection carries the sockets.
func TestPeerChromiumOverHTTP2(t *testing.T) {
	tab := browser(t, chromedp.Flag("ignore-certificate-errors", true))
	handler := chromiumHandler(t)
	var mu sync.Mutex
	conns := make(map[string]int)
	server := httptest.NewUnstartedServer(edgewsh2.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch otherSite := strings.HasPrefix(r.Header.Get("Origin"), "https://localhost"); {
		case edgews.IsUpgrade(r) && otherSite: // Chromium does not use the connection of another site, and opens one with HTTP/1.1
			assert.Equal(t, 1, r.ProtoMajor)
		case edgews.IsUpgrade(r):
			assert.Equal(t, 2, r.ProtoMajor)
			assert.Equal(t, http.MethodConnect, r.Method)
			mu.Lock()
			conns[r.RemoteAddr]++
			mu.Unlock()
		}
		handler.ServeHTTP(w, r)
	})))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	// Over HTTP/2, and with haproxy as the server too, Chromium 156 delays an empty message that follows another one directly until the next
	// message.
	testChromium(t, tab, server.URL, peerSizes)
	mu.Lock()
	defer mu.Unlock()
	assert.Len(t, conns, 1, "all sockets share the connection of the page")
}

// testChromium opens the page of chromiumHandler, whose server is at url, and runs its scenarios. sizes are those of messages, in bytes.
func testChromium(t *testing.T, tab context.Context, url string, sizes []int) {
	require.NoError(t, chromedp.Do(tab, chromedp.Navigate(url)))
	version, err := chromedp.Run(tab, chromedp.Evaluate[string](`navigator.userAgent`))
	require.NoError(t, err)
	t.Log(version)
	run := func(t *testing.T, call string, args ...any) chromiumResult { return evaluate(t, tab, call, args...) }
	for path, extensions := range map[string]string{
		"/default":  "permessage-deflate; client_max_window_bits=12",
		"/plain":    "",
		"/alone":    "permessage-deflate; client_no_context_takeover; server_no_context_takeover; client_max_window_bits=12",
		"/window9":  "permessage-deflate; client_max_window_bits=9",
		"/window15": "permessage-deflate; client_max_window_bits=15",
	} {
		t.Run("echo"+path, func(t *testing.T) { testChromiumEcho(t, run, path, extensions, sizes) })
	}
	t.Run("many", func(t *testing.T) {
		got := run(t, "many", "/default", 5000)
		require.Equal(t, []string{"5000 in order"}, got.Answers)
	})
	t.Run("closes", func(t *testing.T) { testChromiumCloses(t, run) })
	t.Run("parallel", func(t *testing.T) {
		require.Equal(t, slices.Repeat([]string{"echo, 1000, clean"}, 15), run(t, "parallel", "/default", 15).Answers)
	})
	t.Run("origin", func(t *testing.T) { testChromiumOrigin(t, tab, url) })
}

// evaluate calls a function of page.html.
func evaluate(t *testing.T, tab context.Context, call string, args ...any) chromiumResult {
	list, err := json.Marshal(args)
	require.NoError(t, err)
	script := call + "(..." + string(list) + ")"
	got, err := chromedp.Run(tab, chromedp.Evaluate[chromiumResult](script, chromedp.EvalAwaitPromise))
	require.NoError(t, err)
	return got
}

type chromiumCall func(t *testing.T, call string, args ...any) chromiumResult

func testChromiumEcho(t *testing.T, run chromiumCall, path, extensions string, sizes []int) {
	if path == "/default" || path == "/plain" {
		sizes = slices.Concat(sizes, []int{hugeSize})
	}
	got := run(t, "echo", path, sizes)
	require.Empty(t, got.Answers, "what differed")
	require.Equal(t, "chat", got.Protocol)
	require.Equal(t, extensions, got.Extensions)
	require.Equal(t, 1000, got.Close.Code)
	require.True(t, got.Close.WasClean)
	require.Equal(t, []string{"open", "close"}, got.Events)
}

func testChromiumCloses(t *testing.T, run chromiumCall) {
	for _, c := range peerCloses {
		got := run(t, "closedByServer", "/default", c.code, c.reason)
		require.Equal(t, c.seen, got.Close.Code)
		require.Equal(t, c.reason, got.Close.Reason)
		require.True(t, got.Close.WasClean)
		if c.code != 1000 && c.code < 3000 && c.code != 0 {
			continue // a page may not close with it
		}
		got = run(t, "closedByPage", "/default", c.code, c.reason)
		require.Equal(t, c.seen, got.Close.Code)
		require.Equal(t, c.reason, got.Close.Reason)
		require.True(t, got.Close.WasClean)
	}
}

// testChromiumOrigin opens the page under another host name of the same server, which is another site.
func testChromiumOrigin(t *testing.T, tab context.Context, url string) {
	other := strings.Replace(url, "127.0.0.1", "localhost", 1)
	require.NoError(t, chromedp.Do(tab, chromedp.Navigate(other)))
	got := evaluate(t, tab, "closedByPage", "ws"+strings.TrimPrefix(url, "http")+"/default", 1000, "")
	require.Equal(t, []string{"error", "close"}, got.Events)
	require.Equal(t, 1006, got.Close.Code)
	require.False(t, got.Close.WasClean)
}
