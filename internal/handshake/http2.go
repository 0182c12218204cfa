package handshake

import (
	"net/http"
	"strings"
)

// protocolField is the name under which net/http stores the pseudo-header field :protocol of an extended CONNECT (RFC 8441 §4). No other
// request can have it: it is not a valid name of a header field.
const protocolField = ":protocol"

// IsExtendedConnect reports whether r asks for a WebSocket with an extended CONNECT, over HTTP/2 (RFC 8441 §5).
func IsExtendedConnect(r *http.Request) bool {
	return isExtendedConnect(r) && strings.EqualFold(r.Header[protocolField][0], "websocket")
}

// isExtendedConnect is IsExtendedConnect for any protocol.
func isExtendedConnect(r *http.Request) bool {
	return r.ProtoMajor == 2 && r.Method == http.MethodConnect && len(r.Header[protocolField]) == 1
}

// connectRequirements are the conditions of RFC 8441 §5: those of RFC 6455 §4.2.1 without Upgrade, Connection and Sec-WebSocket-Key.
var connectRequirements = []func(*http.Request) *Refusal{
	checkConnectProtocol, checkStream, checkVersion, checkProtocolTokens,
}

func checkConnectProtocol(r *http.Request) *Refusal {
	if IsExtendedConnect(r) {
		return nil
	}
	return refusal(http.StatusNotImplemented, "the :protocol is %.100q: this is a WebSocket endpoint, whose :protocol is websocket", r.Header[protocolField][0])
}

// checkStream refuses a request that has a length, since its stream carries frames until it ends, and one that has ended its stream.
func checkStream(r *http.Request) *Refusal {
	if r.ContentLength < 0 {
		return nil
	}
	return refusal(http.StatusBadRequest, "the request has ended or has a Content-Length: the stream of a WebSocket stays open")
}
