package edgews

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"unicode/utf8"

	"github.com/edgews/edgews/internal/orderedset"
)

// socketHandle is what an object calls a socket that it has accepted. Sockets that are accepted later have larger ones.
type socketHandle uint64

// objectSocket is what an object knows of a socket that it has accepted with AcceptWebSocket. The messages and the end of the socket wait
// in the socket; the object's queue has at most one entry for it.
type objectSocket struct {
	// Immutable after AcceptWebSocket.
	o      *object
	s      *Socket
	handle socketHandle

	// Guarded by o.mu.
	tags    []string
	queued  bool        // it is in o.queue
	removed bool        // it is not in o.registry any more
	atEdge  bool        // the link of s is, and stays, a ClusterSocket. Changed with topicTable.mu too
	feeds   *feedMember // the first of the feeds that it has joined; nil: none

	topics *subscription // the last of those that it has; nil: none. Changed with o.mu and topicTable.mu, and by leave after removed is set

	// Guarded by the socket's mu.
	lastAutoResponse int64 // in nanoseconds since 1970; 0: there was none
}

// Key is for orderedset.
func (sock *objectSocket) Key() uint64 { return uint64(sock.handle) }

// objectSocketOf returns what the object that has accepted s knows of it, or nil if none has.
func objectSocketOf(s *Socket) *objectSocket {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.objectSocket
}

// queueObjectEventLocked is called when a message of s has arrived, or its end: if s belongs to an object, the object's queue gets an entry
// for it. mu must be held.
func (s *Socket) queueObjectEventLocked() {
	switch {
	case s.consumer == toObject:
		s.objectSocket.enqueueLocked()
	case s.is(hosted):
		s.pinned.queueIfDueLocked()
	}
}

// enqueueLocked puts sock into the object's queue, unless it is there. The socket's mu must be held.
func (sock *objectSocket) enqueueLocked() {
	o := sock.o
	o.mu.Lock()
	defer o.mu.Unlock()
	if sock.queued || sock.removed {
		return
	}
	sock.queued = true
	o.enqueueLocked(queuedEvent{socket: sock})
}

func (sock *objectSocket) dequeuedLocked() { sock.queued = false }

// edge returns what connects the socket with its edge. atEdge must be set.
func (sock *objectSocket) edge() ClusterConn { return sock.s.link.(*ClusterSocket).conn }

// isAttachedLocked reports whether the object still has the socket: it has not been reset. The socket's mu must be held.
func (sock *objectSocket) isAttachedLocked() bool { return sock.s.objectSocket == sock }

// describeLocked adds what the object knows of the socket to info; without an object nothing. The socket's mu must be held.
func (sock *objectSocket) describeLocked(info *SocketInfo) {
	if sock == nil {
		return
	}
	o := sock.o
	info.Namespace, info.Object = o.ns.name, o.id
	o.mu.Lock()
	defer o.mu.Unlock()
	info.Tags = slices.Clone(sock.tags)
	if !sock.removed {
		info.Topics = sock.topicsLocked()
	}
}

// tagsOf returns the socket's tags. The slice is the caller's.
func (sock *objectSocket) tagsOf() []string {
	sock.o.mu.Lock()
	defer sock.o.mu.Unlock()
	return slices.Clone(sock.tags)
}

// isRemoved reports whether the object does not list the socket any more: its end has been delivered, or the object has been reset.
func (sock *objectSocket) isRemoved() bool {
	sock.o.mu.Lock()
	defer sock.o.mu.Unlock()
	return sock.removed
}

// deliverNext delivers a message, or the end.
func (sock *objectSocket) deliverNext() {
	s := sock.s
	s.mu.Lock()
	switch {
	case !sock.isAttachedLocked():
		s.mu.Unlock()
	case s.isDrainNextLocked(s.in != nil && s.in.whole() || s.phase == phaseFinishing):
		sock.deliverDrainAndUnlock()
	case s.in != nil && s.in.whole():
		sock.deliverMessageAndUnlock()
	case s.phase == phaseFinishing:
		fate := s.result
		s.mu.Unlock()
		sock.deliverEnd(fate)
	case s.in != nil && s.in.wantFromObject != wantNothing:
		sock.resumeLargeMessageAndUnlock()
	default:
		s.mu.Unlock()
	}
}

