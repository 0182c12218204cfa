package handshake

import (
	"bytes"
	"maps"
	"net/http"
	"slices"

	"github.com/edgews/edgews/internal/deflate"
	"github.com/edgews/edgews/internal/header"
)

// Response is a server's answer to an opening handshake: a 101, or the 200 to an extended CONNECT.
type Response struct {
	Protocol   string          // the subprotocol; "": none
	Deflate    *deflate.Params // nil: no compression
	Extensions string          // Sec-WebSocket-Extensions; "": not sent

	accept string      // "": not sent
	header http.Header // further headers; nil: none
}

// Respond chooses from what h, the header of a request that CheckRequest has let pass, offers (RFC 6455 §4.2.2, RFC 7692 §5).
// protocols are the server's subprotocols, the preferred one first. A nil want declines compression.
func Respond(h http.Header, protocols []string, want *deflate.Want) *Response {
	r := &Response{accept: acceptTo(h)}
	offered := slices.Collect(header.Elements(Values(h, ProtocolHeader)))
	if i := slices.IndexFunc(protocols, func(p string) bool { return slices.Contains(offered, p) }); i >= 0 {
		r.Protocol = protocols[i]
	}
	if want == nil {
		return r
	}
	if params, ok := deflate.Accept(Values(h, ExtensionsHeader), *want); ok {
		r.Deflate, r.Extensions = &params, params.String()
	}
	return r
}

// AddHeader adds h to the response, except for headers that would break it. Middleware sets headers without knowing that the response
// is a 101; those that do not fit are left out without an error.
func (r *Response) AddHeader(h http.Header) {
	for name, values := range h {
		if !Reserved(name) && !DescribesBody(name) {
			if r.header == nil {
				r.header = make(http.Header)
			}
			r.header[name] = append(r.header[name], values...)
		}
	}
}

// Bytes returns the response as it is sent.
func (r *Response) Bytes() []byte {
	b := make([]byte, 0, 256)
	b = append(b, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"...)
	b = appendField(b, AcceptHeader, r.accept)
	b = appendField(b, ProtocolHeader, r.Protocol)
	b = appendField(b, ExtensionsHeader, r.Extensions)
	if len(r.header) > 0 {
		var more bytes.Buffer
		r.header.Write(&more) // takes line breaks out of values
		b = append(b, more.Bytes()...)
	}
	return append(b, "\r\n"...)
}

// writeTo makes h, the header of a ResponseWriter, the header of the 200 to an extended CONNECT.
func (r *Response) writeTo(h http.Header) {
	clear(h)
	maps.Copy(h, r.header)
	for name, value := range map[string]string{ProtocolHeader: r.Protocol, ExtensionsHeader: r.Extensions} {
		if value != "" {
			h[name] = []string{value}
		}
	}
}

// appendField appends a header, unless its value is empty.
func appendField(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	b = append(append(b, name...), ": "...)
	return append(append(b, value...), "\r\n"...)
}
