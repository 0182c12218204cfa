package frameworks

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"

	"github.com/edgews/edgews"
	"github.com/labstack/echo/v5"
	"github.com/labstack/echo/v5/middleware"
)

// The handler returns nil although the request is refused, because Upgrade has answered it. An echo.Context is used again for other
// requests when the handler has returned: listeners must not use it.
func echoRouter() http.Handler {
	router := echo.New()
	router.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	router.Use(middleware.RequestLogger(), middleware.Recover(), middleware.Gzip())
	router.GET("/rooms/:room", func(c *echo.Context) error {
		room := c.Param("room")
		s, err := edgews.Upgrade(c.Response(), c.Request(), nil)
		if err != nil {
			router.Logger.Warn("no WebSocket", "error", err)
			return nil
		}
		s.OnMessage(func(e edgews.MessageEvent) { s.Send(room + ": " + e.Text()) })
		return s.Accept()
	})
	return router
}

func Example_echo() {
	url, stop := serve(echoRouter())
	defer stop()
	fmt.Println(say(url+"/rooms/lobby", "hello"))
	// Output: lobby: hello
}
