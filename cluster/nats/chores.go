package edgewsnats

import (
	"context"
	"encoding/json"
)

// chore removes messages that are not read any more. It may be left undone: the next snapshot of the object, or the next DueAlarms, does it.
type chore struct {
	subject string // of the request
	body    []byte
}

const (
	choreWorkers  = 4
	choresWaiting = 1024 // what is beyond this is left undone
)

// purge removes all messages of some subjects before a number.
func (e *Engine) purge(stream, subjects string, before uint64) {
	e.do("$JS.API.STREAM.PURGE."+stream, map[string]any{"filter": subjects, "seq": before})
}

// remove removes one message.
func (e *Engine) remove(stream string, seq uint64) {
	e.do("$JS.API.STREAM.MSG.DELETE."+stream, map[string]any{"seq": seq, "no_erase": true})
}

func (e *Engine) do(subject string, request map[string]any) {
	body, _ := json.Marshal(request) // it never fails
	select {
	case e.chores <- chore{subject, body}:
	default:
	}
}

// work does chores until the engine is closed.
func (e *Engine) work() {
	for {
		select {
		case c := <-e.chores:
			attempt, cancel := context.WithTimeout(e.closed, attemptTimeout)
			_, _ = e.nc.RequestWithContext(attempt, c.subject, c.body) // it may fail, see chore
			cancel()
		case <-e.closed.Done():
			return
		}
	}
}
