package conformance_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// origin is the raw server of group c. It answers the first request as in the recording: it makes the recorded actions in order,
// those that follow a received frame when a frame has been received.
type origin struct {
	t      *testing.T
	trace  []*entry
	rec    *recorder // its turn is held by every action, so that the origin does nothing in the middle of a turn of the worker
	ln     net.Listener
	frames chan struct{}
	mu     sync.Mutex
	conns  []net.Conn // guarded by mu

	compressed bool // the transcript says whether a frame is compressed
}

func newOrigin(t *testing.T, s *scenario, rec *recorder, compressed bool) *origin {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	o := &origin{t: t, rec: rec, ln: ln, frames: make(chan struct{}, 100), compressed: compressed}
	for i := range s.Trace {
		if s.Trace[i].Lane == "origin" {
			o.trace = append(o.trace, &s.Trace[i])
		}
	}
	go o.serve()
	return o
}

func (o *origin) addr() string { return o.ln.Addr().String() }

func (o *origin) serve() {
	for {
		conn, err := o.ln.Accept()
		if err != nil {
			return
		}
		o.mu.Lock()
		o.conns = append(o.conns, conn)
		o.mu.Unlock()
		go o.handle(conn.(*net.TCPConn))
	}
}

func (o *origin) close() {
	o.ln.Close()
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, conn := range o.conns {
		conn.Close()
	}
}

// expectOrigin adds a frame that the origin received.
func (t transcript) expectOrigin(e *entry, phase int) {
	switch e.Op {
	case "http-request":
		t.add("origin", phase, "%s %s", e.RequestLine, normalHeaders(widerOffer(e.Headers)))
	case "recv-frame":
		f := *e
		f.RSV1 = false
		t.add("origin", phase, "%s", f.describeFrame())
	case "tcp":
		if strings.HasSuffix(e.Event, "received") {
			t.add("origin", phase, "%s", e.describeTCP())
		}
	}
}

// widerOffer accepts an offer that also limits the server's window.
func widerOffer(headers []string) []string {
	var wider []string
	for _, h := range headers {
		if strings.HasPrefix(h, "Sec-WebSocket-Extensions: ") {
			h = strings.ReplaceAll(h, "; ", "…") + "…"
		}
		wider = append(wider, h)
	}
	return wider
}

func (o *origin) handle(conn *net.TCPConn) {
	in := bufio.NewReader(conn)
	r, err := http.ReadRequest(in)
	if err != nil {
		o.rec.turn.Lock()
		defer o.rec.turn.Unlock()
		conn.Close() // TLS, for example
		return
	}
	o.rec.add("origin", "%s %s HTTP/1.1 %s", r.Method, r.URL.EscapedPath(), normalHeaders(o.requestLines(r)))
	// The options say whether a short message is compressed (Compression.Threshold); see TestOutboundCompression.
	plain := func(f *rawFrame) { f.deflated = f.deflated && o.compressed }
	go (&frameReader{r: in}).record(o.rec, "origin", plain, func(rawFrame) { o.frames <- struct{}{} })
	for _, e := range o.trace {
		o.act(conn, r, e)
	}
}

func (o *origin) requestLines(r *http.Request) []string {
	lines := headerLines(r.Header, "")
	for i, l := range lines {
		if key, ok := strings.CutPrefix(l, "Sec-Websocket-Key: "); ok {
			if raw, err := base64.StdEncoding.DecodeString(key); err == nil && len(raw) == 16 {
				lines[i] = "Sec-WebSocket-Key: <16 bytes base64>"
			}
		}
	}
	return append(lines, "Host: "+strings.Replace(r.Host, o.addr(), "127.0.0.1:PORT", 1))
}

// act makes the recorded actions of the origin. It waits for received frames, and fails if edgews does not send them.
func (o *origin) act(conn *net.TCPConn, r *http.Request, e *entry) {
	if e.Op == "recv-frame" {
		select {
		case <-o.frames:
		case <-time.After(waitTimeout):
		}
		return
	}
	o.rec.turn.Lock()
	defer o.rec.turn.Unlock()
	switch {
	case e.Op == "http-response-sent":
		conn.Write(bytes.ReplaceAll(answer(r, e), []byte("127.0.0.1:PORT"), []byte(o.addr())))
	case e.Op == "send-frame":
		conn.Write(e.encode())
	case e.Op == "note" && strings.Contains(e.Text, "garbage"):
		conn.Write([]byte("this is not HTTP\r\n\r\n"))
	case e.Op == "note":
		header, _ := hex.DecodeString("827f0000000002100000")
		conn.Write(header)
	case e.Event == "FIN sent":
		conn.CloseWrite()
	case e.Event == "RST sent":
		conn.SetLinger(0)
		conn.Close()
	}
}

// answer returns the recorded answer, and the bytes in the same segment.
func answer(r *http.Request, e *entry) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", e.Status, http.StatusText(e.Status))
	for _, h := range e.Headers {
		b.WriteString(strings.Replace(h, "<correct>", acceptFor(r.Header.Get("Sec-WebSocket-Key")), 1) + "\r\n")
	}
	b.WriteString("\r\n")
	switch r.URL.Path {
	case "/hello":
		b.Write((&entry{Opcode: "text", Fin: true, Text: "hello 1", textGiven: true}).encode())
		b.Write((&entry{Opcode: "text", Fin: true, Text: "hello 2", textGiven: true}).encode())
	case "/closenow":
		b.Write((&entry{Opcode: "close", Fin: true, Length: 5, Code: 4009, Reason: "now", reasonGiven: true}).encode())
	}
	if strings.HasPrefix(r.URL.Path, "/status/") {
		b.WriteString("body")
	}
	return b.Bytes()
}
