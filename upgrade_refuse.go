package edgews

import (
	"errors"
	"net/http"

	"github.com/edgews/edgews/internal/handshake"
)

// refusalError returns r as the error of Upgrade.
func refusalError(r *handshake.Refusal) *HandshakeError {
	return &HandshakeError{StatusCode: r.Status, Detail: r.Detail, Err: r.Err}
}

// refuse answers with the status and the detail as plain text, unless w has begun a response, and returns e.
func refuse(w http.ResponseWriter, r *http.Request, e *HandshakeError) error {
	if errors.Is(e, http.ErrHijacked) || handshake.CheckUnanswered(w) != nil {
		return e
	}
	closeAfter(w, r)
	switch e.StatusCode {
	case http.StatusMethodNotAllowed: // RFC 9110 §15.5.6
		w.Header().Set("Allow", http.MethodGet)
	case http.StatusTooManyRequests, http.StatusServiceUnavailable: // RFC 6585 §4, RFC 9110 §15.6.4
		e.setRetryAfter(w.Header())
	case http.StatusBadRequest:
		if r.ProtoMajor > 1 { // instead of 426
			w.Header()[handshake.VersionHeader] = []string{handshake.Version}
		}
	case http.StatusUpgradeRequired: // RFC 9110 §15.5.22, RFC 6455 §4.4
		w.Header().Set("Upgrade", "websocket")
		w.Header().Add("Connection", "Upgrade")
		w.Header()[handshake.VersionHeader] = []string{handshake.Version}
	}
	http.Error(w, e.Detail, e.StatusCode)
	return e
}

// limitRetryAfter is for clients that a limit on connections has refused: in seconds. Until others have left, each attempt costs a handshake.
const limitRetryAfter = "10"

// setRetryAfter says when the client may try again after a 429 or a 503.
func (e *HandshakeError) setRetryAfter(h http.Header) {
	switch {
	case errors.Is(e.Err, ErrConnectionLimit):
		h.Set("Retry-After", limitRetryAfter)
	case e.StatusCode == http.StatusTooManyRequests: // a quota
		setRetryAfter(h)
	default:
		h.Set("Retry-After", "1")
	}
}

// closeAfter makes net/http close the connection after the response to r, a request to upgrade that is refused. A proxy may treat the
// connection as a tunnel without having waited for a 101; what it then sends for the socket must not be read as the next request.
func closeAfter(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor == 1 { // over HTTP/2 other requests share the connection
		w.Header().Set("Connection", "close")
	}
}
