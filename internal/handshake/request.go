package handshake

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/edgews/edgews/internal/header"
)

// Refusal says why a server does not upgrade a request.
type Refusal struct {
	Status int    // of the response; 0: none can be sent any more
	Detail string // the body of the response, for the author of the client or of the server
	Err    error  // the cause, if there is one beyond Detail
}

// refusal returns the refusal of a request that is at fault.
func refusal(status int, format string, args ...any) *Refusal {
	return &Refusal{Status: status, Detail: fmt.Sprintf(format, args...)}
}

// IsUpgrade reports whether r asks for a WebSocket: over HTTP/1.1, where only its Upgrade header counts, or over HTTP/2.
func IsUpgrade(r *http.Request) bool {
	return hasUpgrade(r) || IsExtendedConnect(r)
}

func hasUpgrade(r *http.Request) bool {
	return header.Contains(r.Header.Values("Upgrade"), "websocket")
}

// CheckRequest returns why r is not an opening handshake, or nil. The origin is checked by CheckOrigin.
func CheckRequest(r *http.Request) *Refusal {
	checks := requirements
	if isExtendedConnect(r) {
		checks = connectRequirements
	}
	for _, check := range checks {
		if refused := check(r); refused != nil {
			return refused
		}
	}
	return nil
}

// requirements are the conditions of RFC 6455 §4.2.1. net/http has checked the Host header.
var requirements = []func(*http.Request) *Refusal{
	checkHTTPVersion, checkMethod, checkNoBody, checkUpgrade, checkConnection, checkVersion, checkKey, checkProtocolTokens,
}

func checkHTTPVersion(r *http.Request) *Refusal {
	switch {
	case r.ProtoMajor == 1 && r.ProtoMinor >= 1:
		return nil
	case r.ProtoMajor == 1: // RFC 9110 §7.8: ignore Upgrade in an HTTP/1.0 request
		return refusal(http.StatusBadRequest, "the request is HTTP/1.%d, which cannot be upgraded: use HTTP/1.1", r.ProtoMinor)
	}
	return refusal(http.StatusHTTPVersionNotSupported, "the request came over HTTP/%d.%d, where a WebSocket is not opened with %.100s: use HTTP/1.1, or an extended CONNECT (RFC 8441)",
		r.ProtoMajor, r.ProtoMinor, r.Method)
}

func checkMethod(r *http.Request) *Refusal {
	if r.Method == http.MethodGet {
		return nil
	}
	return refusal(http.StatusMethodNotAllowed, "the method is %.100q: a WebSocket is opened with GET", r.Method)
}

// checkNoBody refuses a request with a body: one side could take bytes for the body that the other takes for frames.
func checkNoBody(r *http.Request) *Refusal {
	if r.ContentLength == 0 && len(r.TransferEncoding) == 0 {
		return nil
	}
	return refusal(http.StatusBadRequest, "the request has a body: a WebSocket is opened without one")
}

func checkUpgrade(r *http.Request) *Refusal {
	if hasUpgrade(r) {
		return nil
	}
	return refusal(http.StatusUpgradeRequired, `this is a WebSocket endpoint: send "Upgrade: websocket", and check that no proxy in between removes it`)
}

func checkConnection(r *http.Request) *Refusal {
	values := r.Header.Values("Connection")
	if header.Contains(values, "upgrade") {
		return nil
	}
	return refusal(http.StatusBadRequest, `the Connection header is %.100q: it has to contain "Upgrade"; check that no proxy in between removes it`,
		strings.Join(values, ", "))
}

func checkVersion(r *http.Request) *Refusal {
	values := Values(r.Header, VersionHeader)
	if slices.Equal(values, []string{Version}) {
		return nil
	}
	status := http.StatusUpgradeRequired
	if r.ProtoMajor > 1 { // 426 needs the header Upgrade (RFC 9110 §15.5.22), which HTTP/2 does not have (RFC 9113 §8.2.2)
		status = http.StatusBadRequest
	}
	return refusal(status, "%s is %.100q: this server speaks version %s", VersionHeader, strings.Join(values, ", "), Version)
}

func checkKey(r *http.Request) *Refusal {
	values := Values(r.Header, KeyHeader)
	if len(values) == 1 && ValidKey(values[0]) {
		return nil
	}
	return refusal(http.StatusBadRequest, "%s is %.100q: send 16 bytes in base64, once", KeyHeader, strings.Join(values, ", "))
}

func checkProtocolTokens(r *http.Request) *Refusal {
	for p := range header.Elements(Values(r.Header, ProtocolHeader)) {
		if !header.IsToken(p) {
			return refusal(http.StatusBadRequest, "%s contains %.100q, which is not a token", ProtocolHeader, p)
		}
	}
	return nil
}
