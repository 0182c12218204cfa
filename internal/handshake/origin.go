package handshake

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/edgews/edgews/internal/header"
	"github.com/edgews/edgews/internal/idna"
)

// A page of any site may open a WebSocket to any server, with the user's cookies, and the same-origin policy does not prevent it. Only
// the Origin header tells the server which site the page belongs to (RFC 6455 §10.2).

// origin is a parsed Origin header.
type origin struct {
	scheme, host string // lower case; host is in ASCII
	port         string // "" for the scheme's default
}

// OriginPattern is a parsed element of UpgradeOptions.AllowedOrigins.
type OriginPattern struct {
	scheme     string // "": any
	host       string // lower case, in ASCII
	subdomains bool   // of host, and not host itself
	port       string // "*": any; "": the scheme's default
	exact      string // the origin of pages that have no host, instead of all other fields
}

// hostless are the origins of pages that have no host: null of sandboxed frames and most local files, file:// of local files in some
// web views.
var hostless = []string{"null", "file://"}

// CheckOrigin refuses r with 403 if it comes from a page whose host is neither the request's own nor in allowed. A request without
// Origin is let in: only browsers have to send the header, and another client can send any value.
func CheckOrigin(r *http.Request, allowed []OriginPattern) *Refusal {
	values := r.Header.Values("Origin")
	if len(values) == 0 {
		return nil
	}
	o, ok := parseOrigin(values[0])
	if len(values) == 1 && (ok && o.sameHost(r.Host) || slices.ContainsFunc(allowed, func(p OriginPattern) bool {
		return p.exact != "" && p.exact == values[0] || ok && p.match(o)
	})) {
		return nil
	}
	return refusal(http.StatusForbidden, "origin %.200q may not open a WebSocket on host %.200q: %s",
		strings.Join(values, ", "), r.Host, originAdvice(values, ok))
}

// originAdvice says what to do about a refused origin. parsed says whether it has the form of one.
func originAdvice(values []string, parsed bool) string {
	switch value := values[0]; {
	case len(values) > 1:
		return "a request has one Origin"
	case parsed:
		return "add it to AllowedOrigins if it should; if it is the server's own, a proxy in between has replaced the Host header and has to" +
			" pass it on (in nginx: proxy_set_header Host $http_host)"
	case slices.Contains(hostless, value):
		return "add it to AllowedOrigins if it should"
	case !strings.Contains(value, "://"):
		return "an origin begins with a scheme, as in https://example.com; add that to AllowedOrigins if it should"
	}
	return "an origin ends with its host or port, without a slash, path or user name, as in https://example.com; add that to AllowedOrigins if it should"
}

// parseOrigin parses scheme://host[:port] (RFC 6454 §6.1). ok is false if s has more parts, or fewer.
func parseOrigin(s string) (o origin, ok bool) {
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || !strings.EqualFold(u.Scheme+"://"+u.Host, s) {
		return origin{}, false
	}
	host, port := splitPort(u.Host)
	host = peerHost(host)
	return origin{u.Scheme, host, dropDefault(port, u.Scheme)}, true
}

// sameHost reports whether o has the host and port of a Host header. Schemes are not compared: a server behind a proxy that ends TLS
// does not know its own.
func (o origin) sameHost(hostport string) bool {
	host, port := splitPort(hostport)
	return o.host == peerHost(host) && o.port == dropDefault(port, o.scheme)
}

// peerHost returns a host that a peer has sent in ASCII. One that cannot be converted stays as it is, and then equals no other.
func peerHost(host string) string {
	if ascii, err := idna.ToASCII(host); err == nil {
		return ascii
	}
	return host
}

// match reports whether the pattern covers o.
func (p OriginPattern) match(o origin) bool {
	if p.exact != "" || p.scheme != "" && p.scheme != o.scheme {
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

// ParseOrigins parses UpgradeOptions.AllowedOrigins, whose forms that option documents. Errors begin with its name.
func ParseOrigins(patterns []string) ([]OriginPattern, error) {
	parsed := make([]OriginPattern, 0, len(patterns))
	for _, s := range patterns {
		p, err := parseOriginPattern(s)
		if err != nil {
			return nil, err
		}
		parsed = append(parsed, p)
	}
	return parsed, nil
}

// parseOriginPattern refuses patterns that match nothing, and patterns that match more than they seem to: *example.com would match
// evilexample.com.
func parseOriginPattern(s string) (OriginPattern, error) {
	if slices.Contains(hostless, s) {
		return OriginPattern{exact: s}, nil
	}
	scheme, rest, found := strings.Cut(s, "://")
	if !found {
		scheme, rest = "", s
	}
	host, port := splitPort(rest)
	p := OriginPattern{scheme: strings.ToLower(scheme), port: port}
	if host == "*" {
		return p, fmt.Errorf("AllowedOrigins: %q allows every site; say so with InsecureSkipOriginCheck", s)
	}
	p.host, p.subdomains = strings.CutPrefix(host, "*.")
	if p.host == "" || strings.ContainsAny(p.host, "*/?#@ \t,") || strings.Trim(port, "0123456789") != "" && port != "*" {
		return p, fmt.Errorf("AllowedOrigins: %q is not an origin; use https://example.com, https://*.example.com or http://localhost:*", s)
	}
	if found && !header.IsToken(scheme) {
		return p, fmt.Errorf("AllowedOrigins: %q has no scheme before ://; use https://, or leave both out to allow any", s)
	}
	if p.subdomains {
		if err := checkWildcard(p.host); err != nil {
			return p, fmt.Errorf("AllowedOrigins: %q %w", s, err)
		}
	}
	ascii, err := idna.ToASCII(p.host)
	if err != nil {
		return p, fmt.Errorf("AllowedOrigins: %q matches nothing: %w", s, err)
	}
	p.host = ascii
	return p, nil
}

// privateSuffixes are the top-level domains without public names: those of RFC 6761 §6.2 and §6.3, and the one that ICANN has
// reserved for private use.
var privateSuffixes = []string{"localhost", "test", "internal"}

// checkWildcard refuses a wildcard over a top-level domain, whose subdomains belong to different owners, and over an address, which has
// no subdomains. It has no list of public suffixes.
func checkWildcard(host string) error {
	labels := strings.Split(strings.TrimSuffix(host, "."), ".")
	last := labels[len(labels)-1]
	switch {
	case strings.Contains(host, ":") || last == "" || strings.Trim(last, "0123456789") == "":
		return errors.New("matches nothing: an address has no subdomains")
	case len(labels) == 1 && !slices.Contains(privateSuffixes, last):
		return fmt.Errorf("allows every site under .%s, and anybody can have one: name your own domain, as in *.example.com", last)
	}
	return nil
}

// splitPort splits host[:port] and returns the host in lower case. An IPv6 address keeps its brackets.
func splitPort(hostport string) (host, port string) {
	if i := strings.LastIndexByte(hostport, ':'); i > strings.LastIndexByte(hostport, ']') {
		hostport, port = hostport[:i], hostport[i+1:]
	}
	return strings.ToLower(hostport), port
}

// dropDefault returns port, or "" if it is the default port of scheme.
func dropDefault(port, scheme string) string {
	switch {
	case port == "443" && (scheme == "https" || scheme == "wss"), port == "80" && (scheme == "http" || scheme == "ws"):
		return ""
	}
	return port
}
