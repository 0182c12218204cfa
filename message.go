package edgews

import "bytes"

// Kind says what a message holds.
type Kind uint8

const (
	Text   Kind = iota + 1 // UTF-8
	Binary                 // any bytes
)

// String returns "text" or "binary".
func (k Kind) String() string {
	switch k {
	case Text:
		return "text"
	case Binary:
		return "binary"
	}
	return "no kind"
}

// Message is one received message.
//
// Data belongs to edgews: in a listener it is valid until the listener returns, from Receive until the
// next call on the same socket. It may be changed meanwhile. Clone keeps it for longer.
type Message struct {
	Kind Kind
	Data []byte
}

// Text returns a copy of the data as a string, whatever the kind. The copy may be kept.
func (m Message) Text() string { return string(m.Data) }

// Clone returns a message whose data is a copy that the caller owns.
func (m Message) Clone() Message { return Message{m.Kind, bytes.Clone(m.Data)} }
