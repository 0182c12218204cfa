package edgews

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/edgews/edgews/internal/deflate"
	"github.com/edgews/edgews/internal/handshake"
)

// cloneRequestHeader returns a copy of DialOptions.Header with canonical names, or why it cannot be sent. net/http writes names as they
// are: it would send two spellings of one name as two headers.
func cloneRequestHeader(given http.Header) (http.Header, error) {
	h := make(http.Header, len(given))
	for name, values := range given {
		if err := checkRequestHeader(name, values); err != nil {
			return nil, &HandshakeError{Detail: "DialOptions.Header: " + err.Error()}
		}
		key := http.CanonicalHeaderKey(name)
		h[key] = append(h[key], values...)
	}
	if n := len(h["Host"]); n > 1 {
		return nil, &HandshakeError{Detail: fmt.Sprintf("DialOptions.Header: Host has %d values, where a request has one", n)}
	}
	return h, nil
}

// checkRequestHeader refuses the two headers whose content other options say, and what cannot be sent.
func checkRequestHeader(name string, values []string) error {
	switch http.CanonicalHeaderKey(name) {
	case "Sec-Websocket-Protocol":
		return errors.New("name subprotocols in Protocols, not in " + handshake.ProtocolHeader)
	case "Sec-Websocket-Extensions":
		return errors.New("configure compression in Compression, not in " + handshake.ExtensionsHeader)
	}
	return handshake.CheckField(name, values)
}

// request returns the first request (RFC 6455 §4.1). Those after a redirect are made by net/http and redirectPolicy.
func (hs *clientHandshake) request(ctx context.Context) *http.Request {
	h := hs.handshakeHeader()
	for name, values := range hs.header {
		if name != "Host" && !handshake.Reserved(name) {
			h[name] = values
		}
	}
	if len(hs.protocols) > 0 {
		h[handshake.ProtocolHeader] = []string{strings.Join(hs.protocols, ", ")}
	}
	r := &http.Request{Method: http.MethodGet, URL: hs.requestURL, Host: hs.host, Header: h, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
	return r.WithContext(ctx)
}

// handshakeHeader returns the header without secrets, which any server may receive. The values of Connection and Upgrade also make
// http.Transport use HTTP/1.1, and a new connection if the one it has to the host is HTTP/2.
func (hs *clientHandshake) handshakeHeader() http.Header {
	h := http.Header{
		"Connection":            {"Upgrade"},
		"Upgrade":               {"websocket"},
		handshake.VersionHeader: {handshake.Version},
		handshake.KeyHeader:     {hs.key},
	}
	if want := hs.opts.Compression.want(); want != nil {
		h[handshake.ExtensionsHeader] = []string{deflate.Offer(*want)}
	}
	return h
}

// requestError says why there was no response, or only a redirect that was not followed. It shows URLs as displayURL does.
func (hs *clientHandshake) requestError(resp *http.Response, err error) error {
	if e, ok := err.(*url.Error); ok {
		shown := *e
		shown.URL = hs.displayURL(e.URL)
		err = &shown
	}
	if resp != nil { // http.Client returns both only if CheckRedirect refused a redirect
		return &HandshakeError{StatusCode: resp.StatusCode, Detail: "the redirect was not followed", Err: err}
	}
	return &HandshakeError{Detail: "no answer", Err: err}
}
