package edgews

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
)

// ID names one object of one namespace. It is comparable and may be the key of a map. The zero ID names no object.
type ID struct{ b [32]byte }

// idOwnSize is the size in bytes of an ID's own part: a hash of its name, or random bits. The rest is a checksum of the own part and the
// namespace's name. It detects mistyped IDs and IDs of other namespaces. The length of the own part, not the checksum, protects an ID
// from being guessed.
const idOwnSize = 24

// ErrInvalidID is returned for a string, or an ID, that is not an ID of the namespace.
var ErrInvalidID = errors.New("edgews: invalid object ID")

// String returns the ID as 64 lower-case hexadecimal digits, which ParseID accepts.
func (id ID) String() string { return hex.EncodeToString(id.b[:]) }

// MarshalText returns the same digits as String, for JSON and other encodings. It never fails.
func (id ID) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, id.b[:]), nil }

// UnmarshalText parses what MarshalText has returned; otherwise it returns ErrInvalidID and leaves id unchanged. It accepts IDs of any
// namespace: use it for IDs that the program itself has stored, and ParseID for IDs from clients.
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

// IDFromName returns the ID of a name. It depends on the name and on the name of the namespace only. The ID does not reveal the name,
// except to a program that tries names. Every string is a name, including "".
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

// ParseID parses what ID.String has returned for an ID of this namespace, in this process or another. It returns ErrInvalidID for
// any other string, including IDs of other namespaces and upper-case digits. Each ID therefore has a single spelling, so that programs
// may compare the text and proxies may route by it.
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

// withCheck returns the ID whose own part is own.
func (n *Namespace) withCheck(own []byte) (id ID) {
	copy(id.b[:], own)
	h := sha256.New()
	h.Write(own)
	h.Write([]byte(n.name))
	copy(id.b[idOwnSize:], h.Sum(nil))
	return id
}
