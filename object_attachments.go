package edgews

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
)

// maxAttachment is Workers' limit since 2026-02-23, in bytes.
const maxAttachment = 16384

var (
	// ErrNoAttachment: nothing has been attached to the socket, or nil.
	ErrNoAttachment = errors.New("edgews: socket has no attachment")

	// ErrAttachmentTooBig: an attachment has at most 16 384 bytes.
	ErrAttachmentTooBig = errors.New("edgews: attachment is too big")
)

// attachment is a value as it was when it was attached.
type attachment struct {
	form attachmentForm
	data []byte
}

// form is how a value became bytes, since only the same way leads back.
type attachmentForm uint8

const (
	rawBytes attachmentForm = iota
	marshaledBinary
	marshaledJSON
)

// SetAttachment keeps a copy of v with the socket, in place of what was there: serializeAttachment. It survives the
// hibernation of the object that has accepted the socket, and goes with the socket; it is never stored on disk. []byte
// is kept as it is, an [encoding.BinaryMarshaler] as what it returns, everything else as JSON; nil removes.
//
// An attachment has at most 16 384 bytes (ErrAttachmentTooBig). With an error the old one stays. Any socket takes one,
// accepted or not, until it is garbage.
func (s *Socket) SetAttachment(v any) error {
	if v == nil {
		s.setAttached(nil)
		return nil
	}
	a, err := newAttachment(v)
	if err != nil {
		return err
	}
	if len(a.data) > maxAttachment {
		return fmt.Errorf("%w: a WebSocket attachment cannot be larger than %d bytes, this one has %d", ErrAttachmentTooBig, maxAttachment, len(a.data))
	}
	s.setAttached(a)
	return nil
}

func newAttachment(v any) (*attachment, error) {
	switch v := v.(type) {
	case []byte:
		return &attachment{rawBytes, bytes.Clone(v)}, nil
	case encoding.BinaryMarshaler:
		data, err := v.MarshalBinary()
		if err != nil {
			return nil, fmt.Errorf("edgews: cannot attach a %T: %w", v, err)
		}
		return &attachment{marshaledBinary, bytes.Clone(data)}, nil
	}
	data, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("edgews: cannot attach a %T: %w", v, err)
	}
	return &attachment{marshaledJSON, data}, nil
}

func (s *Socket) setAttached(a *attachment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.extraLocked().attached = a
}

func (s *Socket) attachment() *attachment {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.attached
}

// Attachment puts what was attached into v, a pointer: deserializeAttachment. Bytes go into a *[]byte, a copy each
// time, or an [encoding.BinaryUnmarshaler]; what a BinaryMarshaler returned goes into either of the two; JSON goes
// wherever [json.Unmarshal] puts it. It is still there in the close event. ErrNoAttachment, when there is nothing; v
// is then untouched.
func (s *Socket) Attachment(v any) error {
	a := s.attachment()
	if a == nil {
		return ErrNoAttachment
	}
	if a.form == marshaledJSON {
		if err := json.Unmarshal(a.data, v); err != nil {
			return fmt.Errorf("edgews: attachment does not fit into a %T: %w", v, err)
		}
		return nil
	}
	switch v := v.(type) {
	case *[]byte:
		if v == nil {
			break
		}
		*v = bytes.Clone(a.data)
		return nil
	case encoding.BinaryUnmarshaler:
		return v.UnmarshalBinary(bytes.Clone(a.data))
	}
	return fmt.Errorf("edgews: attachment is bytes, which do not fit into a %T: use *[]byte or a BinaryUnmarshaler", v)
}
