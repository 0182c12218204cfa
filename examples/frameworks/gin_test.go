package frameworks

import (
	"fmt"
	"io"
	"net/http"

	"github.com/edgews/edgews"
	"github.com/gin-gonic/gin"
)

// A gin.Context is used again for other requests when the handler has returned: listeners must not use it.
func ginRouter() http.Handler {
	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	router.Use(gin.LoggerWithWriter(io.Discard), gin.Recovery())
	router.GET("/rooms/:room", func(c *gin.Context) {
		room := c.Param("room")
		s, err := edgews.Upgrade(c.Writer, c.Request, nil)
		if err != nil {
			c.Error(err) // for the log: the request has been answered
			return
		}
		s.OnMessage(func(e edgews.MessageEvent) { s.Send(room + ": " + e.Text()) })
		s.Accept()
	})
	return router
}

func Example_gin() {
	url, stop := serve(ginRouter())
	defer stop()
	fmt.Println(say(url+"/rooms/lobby", "hello"))
	// Output: lobby: hello
}
