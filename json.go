package edgews

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"unicode/utf8"
)

// SendJSON sends v as JSON in a text message. Errors are those of [json.Marshal] and [Socket.Send].
func SendJSON(s *Socket, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("edgews: message cannot be encoded: %w", err)
	}
	if !utf8.Valid(data) { // a json.RawMessage, or a Marshaler's doing
		return ErrInvalidUTF8
	}
	return s.send(outgoing{kind: Text, data: data, first: true, last: true})
}

// ReceiveJSON receives a message, text or binary, and decodes it into a T. A message that is no such JSON is an
// error; it has been taken, and the next call goes on with the next message. Other errors are those of Receive.
func ReceiveJSON[T any](ctx context.Context, s *Socket) (T, error) {
	var v T
	msg, err := s.Receive(ctx)
	if err != nil {
		return v, err
	}
	err = decode(msg, &v)
	return v, err
}

func decode(msg Message, v any) error {
	if err := json.Unmarshal(msg.Data, v); err != nil {
		return fmt.Errorf("edgews: message cannot be decoded into %T: %w", v, err)
	}
	return nil
}

// OnJSON adds a message listener that decodes each message into a T. A message that is no such JSON closes the
// socket with 1007 (invalid payload), an error from fn with 1011 (internal error); both are logged. Everything
// else is as with OnMessage.
func OnJSON[T any](s *Socket, fn func(T) error) (remove func()) {
	return s.OnMessage(func(e MessageEvent) {
		var v T
		if err := decode(e.Message, &v); err != nil {
			s.refuse(StatusInvalidFramePayloadData, "message is not the expected JSON", err)
			return
		}
		if err := fn(v); err != nil {
			s.refuse(StatusInternalError, "internal error", err)
		}
	})
}

// refuse closes the socket because of a message. A socket that is closing already is left as it is.
func (s *Socket) refuse(code StatusCode, reason string, err error) {
	s.warn("edgews: message refused", err)
	_ = s.Close(code, reason)
}

// ErrUnknownType is what Mux.Dispatch returns for a message whose type has no handler.
var ErrUnknownType = errors.New("edgews: no handler for this type of message")

// Mux routes JSON messages by one of their fields:
//
//	var mux edgews.Mux
//	edgews.Handle(&mux, "chat", func(ctx context.Context, s *edgews.Socket, m Chat) error { … })
//	for msg, err := range s.Messages(ctx) { … mux.Dispatch(ctx, s, msg) }
//
// The zero value routes on "type". It is safe for concurrent use, and must not be copied after first use.
type Mux struct {
	// Field is the name of the field that says the type; "type" if empty. Set it before the first Dispatch.
	Field string

	mu       sync.RWMutex
	handlers map[string]func(ctx context.Context, s *Socket, data []byte) error
}

// Handle makes m call fn with messages of type typ, decoded into a T. A second Handle for the same
// type replaces the first.
func Handle[T any](m *Mux, typ string, fn func(ctx context.Context, s *Socket, v T) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.handlers == nil {
		m.handlers = make(map[string]func(context.Context, *Socket, []byte) error)
	}
	m.handlers[typ] = func(ctx context.Context, s *Socket, data []byte) error {
		var v T
		if err := decode(Message{Text, data}, &v); err != nil {
			return err
		}
		return fn(ctx, s, v)
	}
}

// Dispatch calls the handler for msg and returns its error. It returns ErrUnknownType if there is none, and a
// decoding error if msg is no JSON object, or not what the handler takes. It never closes the socket: that is
// for the caller to decide.
func (m *Mux) Dispatch(ctx context.Context, s *Socket, msg Message) error {
	typ, err := m.typeOf(msg)
	if err != nil {
		return err
	}
	m.mu.RLock()
	handler := m.handlers[typ]
	m.mu.RUnlock()
	if handler == nil {
		return fmt.Errorf("%w: %q", ErrUnknownType, typ)
	}
	return handler(ctx, s, msg.Data)
}

func (m *Mux) typeOf(msg Message) (string, error) {
	field := m.Field
	if field == "" {
		field = "type"
	}
	var fields map[string]json.RawMessage
	if err := decode(msg, &fields); err != nil {
		return "", err
	}
	raw, ok := fields[field]
	if !ok {
		return "", fmt.Errorf("%w: it has no field %q", ErrUnknownType, field)
	}
	var typ string
	if err := json.Unmarshal(raw, &typ); err != nil {
		return "", fmt.Errorf("%w: its field %q is no string", ErrUnknownType, field)
	}
	return typ, nil
}
