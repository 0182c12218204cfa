package frameworks

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/edgews/edgews"
	"github.com/valyala/fasthttp"
)

// fastSocket is a fasthttp.RequestHandler that upgrades every request. The server must be set to KeepHijackedConns, because a socket lives
// longer than its handler.
func fastSocket(ctx *fasthttp.RequestCtx) {
	r, err := netHTTPRequest(&ctx.Request)
	if err != nil {
		ctx.Error(err.Error(), http.StatusBadRequest)
		return
	}
	ctx.HijackSetNoResponse(true) // UpgradeConn answers
	ctx.Hijack(func(c net.Conn) {
		buffered := readAhead(c)
		conn := c.(interface{ UnsafeConn() net.Conn }).UnsafeConn() // without fasthttp's wrapper, so that it waits on the event loop
		s, err := edgews.UpgradeConn(conn, buffered, r, nil)
		if err != nil {
			return // the request has been answered, and the connection is closed
		}
		s.OnMessage(func(e edgews.MessageEvent) { s.Send(r.URL.Path + ": " + e.Text()) })
		s.Accept()
	})
}

// netHTTPRequest converts a request. It copies, because fasthttp uses the memory of its request again when the handler has returned.
func netHTTPRequest(from *fasthttp.Request) (*http.Request, error) {
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(from.Header.String())))
	if err != nil {
		return nil, err
	}
	r.ContentLength = int64(len(from.Body())) // a handshake with a body is refused
	return r, nil
}

// readAhead returns what fasthttp has read behind the request. With a deadline in the past, nothing more is read.
func readAhead(c net.Conn) []byte {
	c.SetReadDeadline(time.Unix(1, 0))
	b, _ := io.ReadAll(c)
	return b
}

// UpgradeConn brings WebSockets to servers that are not net/http.
func Example_fasthttp() {
	listener, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	server := &fasthttp.Server{Handler: fastSocket, KeepHijackedConns: true}
	go server.Serve(listener)
	defer server.Shutdown()
	url := "http://" + listener.Addr().String()

	fmt.Println(say(url+"/lobby", "hello"))
	resp, err := http.Get(url)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	fmt.Println("a page:", resp.Status)
	// Output:
	// /lobby: hello
	// a page: 426 Upgrade Required
}
