package edgews_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/inspect"
)

// A page about the sockets and objects of the process.
func ExampleOptions_observer() {
	meter := edgews.NewMeter(nil)

	inspector := inspect.New(&inspect.Options{Meter: meter})
	options := edgews.Options{Observer: inspector, Meter: meter} // for sockets, hubs and namespaces
	lobbies := edgews.NewNamespace("lobbies", NewRoom, &edgews.NamespaceOptions{Options: options})
	inspector.AddNamespaces(lobbies)
	http.Handle("/debug/edgews/", inspector.Handler()) // for browsers on this machine

	defer lobbies.Shutdown(context.Background())
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "http://localhost:8080/debug/edgews/", nil)
	r.RemoteAddr = "127.0.0.1:40000"
	http.DefaultServeMux.ServeHTTP(w, r)
	fmt.Println(w.Code, w.Header().Get("Content-Type"))
	// Output: 200 text/html; charset=utf-8
}
