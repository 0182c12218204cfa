package frameworks

import (
	"fmt"
	"net/http"

	"github.com/klauspost/compress/gzhttp"
)

// Middleware that compresses answers lets the connections of WebSockets pass, also when a wrapper below it has Unwrap but no Hijack. Messages are
// compressed by permessage-deflate instead, which Upgrade agrees to on its own.
func Example_gzip() {
	compressed := gzhttp.GzipHandler(http.HandlerFunc(socket))
	url, stop := serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		compressed.ServeHTTP(&statusWriter{ResponseWriter: w}, r)
	}))
	defer stop()
	fmt.Println(say(url, "hello"))
	// Output: echo of hello
}
