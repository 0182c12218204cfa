package edgews

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
)

// maxAttachment is the limit of Workers since 2026-02-23, in bytes.
const maxAttachment = 16384

var (
	// ErrNoAttachment: the socket has no attachment, or nil was attached.
	ErrNoAttachment = errors.New("edgews: socket has no attachment")

	// ErrAttachmentTooBig: an attachment has at most 16 384 bytes.
	ErrAttachmentTooBig = errors.New("edgews: attachment is too big")
)

// attachment is a value, encoded when it was attached.
type attachment struct {
	form attachmentForm
	data []byte
}

// attachmentForm is how a value was encoded. It is decoded in the same way.
type attachmentForm uint8

const (
	rawBytes attachmentForm = iota
	marshaledBinary
	marshaledJSON
)

// SetAttachment keeps a copy of v with the socket, in place of the attachment that it had: serializeAttachment. The attachment survives the
// hibernation of the object that has accepted the socket. It is never stored on disk, and is lost with the socket. []byte is kept as it is,
// an [encoding.BinaryMarshaler] as what MarshalBinary returns, everything else as JSON; nil removes the attachment.
//
// An attachment has at most 16 384 bytes (ErrAttachmentTooBig). With an error the old one stays. Any socket may have one, at any time,
// accepted or not.
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

// setAttached replaces the attachment; nil removes it.
func (s *Socket) setAttached(a *attachment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.extraLocked().attached = a
	if c := clusterSocketOf(s); c != nil {
		c.describeLocked()
	}
}

func (s *Socket) attachment() *attachment {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.attached
}

// Attachment decodes the attachment into v, a pointer: deserializeAttachment. []byte, and what a BinaryMarshaler has returned, go into a
// *[]byte, as a copy, or an [encoding.BinaryUnmarshaler]; JSON goes into what [json.Unmarshal] accepts. The attachment is still there in
// the close event. The error is ErrNoAttachment if there is none; v is then unchanged.
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
