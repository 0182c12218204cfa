// Package js serves edgews.js, a WebSocket client for browsers that connects again when its connection is lost. It is one ES module, and
// needs no build step:
//
//	mux.Handle("GET /edgews.js", js.Handler())
//
// and in the page
//
//	<script type="module">
//	import {ReconnectingWebSocket} from "/edgews.js";
//	const socket = new ReconnectingWebSocket("/room/lobby/socket", {cursor: () => last});
//	socket.addEventListener("message", e => console.log(e.data));
//	</script>
package js

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"net/http"
	"strconv"
	"time"
)

//go:embed edgews.js
var module []byte

// etag changes with the module.
var etag = func() string {
	sum := sha256.Sum256(module)
	return strconv.Quote(base64.RawURLEncoding.EncodeToString(sum[:12]))
}()

// Handler serves the module at any path.
func Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "edgews: the module is fetched with GET", http.StatusMethodNotAllowed)
			return
		}
		h := w.Header()
		h.Set("Content-Type", "text/javascript; charset=utf-8")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-cache") // a browser may keep it, and asks each time whether there is a new one
		h.Set("ETag", etag)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(module))
	})
}
