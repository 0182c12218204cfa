package edgews

import (
	"context"
	"runtime/trace"
)

// regionPrefix begins the names of the regions in execution traces, so that one filter finds them all.
const regionPrefix = "edgews."

// traceMessage calls listener in a region of the execution trace that is being written.
func traceMessage(listener func(MessageEvent), e MessageEvent) {
	defer trace.StartRegion(context.Background(), regionPrefix+"OnMessage").End()
	listener(e)
}

// dispatchObserved is dispatch, in a region of the execution trace if one is being written and o is not nil.
func dispatchObserved(onMessage listenerSnapshot[MessageEvent], o *observedSocket, s *Socket, e MessageEvent) (failure error) {
	if o == nil || !trace.IsEnabled() {
		return onMessage.dispatch(s, e)
	}
	traceMessage(func(e MessageEvent) { failure = onMessage.dispatch(s, e) }, e)
	return failure
}
