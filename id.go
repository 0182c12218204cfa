package edgews

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
)

// ID names one object of one namespace. It is comparable and may be the key of a map: two IDs are equal if their strings are, wherever they
// come from. The zero ID names no object.
type ID struct{ entry *idEntry } // the only one for its bytes, see knownIDs; nil: the zero ID

// idOwnSize is the size in bytes of an ID's own part: a hash of its name, or random bits. The rest is a checksum of the own part and the
// namespace's name. It detects mistyped IDs and IDs of other namespaces. The length of the own part, not the checksum, protects an ID
// from being guessed.
const idOwnSize = 24

// ErrInvalidID is returned for a string, or an ID, that is not an ID of the namespace.
var ErrInvalidID = errors.New("edgews: invalid object ID")

// String returns the ID as 64 lower-case hexadecimal digits, which ParseID accepts.
func (id ID) String() string {
	b := id.bytes()
	return hex.EncodeToString(b[:])
}

// MarshalText returns the same digits as String, for JSON and other encodings. It never fails. The name is not part of it.
func (id ID) MarshalText() ([]byte, error) {
	b := id.bytes()
	return hex.AppendEncode(nil, b[:]), nil
}

// UnmarshalText parses what MarshalText has returned; otherwise it returns ErrInvalidID and leaves id unchanged. It accepts IDs of any
// namespace: use it for IDs that the program itself has stored, and ParseID for IDs from clients.
func (id *ID) UnmarshalText(text []byte) error {
	b, err := parseIDBytes(text)
	if err == nil {
		*id = knownIDs.get(b)
	}
	return err
}

// parseIDBytes parses what MarshalText has returned.
func parseIDBytes(text []byte) (b idBytes, err error) {
	if len(text) != 2*len(b) {
		return b, fmt.Errorf("%w: %d characters instead of %d hexadecimal digits", ErrInvalidID, len(text), 2*len(b))
	}
	if bytes.ContainsAny(text, "ABCDEF") {
		return b, fmt.Errorf("%w: its hexadecimal digits are in lower case", ErrInvalidID)
	}
	if _, err := hex.Decode(b[:], text); err != nil {
		return b, fmt.Errorf("%w: %w", ErrInvalidID, err)
	}
	return b, nil
}

// IDFromName returns the ID of a name. It depends on the name and on the name of the namespace only. The ID does not reveal the name,
// except to a program that tries names. Every string is a name, including "". ID.Name returns the name.
func (n *Namespace) IDFromName(name string) ID {
	sum := sha256.Sum256([]byte(n.name + "\x00" + name))
	id := knownIDs.get(n.withCheck(sum[:idOwnSize]))
	id.learnName(name)
	return id
}

// NewUniqueID returns an ID that no other object has and that cannot be guessed: 192 random bits.
func (n *Namespace) NewUniqueID() ID {
	var own [idOwnSize]byte
	rand.Read(own[:]) // it never fails
	id := knownIDs.get(n.withCheck(own[:]))
	id.entry.name.Store(noName)
	return id
}

// ParseID parses what ID.String has returned for an ID of this namespace, in this process or another. It returns ErrInvalidID for
// any other string, including IDs of other namespaces and upper-case digits. Each ID therefore has a single spelling, so that programs
// may compare the text and proxies may route by it.
func (n *Namespace) ParseID(s string) (ID, error) {
	b, err := parseIDBytes([]byte(s))
	if err == nil {
		err = n.verifyID(b)
	}
	if err != nil {
		return ID{}, err
	}
	return knownIDs.get(b), nil
}

// verifyID returns ErrInvalidID for the zero ID and for an ID of another namespace.
func (n *Namespace) verifyID(b idBytes) error {
	switch {
	case b == idBytes{}:
		return fmt.Errorf("%w: it is the zero ID, which names no object", ErrInvalidID)
	case b != n.withCheck(b[:idOwnSize]):
		return fmt.Errorf("%w: it is not one of namespace %q", ErrInvalidID, n.name)
	}
	return nil
}

// withCheck returns the ID whose own part is own.
func (n *Namespace) withCheck(own []byte) (b idBytes) {
	copy(b[:], own)
	h := sha256.New()
	h.Write(own)
	h.Write([]byte(n.name))
	copy(b[idOwnSize:], h.Sum(nil))
	return b
}
