package edgews

import (
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"
)

// AutoResponse is a text message that an object's sockets answer by themselves: WebSocketRequestResponsePair.
type AutoResponse struct{ Request, Response string }

// maxAutoResponse bounds requests and responses, in bytes.
const maxAutoResponse = 2048

// ErrAutoResponseTooBig: a request or response of an AutoResponse has at most 2 048 bytes.
var ErrAutoResponseTooBig = errors.New("edgews: auto-response is too big")

// autoResponses are what an object has set. They are never changed, only replaced.
type autoResponses struct {
	pairs []AutoResponse
	reply map[string]*Prepared // by request
}

// SetAutoResponse sets which text messages all sockets of this object answer by themselves, in place of what was set
// before; without pairs, none. The new pairs count at once, for all sockets that there are and will be.
//
// A text message that equals a request byte for byte is answered as it arrives: the object neither sees it nor wakes
// nor stays awake for it, also not while an event is running or messages before it wait. After Close it is dropped
// without an answer. The pairs survive hibernation as long as the object has sockets; the constructor is the place to
// set them.
//
// Each side has at most 2 048 bytes (ErrAutoResponseTooBig) and is UTF-8 (ErrInvalidUTF8); "" is allowed. With an error
// nothing changes. Of two pairs with the same request the later counts.
//
// Deviation: Workers have one pair for each object, and answer when the events before the request have begun.
func (st *State) SetAutoResponse(pairs ...AutoResponse) error {
	set := &autoResponses{slices.Clone(pairs), make(map[string]*Prepared, len(pairs))}
	for _, p := range pairs {
		if err := p.check(); err != nil {
			return err
		}
		set.reply[p.Request] = Prepare(Text, []byte(p.Response))
	}
	if len(pairs) == 0 {
		set = nil
	}
	st.o.mu.Lock()
	defer st.o.mu.Unlock()
	if st.goneLocked() {
		return ErrAborted
	}
	st.o.auto.Store(set)
	return nil
}

func (p AutoResponse) check() error {
	switch {
	case len(p.Request) > maxAutoResponse:
		return fmt.Errorf("%w: request cannot be larger than %d bytes; a request of size %d was provided", ErrAutoResponseTooBig, maxAutoResponse, len(p.Request))
	case len(p.Response) > maxAutoResponse:
		return fmt.Errorf("%w: response cannot be larger than %d bytes; a response of size %d was provided", ErrAutoResponseTooBig, maxAutoResponse, len(p.Response))
	case !utf8.ValidString(p.Request) || !utf8.ValidString(p.Response):
		return ErrInvalidUTF8
	}
	return nil
}

// AutoResponses returns what SetAutoResponse has set; the slice is the caller's.
func (st *State) AutoResponses() []AutoResponse {
	if set := st.o.auto.Load(); set != nil && st.check() == nil {
		return slices.Clone(set.pairs)
	}
	return nil
}

// AutoResponseTimestamp returns when s last answered by itself, and false if it has not, or is not a socket that this
// object has accepted. It is kept when the pairs change.
func (st *State) AutoResponseTimestamp(s *Socket) (time.Time, bool) {
	m, err := st.member(s)
	if err != nil {
		return time.Time{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return m.answered, !m.answered.IsZero()
}

// autoResponseLocked returns the answer to a message that s answers by itself, or nil. mu must be held.
func (s *Socket) autoResponseLocked(kind Kind, data []byte) *Prepared {
	if !s.is(owned) || kind != Text || len(data) > maxAutoResponse {
		return nil
	}
	set := s.owner.(*member).o.auto.Load()
	if set == nil {
		return nil
	}
	return set.reply[string(data)]
}

// respond sends the answer.
func (s *Socket) respond(reply *Prepared) {
	s.mu.Lock()
	l := s.link
	m, _ := s.owner.(*member)
	s.mu.Unlock()
	if m == nil || l.send(outgoing{kind: Text, data: reply.data, first: true, last: true, prepared: reply, as: asAutoResponse, ungated: true}) != nil {
		return // we have said Close, or the peer does not read
	}
	l.transmit()
	s.mu.Lock()
	m.answered = time.Now()
	s.mu.Unlock()
}

// autoRespondLocked answers a message that self sends, if peer answers it by itself: then the message is never in its
// inbox. The pair's mu is held.
func (m *memory) autoRespondLocked(it *item) bool {
	if !it.first || !it.last {
		return false
	}
	peer := m.peer
	reply := peer.autoResponseLocked(it.kind, it.buf.B)
	if reply == nil {
		return false
	}
	m.credit(it)
	it.buf.Free()
	back := peer.link.(*memory)
	out := outgoing{kind: Text, data: reply.data, first: true, last: true, as: asAutoResponse, ungated: true}
	if peer.admitLocked(&out) == nil && !m.self.is(finishing) {
		back.sendLocked(&out)
		peer.owner.(*member).answered = time.Now()
	}
	return true
}
