package conformance_test

import "fmt"

// listenerCalls are the calls that a scenario makes in its listeners, by event: "b/close/1" is the first close event of b.
//
// JavaScript delivers events only between turns of the event loop. So a call that was recorded after an event, without a wait in
// between, was made by a listener of that event.
type listenerCalls map[string][]*entry

// splitTrace splits a worker's trace into the entries of the scenario itself, in order, and those of its listeners.
func splitTrace(trace []*entry) (script []*entry, inside listenerCalls) {
	inside = make(listenerCalls)
	seen := make(map[string]int)
	last := ""
	for _, e := range trace {
		switch e.Op {
		case "event":
			kind := e.Target + "/" + e.Type
			seen[kind]++
			last = fmt.Sprintf("%s/%d", kind, seen[kind])
		case "wait":
			last = ""
			script = append(script, e)
		default:
			if last != "" && e.Target != "" {
				inside[last] = append(inside[last], e)
			} else {
				script = append(script, e)
			}
		}
	}
	return script, inside
}

// of returns a function that makes the recorded calls of the actor's listeners, and then the extra ones.
func (r listenerCalls) of(a *actor, extra map[string]func(*actor)) func(kind string) {
	seen := make(map[string]int) // only the goroutine that delivers the socket's events uses it
	return func(kind string) {
		seen[kind]++
		key := fmt.Sprintf("%s/%s/%d", a.name, kind, seen[kind])
		for _, e := range r[key] {
			a.do(e)
		}
		if do := extra[key]; do != nil {
			do(a)
		}
	}
}
