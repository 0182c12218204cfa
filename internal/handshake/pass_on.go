package handshake

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/edgews/edgews/internal/deflate"
	"github.com/edgews/edgews/internal/header"
)

// PassOn returns the answer to a client whose request has the header asked, which another server has answered with the header answered. It
// has all that is not for one connection.
func PassOn(asked, answered http.Header) *Response {
	r := &Response{
		accept:     acceptTo(asked),
		Protocol:   strings.Join(Values(answered, ProtocolHeader), ", "),
		Extensions: strings.Join(Values(answered, ExtensionsHeader), ", "),
	}
	r.AddHeader(answered)
	return r
}

// PassOnAgreed returns the answer to a client whose request has the header asked, for a connection that has been opened to another server
// with protocol and extensions. The subprotocol is left out if the client has not offered it. ok reports whether the client has offered the
// extensions: if not, the frames of the connection cannot be passed on to it.
func PassOnAgreed(asked http.Header, protocol, extensions string) (r *Response, ok bool) {
	r = &Response{accept: acceptTo(asked), Extensions: extensions}
	if slices.Contains(slices.Collect(header.Elements(Values(asked, ProtocolHeader))), protocol) {
		r.Protocol = protocol
	}
	return r, extensions == "" || deflate.Answers(extensions, Values(asked, ExtensionsHeader))
}

// acceptTo returns the Sec-WebSocket-Accept for a request with the header h, or "" if it has no key.
func acceptTo(h http.Header) string {
	key := Values(h, KeyHeader)
	if len(key) == 0 {
		return ""
	}
	return AcceptFor(key[0])
}

// CheckPassOn returns why answered, the header of a 101, cannot be passed on to a client whose request has the header asked, or nil: it has a
// subprotocol or an extension that cannot be sent, or none was asked for.
func CheckPassOn(asked, answered http.Header) error {
	for _, name := range []string{ProtocolHeader, ExtensionsHeader} {
		got := Values(answered, name)
		if err := CheckField(name, got); err != nil {
			return err
		}
		if len(got) > 0 && len(Values(asked, name)) == 0 {
			return fmt.Errorf("expected no %s, since none was asked for, but received %.100q", name, strings.Join(got, ", "))
		}
	}
	return nil
}
