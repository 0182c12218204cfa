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
type handshakeTransport struct {
	base  http.RoundTripper // nil: http.DefaultTransport
	key   string            // Sec-WebSocket-Key
	trace *connTrace        // of the last request
}

// RoundTrip implements http.RoundTripper. The body of an answer other than 101 is what there was of it within the bounds: nobody,
// http.Client included, waits for more.
func (a *handshakeTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	base, err := a.roundTripper(r)
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
		saveBody(r.Context(), resp)
	}
	return resp, nil
}

// conn returns the connection that the last request has used, or nil if that is not certain.
func (a *handshakeTransport) conn() net.Conn {
	if a.trace == nil {
		return nil
	}
	return a.trace.singleConn()
}

// connTrace learns from httptrace which connection carried a request. A RoundTripper may make other requests with the
// same context, for hedging or telemetry: then httptrace does not say which connection belongs to which, and connTrace knows none.
type connTrace struct {
	key string // Sec-WebSocket-Key of the request

	mu           sync.Mutex
	conn         net.Conn
	severalConns bool // connections were used
	keySent      bool // key was
}

func (t *connTrace) hooks() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{GotConn: t.gotConn, WroteHeaderField: t.wroteHeaderField}
}

func (t *connTrace) gotConn(info httptrace.GotConnInfo) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.severalConns = t.severalConns || t.conn != nil && t.conn != info.Conn
	t.conn = info.Conn
}

func (t *connTrace) wroteHeaderField(name string, values []string) {
	if name != handshake.KeyHeader || len(values) != 1 || values[0] != t.key {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.keySent = true
}

// only returns the connection if there was one only, and the request was sent on it.
func (t *connTrace) singleConn() net.Conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.severalConns || !t.keySent {
		return nil
	}
	return t.conn
}

const (
	maxSavedBody    = 4 << 10     // how much of the body of a refusal is kept, in bytes
	saveBodyTimeout = time.Second // how long it may take to arrive
	maxShownBody    = 300         // how many characters of it an error shows
)

// refusalBody is what was read of the body of an answer other than 101. It can be read once and needs no Close.
type savedBody struct {
	bytes.Reader
	content []byte
}

func (*savedBody) Close() error { return nil }

// keepRefusal replaces the body by a copy of its beginning and lets the connection go.
func saveBody(ctx context.Context, resp *http.Response) {
	body := &savedBody{content: readPrefix(ctx, resp.Body)}
	body.Reset(body.content)
	resp.Body = body
}

// readSome reads body to its end, or as far as the bounds or ctx allow, and closes it. What came before an error counts.
func readPrefix(ctx context.Context, body io.ReadCloser) []byte {
	ctx, cancel := context.WithTimeout(ctx, saveBodyTimeout)
	defer cancel()
	p := &bodyPrefix{done: make(chan struct{})}
	go p.read(body)
	stop := context.AfterFunc(ctx, func() { body.Close() }) // ends a Read that waits
	select {
	case <-p.done:
	case <-ctx.Done():
	}
	if stop() {
		go body.Close() // it may not heed that either
	}
	return p.snapshot()
}

// prefix is the beginning of what a reader gives.
type bodyPrefix struct {
	done chan struct{} // closed when there will be no more

	mu      sync.Mutex
	content []byte
}

// read ends with r, with an error, with Close, or after maxRefusal bytes.
func (p *bodyPrefix) read(r io.Reader) {
	defer close(p.done)
	chunk := make([]byte, 1<<10)
	for left := maxSavedBody; left > 0; {
		n, err := r.Read(chunk[:min(left, len(chunk))])
		left -= n
		p.append(chunk[:n])
		if err != nil {
			return
		}
	}
}

func (p *bodyPrefix) append(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.content = append(p.content, b...)
}

func (p *bodyPrefix) snapshot() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.content[:len(p.content):len(p.content)]
}

// refuseAnswer lets go of an answer that is not to be used. The body of a 101 is the connection itself, of which there is nothing
// to keep.
func discardResponse(resp *http.Response) {
	if resp.StatusCode == http.StatusSwitchingProtocols {
		resp.Body.Close()
		resp.Body = http.NoBody
	}
}

// said puts an answer other than 101 into a line: "401 Unauthorized: unknown token".
func describeResponse(resp *http.Response) string {
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
	body, ok := resp.Body.(*savedBody)
	if !ok || resp.Header.Get("Content-Encoding") != "" {
		return ""
	}
	line, _, _ := strings.Cut(string(bytes.TrimSpace(body.content)), "\n")
	if strings.HasPrefix(line, "<") { // a page
		return ""
	}
	return shorten(printable(line), maxShownBody)
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
