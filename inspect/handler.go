package inspect

import (
	"bytes"
	"embed"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/edgews/edgews/client/js"
)

//go:embed page/*.html page/*.css page/*.js page/*.svg page/*.txt
var pageFiles embed.FS

// contentTypes are the types of the page's files. Others are not served.
var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
	".txt": "text/plain; charset=utf-8",
}

// pagePolicy admits the page's own files only, and no frame around it.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; " +
	"manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Handler returns the page and its calls. It can be mounted anywhere, with or without http.StripPrefix:
//
//	http.Handle("/debug/edgews/", inspector.Handler())
//
// What it serves is named by the last part of the path: "" is the page, "socket" the WebSocket. It is safe for concurrent use.
func (i *Inspector) Handler() http.Handler { return http.HandlerFunc(i.serve) }

func (i *Inspector) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", pagePolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	if err := i.admit(r); err != nil {
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	switch name := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]; name {
	case "socket":
		i.serveSocket(w, r)
	case "edgews.js":
		js.Handler().ServeHTTP(noStore{w}, r)
	case "calls.js":
		js.CallsHandler().ServeHTTP(noStore{w}, r)
	case "":
		serveFile(w, r, "index.html")
	default:
		serveFile(w, r, name)
	}
}

// noStore keeps the Cache-Control of serve.
type noStore struct{ http.ResponseWriter }

func (w noStore) WriteHeader(status int) {
	w.Header().Set("Cache-Control", "no-store")
	w.ResponseWriter.WriteHeader(status)
}

// serveFile serves a file of the page.
func serveFile(w http.ResponseWriter, r *http.Request, name string) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD") // RFC 9110 §15.5.6
		http.Error(w, "edgews: inspect: the page is fetched with GET", http.StatusMethodNotAllowed)
		return
	}
	contentType := contentTypes[path.Ext(name)]
	content, err := pageFiles.ReadFile("page/" + name)
	if err != nil || contentType == "" {
		http.Error(w, "edgews: inspect: there is no such file", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", contentType)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}
