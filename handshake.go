package edgews

import (
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strings"

	"github.com/edgews/edgews/internal/deflate"
)

// The headers of the opening handshake, spelled as in RFC 6455 §11.3. http.Header.Set would write
// Sec-Websocket-…, which some peers do not take (golang.org/issue/18495): assign to the map instead.
const (
	headerKey        = "Sec-WebSocket-Key"
	headerAccept     = "Sec-WebSocket-Accept"
	headerVersion    = "Sec-WebSocket-Version"
	headerProtocol   = "Sec-WebSocket-Protocol"
	headerExtensions = "Sec-WebSocket-Extensions"
)

// wireVersion is the only version of the protocol that was ever standardised (RFC 6455 §4.1).
const wireVersion = "13"

// The client's nonce is 16 bytes, 24 in base64 (RFC 6455 §4.1).
const (
	keySize    = 16
	keyEncoded = 24
)

// keyGUID makes an accept value that no server produces by accident (RFC 6455 §1.3).
const keyGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// newKey returns a fresh Sec-WebSocket-Key.
func newKey() string {
	var nonce [keySize]byte
	rand.Read(nonce[:]) // never fails: it ends the process instead
	return base64.StdEncoding.EncodeToString(nonce[:])
}

// validKey says whether key is the base64 form of 16 bytes.
func validKey(key string) bool {
	var nonce [keyEncoded]byte // base64 wants room for the padding too
	if len(key) != keyEncoded {
		return false
	}
	n, err := base64.StdEncoding.Decode(nonce[:], []byte(key))
	return err == nil && n == keySize
}

// acceptFor returns the Sec-WebSocket-Accept that answers key (RFC 6455 §4.2.2).
func acceptFor(key string) string {
	var both [keyEncoded + len(keyGUID)]byte
	sum := sha1.Sum(append(append(both[:0], key...), keyGUID...))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// headerValues returns all lines of a header. net/http stores received names in its canonical form; a header
// that never crossed a wire (a handler driven in memory) may hold the spelling of RFC 6455.
func headerValues(h http.Header, name string) []string {
	key := canonical(name)
	values := h[key]
	if key == name {
		return values
	}
	return append(slices.Clip(values), h[name]...)
}

// canonical is http.CanonicalHeaderKey, which makes a new string each time of a name that it does not expect.
func canonical(name string) string {
	switch name {
	case headerKey:
		return "Sec-Websocket-Key"
	case headerAccept:
		return "Sec-Websocket-Accept"
	case headerVersion:
		return "Sec-Websocket-Version"
	case headerProtocol:
		return "Sec-Websocket-Protocol"
	case headerExtensions:
		return "Sec-Websocket-Extensions"
	}
	return http.CanonicalHeaderKey(name)
}

// elements are those of a comma-separated header. Several lines are one list, and empty elements do not count
// (RFC 9110 §5.3, §5.6.1).
func elements(values []string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, line := range values {
			for element := range strings.SplitSeq(line, ",") {
				if element = strings.Trim(element, " \t"); element != "" && !yield(element) {
					return
				}
			}
		}
	}
}

// listed returns the elements of a comma-separated header.
func listed(values []string) []string { return slices.Collect(elements(values)) }

// lists says whether a comma-separated header contains token, whatever its case.
func lists(values []string, token string) bool {
	for element := range elements(values) {
		if strings.EqualFold(element, token) {
			return true
		}
	}
	return false
}

// isToken says whether s is a token of RFC 9110 §5.6.2, which subprotocols and header names have to be.
//
// Deviation: workerd lets the double quote pass, which is a separator.
func isToken(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`()<>@,;:\"/[]?={}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

// checkHeaderField refuses what cannot be sent as a header: who controls a value's line breaks controls what follows.
func checkHeaderField(name string, values []string) error {
	if !isToken(name) {
		return fmt.Errorf("%q is not a header name", name)
	}
	for _, v := range values {
		if strings.ContainsAny(v, "\r\n\x00") {
			return fmt.Errorf("the value of %s contains a line break or NUL", name)
		}
	}
	return nil
}

// isHandshakeHeader says whether the handshake itself writes the header called name.
func isHandshakeHeader(name string) bool {
	name = http.CanonicalHeaderKey(name)
	return name == "Upgrade" || name == "Connection" || strings.HasPrefix(name, "Sec-Websocket-")
}

// want puts the options into the terms of the negotiation.
func (c *Compression) want() deflate.Want {
	return deflate.Want{
		NoContextTakeover:     c.NoContextTakeover,
		PeerNoContextTakeover: c.PeerNoContextTakeover,
		WindowBits:            c.WindowBits,
		PeerWindowBits:        c.PeerWindowBits,
	}
}
