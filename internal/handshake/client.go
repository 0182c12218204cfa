package handshake

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/edgews/edgews/internal/deflate"
	"github.com/edgews/edgews/internal/header"
)

// CheckProtocols returns why protocols cannot be offered, or nil. The checks and their texts are those of the WebSocket constructor in
// Workers.
func CheckProtocols(protocols []string) error {
	for i, p := range protocols {
		switch {
		case !header.IsToken(p) && len(protocols) == 1:
			return fmt.Errorf("the protocol header token is invalid: %q", p)
		case !header.IsToken(p):
			return fmt.Errorf("one of the protocol header tokens is invalid: %q", p)
		case slices.Contains(protocols[:i], p):
			return fmt.Errorf("the protocols header cannot have repeating values: %q", p)
		}
	}
	return nil
}

// CheckResponse returns why h, the header of a 101, does not answer the request that carried key, or nil (RFC 6455 §4.1).
func CheckResponse(h http.Header, key string) error {
	if got := strings.Join(h.Values("Upgrade"), ", "); !strings.EqualFold(got, "websocket") {
		return fmt.Errorf(`expected "Upgrade: websocket", but received %.100q`, got)
	}
	if got := h.Values("Connection"); !header.Contains(got, "upgrade") {
		return fmt.Errorf(`expected "Connection: Upgrade", but received %.100q`, strings.Join(got, ", "))
	}
	if got := Values(h, AcceptHeader); !slices.Equal(got, []string{AcceptFor(key)}) {
		return fmt.Errorf("expected %s %q, but received %.100q", AcceptHeader, AcceptFor(key), strings.Join(got, ", "))
	}
	return nil
}

// ChosenProtocol returns the subprotocol that h, the header of a 101, chooses from those that were offered, or "" if it chooses none.
// Any other choice is an error.
func ChosenProtocol(h http.Header, offered []string) (string, error) {
	values := Values(h, ProtocolHeader)
	if len(values) == 0 {
		return "", nil
	}
	if len(offered) == 0 {
		return "", fmt.Errorf("expected no subprotocol, since none was asked for, but received %.100q", strings.Join(values, ", "))
	}
	if i := slices.Index(offered, values[0]); i >= 0 && len(values) == 1 {
		return offered[i], nil // the equal string of values would keep the memory of the whole header
	}
	return "", fmt.Errorf("expected one of the subprotocols %q or none, but received %.100q", offered, strings.Join(values, ", "))
}

// ChosenCompression returns what h, the header of a 101, agrees to, or nil. offered says whether the request offered
// permessage-deflate, the only extension that is ever offered. Any other extension is an error.
func ChosenCompression(h http.Header, offered bool) (*deflate.Params, error) {
	values := Values(h, ExtensionsHeader)
	if !offered {
		for range header.Elements(values) {
			return nil, fmt.Errorf("expected no extension, but received %.100q", strings.Join(values, ", "))
		}
		return nil, nil
	}
	params, ok, err := deflate.Agree(values)
	if err != nil || !ok {
		return nil, err
	}
	return &params, nil
}
