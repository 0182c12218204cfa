package edgews

import (
	"context"
	"maps"
)

// pin is a way in which a socket keeps an object awake.
type pin uint8

const (
	acceptedSocket pin = iota
	outboundSocket
	heldSocket
	pinKinds
)

var pinNames = [pinKinds]string{"accepted socket", "outbound socket", "held socket"}

// belong notes that s was made in an event of an object, if ctx is the context of one.
func (s *Socket) belong(ctx context.Context, how pin) {
	if o, ok := ctx.Value(objectOf{}).(*object); ok {
		s.keepAwake(o, how)
	}
}

// guestsNow returns the sockets that keep the object awake.
func (o *object) guestsNow() map[*Socket]*guest {
	o.mu.Lock()
	defer o.mu.Unlock()
	return maps.Clone(o.guests)
}

// optionsFor returns the options of a socket that is made with none: those of the namespace, in an event of an object.
func optionsFor(ctx context.Context) Options {
	if o, ok := ctx.Value(objectOf{}).(*object); ok {
		return o.ns.opts.Options
	}
	return Options{}
}

func (s *Socket) keepAwake(o *object, how pin) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keepAwakeLocked(o, how)
}

// keepAwakeLocked is keepAwake with mu held.
func (s *Socket) keepAwakeLocked(o *object, how pin) {
	if s.owner != nil || s.is(finished|used) || o.ns.closing.at() == cutOff {
		return
	}
	g := &guest{o: o, s: s, pin: how}
	s.extraLocked().owner = g
	if s.is(accepted) {
		g.acceptedLocked(s)
		g.arrivedLocked(s)
	}
}

// Hold makes the listeners of s events of the object, and keeps the object awake until s ends, if s is accepted with
// Accept or by receiving from it: for a socket of which the object cannot know by itself, because it comes from
// NewWebSocket, NewPair or somewhere else. Call it before adding listeners: one that runs already goes on where it is. It
// does nothing for a socket that keeps an object awake already, or that an object has accepted, nor when Shutdown has cut.
func (st *State) Hold(s *Socket) {
	if s != nil && st.check() == nil {
		s.keepAwake(st.o, heldSocket)
	}
}

// pinsLocked names what keeps the object awake. mu must be held.
func (o *object) pinsLocked() (names []string) {
	if o.busy {
		names = append(names, "event")
	}
	if len(o.workers) > 0 {
		names = append(names, "WaitUntil")
	}
	if o.storingLocked() {
		names = append(names, "storage")
	}
	var there [pinKinds]bool
	for _, g := range o.guests {
		there[g.pin] = true
	}
	for p, ok := range there {
		if ok {
			names = append(names, pinNames[p])
		}
	}
	return names
}

// pinnedLocked says whether something other than an event keeps the object awake. mu must be held.
func (o *object) pinnedLocked() bool {
	return len(o.workers) > 0 || len(o.guests) > 0 || o.storingLocked()
}

// storingLocked says whether a call uses the storage. mu must be held.
func (o *object) storingLocked() bool {
	s := o.session.Load()
	return s != nil && s.calls > 0
}
