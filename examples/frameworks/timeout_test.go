package frameworks

import (
	"fmt"
	"net/http"
	"time"
)

// http.TimeoutHandler gives no connections up: wrap the handlers of the other routes in it. The time-outs of the http.Server may stay: they end
// with the upgrade.
func Example_timeoutHandler() {
	pages := http.NewServeMux()
	pages.HandleFunc("/", http.NotFound)
	pages.HandleFunc("/wrong", socket)

	mux := http.NewServeMux()
	mux.Handle("/", http.TimeoutHandler(pages, 10*time.Second, "too slow"))
	mux.HandleFunc("/socket", socket)
	url, stop := serve(mux)
	defer stop()
	fmt.Println(say(url+"/socket", "hello"))
	fmt.Println(say(url+"/wrong", "hello"))
	// Output:
	// echo of hello
	// 500: http.TimeoutHandler (*http.timeoutWriter) cannot hand over the connection: wrap the handlers of the other routes in it, and not this one
}
