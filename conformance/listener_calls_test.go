package conformance_test

import "fmt"

// reactions are the calls that a scenario makes inside its listeners, by the event they react to: "b/close/1" is the
// first close event of b.
//
// In JavaScript events are delivered between turns only. So a call that was recorded after an event, with no wait
// since, was made by that event's listener.
type reactions map[string][]*entry

// separate splits a worker's trace into what the scenario does itself, turn by turn, and what its listeners do.
func separate(trace []*entry) (script []*entry, inside reactions) {
	inside = make(reactions)
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

// of returns the function that makes the actor's listeners react. Extra reactions, in Go, come after the recorded ones.
func (r reactions) of(a *actor, extra map[string]func(*actor)) func(kind string) {
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
