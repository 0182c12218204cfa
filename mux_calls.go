package edgews

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/edgews/edgews/internal/jsonfield"
)

// Calls over sockets: a request is a message like any other of a Mux, with an id that its sender has chosen,
//
//	{"type": "add", "id": 7, "a": 1, "b": 2}
//
// and the reply has the type "reply", the same id, and either the result or an error:
//
//	{"type": "reply", "id": 7, "result": 3}
//	{"type": "reply", "id": 7, "error": {"code": "bad_request", "message": "edgews: bad message: its field \"a\" has the wrong type, string"}}
//
// HandleCall answers requests, Request makes them; both ends of a socket may do both. client/js has the same for pages.

// CallError is an error that a call tells the other side, over a socket or from one object to another: return one from a handler of
// HandleCall, or from CallHandler. Both texts are sent as they are. All other errors of a handler of HandleCall are sent as CodeInternal,
// without their text, except for those that the codes below name.
//
// As an error of Request it is what the peer has sent. errors.Is compares Code, and Message if that of the target is not empty; and finds the
// errors that the codes stand for.
type CallError struct {
	Code    string `json:"code"`              // for programs; those of this package are below, others are the program's own; empty: CodeInternal
	Message string `json:"message,omitempty"` // for people
}

// The codes that HandleCall sends, and the errors that they stand for.
const (
	CodeBadRequest    = "bad_request"    // ErrBadMessage: the request does not fit the type that the handler takes
	CodeUnknownMethod = "unknown_method" // ErrUnknownMethod: the Mux has no handler for it
	CodeOverloaded    = "overloaded"     // ErrOverloaded: an object that the handler has called is
	CodeUnavailable   = "unavailable"    // ErrShutdown
	CodeTimeout       = "timeout"        // context.DeadlineExceeded, of the handler's own context
	CodeInternal      = "internal"       // any other error, or a panic
)

// maxCallErrorText is the length in characters of the longest text of a CallError, which may be a peer's.
const maxCallErrorText = 300

// Error returns the code and the message as one line of at most 300 characters: each run of white space and unprintable characters is one
// space, so that a peer cannot forge lines of a log. Code and Message have the whole text.
func (e *CallError) Error() string {
	text := cmp.Or(e.Code, CodeInternal)
	if e.Message != "" {
		text += ": " + e.Message
	}
	text = printable(text)
	if utf8.RuneCountInString(text) > maxCallErrorText {
		text = shorten(text, maxCallErrorText-1)
	}
	return text
}

// Is is for errors.Is.
func (e *CallError) Is(target error) bool {
	t, ok := target.(*CallError)
	return ok && t != nil && t.Code == e.Code && (t.Message == "" || t.Message == e.Message)
}

// Unwrap returns the error that Code stands for, or nil.
func (e *CallError) Unwrap() error {
	switch e.Code {
	case CodeBadRequest:
		return ErrBadMessage
	case CodeUnknownMethod:
		return ErrUnknownMethod
	case CodeOverloaded:
		return ErrOverloaded
	case CodeUnavailable:
		return ErrShutdown
	case CodeTimeout:
		return context.DeadlineExceeded
	}
	return nil
}

// toldError returns what a peer is told of err.
func toldError(err error) *CallError {
	if told, ok := errors.AsType[*CallError](err); ok && told != nil {
		return &CallError{cmp.Or(told.Code, CodeInternal), told.Message}
	}
	if bad, ok := errors.AsType[*badMessage](err); ok { // its text alone may be told
		return &CallError{CodeBadRequest, bad.Error()}
	}
	switch {
	case errors.Is(err, ErrOverloaded):
		return &CallError{CodeOverloaded, "try again later"}
	case errors.Is(err, ErrShutdown):
		return &CallError{CodeUnavailable, shutdownDetail}
	case errors.Is(err, context.DeadlineExceeded):
		return &CallError{CodeTimeout, "it took too long"}
	}
	return &CallError{CodeInternal, "internal error"}
}

// HandleCall makes m answer requests of type typ, decoded into a Req, with what fn returns: over sockets by Dispatch, and from other objects
// by Mux.Call, where s is nil. A second HandleCall or Handle for the same type replaces the first. It may be called while messages are
// dispatched.
//
// Over a socket, Dispatch sends the reply with Send when fn has returned, also if fn fails or panics; see CallError for what the peer is told. It
// returns nil if the peer has been answered and can do something about the error, and the error of fn if only the program can: for
// CodeInternal. If the reply does not fit into the socket's queue, it returns the error of Send, and the peer waits until it gives up.
//
// The id of a request is a number or a string of at most 64 bytes. It is for the peer alone: two requests with the same id get two replies. A
// request without an id gets no reply, and Dispatch returns the error of fn. Req is decoded from the whole message, so a field of it that is
// called id, or ID, gets the request's id.
//
// With a HandleCall, a Mux also replies to messages that have an id and a type without a handler: CodeUnknownMethod.
func HandleCall[Req, Resp any](m *Mux, typ string, fn func(ctx context.Context, s *Socket, req Req) (Resp, error)) {
	m.set(typ, muxHandler{call: func(ctx context.Context, s *Socket, data []byte) (any, error) {
		var req Req
		if err := decodeJSON(Message{Text, data}, &req); err != nil {
			return nil, err
		}
		return fn(ctx, s, req)
	}})
}

