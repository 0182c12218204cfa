package edgews

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"unicode/utf8"

	"github.com/edgews/edgews/internal/deflate"
	"github.com/edgews/edgews/internal/frame"
)

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
// Data belongs to edgews. In a listener it is valid until the listener returns; from Receive it is valid until the next receiving
// call on the same socket. During that time the program may change it; use Clone to keep it for longer. Afterwards it holds other bytes:
// those of later messages on a network connection, 0xDB on a pair.
type Message struct {
	Kind Kind
	Data []byte
}

// Text returns a copy of the data as a string, for either kind. The copy may be kept.
func (m Message) Text() string { return string(m.Data) }

// Clone returns a message whose data is a copy that the caller owns.
func (m Message) Clone() Message { return Message{m.Kind, bytes.Clone(m.Data)} }

// Prepared is a message that is encoded once and sent to many sockets; see [Prepare]. It may be used from several goroutines at once.
type Prepared struct {
	kind Kind
	data []byte

	frameOnce sync.Once
	frame     []byte // as a server sends it without compression

	mu         sync.Mutex
	compressed map[compressionSettings][]byte // payloads; each is made when it is first needed; guarded by mu

	position *ClusterPosition // of a feed: how far a client is that has got the message. Immutable; nil: the message does not say it
}

// Prepare encodes a message for SendPrepared. data is copied. The message is compressed at most once for each [Compression.Level] and
// window size among the sockets it is sent to, without reference to earlier messages. If kind is neither Text nor Binary, or a text is
// not UTF-8, SendPrepared returns the error.
func Prepare(kind Kind, data []byte) *Prepared {
	return &Prepared{kind: kind, data: bytes.Clone(data)}
}

// check returns why m cannot be sent, or nil. The data is validated only once.
func (m *Prepared) check() error {
	switch {
	case m == nil:
		return errors.New("edgews: nil *Prepared; make one with Prepare")
	case m.kind != Text && m.kind != Binary:
		return fmt.Errorf("edgews: cannot send a message of kind %d; use Text or Binary", m.kind)
	case m.plain() == nil:
		return ErrInvalidUTF8
	}
	return nil
}

// plain returns the uncompressed frame of a server, or nil if the message is text that is not UTF-8.
func (m *Prepared) plain() []byte {
	m.frameOnce.Do(func() {
		if m.kind == Binary || utf8.Valid(m.data) {
			m.frame = frame.AppendFrame(nil, frame.Header{Fin: true, Opcode: opcodeOf(m.kind)}, m.data)
		}
	})
	return m.frame
}

// deflated returns the payload as it is compressed with settings.
func (m *Prepared) deflated(settings compressionSettings) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	if z, ok := m.compressed[settings]; ok {
		return z
	}
	if m.compressed == nil {
		m.compressed = make(map[compressionSettings][]byte)
	}
	z := deflate.AppendStateless(nil, m.data, int(settings.level), int(settings.bits))
	m.compressed[settings] = z
	return z
}
