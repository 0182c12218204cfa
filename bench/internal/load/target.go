//go:build linux

package load

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"
)

// Target says how to connect to a server.
type Target struct {
	Addr  string
	Raw   bool   // there is no handshake
	Offer string // extensions to offer
	Half  bool   // send only half of the request, and do not wait for an answer
}

// The key of RFC 6455 §1.3 and its answer.
const (
	key       = "dGhlIHNhbXBsZSBub25jZQ=="
	acceptKey = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

func (t Target) request() []byte {
	r := "GET / HTTP/1.1\r\nHost: " + t.Addr + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: " + key + "\r\nSec-WebSocket-Version: 13\r\n"
	if t.Offer != "" {
		r += "Sec-WebSocket-Extensions: " + t.Offer + "\r\n"
	}
	return []byte(r + "\r\n")
}

func (t Target) sockaddr() (*unix.SockaddrInet4, error) {
	a, err := netip.ParseAddrPort(t.Addr)
	if err != nil {
		return nil, err
	}
	return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}, nil
}

// checkAnswer checks the head of the answer to the request, including the empty line.
func checkAnswer(head []byte) error {
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 101 ")) {
		line, _, _ := bytes.Cut(head, []byte("\r\n"))
		return fmt.Errorf("handshake is answered with %q", line)
	}
	if !bytes.Contains(head, []byte(acceptKey)) {
		return errors.New("handshake is answered without the right Sec-WebSocket-Accept")
	}
	return nil
}

// extensions returns the extensions that the server agreed to.
func extensions(head []byte) string {
	for line := range strings.Lines(string(head)) {
		name, value, _ := strings.Cut(line, ":")
		if strings.EqualFold(name, "Sec-WebSocket-Extensions") {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
