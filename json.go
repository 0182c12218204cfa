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
	data, err := encodeJSON(v)
	if err != nil {
		return err
	}
	return s.send(outgoing{kind: Text, data: data, first: true, last: true})
}

// encodeJSON returns v as JSON that may be sent as text.
func encodeJSON(v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("edgews: message cannot be encoded: %w", err)
	}
	if !utf8.Valid(data) { // a json.RawMessage, or a Marshaler's doing
		return nil, ErrInvalidUTF8
	}
	return data, nil
}

// ReceiveJSON receives a message, text or binary, and decodes it into a T. If the message cannot be decoded, the error is ErrBadMessage
// and the message is lost; the next call receives the next message. Other errors are those of Receive.
func ReceiveJSON[T any](ctx context.Context, s *Socket) (T, error) {
	var v T
	msg, err := s.Receive(ctx)
	if err != nil {
		return v, err
	}
	err = decodeJSON(msg, &v)
	return v, err
}

// ErrBadMessage: a received message is not JSON, or does not fit the type that it is decoded into. The text of such an error says what is
// wrong in less than 123 bytes and tells nothing about the program, so it may be sent to the peer, for example as the reason of a Close.
// [errors.As] finds the error of encoding/json behind it.
var ErrBadMessage = errors.New("edgews: bad message")

// badMessage is an ErrBadMessage with a reason and a cause, which may be nil.
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

// decodeJSON decodes msg into v. An error is an ErrBadMessage.
func decodeJSON(msg Message, v any) error {
	err := json.Unmarshal(msg.Data, v)
	if err == nil {
		return nil
	}
	reason := "its content is not as expected" // the error is one of the program's own: an UnmarshalJSON
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

// abbreviate shortens text of a peer for an error, to 16 bytes and an ellipsis.
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

// OnJSON adds a message listener that decodes each message into a T. A message that cannot be decoded closes the socket with 1007
// (invalid payload), an error from fn closes it with 1011 (internal error); both are logged. The rest is as with OnMessage.
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

// rejectMessage logs err and closes the socket because of a message. A socket that is closing already stays as it is.
func (s *Socket) rejectMessage(code StatusCode, reason string, err error) {
	s.warn("edgews: message refused", err)
	_ = s.Close(code, reason)
}

// ErrUnknownType: Mux.Dispatch was given a message whose type has no handler. The text of such an error may be sent to the peer.
var ErrUnknownType = errors.New("edgews: no handler for this type of message")

// Mux routes JSON messages by one of their fields:
//
//	var mux edgews.Mux
//	edgews.Handle(&mux, "chat", func(ctx context.Context, s *edgews.Socket, m Chat) error { … })
//	for msg, err := range s.Messages(ctx) { … mux.Dispatch(ctx, s, msg) }
//
// The zero value routes on "type". It is safe for concurrent use, and must not be copied after first use.
//
// A message is decoded only if its type has a handler, into the type that the handler takes. Decoded into an any or a map of them, each
// value takes about 100 bytes, however short it is; MaxValues bounds that.
type Mux struct {
	// Field is the name of the field that has the type; "type" if empty. Set it before the first Dispatch.
	Field string

	// MaxDepth is how deep a message's arrays and objects may be nested; default 1000.
	MaxDepth int

	// MaxValues is how many values a message may have, those in its arrays and objects included; default 1 000 000.
	MaxValues int

	requests muxRequests

	mu sync.RWMutex

	// Guarded by mu.
	handlers map[string]muxHandler
	hasCalls bool // HandleCall has been called
}

// muxHandler is what a Mux knows of a type: one of both.
type muxHandler struct {
	message func(ctx context.Context, s *Socket, data []byte) error // of Handle
	call    callFunc                                                // of HandleCall
}

// callFunc answers a request.
type callFunc func(ctx context.Context, s *Socket, data []byte) (any, error)

// Defaults of Mux.
const (
	defaultMuxField  = "type"
	defaultMaxDepth  = 1000
	defaultMaxValues = 1_000_000
)

// set makes h the handler of a type.
func (m *Mux) set(typ string, h muxHandler) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.handlers == nil {
		m.handlers = make(map[string]muxHandler)
	}
	m.handlers[typ] = h
	m.hasCalls = m.hasCalls || h.call != nil
}

// handler returns the handler of a type, and whether there are any of HandleCall.
func (m *Mux) handler(typ string) (h muxHandler, hasCalls bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.handlers[typ], m.hasCalls
}

// Handle makes m call fn with messages of type typ, decoded into a T. A second Handle for the same type replaces the first. It may be
// called while messages are dispatched.
func Handle[T any](m *Mux, typ string, fn func(ctx context.Context, s *Socket, v T) error) {
	m.set(typ, muxHandler{message: func(ctx context.Context, s *Socket, data []byte) error {
		var v T
		if err := decodeJSON(Message{Text, data}, &v); err != nil {
			return err
		}
		return fn(ctx, s, v)
	}})
}

// Dispatch calls the handler for msg and returns its error. It returns ErrUnknownType if there is no handler, and ErrBadMessage if msg
// is not a JSON object, does not fit the type that the handler takes, or is beyond MaxDepth or MaxValues. The texts of both errors may
// be sent to the peer. Dispatch never closes the socket; the caller decides. For requests and replies, see HandleCall and Request.
//
// An object's WebSocketMessage may return these errors. They are faults of the peer, not of the object, and are
// logged as such (Warn), if the namespace has a Logger.
func (m *Mux) Dispatch(ctx context.Context, s *Socket, msg Message) error {
	typ, err := m.typeOf(msg)
	if err != nil {
		return err
	}
	isReply := typ == replyType && m.requests.haveBegun()
	if isReply {
		if taken, err := m.takeReply(s, msg.Data); taken || err != nil {
			return err
		}
	}
	switch h, hasCalls := m.handler(typ); {
	case h.call != nil:
		return m.answer(ctx, s, h.call, msg.Data)
	case h.message != nil:
		return h.message(ctx, s, msg.Data)
	case isReply: // to a request that has been given up
		return nil
	default:
		unknown := fmt.Errorf("%w: %q", ErrUnknownType, abbreviate(typ))
		if hasCalls && typ != replyType {
			return m.refuseCall(s, msg.Data, unknown)
		}
		return unknown
	}
}

// limits returns the bounds of a message.
func (m *Mux) limits() jsonfield.Limits {
	return jsonfield.Limits{MaxDepth: cmp.Or(m.MaxDepth, defaultMaxDepth), MaxValues: cmp.Or(m.MaxValues, defaultMaxValues)}
}

// typeOf returns the type of msg.
func (m *Mux) typeOf(msg Message) (string, error) {
	field := cmp.Or(m.Field, defaultMuxField)
	if !json.Valid(msg.Data) {
		return "", decodeJSON(msg, new(json.RawMessage)) // the error says where
	}
	switch raw, err := jsonfield.Find(msg.Data, field, m.limits()); {
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
