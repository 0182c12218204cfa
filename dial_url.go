package edgews

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// parseURL checks raw, whose scheme must be one of schemes, and returns it with the scheme http or https.
func parseURL(raw string, schemes ...string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, invalidURL(raw, err)
	}
	if u.Scheme == "" {
		return nil, &HandshakeError{Detail: fmt.Sprintf("the url is invalid: %q has no scheme", maskPassword(raw))}
	}
	if !slices.Contains(schemes, u.Scheme) {
		return nil, &HandshakeError{Detail: fmt.Sprintf("the url scheme must be %s: it is %q", alternatives(schemes), u.Scheme)}
	}
	if u.Hostname() == "" {
		return nil, &HandshakeError{Detail: fmt.Sprintf("the url is invalid: %q has no host", maskPassword(raw))}
	}
	if strings.Contains(raw, "#") { // url.Parse drops an empty fragment
		return nil, &HandshakeError{Detail: fmt.Sprintf("the url fragment must be empty: %q has one (RFC 6455 §3)", maskPassword(raw))}
	}
	u.Scheme = httpScheme(u.Scheme)
	return u, nil
}

// invalidURL says why raw is not a URL. If raw may have a password, the error of url.Parse is left out, because it quotes parts of raw.
func invalidURL(raw string, err error) error {
	masked := maskPassword(raw)
	if masked != raw {
		return &HandshakeError{Detail: fmt.Sprintf("the url is invalid: %q: escape what is special in its user name and password (url.UserPassword does)", masked)}
	}
	return &HandshakeError{Detail: "the url is invalid", Err: err}
}

// alternatives returns words as in "ws or wss" and "ws, wss, http or https".
func alternatives(words []string) string {
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// maskPassword replaces the password in a URL by xxxxx, as [url.URL.Redacted] does. In a URL that url.Parse does not take, all that is
// before the last @ counts as user name and password.
func maskPassword(raw string) string {
	start := strings.Index(raw, "//") + len("//")
	if start < len("//") {
		start = 0
	}
	rest := raw[start:]
	if _, err := url.Parse(raw); err == nil {
		if end := strings.IndexAny(rest, "/?#"); end >= 0 {
			rest = rest[:end]
		}
	}
	at := strings.LastIndexByte(rest, '@')
	if at < 0 {
		return raw
	}
	user, _, found := strings.Cut(rest[:at], ":")
	if !found {
		return raw
	}
	return raw[:start] + user + ":xxxxx" + raw[start+at:]
}

// displayURL returns a URL of net/http, which a redirect may have chosen, for an error text: with ws or wss if the caller uses these schemes,
// without a password, and only its first characters if it is long.
func (hs *clientHandshake) displayURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return shorten(maskPassword(raw), maxShownBody)
	}
	if hs.webSocketURL {
		u.Scheme = webSocketScheme(u.Scheme)
	}
	return shorten(u.Redacted(), maxShownBody)
}

// httpScheme maps ws to http and wss to https, and every other scheme to itself.
func httpScheme(scheme string) string {
	switch scheme {
	case "ws":
		return "http"
	case "wss":
		return "https"
	}
	return scheme
}

// webSocketScheme is the reverse of httpScheme.
func webSocketScheme(scheme string) string {
	switch scheme {
	case "http":
		return "ws"
	case "https":
		return "wss"
	}
	return scheme
}

// isWebSocketURL reports whether a valid URL has the scheme ws or wss.
func isWebSocketURL(raw string) bool {
	scheme, _, _ := strings.Cut(raw, ":")
	return strings.EqualFold(scheme, "ws") || strings.EqualFold(scheme, "wss")
}

// sameEndpoint reports whether secrets for the server of one http or https URL may be sent to that of another: scheme, host and port are
// the same, or the second is the first over TLS.
func sameEndpoint(from, to *url.URL) bool {
	if !strings.EqualFold(from.Hostname(), to.Hostname()) {
		return false
	}
	if from.Scheme == "http" && to.Scheme == "https" {
		return portOf(from) == portOf(to) || portOf(from) == "80" && portOf(to) == "443"
	}
	return from.Scheme == to.Scheme && portOf(from) == portOf(to)
}

// portOf returns the port of an http or https URL.
func portOf(u *url.URL) string {
	switch port := u.Port(); {
	case port != "":
		return port
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}
