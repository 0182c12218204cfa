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

// rawClient is a TCP client that sends the recorded bytes, valid or not, and records the answers.
type rawClient struct {
	t    *testing.T
	rec  *recorder
	name string // of its stream
	conn *net.TCPConn

	early       []string // texts whose frames are in the TCP segment of the handshake
	doesNotRead bool     // it reads no frames
	noHost      bool     // its request has no Host header
	ignoreBody  bool     // the body of a plain answer is not compared

	together []byte // frames for one TCP segment
}

func (c *rawClient) dial(addr string) {
	conn, err := net.Dial("tcp", addr)
	require.NoError(c.t, err)
	c.conn = conn.(*net.TCPConn)
}

const sameSegment = "same TCP segment"

// input makes a recorded action of the client. It reports whether the entry is one.
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
		time.Sleep(quietTime) // the server reads the earlier bytes meanwhile: a reset may overtake them
		c.conn.SetLinger(0)
		c.conn.Close()
	}
}

func maskedText(text string) []byte {
	return (&entry{Opcode: "text", Fin: true, Masked: true, Text: text, textGiven: true}).encode()
}

// handshake sends the request and starts to record the answer.
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
		c.rec.add(c.name, "%s", describeAnswer(resp.StatusCode, headers, string(body), c.ignoreBody))
		return
	}
	c.rec.add(c.name, "%s", describeAnswer(resp.StatusCode, headers, "", false))
	if c.doesNotRead {
		return
	}
	forget := strings.Contains(resp.Header.Get("Sec-WebSocket-Extensions"), "server_no_context_takeover")
	frames := &frameReader{r: in, forget: forget}
	frames.record(c.rec, c.name, nil, nil)
}
