package conformance_test

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// rawClient is a TCP client that sends what was recorded, right or wrong, and records what comes back.
type rawClient struct {
	t    *testing.T
	rec  *recorder
	name string // of its stream
	conn *net.TCPConn

	early    []string // texts whose frames come in the segment of the handshake
	deaf     bool     // it reads no frames
	noHost   bool     // its request has no Host header
	anyWords bool     // the body of an ordinary answer is the library's

	together []byte // frames for one TCP segment
}

func (c *rawClient) dial(addr string) {
	conn, err := net.Dial("tcp", addr)
	require.NoError(c.t, err)
	c.conn = conn.(*net.TCPConn)
}

const sameSegment = "same TCP segment"

// input does what the client did. It reports whether the entry is something a client does.
func (c *rawClient) input(e *entry) bool {
	if len(c.together) > 0 && e.Note != sameSegment {
		c.conn.Write(c.together)
		c.together = nil
	}
	switch {
	case e.Op == "connect":
		c.handshake(e.Request)
	case e.Op == "send-frame" && e.Note == sameSegment:
		c.together = append(c.together, e.encode()...)
	case e.Op == "send-frame":
		c.conn.Write(e.encode())
	case e.Op == "send-raw":
		raw, _ := hex.DecodeString(e.Bytes)
		c.conn.Write(raw)
	case e.Op == "tcp":
		c.hangUp(e.Event)
	default:
		return false
	}
	return true
}

func (c *rawClient) hangUp(how string) {
	switch how {
	case "FIN sent":
		c.conn.CloseWrite()
	case "RST sent":
		time.Sleep(silence) // for what was sent before to be read: a reset may overtake it
		c.conn.SetLinger(0)
		c.conn.Close()
	}
}

func maskedText(text string) []byte {
	return (&entry{Opcode: "text", Fin: true, Masked: true, Text: text, textGiven: true}).encode()
}

// handshake sends the request and starts to record what comes back.
func (c *rawClient) handshake(r request) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s /b HTTP/%s\r\n", r.Method, r.Version)
	if !c.noHost {
		b.WriteString("Host: " + c.conn.RemoteAddr().String() + "\r\n")
	}
	for _, h := range r.Headers {
		b.WriteString(h + "\r\n")
	}
	b.WriteString("\r\n")
	for _, text := range c.early {
		b.Write(maskedText(text))
	}
	c.conn.Write(b.Bytes())
	go c.receive(r)
}

// receive records the answer and the frames.
func (c *rawClient) receive(r request) {
	in := bufio.NewReader(c.conn)
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		c.rec.add(c.name, "no answer: %v", err)
		return
	}
	key := ""
	if i := slices.IndexFunc(r.Headers, func(h string) bool { return strings.HasPrefix(h, "Sec-WebSocket-Key: ") }); i >= 0 {
		key = strings.TrimPrefix(r.Headers[i], "Sec-WebSocket-Key: ")
	}
	headers := headerLines(resp.Header, key)
	if resp.StatusCode != http.StatusSwitchingProtocols {
		body, _ := io.ReadAll(resp.Body)
		c.rec.add(c.name, "%s", describeAnswer(resp.StatusCode, headers, string(body), c.anyWords))
		return
	}
	c.rec.add(c.name, "%s", describeAnswer(resp.StatusCode, headers, "", false))
	if c.deaf {
		return
	}
	forget := strings.Contains(resp.Header.Get("Sec-WebSocket-Extensions"), "server_no_context_takeover")
	frames := &frameReader{r: in, forget: forget}
	frames.record(c.rec, c.name, nil, nil)
}
