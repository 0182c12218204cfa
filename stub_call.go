package edgews

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
)

// CallHandler is an Object with methods that other objects, and the program's own handlers, call with the function Call. req is the
// request as JSON, and belongs to the handler. What it returns is encoded as JSON before the event ends, so it may refer to the object's
// fields; a nil result is null. If it also returns an error, the caller gets only the error. For a method that the object does not have,
// return an ErrUnknownMethod.
//
// Instead of a switch over the methods, an object may have a Mux, whose method Call is a CallHandler:
//
//	func (b *Board) Call(ctx context.Context, method string, req json.RawMessage) (any, error) { return b.calls.Call(ctx, method, req) }
//
// Keep that Mux apart from the one for messages of clients, who could otherwise call everything.
type CallHandler interface {
	Call(ctx context.Context, method string, req json.RawMessage) (any, error)
}

// ErrUnknownMethod: a call is for a method that the called object does not have.
var ErrUnknownMethod = errors.New("edgews: object has no such method")

// Call has the object of st answer req with its method: a method of a Durable Object, called through its stub. It is one event of the object
// and counts as one request (FactRequest); the object is constructed if it is not in memory. Request and answer pass through JSON, so that
// two objects never share memory. Use struct{} or any for a Resp that does not matter, if the method returns nil.
//
// The error of the object's Call comes back as it is: it is the very same value, so that errors.Is and errors.As work. This holds between
// objects of one process, which all are today. Between processes only the text would arrive, and of a *CallError its Code too: return one
// for errors that callers tell apart.
//
// Before the object's Call has begun, the error is ErrReentrant for a call that would never end, see below; ErrOverloaded when
// NamespaceOptions.MaxWaiting requests and calls wait for the object; ErrShutdown after Shutdown has cut; ErrQuota; ErrInvalidID for the stub
// of an ID that is none of its namespace; ErrUnknownMethod if the object has no CallHandler; and that of [encoding/json] if req cannot be
// encoded. If the answer cannot be encoded, or does not fit Resp, the object's Call has run nevertheless. A panic in it is an error here, and
// drops the object's value as a panic in any handler.
//
// The context of the object's Call is derived from ctx. When ctx ends, Call returns its error at once; the object's Call goes on until
// it notices that its context has ended.
//
// An event that calls waits for the event that it calls, and its object waits with it. If calls go round in a circle, because room a calls
// user b, which calls room a, all would wait for ever. The call that closes the circle fails with ErrReentrant instead, at once, and its
// text has the circle, with the names of the objects (ID.Name), or else their IDs: rooms "a" ServeHTTP → users "b" Call(find) → rooms "a"
// Call(invite). The same holds for Stub.ServeHTTP (508), Stub.Do, Stub.Connect and State.Do. It also fails, one of them, if two events call
// each other's object at the same moment; so let the calls of a program go in one direction, and use State.WaitUntil for those that go back:
// it does not keep the event from its end. Circles are found as far as the context of an event is passed on to what it calls.
func Call[Req, Resp any](ctx context.Context, st *Stub, method string, req Req) (Resp, error) {
	var resp Resp
	data, err := json.Marshal(req)
	if err != nil {
		return resp, fmt.Errorf("edgews: call of %q: request cannot be encoded: %w", method, err)
	}
	if data, err = st.call(ctx, method, data); err != nil {
		return resp, err
	}
	if err := json.Unmarshal(data, &resp); err != nil {
		var none Resp
		return none, fmt.Errorf("edgews: call of %q: answer does not fit: %w", method, err)
	}
	return resp, nil
}

// call is Call with request and answer as JSON.
func (s *Stub) call(ctx context.Context, method string, req json.RawMessage) (json.RawMessage, error) {
	if c := s.n.opts.Cluster; c != nil && s.err == nil {
		return c.Call(ctx, ObjectKey{s.n.name, s.id}, method, req)
	}
	return s.callHere(ctx, method, req)
}

// callHere is call on the object's home.
func (s *Stub) callHere(ctx context.Context, method string, req json.RawMessage) (json.RawMessage, error) {
	var answer json.RawMessage // not read if ctx ends before the event does
	var begun atomic.Bool
	err := s.runEvent(ctx, call{what: "Call(" + method + ")", leaves: true}, func(e *eventContext, value Object) error {
		begun.Store(true)
		callee, ok := value.(CallHandler)
		if !ok {
			return fmt.Errorf("%w: call of %q: %T, of %s, has no method Call and is no CallHandler", ErrUnknownMethod, clip(method), value, e.o.display())
		}
		result, err := callee.Call(e, method, req)
		switch {
		case err != nil && e.lost.Load() && errors.Is(err, context.Canceled): // not the caller's context
			return fmt.Errorf("%w: the object has got another home while it answered: %v", ErrAborted, err)
		case err != nil:
			return err
		}
		if answer, err = json.Marshal(result); err != nil {
			return fmt.Errorf("edgews: call of %q: answer cannot be encoded: %w", method, err)
		}
		return nil
	})
	if err != nil {
		return nil, withoutNotHome(err, &begun)
	}
	return answer, nil
}

// Do runs fn as an event of the object, with the object's value, and returns fn's error. The object is constructed if it is not in memory.
// Like Call it counts as one request, has the same errors before fn begins, and gives fn a context derived from ctx; unlike Call it waits for
// fn, once that has begun. fn may use the value until it returns; what it takes out of it has to be a copy. A panic in fn is that of a
// handler of the object. State.Do is for the object itself, costs nothing, and never constructs.
func (s *Stub) Do(ctx context.Context, fn func(context.Context, Object) error) error {
	if fn == nil {
		return errors.New("edgews: Stub.Do without a function: fn is nil")
	}
	return s.runEvent(ctx, call{what: "Do"}, func(e *eventContext, value Object) error { return fn(e, value) })
}

// runEvent runs fn as an event that counts as a request, with c in the object's queue.
func (s *Stub) runEvent(ctx context.Context, c call, fn func(*eventContext, Object) error) error {
	if s.err != nil {
		return s.err
	}
	pass, err := s.n.admitUsage(s.id, Usage{HTTPRequests: 1})
	if err != nil {
		return err
	}
	defer pass.release()
	var booked atomic.Bool
	c.counted = true
	err = s.n.doCall(ctx, s.id, c, func(e *eventContext, value Object) error {
		booked.Store(true)
		e.o.bookFact(FactRequest, Usage{HTTPRequests: 1})
		return fn(e, value)
	})
	if !booked.Load() && reachedObject(ctx, err) { // the object could not be constructed
		s.n.objectFor(s.id).bookFact(FactRequest, Usage{HTTPRequests: 1})
	}
	return err
}
