package edgews_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Accepted connections have the keep-alive that the net.ListenConfig of the listener asks for, also after net/http has got them.
func TestServeKeepAlive(t *testing.T) {
	configs := map[string]net.ListenConfig{
		"default":  {},
		"off":      {KeepAlive: -1},
		"a period": {KeepAlive: 59500 * time.Millisecond},
		"all":      {KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 100 * time.Second, Interval: 7 * time.Second, Count: 3}},
		"a part":   {KeepAlive: -1, KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: -1, Count: 4}},
	}
	requests := map[string]string{"upgrade": upgradeHead("/"), "plain": "GET / HTTP/1.1\r\nHost: x\r\n\r\n"}
	for name, config := range configs {
		for kind, request := range requests {
			t.Run(name+", "+kind, func(t *testing.T) {
				options := make(map[string]string)
				onBoth(t, func(t *testing.T, f serveFunc) {
					l, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
					require.NoError(t, err)
					got := make(chan string, 1)
					srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { got <- keepAliveOfHijacked(w) })}
					go f.serve(l, srv)
					defer srv.Close()
					c, err := net.Dial("tcp", l.Addr().String())
					require.NoError(t, err)
					defer c.Close()
					_, err = io.WriteString(c, request)
					require.NoError(t, err)
					options[f.name] = <-got
				})
				assert.Equal(t, options["net/http"], options["Serve"])
			})
		}
	}
}

// keepAliveOfHijacked hijacks the connection, closes it, and returns the options that it had.
func keepAliveOfHijacked(w http.ResponseWriter) string {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return err.Error()
	}
	var all string
	err = raw.Control(func(fd uintptr) {
		for _, o := range [][2]int{
			{syscall.IPPROTO_TCP, syscall.TCP_NODELAY}, {syscall.SOL_SOCKET, syscall.SO_KEEPALIVE}, {syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE},
			{syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL}, {syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT},
		} {
			value, err := syscall.GetsockoptInt(int(fd), o[0], o[1])
			all += fmt.Sprintln(value, err)
		}
	})
	return fmt.Sprintln(all, err)
}
