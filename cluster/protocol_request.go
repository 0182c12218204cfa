package cluster

import (
	"cmp"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// request returns the request at the home.
func (h *requestHead) request() (*http.Request, error) {
	u, err := receivedURL(h.URL)
	if err != nil {
		return nil, err
	}
	r := &http.Request{
		Method: h.Method, URL: u, Proto: fmt.Sprintf("HTTP/%d.%d", h.Proto[0], h.Proto[1]), ProtoMajor: h.Proto[0], ProtoMinor: h.Proto[1],
		Header: http.Header(h.Header), Host: h.Host, RequestURI: cmp.Or(h.RequestURI, h.URL), RemoteAddr: h.RemoteAddr,
		ContentLength: h.ContentLength, Body: http.NoBody,
	}
	if h.TLS {
		r.TLS = &tls.ConnectionState{HandshakeComplete: true} // that there is one is what programs look at
	}
	return r, nil
}

// urlToSend returns the path and the query of a request. The path need not begin with a slash: a handler like http.StripPrefix may have
// shortened it.
func urlToSend(u *url.URL) string {
	if u.RawQuery == "" && !u.ForceQuery {
		return u.EscapedPath()
	}
	return u.EscapedPath() + "?" + u.RawQuery
}

// receivedURL is the reverse of urlToSend.
func receivedURL(sent string) (*url.URL, error) {
	u, err := url.ParseRequestURI("/" + sent) // with the slash, nothing in the path is taken for a scheme or a host
	if err != nil {
		return nil, err
	}
	u.Path, u.RawPath = strings.TrimPrefix(u.Path, "/"), strings.TrimPrefix(u.RawPath, "/")
	return u, nil
}

// sentHeader is a header as it is sent. Values of headers are bytes, and JSON has only text: each byte is sent as the character with its number.
type sentHeader http.Header

// MarshalJSON implements json.Marshaler.
func (h sentHeader) MarshalJSON() ([]byte, error) {
	return json.Marshal(mapValues(h, func(value string) string {
		var text strings.Builder
		for i := range len(value) {
			text.WriteRune(rune(value[i]))
		}
		return text.String()
	}))
}

// UnmarshalJSON implements json.Unmarshaler.
func (h *sentHeader) UnmarshalJSON(data []byte) error {
	var sent map[string][]string
	if err := json.Unmarshal(data, &sent); err != nil {
		return err
	}
	*h = mapValues(sent, func(text string) string {
		value := make([]byte, 0, len(text))
		for _, r := range text {
			value = append(value, byte(r))
		}
		return string(value)
	})
	return nil
}

// mapValues returns h with other values. Those of ASCII are left as they are.
func mapValues(h map[string][]string, change func(string) string) map[string][]string {
	changed := make(map[string][]string, len(h))
	for name, values := range h {
		if slices.ContainsFunc(values, hasOtherThanASCII) {
			values = slices.Clone(values)
			for i, value := range values {
				if hasOtherThanASCII(value) {
					values[i] = change(value)
				}
			}
		}
		changed[name] = values
	}
	return changed
}

func hasOtherThanASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return true
		}
	}
	return false
}
