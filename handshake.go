package edgews

import (
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
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

// keySize is the length of the client's nonce in bytes, before base64 (RFC 6455 §4.1).
const keySize = 16

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
	nonce, err := base64.StdEncoding.DecodeString(key)
	return err == nil && len(nonce) == keySize
}

// acceptFor returns the Sec-WebSocket-Accept that answers key (RFC 6455 §4.2.2).
func acceptFor(key string) string {
	sum := sha1.Sum([]byte(key + keyGUID))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// headerValues returns all lines of a header. net/http stores received names in its canonical form; a header
// that never crossed a wire (a handler driven in memory) may hold the spelling of RFC 6455.
func headerValues(h http.Header, name string) []string {
	values := h.Values(name)
	if http.CanonicalHeaderKey(name) == name {
		return values
	}
	return append(slices.Clip(values), h[name]...)
}

// listed returns the elements of a comma-separated header. Several lines are one list, and empty elements
// do not count (RFC 9110 §5.3, §5.6.1).
func listed(values []string) []string {
	var elements []string
	for _, line := range values {
		for element := range strings.SplitSeq(line, ",") {
			if element = strings.Trim(element, " \t"); element != "" {
				elements = append(elements, element)
			}
		}
	}
	return elements
}

// lists says whether a comma-separated header contains token, whatever its case.
func lists(values []string, token string) bool {
	return slices.ContainsFunc(listed(values), func(element string) bool {
		return strings.EqualFold(element, token)
	})
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
