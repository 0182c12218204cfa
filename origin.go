package edgews

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// A page of any site may open a WebSocket to any server, with the user's cookies, and the same-origin policy does
// not stop it: the Origin header is all that tells a server whose page is asking (RFC 6455 §10.2).

// origin is a parsed Origin header.
type origin struct {
	scheme, host string // lower case
	port         string // "" for the scheme's default
}

// originPattern is one of UpgradeOptions.AllowedOrigins.
type originPattern struct {
	scheme     string // "": any
	host       string
	subdomains bool   // of host, and not host itself
	port       string // "*": any
	null       bool   // the pattern is the opaque origin "null"
}

// checkOrigin refuses pages of other sites with 403. A request without Origin does not come from a browser,
// and whoever is not a browser can claim any origin.
func checkOrigin(r *http.Request, allowed []originPattern) *HandshakeError {
	values := r.Header.Values("Origin")
	if len(values) == 0 {
		return nil
	}
	o, ok := parseOrigin(values[0])
	if len(values) == 1 && (ok && o.sameHost(r.Host) || slices.ContainsFunc(allowed, func(p originPattern) bool {
		return p.null && values[0] == "null" || ok && p.match(o)
	})) {
		return nil
	}
	return &HandshakeError{
		StatusCode: http.StatusForbidden,
		Detail: fmt.Sprintf("origin %.200q may not open a WebSocket on host %.200q: add it to AllowedOrigins if it should",
			strings.Join(values, ", "), r.Host),
	}
}

// parseOrigin takes apart scheme://host[:port] (RFC 6454 §6.1), and nothing with more in it.
func parseOrigin(s string) (origin, bool) {
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || !strings.EqualFold(u.Scheme+"://"+u.Host, s) {
		return origin{}, false
	}
	host, port := splitPort(u.Host)
	return origin{u.Scheme, host, dropDefault(port, u.Scheme)}, true
}

// sameHost compares with the Host header. The schemes are not compared: behind a proxy that ends TLS nobody
// knows the server's.
func (o origin) sameHost(hostport string) bool {
	host, port := splitPort(hostport)
	return o.host == host && o.port == dropDefault(port, o.scheme)
}

// match says whether the pattern covers o.
func (p originPattern) match(o origin) bool {
	if p.null || p.scheme != "" && p.scheme != o.scheme {
		return false
	}
	if p.port != "*" && dropDefault(p.port, o.scheme) != o.port {
		return false
	}
	if p.subdomains {
		labels, ok := strings.CutSuffix(o.host, "."+p.host)
		return ok && labels != ""
	}
	return p.host == o.host
}

// parsePatterns parses UpgradeOptions.AllowedOrigins.
func parsePatterns(patterns []string) ([]originPattern, error) {
	parsed := make([]originPattern, 0, len(patterns))
	for _, s := range patterns {
		p, err := parsePattern(s)
		if err != nil {
			return nil, err
		}
		parsed = append(parsed, p)
	}
	return parsed, nil
}

// parsePattern refuses what would match nothing, or more than its author meant: *example.com would let
// evilexample.com in.
func parsePattern(s string) (originPattern, error) {
	if s == "null" {
		return originPattern{null: true}, nil
	}
	scheme, rest, found := strings.Cut(s, "://")
	if !found {
		scheme, rest = "", s
	}
	host, port := splitPort(rest)
	p := originPattern{scheme: strings.ToLower(scheme), port: port}
	if host == "*" {
		return p, fmt.Errorf("AllowedOrigins: %q allows every site; say so with InsecureSkipOriginCheck", s)
	}
	p.host, p.subdomains = strings.CutPrefix(host, "*.")
	if p.host == "" || strings.ContainsAny(p.host, "*/?#@ \t,") || strings.Trim(port, "0123456789") != "" && port != "*" {
		return p, fmt.Errorf("AllowedOrigins: %q is not an origin; use https://example.com, https://*.example.com or http://localhost:*", s)
	}
	if found && !isToken(scheme) {
		return p, fmt.Errorf("AllowedOrigins: %q has no scheme before ://; use https://, or leave both out to allow any", s)
	}
	return p, nil
}

// splitPort splits host[:port], in which an IPv6 address keeps its brackets, and lowers the host's case.
func splitPort(hostport string) (host, port string) {
	if i := strings.LastIndexByte(hostport, ':'); i > strings.LastIndexByte(hostport, ']') {
		hostport, port = hostport[:i], hostport[i+1:]
	}
	return strings.ToLower(hostport), port
}

// dropDefault returns "" for the port that scheme implies.
func dropDefault(port, scheme string) string {
	switch {
	case port == "443" && (scheme == "https" || scheme == "wss"), port == "80" && (scheme == "http" || scheme == "ws"):
		return ""
	}
	return port
}
