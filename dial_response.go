package edgews

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/edgews/edgews/internal/deflate"
	"github.com/edgews/edgews/internal/handshake"
)

// verify checks the response as RFC 6455 §4.1 demands, and returns what the server chose. params is nil without compression.
func (hs *clientHandshake) verify(resp *http.Response) (protocol string, params *deflate.Params, err error) {
	h := resp.Header
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return "", nil, fmt.Errorf("expected status 101, but received %s", describeResponse(resp))
	}
	if err := handshake.CheckResponse(h, hs.key); err != nil {
		return "", nil, err
	}
	protocols := hs.protocols
	if hs.redirects.crossedHost { // the last request has offered none
		protocols = nil
	}
	if protocol, err = handshake.ChosenProtocol(h, protocols); err != nil {
		return "", nil, err
	}
	params, err = handshake.ChosenCompression(h, !hs.opts.Compression.Disable)
	return protocol, params, err
}

// responseError returns err, the fault of a response, as the error of Dial.
func responseError(resp *http.Response, err error) error {
	return &HandshakeError{StatusCode: resp.StatusCode, Detail: err.Error()}
}

// discardResponse closes the connection of a 101 that was refused. Other responses keep the body that saveBody has given them.
func discardResponse(resp *http.Response) {
	if resp.StatusCode == http.StatusSwitchingProtocols {
		resp.Body.Close()
		resp.Body = http.NoBody
	}
}

// describeResponse returns a response other than 101 as a line: "401 Unauthorized: unknown token".
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

// firstLine returns the first line of a response's body, or "" if that is compressed or an HTML page.
func firstLine(resp *http.Response) string {
	body, ok := resp.Body.(*savedBody)
	if !ok || resp.Header.Get("Content-Encoding") != "" {
		return ""
	}
	line, _, _ := strings.Cut(string(bytes.TrimSpace(body.content)), "\n")
	if strings.HasPrefix(line, "<") { // HTML
		return ""
	}
	return shorten(printable(line), maxShownBody)
}

// printable replaces each run of white space and unprintable characters by one space.
func printable(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(c rune) bool { return c == unicode.ReplacementChar || !unicode.IsGraphic(c) || unicode.IsSpace(c) }), " ")
}

// shorten cuts s to n characters and an ellipsis.
func shorten(s string, n int) string {
	for i := range s {
		if n--; n < 0 {
			return s[:i] + "…"
		}
	}
	return s
}

// The bounds of what Dial reads of the body of a refusal, and of what an error text has of it.
const (
	maxSavedBody    = 4 << 10     // bytes that are read
	saveBodyTimeout = time.Second // for reading them
	maxShownBody    = 300         // characters in an error text
)

// savedBody is the beginning of the body of a response other than 101. It can be read once and needs no Close.
type savedBody struct {
	bytes.Reader
	content []byte
}

func (*savedBody) Close() error { return nil }

// saveBody replaces the body of resp by a copy of its first limit bytes at most, and closes the body.
func saveBody(ctx context.Context, resp *http.Response, limit int) {
	body := &savedBody{content: readPrefix(ctx, resp.Body, limit)}
	body.Reset(body.content)
	resp.Body = body
}

// readPrefix reads body to its end, or as far as limit, saveBodyTimeout and ctx allow, and closes it. It returns what came before an error.
func readPrefix(ctx context.Context, body io.ReadCloser, limit int) []byte {
	ctx, cancel := context.WithTimeout(ctx, saveBodyTimeout)
	defer cancel()
	p := &bodyPrefix{done: make(chan struct{})}
	go p.read(body, limit)
	stop := context.AfterFunc(ctx, func() { body.Close() }) // ends a Read that waits
	select {
	case <-p.done:
	case <-ctx.Done():
	}
	if stop() {
		go body.Close() // in a goroutine: the Close of a foreign body may block
	}
	return p.snapshot()
}

// bodyPrefix collects the beginning of a body. It is read in a goroutine of its own, because a foreign body may ignore Close.
type bodyPrefix struct {
	done chan struct{} // closed when read returns

	mu      sync.Mutex
	content []byte // guarded by mu
}

// read returns at the end of r, after an error, which Close causes, or after limit bytes.
func (p *bodyPrefix) read(r io.Reader, limit int) {
	defer close(p.done)
	chunk := make([]byte, 1<<10)
	for left := limit; left > 0; {
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
