package edgews

import (
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"
)

// AutoResponse is a text message, and the text with which an object's sockets answer it without the object: WebSocketRequestResponsePair.
type AutoResponse struct{ Request, Response string }

// maxAutoResponse bounds requests and responses, in bytes, as in Workers.
const maxAutoResponse = 2048

// ErrAutoResponseTooBig: a request or response of an AutoResponse has at most 2 048 bytes.
var ErrAutoResponseTooBig = errors.New("edgews: auto-response is too big")

// autoResponses is what SetAutoResponse has set. It is immutable.
type autoResponses struct {
	pairs   []AutoResponse
	replies map[string]*Prepared // by request
}

// SetAutoResponse sets which text messages the sockets of this object answer without it, in place of what was set before; without pairs,
// none. The pairs apply at once, to all sockets that the object has accepted or will accept with AcceptWebSocket.
//
// A text message that equals a request byte for byte is answered when it arrives, also while an event is running or messages before it
// wait. The object does not get it, is not woken and is not kept awake. After Close such a message is dropped without an answer. The pairs
// survive hibernation as long as the object has sockets; set them in the constructor.
//
// Request and response have at most 2 048 bytes each (ErrAutoResponseTooBig) and are UTF-8 (ErrInvalidUTF8); "" is allowed. With an error
// nothing changes. Of two pairs with the same request the later applies.
//
// Deviation: Workers have one pair for each object, and answer when the events before the request have begun.
func (st *State) SetAutoResponse(pairs ...AutoResponse) error {
	for _, p := range pairs {
		if err := p.check(); err != nil {
			return err
		}
	}
	set := newAutoResponses(pairs)
	if len(pairs) == 0 {
		set = nil
	}
	sockets, err := st.setAutoResponses(set)
	if err != nil || st.o.ns.opts.Cluster == nil {
		return err
	}
	for _, sock := range sockets {
		sock.s.mu.Lock()
		if c := clusterSocketOf(sock.s); c != nil {
			c.autoRespondLocked()
		}
		sock.s.mu.Unlock()
	}
	return nil
}

func newAutoResponses(pairs []AutoResponse) *autoResponses {
	set := &autoResponses{slices.Clone(pairs), make(map[string]*Prepared, len(pairs))}
	for _, p := range pairs {
		set.replies[p.Request] = Prepare(Text, []byte(p.Response))
	}
	return set
}

// setAutoResponses sets the auto-responses, and returns the sockets for which they apply at once.
func (st *State) setAutoResponses(set *autoResponses) ([]*objectSocket, error) {
	st.o.mu.Lock()
	defer st.o.mu.Unlock()
	if st.isDroppedLocked() {
		return nil, ErrAborted
	}
	st.o.autoResponses.Store(set)
	return st.o.registry.all, nil
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
	if set := st.o.autoResponses.Load(); set != nil && st.checkNotDropped() == nil {
		return slices.Clone(set.pairs)
	}
	return nil
}

// AutoResponseTimestamp returns when s last sent an auto-response. It returns false if s has sent none, or is not a socket that this object
// has accepted. The time is kept when the pairs change.
func (st *State) AutoResponseTimestamp(s *Socket) (time.Time, bool) {
	sock, err := st.objectSocket(s)
	if err != nil {
		return time.Time{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if sock.lastAutoResponse == 0 {
		return time.Time{}, false
	}
	return time.Unix(0, sock.lastAutoResponse), true
}

// autoResponseLocked returns the auto-response to a message that has arrived on s, or nil. mu must be held.
func (s *Socket) autoResponseLocked(kind Kind, data []byte) *Prepared {
	if s.consumer != toObject || kind != Text || len(data) > maxAutoResponse {
		return nil
	}
	set := s.objectSocket.o.autoResponses.Load()
	if set == nil {
		return nil
	}
	return set.replies[string(data)]
}

// autoRespond sends an auto-response.
func (s *Socket) autoRespond(reply *Prepared) {
	s.mu.Lock()
	l := s.link
	sock := s.objectSocket
	s.mu.Unlock()
	if sock == nil || l.send(outgoing{kind: Text, data: reply.data, first: true, last: true, prepared: reply, countAs: countAsAutoResponse, ungated: true}) != nil {
		s.tell()
		return // after our Close, or without room because the peer does not read
	}
	l.transmit()
	s.mu.Lock()
	sock.lastAutoResponse = time.Now().UnixNano()
	s.tellAndUnlock()
}

// autoRespondLocked answers a message that self sends, if peer has an auto-response to it. Then the message does not get into peer's inbox,
// and the result is true. The pair's mu must be held.
func (m *memory) autoRespondLocked(it *item) bool {
	if !it.first || !it.last {
		return false
	}
	peer := m.peer
	reply := peer.autoResponseLocked(it.kind, it.buf.B)
	if reply == nil {
		return false
	}
	m.creditLocked(it)
	peer.observeAnsweredLocked(it.kind, len(it.buf.B), int(it.wireSize))
	it.buf.Free()
	out := outgoing{kind: Text, data: reply.data, first: true, last: true, countAs: countAsAutoResponse, ungated: true}
	if peer.admitLocked(&out) == nil && m.self.phase < phaseFinishing {
		peer.sendAdmittedLocked(&out, reply.data, false)
		peer.objectSocket.lastAutoResponse = time.Now().UnixNano()
	}
	peer.tellSoonLocked()
	return true
}