// deliverMessageAndUnlock takes the first message, and queues the socket again if something waits behind it: after what other sockets and
// requests have queued meanwhile. The socket's mu must be held; it is released.
func (sock *objectSocket) deliverMessageAndUnlock() {
	s := sock.s
	it := s.takeLocked()
	if sock.hasEventLocked() {
		sock.enqueueLocked()
	}
	reply := s.autoResponseLocked(it.kind, it.buf.B) // not nil for a message that came before AcceptWebSocket or SetAutoResponse
	ok, l := reply != nil || s.counter.countReceivedLocked(1, len(it.buf.B)), s.link
	s.in.lentBuffer = it.buf
	if edge := clusterSocketOf(s); edge != nil && !sock.o.ns.isHome(sock.o.id) {
		edge.movedLocked() // the handler will not run: the edge sends the message to the next home
	}
	switch {
	case reply != nil:
		s.observeAnsweredLocked(it.kind, len(it.buf.B), int(it.wireSize))
	case ok:
		s.beginHandlingLocked(it.kind, len(it.buf.B), int(it.wireSize), 0)
	}
	s.mu.Unlock()
	defer s.objectDone(it.buf)
	switch {
	case !ok:
		l.transmit()
	case reply != nil:
		s.autoRespond(reply)
	case sock.o.ns.eventsContext.Err() == nil && sock.o.mayHandle(handlesMessages): // messages are dropped after Shutdown has cut
		sock.runHandler("WebSocketMessage", func(ctx context.Context, value Object) error {
			if h, ok := value.(MessageHandler); ok {
				return h.WebSocketMessage(ctx, s, Message{it.kind, it.buf.B})
			}
			return nil
		})
	}
}

// resumeLargeMessageAndUnlock lets the wire read on when it has paused in a large message, because the object's queue has come to the
// socket. A message that only has to be inflated is delivered in the same event, so that an object never has more than one of them in
// memory. The socket's mu must be held; it is released.
func (sock *objectSocket) resumeLargeMessageAndUnlock() {
	s, in := sock.s, sock.s.in
	in.want, in.wantFromObject = in.wantFromObject, wantNothing
	if in.want == wantRest {
		s.link.resumeReadingLocked()
		s.mu.Unlock()
		return
	}
	if in.ready == nil {
		in.ready = make(chan struct{}, 1)
	}
	s.link.resumeReadingLocked()
	for !in.whole() && s.phase < phaseFinishing && sock.isAttachedLocked() {
		s.mu.Unlock()
		<-in.ready
		s.mu.Lock()
	}
	in.want = wantNothing
	if in.whole() && sock.isAttachedLocked() {
		sock.deliverMessageAndUnlock()
		return
	}
	s.mu.Unlock()
}

// deliverEnd delivers the last events, and answers the peer's Close if the handler has not.
func (sock *objectSocket) deliverEnd(fate *closeResult) {
	s := sock.s
	defer sock.finish()
	if fate.err != nil {
		s.warn("edgews: socket failed", fate.err)
		if sock.o.mayHandle(handlesErrors) {
			if !sock.o.mayHandle(handlesCloses) {
				s.beginEnd()
			}
			sock.runHandler("WebSocketError", func(ctx context.Context, value Object) error {
				if h, ok := value.(ErrorHandler); ok {
					return h.WebSocketError(ctx, s, fate.err)
				}
				return nil
			})
		}
	}
	if !sock.o.mayHandle(handlesCloses) {
		return
	}
	s.beginEnd()
	sock.runHandler("WebSocketClose", func(ctx context.Context, value Object) error {
		if h, ok := value.(CloseHandler); ok {
			return h.WebSocketClose(ctx, s, CloseEvent{s, fate.Code, fate.Reason, fate.WasClean})
		}
		return nil
	})
}

// runHandler runs fn as an event of the object. The error is logged.
func (sock *objectSocket) runHandler(what string, fn func(context.Context, Object) error) {
	o := sock.o
	o.handling.Store(sock.s)
	defer o.handling.Store(nil)
	o.runHandler(o.ns.eventsContext, what, fn)
}

// socketAttr returns the group of the socket whose event runs, for a log; without one the attribute that handlers leave out.
func (o *object) socketAttr() slog.Attr {
	if s := o.handling.Load(); s != nil {
		return s.logAttr()
	}
	return slog.Attr{}
}

