package edgews_test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"

	"github.com/edgews/edgews"
)

// A client breaks a rule: its frames are not masked.
func ExampleProtocolError() {
	failed := make(chan error, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s, err := edgews.Upgrade(w, r, nil); err == nil {
			s.OnError(func(e edgews.ErrorEvent) { failed <- e.Err })
			s.Accept()
		}
	}))
	defer server.Close()

	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	if _, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil {
		fmt.Println(err)
		return
	}
	conn.Write([]byte{0x81, 2, 'h', 'i'})

	var broken *edgews.ProtocolError
	if errors.As(<-failed, &broken) {
		fmt.Println(broken.Code, "by", broken.Section)
	}
	// Output: 1002 protocol error by RFC 6455 §5.1
}
