package edgews

import (
	"context"
	"fmt"
	"strings"
	"sync"
)

// Events of one object run one at a time, so events that wait for each other in a circle would wait for ever. Each call that an event waits
// for is therefore in a list of the event's object (object.waits), from before it is queued until it is over. A call whose object has such a
// list itself follows the lists. If they lead back to the event, the call fails.
//
// Only calls with the context of an event that is running are in the lists. A call from elsewhere does not keep an event from its end.

// eventOf returns the event to which ctx belongs, or nil if there is none or it is over.
func eventOf(ctx context.Context) *eventContext {
	if e, ok := ctx.Value(innermostEventKey{}).(*eventContext); ok && !e.over.Load() {
		return e
	}
	return nil
}

// addWait notes that the event c.from waits for c.
func (c *call) addWait() {
	o := c.from.o
	o.mu.Lock()
	defer o.mu.Unlock()
	c.nextWait = o.waits
	if c.nextWait != nil {
		c.nextWait.previousWait = c
	}
	o.waits = c
}

// removeWait notes that the event c.from does not wait for c any more.
func (c *call) removeWait() {
	o := c.from.o
	o.mu.Lock()
	defer o.mu.Unlock()
	if c.previousWait != nil {
		c.previousWait.nextWait = c.nextWait
	} else {
		o.waits = c.nextWait
	}
	if c.nextWait != nil {
		c.nextWait.previousWait = c.previousWait
	}
}

// wait is a call that an event of from waits for.
type wait struct {
	c        *call
	from, to *object
	handler  string // of the event
}

// waitsOf returns the calls that the running event of o waits for.
func (o *object) waitsOf() (all []wait) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for c := o.waits; c != nil; c = c.nextWait {
		if !c.from.over.Load() {
			all = append(all, wait{c, o, c.to, o.current.handler})
		}
	}
	return all
}

// waitPath returns the calls that lead from an object to another, or nil if none do.
func waitPath(from, to *object) []wait {
	cameBy := map[*object]wait{from: {}}
	for next := []*object{from}; len(next) > 0; next = next[1:] {
		for _, w := range next[0].waitsOf() {
			if _, known := cameBy[w.to]; known && w.to != to {
				continue
			}
			cameBy[w.to] = w
			if w.to == to {
				return pathTo(to, from, cameBy)
			}
			next = append(next, w.to)
		}
	}
	return nil
}

// pathTo returns the path that has led a search from an object to another.
func pathTo(to, from *object, cameBy map[*object]wait) []wait {
	path := []wait{cameBy[to]}
	for path[0].from != from {
		path = append([]wait{cameBy[path[0].from]}, path...)
	}
	return path
}

// cycles is held while a call that closes a cycle is given up, so that of the calls of one cycle only one fails.
var cycles sync.Mutex

// giveUpInCycle gives c up and returns an error that prints the cycle if c and other calls wait for each other in a circle.
func (c *call) giveUpInCycle() error {
	if waitPath(c.to, c.from.o) == nil {
		return nil
	}
	cycles.Lock()
	defer cycles.Unlock()
	for {
		path := waitPath(c.to, c.from.o)
		switch {
		case path == nil:
			return nil
		case !stillWait(path): // some of them have ended, perhaps before the others began
			continue
		case !c.to.abandon(c):
			return nil
		}
		return cycleError(append(path, c.asWait()), c)
	}
}

// stillWait reports whether the calls of a path are still waited for. If so, all of them were when the path had been found.
func stillWait(path []wait) bool {
	for _, w := range path {
		found := false
		for _, again := range w.from.waitsOf() {
			found = found || again.c == w.c
		}
		if !found {
			return false
		}
	}
	return true
}

// asWait returns c as the last step of a cycle.
func (c *call) asWait() wait {
	return wait{c, c.from.o, c.to, c.from.o.currentHandler()}
}

// cycleError returns the error of last, which closes a cycle. Each step of path is an event that waits for the next one.
func cycleError(path []wait, last *call) error {
	var b strings.Builder
	for _, w := range path {
		fmt.Fprintf(&b, "%s %s → ", w.from.display(), w.handler)
	}
	return fmt.Errorf("%w: %s%s %s", ErrReentrant, &b, last.to.display(), last.what)
}

// reentrantError returns the error of a call of o with the context of an event that o's own event has led to.
func (o *object) reentrantError(ctx context.Context, what string) error {
	text := o.display() + " " + what
	for from := (*object)(nil); from != o; {
		e, ok := ctx.Value(innermostEventKey{}).(*eventContext)
		if !ok { // the event has ended meanwhile
			break
		}
		ctx = e.Context
		if e.o == from { // the same event, without its time limit
			continue
		}
		from = e.o
		text = from.display() + " " + from.currentHandler() + " → " + text
	}
	return fmt.Errorf("%w: %s", ErrReentrant, text)
}

// currentHandler returns the handler of the event that runs, or ran last.
func (o *object) currentHandler() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.current.handler
}

// display returns how errors and logs name the object: by its name if it is known, which may be a client's choice, and else by its ID.
func (o *object) display() string {
	if name := o.id.Name(); name != "" {
		return fmt.Sprintf("%s %q", o.ns.name, clip(name))
	}
	return o.ns.name + " " + o.id.String()
}
