package edgews

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
)

// ID names one object of one namespace. It is comparable, so it may be a map's key. The zero ID names nothing.
type ID struct{ b [32]byte }

// An ID is its own part and, behind it, a check over that part and the namespace's name, so that a mistyped ID and one
// of another namespace are found out. It keeps nobody from guessing; the length of a unique ID's own part does.
const idOwnSize = 24

// ErrInvalidID: a string, or an ID, that is not an ID of the namespace.
var ErrInvalidID = errors.New("edgews: invalid object ID")

// String returns the ID as 64 hexadecimal digits, which ParseID takes.
func (id ID) String() string { return hex.EncodeToString(id.b[:]) }

// MarshalText is String, for JSON and the like.
func (id ID) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, id.b[:]), nil }

// UnmarshalText takes what MarshalText returned, of any namespace: for what the program itself has stored. For what a
// client says there is ParseID.
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

// IDFromName returns the ID that belongs to a name: always the same for the same name in a namespace of the same name.
// The name cannot be found out from it, except by trying names. Any string is a name, also "".
func (n *Namespace) IDFromName(name string) ID {
	sum := sha256.Sum256([]byte(n.name + "\x00" + name))
	return n.withCheck(sum[:idOwnSize])
}

// NewUniqueID returns an ID that nobody has and nobody can guess: 192 random bits.
func (n *Namespace) NewUniqueID() ID {
	var own [idOwnSize]byte
	rand.Read(own[:]) // it never fails
	return n.withCheck(own[:])
}

// ParseID takes what ID.String returned, in this process or another, of this namespace. Anything else is ErrInvalidID:
// an ID of another namespace, and also the same digits in upper case, so that an ID has one spelling, by which programs may
// compare it and proxies may route it.
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

// verifyID returns ErrInvalidID for an ID that is not one of n.
func (n *Namespace) verifyID(id ID) error {
	switch {
	case id == ID{}:
		return fmt.Errorf("%w: it is the zero ID, which names no object", ErrInvalidID)
	case id != n.withCheck(id.b[:idOwnSize]):
		return fmt.Errorf("%w: it is not one of namespace %q", ErrInvalidID, n.name)
	}
	return nil
}

func (n *Namespace) withCheck(own []byte) (id ID) {
	copy(id.b[:], own)
	h := sha256.New()
	h.Write(own)
	h.Write([]byte(n.name))
	copy(id.b[idOwnSize:], h.Sum(nil))
	return id
}
