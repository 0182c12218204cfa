package frameworks

import (
	"fmt"
	"net/http"

	"github.com/edgews/edgews"
)

// statusWriter is a ResponseWriter that notes the status for a log. Unwrap lets Upgrade find the connection. It needs no Hijack, Flush or
// Push of its own: [http.ResponseController] goes through Unwrap as well.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// logged prints each request. An upgrade writes no status through the ResponseWriter.
func logged(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sw := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		h.ServeHTTP(sw, r)
		if edgews.IsUpgrade(r) && sw.status == http.StatusOK {
			sw.status = http.StatusSwitchingProtocols
		}
		fmt.Println(r.Method, r.URL.Path, sw.status)
	})
}

// A middleware that wraps the ResponseWriter needs an Unwrap method.
func Example_logging() {
	url, stop := serve(logged(http.HandlerFunc(socket)))
	fmt.Println(say(url+"/socket", "hello"))
	stop() // waits for the handler
	// Unordered output:
	// GET /socket 101
	// echo of hello
}

// opaqueWriter is a wrapper as many programs have it: without Unwrap.
type opaqueWriter struct{ http.ResponseWriter }

// Without Unwrap the connection cannot be found. The answer, and the error of Upgrade, name the wrapper.
func Example_loggingWithoutUnwrap() {
	url, stop := serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { socket(opaqueWriter{w}, r) }))
	defer stop()
	fmt.Println(say(url, "hello"))
	// Output: 500: frameworks.opaqueWriter cannot hand over its connection: if it wraps another ResponseWriter, add Unwrap() http.ResponseWriter to it, or keep it off this route
}