// Call has the handler of HandleCall for a method answer req, with a nil *Socket: it is a CallHandler for objects. The error is ErrUnknownMethod
// without such a handler, and ErrBadMessage if req does not fit. Field, MaxDepth and MaxValues do not apply.
func (m *Mux) Call(ctx context.Context, method string, req json.RawMessage) (any, error) {
	h, _ := m.handler(method)
	if h.call == nil {
		return nil, fmt.Errorf("%w: %q", ErrUnknownMethod, clip(method))
	}
	return h.call(ctx, nil, req)
}

// maxCallID is how long the id of a request may be, as JSON.
const maxCallID = 64

// idOf returns the id in a message, as JSON, or nil if it has none.
func (m *Mux) idOf(data []byte) (json.RawMessage, error) {
	raw, err := jsonfield.Find(data, "id", m.limits())
	switch {
	case err != nil || raw == nil:
		return nil, err
	case len(raw) > maxCallID:
		return nil, &badMessage{reason: fmt.Sprintf("its id has %d bytes, the limit is %d", len(raw), maxCallID)}
	case raw[0] != '"' && raw[0] != '-' && (raw[0] < '0' || raw[0] > '9'):
		return nil, &badMessage{reason: "its id is neither a number nor a string"}
	}
	return raw, nil
}

// answer calls a handler of HandleCall and sends the reply.
func (m *Mux) answer(ctx context.Context, s *Socket, call callFunc, data []byte) error {
	id, err := m.idOf(data)
	if err != nil {
		return err
	}
	returned := false
	defer func() {
		if !returned && id != nil { // the panic goes on
			_ = m.replyError(s, id, &CallError{CodeInternal, "internal error"})
		}
	}()
	var body []byte
	result, err := call(ctx, s, data)
	if err == nil {
		body, err = encodeJSON(result)
	}
	returned = true
	switch {
	case id == nil:
		return err
	case err == nil:
		return m.reply(s, id, `,"result":`, body)
	}
	told := toldError(err)
	failed := m.replyError(s, id, told)
	if told.Code == CodeInternal {
		return err
	}
	return failed
}

// refuseCall tells the peer that a message with an id has a type without a handler. It returns the error of Dispatch.
func (m *Mux) refuseCall(s *Socket, data []byte, unknown error) error {
	id, err := m.idOf(data)
	if err != nil || id == nil {
		return unknown
	}
	return m.replyError(s, id, &CallError{CodeUnknownMethod, unknown.Error()})
}

func (m *Mux) replyError(s *Socket, id json.RawMessage, e *CallError) error {
	body, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return m.reply(s, id, `,"error":`, body)
}

// replyType is the type of replies.
const replyType = "reply"

// reply sends a reply. Without a peer there is no error.
func (m *Mux) reply(s *Socket, id json.RawMessage, name string, body []byte) error {
	head := m.head(replyType, id)
	data := make([]byte, 0, len(head)+len(name)+len(body)+1)
	data = append(append(append(append(data, head...), name...), body...), '}')
	if err := s.Send(string(data)); !errors.Is(err, ErrClosed) {
		return err
	}
	return nil
}

// head returns the beginning of a message with an id.
func (m *Mux) head(typ string, id []byte) []byte {
	head := append([]byte{'{'}, quoteJSON(cmp.Or(m.Field, defaultMuxField))...)
	head = append(append(head, ':'), quoteJSON(typ)...)
	return append(append(head, `,"id":`...), id...)
}

func quoteJSON(s string) []byte {
	quoted, _ := json.Marshal(s) // it never fails
	return quoted
}

// muxRequests are the requests of a Mux that wait for replies.
type muxRequests struct {
	mu sync.Mutex // a leaf

	// Guarded by mu.
	lastID  uint64
	waiting map[requestKey]chan<- muxReply
}

// requestKey is a request: ids are those of one socket.
type requestKey struct {
	s  *Socket
	id uint64
}

// muxReply is a reply that has arrived.
type muxReply struct {
	result json.RawMessage
	err    error
}

