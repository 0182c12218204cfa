package js_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews/client/js"
)

// The largest sizes of the modules: a page waits for them before it connects.
var maxSize = map[string]int{"edgews.js": 6 << 10, "calls.js": 2 << 10}

// handlers serve the modules.
var handlers = map[string]http.Handler{"edgews.js": js.Handler(), "calls.js": js.CallsHandler()}

func TestSize(t *testing.T) {
	for name, most := range maxSize {
		module, err := os.ReadFile(name)
		require.NoError(t, err)
		assert.LessOrEqual(t, len(module), most, name)
	}
}

// answer returns a handler's answer to a request with an If-None-Match.
func answer(h http.Handler, method, known string) *http.Response {
	r := httptest.NewRequest(method, "/edgews.js", nil)
	if known != "" {
		r.Header.Set("If-None-Match", known)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func TestHandler(t *testing.T) {
	for name, h := range handlers {
		t.Run(name, func(t *testing.T) { testHandler(t, name, h) })
	}
}

func testHandler(t *testing.T, name string, h http.Handler) {
	module, err := os.ReadFile(name)
	require.NoError(t, err)
	etag := answer(h, "GET", "").Header.Get("ETag")
	require.Regexp(t, `^"[^"]+"$`, etag)
	tests := []struct {
		name, method, known string
		status              int
		body                string
	}{
		{"GET", "GET", "", http.StatusOK, string(module)},
		{"HEAD", "HEAD", "", http.StatusOK, ""},
		{"a browser that has it", "GET", etag, http.StatusNotModified, ""},
		{"a browser that has another release", "GET", `"old"`, http.StatusOK, string(module)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			resp := answer(h, tt.method, tt.known)
			body, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			assert.Equal(t, tt.status, resp.StatusCode)
			assert.Equal(t, tt.body, string(body))
			assert.Equal(t, etag, resp.Header.Get("ETag"))
			assert.Equal(t, "no-cache", resp.Header.Get("Cache-Control"))
			if tt.status == http.StatusOK {
				assert.Equal(t, "text/javascript; charset=utf-8", resp.Header.Get("Content-Type"))
				assert.Equal(t, "nosniff", resp.Header.Get("X-Content-Type-Options"))
			}
		})
	}
}

func TestHandlerRefusesOtherMethods(t *testing.T) {
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "PATCH"} {
		resp := answer(js.Handler(), method, "")
		assert.Equal(t, http.StatusMethodNotAllowed, resp.StatusCode, method)
		assert.Equal(t, "GET, HEAD", resp.Header.Get("Allow"), method)
	}
}
