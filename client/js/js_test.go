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

// maxSize is the largest size of the module: a page waits for it before it connects.
const maxSize = 6 << 10

func TestSize(t *testing.T) {
	module, err := os.ReadFile("edgews.js")
	require.NoError(t, err)
	assert.LessOrEqual(t, len(module), maxSize)
}

// answer returns the handler's answer to a request with an If-None-Match.
func answer(method, known string) *http.Response {
	r := httptest.NewRequest(method, "/edgews.js", nil)
	if known != "" {
		r.Header.Set("If-None-Match", known)
	}
	w := httptest.NewRecorder()
	js.Handler().ServeHTTP(w, r)
	return w.Result()
}

func TestHandler(t *testing.T) {
	module, err := os.ReadFile("edgews.js")
	require.NoError(t, err)
	etag := answer("GET", "").Header.Get("ETag")
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
			resp := answer(tt.method, tt.known)
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
		resp := answer(method, "")
		assert.Equal(t, http.StatusMethodNotAllowed, resp.StatusCode, method)
		assert.Equal(t, "GET, HEAD", resp.Header.Get("Allow"), method)
	}
}
