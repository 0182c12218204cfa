package edgews

import (
	"context"
	"maps"
)

// pin is a way in which a socket keeps an object awake.
type pinKind uint8

const (
	pinAccepted pinKind = iota
	pinOutbound
	pinHeld
	pinKindCount
)

var pinNames = [pinKindCount]string{"accepted socket", "outbound socket", "held socket"}

// belong notes that s was made in an event of an object, if ctx is the context of one.
func (s *Socket) bindToObject(ctx context.Context, how pinKind) {
	if o, ok := ctx.Value(objectContextKey{}).(*object); ok {
		s.pinTo(o, how)
	}
}

// guestsNow returns the sockets that keep the object awake.
func (o *object) pinnedSockets() map[*Socket]*pinnedSocket {
	o.mu.Lock()
	defer o.mu.Unlock()
	return maps.Clone(o.pinned)
}

// optionsFor returns the options of a socket that is made with none: those of the namespace, in an event of an object.
func defaultOptions(ctx context.Context) Options {
	if o, ok := ctx.Value(objectContextKey{}).(*object); ok {
		return o.ns.opts.Options
	}
	return Options{}
}

func (s *Socket) pinTo(o *object, how pinKind) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pinToLocked(o, how)
}

// keepAwakeLocked is keepAwake with mu held.
func (s *Socket) pinToLocked(o *object, how pinKind) {
	if s.object != nil || s.pinned != nil || s.is(finished|used) {
		return
	}
	g := &pinnedSocket{o: o, s: s, kind: how}
	s.extraLocked().pinned = g
	if s.is(accepted) {
		g.acceptedLocked()
		g.queueIfDueLocked()
	}
}

// Hold makes the listeners of s events of the object, and keeps the object awake until s ends, if s is accepted with
// Accept or by receiving from it: for a socket of which the object cannot know by itself, because it comes from
// NewWebSocket, NewPair or somewhere else. Call it before adding listeners: one that runs already goes on where it is. It
// does nothing for a socket that keeps an object awake already, or that an object has accepted.
func (st *State) Hold(s *Socket) {
	if s != nil && st.checkNotDropped() == nil {
		s.pinTo(st.o, pinHeld)
	}
}

// pinsLocked names what keeps the object awake. mu must be held.
func (o *object) pinsLocked() (names []string) {
	if o.eventRunning {
		names = append(names, "event")
	}
	if len(o.backgroundFuncs) > 0 {
		names = append(names, "WaitUntil")
	}
	if o.isStorageInUseLocked() {
		names = append(names, "storage")
	}
	var there [pinKindCount]bool
	for _, g := range o.pinned {
		there[g.kind] = true
	}
	for p, ok := range there {
		if ok {
			names = append(names, pinNames[p])
		}
	}
	return names
}

// pinnedLocked says whether something other than an event keeps the object awake. mu must be held.
func (o *object) isPinnedLocked() bool {
	return len(o.backgroundFuncs) > 0 || len(o.pinned) > 0 || o.isStorageInUseLocked()
}

// storingLocked says whether a call uses the storage. mu must be held.
func (o *object) isStorageInUseLocked() bool {
	s := o.storage.Load()
	return s != nil && s.calls > 0
}
