package edgews

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/edgews/edgews/internal/jsonfield"
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

// ReceiveJSON receives a message, text or binary, and decodes it into a T. A message that is no such JSON is
// ErrBadMessage; it has been taken, and the next call goes on with the next message. Other errors are those of Receive.
func ReceiveJSON[T any](ctx context.Context, s *Socket) (T, error) {
	var v T
	msg, err := s.Receive(ctx)
	if err != nil {
		return v, err
	}
	err = decodeJSON(msg, &v)
	return v, err
}

// ErrBadMessage: a received message is not JSON, or not what it is decoded into. The text of such an error says what is wrong without
// a word about the program, in less than 123 bytes, and may be sent to the peer, as the reason of a Close perhaps; [errors.As] finds
// the error of encoding/json behind it.
var ErrBadMessage = errors.New("edgews: bad message")

// badMessage is an ErrBadMessage with a reason and a cause.
type badMessage struct {
	reason string
	cause  error
}

func (e *badMessage) Error() string { return ErrBadMessage.Error() + ": " + e.reason }

func (e *badMessage) Unwrap() []error {
	if e.cause == nil {
		return []error{ErrBadMessage}
	}
	return []error{ErrBadMessage, e.cause}
}

func decodeJSON(msg Message, v any) error {
	err := json.Unmarshal(msg.Data, v)
	if err == nil {
		return nil
	}
	reason := "its content is not as expected" // what a method of the program's says about it
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		reason = fmt.Sprintf("it is not JSON, at byte %d", syntax.Offset)
	} else if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		kind, _, _ := strings.Cut(wrong.Value, " ") // without the number itself
		reason = fmt.Sprintf("it has the wrong type, %s", kind)
		if wrong.Field != "" {
			reason = fmt.Sprintf("its field %q has the wrong type, %s", abbreviate(wrong.Field), kind)
		}
	}
	return &badMessage{reason, err}
}

// abbreviate cuts what a peer has sent to what fits into an error's text.
func abbreviate(s string) string {
	const most = 16
	if len(s) <= most {
		return s
	}
	cut := most
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// OnJSON adds a message listener that decodes each message into a T. A message that is no such JSON closes the
// socket with 1007 (invalid payload), an error from fn with 1011 (internal error); both are logged. Everything
// else is as with OnMessage.
func OnJSON[T any](s *Socket, fn func(T) error) (remove func()) {
	return s.OnMessage(func(e MessageEvent) {
		var v T
		if err := decodeJSON(e.Message, &v); err != nil {
			s.rejectMessage(StatusInvalidFramePayloadData, "message is not the expected JSON", err)
			return
		}
		if err := fn(v); err != nil {
			s.rejectMessage(StatusInternalError, "internal error", err)
		}
	})
}

// refuse closes the socket because of a message. A socket that is closing already is left as it is.
func (s *Socket) rejectMessage(code StatusCode, reason string, err error) {
	s.warn("edgews: message refused", err)
	_ = s.Close(code, reason)
}

// ErrUnknownType is what Mux.Dispatch returns for a message whose type has no handler. Its text may be sent to the peer.
var ErrUnknownType = errors.New("edgews: no handler for this type of message")

// Mux routes JSON messages by one of their fields:
//
//	var mux edgews.Mux
//	edgews.Handle(&mux, "chat", func(ctx context.Context, s *edgews.Socket, m Chat) error { … })
//	for msg, err := range s.Messages(ctx) { … mux.Dispatch(ctx, s, msg) }
//
// The zero value routes on "type". It is safe for concurrent use, and must not be copied after first use.
//
// Only the message of a type that has a handler is decoded, into what the handler takes. A handler that takes an any, or
// a map of them, makes about a hundred bytes out of each value, however short; MaxValues bounds that.
type Mux struct {
	// Field is the name of the field that says the type; "type" if empty. Set it before the first Dispatch.
	Field string

	// MaxDepth is how deep a message's arrays and objects may be nested; default 1000.
	MaxDepth int

	// MaxValues is how many values a message may have, those in its arrays and objects included; default 1 000 000.
	MaxValues int

	mu       sync.RWMutex
	handlers map[string]func(ctx context.Context, s *Socket, data []byte) error
}

// Defaults of Mux.
const (
	defaultMaxDepth  = 1000
	defaultMaxValues = 1_000_000
)

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
		if err := decodeJSON(Message{Text, data}, &v); err != nil {
			return err
		}
		return fn(ctx, s, v)
	}
}

// Dispatch calls the handler for msg and returns its error. It returns ErrUnknownType if there is none, and
// ErrBadMessage if msg is no JSON object, not what the handler takes, or beyond MaxDepth or MaxValues. The texts of both
// errors may be sent to the peer. It never closes the socket: that is for the caller to decide.
//
// An object's WebSocketMessage may return these errors: they are the peer's fault and no failure of the object, and are
// logged as such (Warn), if the namespace has a Logger.
func (m *Mux) Dispatch(ctx context.Context, s *Socket, msg Message) error {
	typ, err := m.typeOf(msg)
	if err != nil {
		return err
	}
	m.mu.RLock()
	handler := m.handlers[typ]
	m.mu.RUnlock()
	if handler == nil {
		return fmt.Errorf("%w: %q", ErrUnknownType, abbreviate(typ))
	}
	return handler(ctx, s, msg.Data)
}

func (m *Mux) typeOf(msg Message) (string, error) {
	field := cmp.Or(m.Field, "type")
	if !json.Valid(msg.Data) {
		return "", decodeJSON(msg, new(json.RawMessage)) // to say where
	}
	limits := jsonfield.Limits{MaxDepth: cmp.Or(m.MaxDepth, defaultMaxDepth), MaxValues: cmp.Or(m.MaxValues, defaultMaxValues)}
	switch raw, err := jsonfield.Find(msg.Data, field, limits); {
	case err != nil:
		return "", &badMessage{reason: err.Error()}
	case raw == nil:
		return "", fmt.Errorf("%w: it has no field %q", ErrUnknownType, abbreviate(field))
	default:
		var typ string
		if raw[0] != '"' || json.Unmarshal(raw, &typ) != nil {
			return "", fmt.Errorf("%w: its field %q is no string", ErrUnknownType, abbreviate(field))
		}
		return typ, nil
	}
}
