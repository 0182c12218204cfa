package edgews

import (
	"fmt"
	"net/http"

	"github.com/edgews/edgews/internal/handshake"
	"github.com/edgews/edgews/internal/header"
)

// checkRequest returns why r cannot be upgraded with these options, or nil.
func (o *UpgradeOptions) checkRequest(r *http.Request) *HandshakeError {
	allowed, err := o.validate()
	if err != nil {
		return &HandshakeError{StatusCode: http.StatusInternalServerError, Detail: err.Error()}
	}
	refused := handshake.CheckRequest(r)
	if refused == nil && !o.InsecureSkipOriginCheck {
		refused = handshake.CheckOrigin(r, allowed)
	}
	if refused != nil {
		return refusalError(refused)
	}
	return nil
}

// validate returns the parsed AllowedOrigins, or which option is invalid and why.
func (o *UpgradeOptions) validate() ([]handshake.OriginPattern, error) {
	if err := o.Options.validate("UpgradeOptions"); err != nil {
		return nil, err
	}
	for _, p := range o.Protocols {
		if !header.IsToken(p) {
			return nil, fmt.Errorf("UpgradeOptions.Protocols: %q is not a token: no spaces and none of ()<>@,;:\\\"/[]?={}", p)
		}
	}
	for name, values := range o.Header {
		if err := checkResponseHeader(name, values); err != nil {
			return nil, err
		}
	}
	return handshake.ParseOrigins(o.AllowedOrigins)
}

// checkResponseHeader refuses headers that the handshake writes itself, headers that a 101 cannot have, and line breaks, which would
// let the author of a value add headers of his own.
func checkResponseHeader(name string, values []string) error {
	switch {
	case http.CanonicalHeaderKey(name) == "Sec-Websocket-Protocol":
		return fmt.Errorf("UpgradeOptions.Header: %s is chosen from Protocols", name)
	case handshake.Reserved(name) || handshake.DescribesBody(name):
		return fmt.Errorf("UpgradeOptions.Header: %s is not for the caller to set in a 101", name)
	}
	if err := handshake.CheckField(name, values); err != nil {
		return fmt.Errorf("UpgradeOptions.Header: %w", err)
	}
	return nil
}
