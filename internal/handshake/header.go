package handshake

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/edgews/edgews/internal/header"
)

// The headers of the opening handshake, spelled as in RFC 6455 §11.3. http.Header.Set would write Sec-Websocket-…, which some peers
// do not take (golang.org/issue/18495): assign to the map instead.
const (
	KeyHeader        = "Sec-WebSocket-Key"
	AcceptHeader     = "Sec-WebSocket-Accept"
	VersionHeader    = "Sec-WebSocket-Version"
	ProtocolHeader   = "Sec-WebSocket-Protocol"
	ExtensionsHeader = "Sec-WebSocket-Extensions"
)

// Version is the only version of the protocol that was ever standardised (RFC 6455 §4.1).
const Version = "13"

// Values returns all lines of a header. net/http stores received names in its canonical form; a header that no connection has
// carried (a handler that is called in memory) may have the spelling of RFC 6455.
func Values(h http.Header, name string) []string {
	key := canonical(name)
	values := h[key]
	if key == name {
		return values
	}
	return append(slices.Clip(values), h[name]...)
}

// canonical is http.CanonicalHeaderKey without its allocation: that makes a new string for each name that net/http does not expect.
func canonical(name string) string {
	switch name {
	case KeyHeader:
		return "Sec-Websocket-Key"
	case AcceptHeader:
		return "Sec-Websocket-Accept"
	case VersionHeader:
		return "Sec-Websocket-Version"
	case ProtocolHeader:
		return "Sec-Websocket-Protocol"
	case ExtensionsHeader:
		return "Sec-Websocket-Extensions"
	}
	return http.CanonicalHeaderKey(name)
}

// CheckField returns why a header cannot be sent. A line break in a value would let the author of the value add headers of his own.
func CheckField(name string, values []string) error {
	if !header.IsToken(name) {
		return fmt.Errorf("%q is not a header name", name)
	}
	for _, v := range values {
		if strings.ContainsAny(v, "\r\n\x00") {
			return fmt.Errorf("the value of %s contains a line break or NUL", name)
		}
	}
	return nil
}

// Reserved reports whether the handshake itself writes the header called name, in any case.
func Reserved(name string) bool {
	name = http.CanonicalHeaderKey(name)
	return name == "Upgrade" || name == "Connection" || strings.HasPrefix(name, "Sec-Websocket-")
}

// DescribesBody reports whether the header called name, in any case, describes a body or its transfer. A 101 has no body (RFC 9110
// §8.6, RFC 9112 §6.1).
func DescribesBody(name string) bool {
	switch http.CanonicalHeaderKey(name) {
	case "Content-Length", "Content-Encoding", "Transfer-Encoding", "Trailer", "Te", "Keep-Alive":
		return true
	}
	return strings.HasPrefix(name, http.TrailerPrefix)
}
