package handshake

import (
	"bytes"
	"net/http"
	"net/url"
	"strings"

	"github.com/edgews/edgews/internal/header"
)

// HeadState is what a HeadScanner knows of a request.
type HeadState uint8

const (
	HeadIncomplete HeadState = iota // more has to arrive
	HeadOfUpgrade                   // complete, and it has an Upgrade header
	HeadOfOther                     // not an upgrade, or written in a way that is left to net/http's parser
)

// HeadScanner finds the end of the head of a request, the empty line behind the headers, in bytes that arrive in pieces. The zero value is
// ready for a new request.
type HeadScanner struct {
	line    uint16 // where the first line begins that has not been seen whole
	upgrade bool   // an Upgrade header has been seen
}

// MaxScannedHead is the largest head in bytes that a HeadScanner scans. Larger ones are HeadOfOther. Browsers send a few hundred bytes
// and cookies.
const MaxScannedHead = 8 << 10

const getPrefix = "GET "

// Scan continues with p, everything that has arrived of a request and behind it. n is the length of the head of an upgrade.
func (s *HeadScanner) Scan(p []byte) (state HeadState, n int) {
	if !bytes.HasPrefix(p, []byte(getPrefix)[:min(len(p), len(getPrefix))]) {
		return HeadOfOther, 0
	}
	for {
		line := p[s.line:]
		end := bytes.IndexByte(line, '\n')
		switch {
		case end < 0 && len(p) < MaxScannedHead:
			return HeadIncomplete, 0
		case end < 0, int(s.line)+end >= MaxScannedHead, end == 0, line[end-1] != '\r': // a bare LF ends lines too, for net/http
			return HeadOfOther, 0
		case end > 1:
			s.line += uint16(end + 1)
			s.upgrade = s.upgrade || isUpgradeField(line)
		case !s.upgrade:
			return HeadOfOther, 0
		default:
			return HeadOfUpgrade, int(s.line) + 2
		}
	}
}

func isUpgradeField(line []byte) bool {
	const name = "Upgrade:"
	return len(line) > len(name) && line[0]|0x20 == 'u' && bytes.EqualFold(line[:len(name)], []byte(name))
}

// ParseUpgrade parses a head that a HeadScanner has found into r, as net/http's server does. It returns false for every request that is not the
// plain form of an opening handshake: then r is meaningless, and net/http has to parse the request and to answer it. The plain form is
// GET of a path in HTTP/1.1 with one Host, without a body and without headers that concern the connection beyond this request, all
// lines ended by CRLF and all header values printable ASCII.
func ParseUpgrade(head string, r *http.Request) bool {
	line, fields, _ := strings.Cut(head, "\r\n")
	target, ok := requestTarget(line)
	if !ok {
		return false
	}
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return false
	}
	h, ok := parseFields(fields)
	if !ok || !header.Contains(h["Upgrade"], "websocket") || header.Contains(h["Connection"], "close") {
		return false
	}
	host := h["Host"]
	if len(host) != 1 || !validHost(host[0]) {
		return false
	}
	delete(h, "Host")
	if pragma := h["Pragma"]; len(pragma) > 0 && pragma[0] == "no-cache" && h["Cache-Control"] == nil { // RFC 9111 §5.4
		h["Cache-Control"] = []string{"no-cache"}
	}
	*r = http.Request{
		Method: http.MethodGet, URL: u, RequestURI: target, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: h, Host: host[0], Body: http.NoBody,
	}
	return true
}

// requestTarget returns the target of a request line, if it is a path.
func requestTarget(line string) (target string, ok bool) {
	rest, ok := strings.CutPrefix(line, getPrefix)
	if !ok {
		return "", false
	}
	target, proto, _ := strings.Cut(rest, " ")
	return target, proto == "HTTP/1.1" && strings.HasPrefix(target, "/")
}

// parseFields parses the lines of headers, each with its line end, and the empty line.
func parseFields(lines string) (h http.Header, ok bool) {
	count := strings.Count(lines, "\n") - 1
	h = make(http.Header, count)
	values := make([]string, count) // one array for all: most headers have one value
	for {
		var line string
		if line, lines, ok = strings.Cut(lines, "\r\n"); !ok || line == "" {
			return h, ok
		}
		name, value, found := strings.Cut(line, ":")
		if !found || !header.IsToken(name) || !isPrintable(value) {
			return nil, false
		}
		name = canonical(name)
		switch name {
		case "Content-Length", "Transfer-Encoding", "Trailer", "Expect":
			return nil, false
		}
		value = strings.Trim(value, " \t")
		if have := h[name]; have != nil {
			h[name] = append(have, value)
			continue
		}
		values[0] = value
		h[name], values = values[:1:1], values[1:]
	}
}

// isPrintable reports whether a header's value has only printable ASCII, spaces and tabs.
func isPrintable(value string) bool {
	for i := range len(value) {
		if c := value[i]; (c < ' ' || c > '~') && c != '\t' {
			return false
		}
	}
	return true
}

// validHost reports whether a Host header has only letters, digits and the characters of ports and of IPv6 addresses.
func validHost(host string) bool {
	for i := range len(host) {
		switch c := host[i]; {
		case '0' <= c && c <= '9', 'a' <= c|0x20 && c|0x20 <= 'z':
		case strings.IndexByte("-._:[]", c) >= 0:
		default:
			return false
		}
	}
	return host != ""
}
