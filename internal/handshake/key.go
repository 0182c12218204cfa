package handshake

import (
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
)

// A Sec-WebSocket-Key is a nonce of 16 bytes in base64, 24 characters (RFC 6455 §4.1).
const (
	keySize    = 16
	keyEncoded = 24
)

// keyGUID is appended to the key before it is hashed, so that only a server that knows the protocol sends the right
// Sec-WebSocket-Accept (RFC 6455 §1.3).
const keyGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// NewKey returns a random Sec-WebSocket-Key.
func NewKey() string {
	var nonce [keySize]byte
	rand.Read(nonce[:]) // never returns an error: it ends the process instead
	return base64.StdEncoding.EncodeToString(nonce[:])
}

// ValidKey reports whether key is the base64 form of 16 bytes.
func ValidKey(key string) bool {
	var nonce [keyEncoded]byte // base64 wants room for the padding too
	if len(key) != keyEncoded {
		return false
	}
	n, err := base64.StdEncoding.Decode(nonce[:], []byte(key))
	return err == nil && n == keySize
}

// AcceptFor returns the Sec-WebSocket-Accept that answers key (RFC 6455 §4.2.2).
func AcceptFor(key string) string {
	var both [keyEncoded + len(keyGUID)]byte
	sum := sha1.Sum(append(append(both[:0], key...), keyGUID...))
	return base64.StdEncoding.EncodeToString(sum[:])
}
