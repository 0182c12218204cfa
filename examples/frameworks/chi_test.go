package frameworks

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"time"

	"github.com/edgews/edgews"
	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
)

// The middleware of chi passes connections on. Values of the route are read in the handler, since chi uses their memory again when
// it has returned.
func chiRouter() http.Handler {
	quiet := middleware.RequestLogger(&middleware.DefaultLogFormatter{Logger: log.New(io.Discard, "", 0)})
	router := chi.NewRouter()
	router.Use(middleware.RequestID, quiet, middleware.Recoverer, middleware.Compress(5), middleware.Timeout(time.Second))
	router.Get("/rooms/{room}", func(w http.ResponseWriter, r *http.Request) {
		room := chi.URLParam(r, "room")
		s, err := edgews.Upgrade(w, r, nil)
		if err != nil {
			return // the request has been answered
		}
		s.OnMessage(func(e edgews.MessageEvent) { s.Send(room + ": " + e.Text()) })
		s.Accept()
	})
	return router
}

func Example_chi() {
	url, stop := serve(chiRouter())
	defer stop()
	fmt.Println(say(url+"/rooms/lobby", "hello"))
	// Output: lobby: hello
}
