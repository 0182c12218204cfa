package edgews

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
)

// ID names one object of one namespace. It is comparable, so it may be a map's key. The zero ID names no object.
type ID struct{ b [32]byte }

// idOwnSize is the size in bytes of an ID's own part: a hash of its name, or random bits. The rest is a checksum of the own part and the
// namespace's name, by which mistyped IDs and those of other namespaces are recognized. The checksum does not keep an ID from being
// guessed; the length of the own part does.
const idOwnSize = 24

// ErrInvalidID: a string, or an ID, that is not an ID of the namespace.
var ErrInvalidID = errors.New("edgews: invalid object ID")

// String returns the ID as 64 hexadecimal digits, which ParseID takes.
func (id ID) String() string { return hex.EncodeToString(id.b[:]) }

// MarshalText is String, for JSON and the like.
func (id ID) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, id.b[:]), nil }

// UnmarshalText parses what MarshalText has returned. It accepts IDs of any namespace: use it for what the program itself has stored, and
// ParseID for what comes from clients.
func (id *ID) UnmarshalText(text []byte) error {
	var parsed ID
	if len(text) != 2*len(parsed.b) {
		return fmt.Errorf("%w: %d characters instead of %d hexadecimal digits", ErrInvalidID, len(text), 2*len(parsed.b))
	}
	if bytes.ContainsAny(text, "ABCDEF") {
		return fmt.Errorf("%w: its hexadecimal digits are in lower case", ErrInvalidID)
	}
	if _, err := hex.Decode(parsed.b[:], text); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalidID, err)
	}
	*id = parsed
	return nil
}

// IDFromName returns the ID of a name: always the same for the same name in a namespace of the same name. The ID does not reveal the name,
// except to a program that tries names. Any string is a name, also "".
func (n *Namespace) IDFromName(name string) ID {
	sum := sha256.Sum256([]byte(n.name + "\x00" + name))
	return n.withCheck(sum[:idOwnSize])
}

// NewUniqueID returns an ID that no other object has and that cannot be guessed: 192 random bits.
func (n *Namespace) NewUniqueID() ID {
	var own [idOwnSize]byte
	rand.Read(own[:]) // it never fails
	return n.withCheck(own[:])
}

// ParseID parses what ID.String has returned for an ID of this namespace, in this process or another. Anything else is ErrInvalidID: also
// an ID of another namespace, and the same digits in upper case. So an ID has a single spelling, by which programs may compare it and
// proxies may route it.
func (n *Namespace) ParseID(s string) (ID, error) {
	var id ID
	if err := id.UnmarshalText([]byte(s)); err != nil {
		return ID{}, err
	}
	if err := n.verifyID(id); err != nil {
		return ID{}, err
	}
	return id, nil
}

// verifyID returns ErrInvalidID for the zero ID and for an ID of another namespace.
func (n *Namespace) verifyID(id ID) error {
	switch {
	case id == ID{}:
		return fmt.Errorf("%w: it is the zero ID, which names no object", ErrInvalidID)
	case id != n.withCheck(id.b[:idOwnSize]):
		return fmt.Errorf("%w: it is not one of namespace %q", ErrInvalidID, n.name)
	}
	return nil
}

// withCheck returns the ID with that own part.
func (n *Namespace) withCheck(own []byte) (id ID) {
	copy(id.b[:], own)
	h := sha256.New()
	h.Write(own)
	h.Write([]byte(n.name))
	copy(id.b[idOwnSize:], h.Sum(nil))
	return id
}
