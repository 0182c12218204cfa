package edgews

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrEventTimeout: an event has taken longer than it may. It is in the cause of the event's context (context.Cause), whose text names the
// handler, the limit and what has set the limit.
var ErrEventTimeout = errors.New("edgews: event timeout")

// The names of events that have a time limit of their own.
const (
	alarmEvent   = "Alarm"
	suspendEvent = "Suspend"
)

const (
	defaultAlarmTimeout = 15 * time.Minute // NamespaceOptions.AlarmTimeout
	suspendTimeout      = 10 * time.Second // of Suspender, unless State.SetEventTimeout says otherwise
)

// eventTimeout is why the context of an event ends that has taken too long.
type eventTimeout struct {
	handler string
	limit   time.Duration
	option  string
}

func (e *eventTimeout) Error() string {
	return fmt.Sprintf("%v: %s has run for longer than %v, the limit of %s", ErrEventTimeout, e.handler, e.limit, e.option)
}

func (e *eventTimeout) Unwrap() []error { return []error{ErrEventTimeout, context.DeadlineExceeded} }

// eventLimit returns how long an event may take, and what says so; 0: as long as it likes.
func (o *object) eventLimit(what string) (limit time.Duration, option string) {
	o.mu.Lock()
	limit = o.timeout
	o.mu.Unlock()
	switch alarm := o.ns.opts.AlarmTimeout; {
	case what == alarmEvent && alarm > 0 && (limit == 0 || alarm < limit):
		return alarm, "NamespaceOptions.AlarmTimeout"
	case what == suspendEvent && limit == 0:
		return suspendTimeout, "Suspender without State.SetEventTimeout"
	}
	return limit, "State.SetEventTimeout"
}

// limited returns e, or a context of the same event that ends when the event has taken too long. The caller calls end when the handler has
// returned.
func (e *eventContext) limited(what string) (within *eventContext, end func()) {
	limit, option := e.o.eventLimit(what)
	if limit == 0 {
		return e, func() {}
	}
	return e.limitedBy(&eventTimeout{what, limit, option})
}

// limitedBy is limited with that limit. It is apart so that an event without a limit allocates nothing.
func (e *eventContext) limitedBy(timeout *eventTimeout) (*eventContext, func()) {
	ctx, cancel := context.WithTimeoutCause(e, timeout.limit, timeout)
	stop := context.AfterFunc(ctx, func() {
		if context.Cause(ctx) == error(timeout) {
			e.o.ns.logger().Warn("edgews: event takes too long", "namespace", e.o.ns.name, "object", e.o.id.String(), "error", timeout,
				e.o.socketAttr())
		}
	})
	within := &eventContext{Context: ctx, o: e.o}
	return within, func() {
		stop()
		within.end()
		cancel()
	}
}

// alarmRetryKey is the key of how often the alarm has been retried that runs in a context.
type alarmRetryKey struct{}

// AlarmRetry returns how often the alarm has been retried whose handler has got ctx, or a context that ctx is derived from: 0 when it goes
// off first, then 1 to 6. It is 0 for any other context. A process that ends while the handler runs has not made that a retry: the next
// process sees the same number.
func AlarmRetry(ctx context.Context) int {
	retry, _ := ctx.Value(alarmRetryKey{}).(int)
	return retry
}
