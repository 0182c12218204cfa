package inspect_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/inspect"
)

// The page is at /debug/edgews/, for browsers on this machine.
func ExampleInspector() {
	inspector := inspect.New(nil)
	rooms := edgews.NewNamespace("rooms", newRoom, &edgews.NamespaceOptions{Options: edgews.Options{Observer: inspector}})
	inspector.AddNamespaces(rooms)
	mux := http.NewServeMux()
	mux.Handle("/debug/edgews/", inspector.Handler())

	for _, peer := range []string{"127.0.0.1:40000", "203.0.113.7:40000"} {
		r := httptest.NewRequest(http.MethodGet, "http://localhost/debug/edgews/", nil)
		r.RemoteAddr = peer
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		fmt.Println(peer, w.Code)
	}
	// Output:
	// 127.0.0.1:40000 200
	// 203.0.113.7:40000 403
}