// add registers a new request.
func (r *muxRequests) add(s *Socket) (requestKey, <-chan muxReply) {
	reply := make(chan muxReply, 1)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waiting == nil {
		r.waiting = make(map[requestKey]chan<- muxReply)
	}
	r.lastID++
	key := requestKey{s, r.lastID}
	r.waiting[key] = reply
	return key, reply
}

// take removes a request. It returns where its reply goes, or nil if nothing waits for it.
func (r *muxRequests) take(key requestKey) chan<- muxReply {
	r.mu.Lock()
	defer r.mu.Unlock()
	reply := r.waiting[key]
	delete(r.waiting, key)
	return reply
}

// haveBegun reports whether there has been a request.
func (r *muxRequests) haveBegun() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lastID > 0
}

// takeReply gives a message of type "reply" to the request that waits for it. It returns false if none does.
func (m *Mux) takeReply(s *Socket, data []byte) (taken bool, err error) {
	raw, err := m.idOf(data)
	if err != nil || raw == nil {
		return false, nil
	}
	id, err := strconv.ParseUint(string(raw), 10, 64)
	if err != nil {
		return false, nil
	}
	to := m.requests.take(requestKey{s, id})
	if to == nil {
		return false, nil
	}
	var reply struct {
		Result json.RawMessage
		Error  *CallError
	}
	err = decodeJSON(Message{Text, data}, &reply)
	switch {
	case err != nil:
		to <- muxReply{err: err}
	case reply.Error != nil:
		to <- muxReply{err: reply.Error}
	case reply.Result == nil:
		to <- muxReply{result: json.RawMessage("null")}
	default:
		to <- muxReply{result: reply.Result}
	}
	return true, err
}

// Request sends a request of type typ to the peer of s, and waits for its reply, which it decodes into a Resp. req must encode to a JSON
// object, whose fields become those of the message; it must not have the fields "id" and "type" itself, also not as "ID": encoding/json
// takes them for the same. A nil req is a request without fields.
//
// The reply arrives like any message of s, and has to be given to m.Dispatch: by a listener, by a loop that receives, or by an object's
// WebSocketMessage. Request must not be called where that waits for it: not by the goroutine that receives, nor in a listener of s. In an
// event of the object that has s it fails with ErrReentrant; use State.WaitUntil there.
//
// The error is a *CallError if the peer has answered with one. It is that of ctx when ctx ends first; the peer is not told, and its reply
// is dropped. Without a deadline in ctx, Request waits for as long as s is open: then the error is ErrClosed, and wraps the CloseError. It
// is ErrBadMessage if the result does not fit Resp, and otherwise that of Write, which accepts a socket that has not been accepted. Several
// goroutines may make requests at the same time.
func Request[Req, Resp any](ctx context.Context, m *Mux, s *Socket, typ string, req Req) (Resp, error) {
	var resp Resp
	result, err := m.request(ctx, s, typ, req)
	if err != nil {
		return resp, err
	}
	if err := decodeJSON(Message{Text, result}, &resp); err != nil {
		var none Resp
		return none, err
	}
	return resp, nil
}

// request is Request without decoding the result.
func (m *Mux) request(ctx context.Context, s *Socket, typ string, req any) (json.RawMessage, error) {
	fields, err := m.fieldsOf(typ, req)
	switch {
	case err != nil:
		return nil, err
	case s.repliesAreEventsOf(ctx):
		return nil, fmt.Errorf("%w: the reply to the request %q would be one; use State.WaitUntil", ErrReentrant, typ)
	}
	key, reply := m.requests.add(s)
	defer m.requests.take(key)
	data := append(m.head(typ, strconv.AppendUint(nil, key.id, 10)), fields...)
	if err := s.Write(ctx, Text, data); err != nil {
		return nil, err
	}
	select {
	case r := <-reply:
		return r.result, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-s.Done():
	}
	select {
	case r := <-reply: // it came before the end
		return r.result, r.err
	default:
		return nil, fmt.Errorf("%w: no reply to the request %q: %w", ErrClosed, typ, s.Err())
	}
}

// fieldsOf returns the end of a request: the fields of req, after a comma, and the brace.
func (m *Mux) fieldsOf(typ string, req any) ([]byte, error) {
	data, err := encodeJSON(req)
	if err != nil {
		return nil, err
	}
	switch data = bytes.TrimSpace(data); {
	case string(data) == "null", string(data) == "{}":
		return []byte{'}'}, nil
	case data[0] != '{':
		return nil, fmt.Errorf("edgews: request %q: %T is no JSON object, so it has no fields for the message", typ, req)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return nil, err
	}
	for name := range fields {
		if strings.EqualFold(name, cmp.Or(m.Field, defaultMuxField)) || strings.EqualFold(name, "id") {
			return nil, fmt.Errorf("edgews: request %q: %T has a field %q, which the message needs for itself", typ, req, name)
		}
	}
	data[0] = ','
	return data, nil
}
