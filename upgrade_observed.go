package edgews

import (
	"errors"
	"net/http"
	"runtime/debug"
)

// tellRefusal tells the Observer of o, or of the namespace whose object refuses r, that r was refused with err. If err is nil, it does nothing.
func (o *Options) tellRefusal(r *http.Request, err error) {
	if err == nil {
		return
	}
	told := RefusalObservation{Request: r, Cause: refusalCause(err), Err: err}
	if e, ok := errors.AsType[*HandshakeError](err); ok {
		told.Status = e.StatusCode
	}
	o.tellRefused(told)
}

// tellTargetRefusal tells the Observer of o that the target of a proxy has refused r with status, or cannot be reached.
func (o *Options) tellTargetRefusal(r *http.Request, status int, err error) {
	o.tellRefused(RefusalObservation{Request: r, Status: status, Cause: RefusedTarget, Err: err})
}

// tellRefused calls the Observer, if there is one.
func (o *Options) tellRefused(told RefusalObservation) {
	observer := observerIn(told.Request.Context(), o.Observer)
	if observer == nil {
		return
	}
	defer func() {
		if cause := recover(); cause != nil {
			orDefaultLogger(o.Logger).Error("edgews: observer panicked", "panic", cause, "stack", string(debug.Stack()), requestLogAttr(told.Request))
		}
	}()
	observer.ObserveRefusal(told)
}

// refusalCause says why a request was refused with err.
func refusalCause(err error) RefusalCause {
	status := 0
	if e, ok := errors.AsType[*HandshakeError](err); ok {
		status = e.StatusCode
	}
	switch {
	case errors.Is(err, ErrConnectionLimit), errors.Is(err, ErrQuota), errors.Is(err, ErrOverloaded):
		return RefusedLimit
	case errors.Is(err, ErrShutdown), errors.Is(err, ErrHubShutdown):
		return RefusedShutdown
	case status == http.StatusForbidden:
		return RefusedOrigin
	case status == http.StatusInternalServerError:
		return RefusedOptions
	case status == 0:
		return RefusedLost
	}
	return RefusedHandshake
}
