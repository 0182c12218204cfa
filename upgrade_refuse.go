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
	case http.StatusTooManyRequests: // RFC 6585 §4
		setRetryAfter(w.Header())
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "1")
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

// closeAfter makes net/http close the connection after the response to r, a request to upgrade that is refused. A proxy may treat the
// connection as a tunnel without having waited for a 101; what it then sends for the socket must not be read as the next request.
func closeAfter(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor == 1 { // over HTTP/2 other requests share the connection
		w.Header().Set("Connection", "close")
	}
}
