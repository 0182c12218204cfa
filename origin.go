package edgews

import (
	"errors"
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
	exact      string // instead of all that: the origin of pages that have no host
}

// hostless are the origins of pages that have no host: sandboxed frames and most local files, and local files in some web views.
var hostless = []string{"null", "file://"}

// checkOrigin refuses pages of other sites with 403. A request without Origin does not come from a browser,
// and whoever is not a browser can claim any origin.
func checkOrigin(r *http.Request, allowed []originPattern) *HandshakeError {
	values := r.Header.Values("Origin")
	if len(values) == 0 {
		return nil
	}
	o, ok := parseOrigin(values[0])
	if len(values) == 1 && (ok && o.sameHost(r.Host) || slices.ContainsFunc(allowed, func(p originPattern) bool {
		return p.exact != "" && p.exact == values[0] || ok && p.match(o)
	})) {
		return nil
	}
	return refusal(http.StatusForbidden, "origin %.200q may not open a WebSocket on host %.200q: %s",
		strings.Join(values, ", "), r.Host, originAdvice(values, ok))
}

// originAdvice says what to do about an origin that was refused.
func originAdvice(values []string, ok bool) string {
	switch value := values[0]; {
	case len(values) > 1:
		return "a request has one Origin"
	case ok:
		return "add it to AllowedOrigins if it should; if it is the server's own, a proxy in between has replaced the Host header and has to" +
			" pass it on (in nginx: proxy_set_header Host $http_host)"
	case slices.Contains(hostless, value):
		return "add it to AllowedOrigins if it should"
	case !strings.Contains(value, "://"):
		return "an origin begins with a scheme, as in https://example.com; add that to AllowedOrigins if it should"
	}
	return "an origin ends with its host or port, without a slash, path or user name, as in https://example.com; add that to AllowedOrigins if it should"
}

// parseOrigin takes apart scheme://host[:port] (RFC 6454 §6.1), and nothing with more in it.
func parseOrigin(s string) (origin, bool) {
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || !strings.EqualFold(u.Scheme+"://"+u.Host, s) {
		return origin{}, false
	}
	host, port := splitPort(u.Host)
	host = inPunycode(host)
	return origin{u.Scheme, host, dropDefault(port, u.Scheme)}, true
}

// sameHost compares with the Host header. The schemes are not compared: behind a proxy that ends TLS nobody
// knows the server's.
func (o origin) sameHost(hostport string) bool {
	host, port := splitPort(hostport)
	return o.host == inPunycode(host) && o.port == dropDefault(port, o.scheme)
}

// inPunycode is asciiHost for a host that a peer sent: one that cannot be converted stays as it is, and then equals nothing else.
func inPunycode(host string) string {
	if ascii, err := asciiHost(host); err == nil {
		return ascii
	}
	return host
}

// match says whether the pattern covers o.
func (p originPattern) match(o origin) bool {
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
	if slices.Contains(hostless, s) {
		return originPattern{exact: s}, nil
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
	if p.subdomains {
		if err := checkWildcard(p.host); err != nil {
			return p, fmt.Errorf("AllowedOrigins: %q %w", s, err)
		}
	}
	ascii, err := asciiHost(p.host)
	if err != nil {
		return p, fmt.Errorf("AllowedOrigins: %q matches nothing: %w", s, err)
	}
	p.host = ascii
	return p, nil
}

// ownSuffixes are top-level domains in which nobody else can have a name that browsers look up (RFC 6761, and what ICANN has reserved
// for private use).
var ownSuffixes = []string{"localhost", "test", "internal"}

// checkWildcard refuses a wildcard over domains that belong to different people, as far as that can be told without a list of public
// suffixes, and over addresses, which have no subdomains.
func checkWildcard(host string) error {
	labels := strings.Split(strings.TrimSuffix(host, "."), ".")
	last := labels[len(labels)-1]
	switch {
	case strings.Contains(host, ":") || last == "" || strings.Trim(last, "0123456789") == "":
		return errors.New("matches nothing: an address has no subdomains")
	case len(labels) == 1 && !slices.Contains(ownSuffixes, last):
		return fmt.Errorf("allows every site under .%s, and anybody can have one: name your own domain, as in *.example.com", last)
	}
	return nil
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