// finish removes the socket from the object after its last event, and finishes it. If the object has been reset meanwhile, reset ends what the
// socket has joined and subscribed to: when no other socket can be told.
func (sock *objectSocket) finish() {
	s, o := sock.s, sock.o
	s.mu.Lock()
	if !sock.isAttachedLocked() {
		s.mu.Unlock()
		return
	}
	sock.answerCloseLocked(nil)
	l, fate := s.link, s.result
	s.mu.Unlock()
	l.transmit()
	s.debug("edgews: socket closed", "code", uint16(fate.Code), "reason", fate.Reason, "clean", fate.WasClean)
	o.finishedHere(s)
	inFeeds, subscribed := false, false
	o.mu.Lock()
	if !sock.removed {
		o.registry.remove(sock)
		inFeeds, subscribed = sock.feeds != nil, sock.topics != nil
	}
	o.mu.Unlock()
	if subscribed {
		o.ns.topics.leave(sock)
	}
	if inFeeds {
		sock.leaveFeeds()
	}
	s.finished()
}

// answerCloseLocked answers the peer's Close, if there is one and the handler has not answered it: with c, or with what the peer said if c
// is nil. The socket's mu must be held.
func (sock *objectSocket) answerCloseLocked(c *closeFrame) {
	s := sock.s
	if s.is(sentClose|lost) || !s.is(gotClose) {
		return
	}
	if c == nil {
		c = &closeFrame{s.result.Code, s.result.Reason}
		if c.code == StatusNoStatusRcvd {
			c.code = 0
		}
	}
	s.sendCloseLocked(*c)
}

// abort detaches the socket from an object that has been reset, and closes it with 1011. It has no more events.
func (sock *objectSocket) abort(err error, reason string) {
	s := sock.s
	s.mu.Lock()
	if !sock.isAttachedLocked() {
		s.mu.Unlock()
		return
	}
	if edge := clusterSocketOf(s); edge != nil && (errors.Is(err, ErrNotHome) || errors.Is(err, ErrFenced)) {
		edge.movedLocked() // the socket goes on at its edge, which sends what has not been handled to the next home
	}
	s.objectSocket = nil
	s.consumer = toReceivers
	for s.in != nil && s.in.queue.Len() > 0 {
		it := s.popPieceLocked()
		it.buf.Free()
	}
	last := s.phase >= phaseFinishing
	if !utf8.ValidString(reason) {
		reason = "internal error"
	}
	c := closeFrame{StatusInternalError, clip(reason)}
	if sock.hasOutputFailed() {
		s.dropHeldOutputLocked(c)
	}
	sock.answerCloseLocked(&c)
	s.failLocked(StatusInternalError, reason, err)
	l := s.link
	s.mu.Unlock()
	l.transmit()
	if last {
		s.finished()
	}
}

// socketRegistry holds the sockets that an object has accepted, by handle and by tag, each set oldest first. It is guarded by the object's
// mu.
type socketRegistry struct {
	all   socketSet
	byTag map[string]socketSet // no set is empty
	last  socketHandle         // the one that was given last
}

type socketSet = orderedset.Set[*objectSocket]

// add gives sock its handle and its tags.
func (r *socketRegistry) add(sock *objectSocket, tags []string) {
	r.last++
	sock.handle = r.last
	r.all = r.all.With(sock)
	r.tag(sock, tags)
}

func (r *socketRegistry) remove(sock *objectSocket) {
	r.untag(sock)
	r.all = r.all.Without(sock)
	sock.removed = true
}

// tag gives tags to sock, which must have none.
func (r *socketRegistry) tag(sock *objectSocket, tags []string) {
	if len(tags) > 0 && r.byTag == nil {
		r.byTag = make(map[string]socketSet)
	}
	sock.tags = tags
	for _, t := range tags {
		r.byTag[t] = r.byTag[t].With(sock)
	}
}

// untag takes sock out of the sets of its tags. sock.tags stays.
func (r *socketRegistry) untag(sock *objectSocket) {
	for _, t := range sock.tags {
		if left := r.byTag[t].Without(sock); left != nil {
			r.byTag[t] = left
		} else {
			delete(r.byTag, t)
		}
	}
}

// withTags returns the sockets that carry all tags, oldest first, as a slice that the caller may keep. It looks through those that carry
// the rarest tag.
func (r *socketRegistry) withTags(tags []string) []*objectSocket {
	if len(tags) == 0 {
		return slices.Clone(r.all)
	}
	rarest := slices.MinFunc(tags, func(a, b string) int { return cmp.Compare(len(r.byTag[a]), len(r.byTag[b])) })
	var found []*objectSocket
	for _, sock := range r.byTag[rarest] {
		if sock.carries(tags) {
			found = append(found, sock)
		}
	}
	return found
}

func (sock *objectSocket) carries(tags []string) bool {
	for _, t := range tags {
		if !slices.Contains(sock.tags, t) {
			return false
		}
	}
	return true
}
