package edgews

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/edgews/edgews/internal/handshake"
)

// attempts makes the requests of one handshake: the first and those that redirects lead to, one after the other.
type attempts struct {
	base  http.RoundTripper // nil: http.DefaultTransport
	key   string            // Sec-WebSocket-Key
	trace *connTrace        // of the last request
}

// RoundTrip implements http.RoundTripper. The body of an answer other than 101 is what there was of it within the bounds: nobody,
// http.Client included, waits for more.
func (a *attempts) RoundTrip(r *http.Request) (*http.Response, error) {
	base, err := a.route(r)
	if err != nil {
		return nil, err
	}
	a.trace = &connTrace{key: a.key}
	resp, err := base.RoundTrip(r.WithContext(httptrace.WithClientTrace(r.Context(), a.trace.hooks())))
	if err != nil {
		return resp, err
	}
	resp.Request = r
	if resp.StatusCode != http.StatusSwitchingProtocols {
		keepRefusal(r.Context(), resp)
	}
	return resp, nil
}

// conn returns the connection that the last request has used, or nil if that is not certain.
func (a *attempts) conn() net.Conn {
	if a.trace == nil {
		return nil
	}
	return a.trace.only()
}

// connTrace learns from httptrace which connection carried a request. A RoundTripper may make other requests with the
// same context, for hedging or telemetry: then httptrace does not say which connection belongs to which, and connTrace knows none.
type connTrace struct {
	key string // Sec-WebSocket-Key of the request

	mu      sync.Mutex
	conn    net.Conn
	several bool // connections were used
	sent    bool // key was
}

func (t *connTrace) hooks() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{GotConn: t.gotConn, WroteHeaderField: t.wroteHeaderField}
}

func (t *connTrace) gotConn(info httptrace.GotConnInfo) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.several = t.several || t.conn != nil && t.conn != info.Conn
	t.conn = info.Conn
}

func (t *connTrace) wroteHeaderField(name string, values []string) {
	if name != handshake.KeyHeader || len(values) != 1 || values[0] != t.key {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sent = true
}

// only returns the connection if there was one only, and the request was sent on it.
func (t *connTrace) only() net.Conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.several || !t.sent {
		return nil
	}
	return t.conn
}

const (
	maxRefusal  = 4 << 10     // how much of the body of a refusal is kept, in bytes
	refusalTime = time.Second // how long it may take to arrive
	maxSaid     = 300         // how many characters of it an error shows
)

// refusalBody is what was read of the body of an answer other than 101. It can be read once and needs no Close.
type refusalBody struct {
	bytes.Reader
	all []byte
}

func (*refusalBody) Close() error { return nil }

// keepRefusal replaces the body by a copy of its beginning and lets the connection go.
func keepRefusal(ctx context.Context, resp *http.Response) {
	body := &refusalBody{all: readSome(ctx, resp.Body)}
	body.Reset(body.all)
	resp.Body = body
}

// readSome reads body to its end, or as far as the bounds or ctx allow, and closes it. What came before an error counts.
func readSome(ctx context.Context, body io.ReadCloser) []byte {
	ctx, cancel := context.WithTimeout(ctx, refusalTime)
	defer cancel()
	p := &prefix{done: make(chan struct{})}
	go p.read(body)
	stop := context.AfterFunc(ctx, func() { body.Close() }) // ends a Read that waits
	select {
	case <-p.done:
	case <-ctx.Done():
	}
	if stop() {
		go body.Close() // it may not heed that either
	}
	return p.soFar()
}

// prefix is the beginning of what a reader gives.
type prefix struct {
	done chan struct{} // closed when there will be no more

	mu sync.Mutex
	b  []byte
}

// read ends with r, with an error, with Close, or after maxRefusal bytes.
func (p *prefix) read(r io.Reader) {
	defer close(p.done)
	chunk := make([]byte, 1<<10)
	for left := maxRefusal; left > 0; {
		n, err := r.Read(chunk[:min(left, len(chunk))])
		left -= n
		p.add(chunk[:n])
		if err != nil {
			return
		}
	}
}

func (p *prefix) add(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.b = append(p.b, b...)
}

func (p *prefix) soFar() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.b[:len(p.b):len(p.b)]
}

// refuseAnswer lets go of an answer that is not to be used. The body of a 101 is the connection itself, of which there is nothing
// to keep.
func refuseAnswer(resp *http.Response) {
	if resp.StatusCode == http.StatusSwitchingProtocols {
		resp.Body.Close()
		resp.Body = http.NoBody
	}
}

// said puts an answer other than 101 into a line: "401 Unauthorized: unknown token".
func said(resp *http.Response) string {
	s := strconv.Itoa(resp.StatusCode)
	if name := http.StatusText(resp.StatusCode); name != "" {
		s += " " + name
	}
	if line := firstLine(resp); line != "" {
		s += ": " + line
	}
	return s
}

// firstLine returns the first line of an answer's body for people, or "" if it is not written for them.
func firstLine(resp *http.Response) string {
	body, ok := resp.Body.(*refusalBody)
	if !ok || resp.Header.Get("Content-Encoding") != "" {
		return ""
	}
	line, _, _ := strings.Cut(string(bytes.TrimSpace(body.all)), "\n")
	if strings.HasPrefix(line, "<") { // a page
		return ""
	}
	return shorten(printable(line), maxSaid)
}

// printable replaces each run of what cannot be printed by a space.
func printable(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(c rune) bool { return c == unicode.ReplacementChar || !unicode.IsGraphic(c) || unicode.IsSpace(c) }), " ")
}

// shorten cuts s to n characters.
func shorten(s string, n int) string {
	for i := range s {
		if n--; n < 0 {
			return s[:i] + "…"
		}
	}
	return s
}
