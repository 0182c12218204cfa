package edgews

import (
	"context"
	"errors"
	"time"
)

// ClusterRestored is a socket of an object that has a new home.
type ClusterRestored struct {
	Conn                 ClusterConn
	Kept                 ClusterKept
	Options              Options // as ClusterUpgrade.Options
	Host                 string  // of the request that was upgraded
	Path                 string
	Protocol, Extensions string

	AutoResponses   []AutoResponse // those that the edge has been told last
	AutoRespondedAt time.Time      // when the edge has sent one last; zero: never

	Handled uint64 // how many messages of the connection earlier homes have said to have handled

	Positions ClusterPositions // what earlier homes have said with ClusterConn.Position
	Topics    []string         // to which the connection is subscribed, in the order in which it was: ClusterConn.Subscribe
}

// Restore gives an object of this node the sockets that it had on its last home, before its first event: the edges keep them. For each it
// calls Bind, and returns how many messages of the connection have been handled; Deliver goes on with the one behind. For a connection whose
// close event has been handled it returns ClusterEnded, and does not call Bind. list is in the order in which the sockets were accepted, as far
// as that is known. After an error the object has got none of them, and Restore may be called again.
func (h *ClusterHost) Restore(ctx context.Context, id ID, list []ClusterRestored) (handled []uint64, err error) {
	if err := h.n.checkID(id); err != nil {
		return nil, err
	}
	o := h.n.objectFor(id)
	marks, err := o.readMarks(ctx)
	if err != nil {
		return nil, err
	}
	last, err := o.lastMessages(ctx, list)
	if err != nil {
		return nil, err
	}
	for i := range list {
		m, marked := marks[list[i].Conn.Key()]
		n := max(list[i].Handled, m.number)
		if m.flag == markOfEnd {
			n = ClusterEnded
		}
		delete(marks, list[i].Conn.Key())
		handled = append(handled, n)
		if n != ClusterEnded {
			o.restore(&list[i], n, marked)
		}
	}
	o.feedsAreRestored(list, last)
	o.mu.Lock()
	defer o.mu.Unlock()
	for key, m := range marks {
		if next, keep := m.missed(); keep {
			o.cluster.missed = append(o.cluster.missed, Entry{markPrefix + key, next.encode()})
		} else {
			o.cluster.ended = append(o.cluster.ended, key)
		}
	}
	return handled, nil
}

// restore gives the object a socket of which handled messages have been handled.
func (o *object) restore(r *ClusterRestored, handled uint64, marked bool) {
	opts := r.Options
	s := newClusterSocket(opts.resolve(), identity{protocol: r.Protocol, extensions: r.Extensions, where: r.Host + r.Path})
	c := s.link.(*ClusterSocket)
	s.mu.Lock()
	var meter *Meter
	if o.counter != nil {
		meter = o.counter.meter
	}
	c.bindLocked(r.Conn, wireConfig{meter: meter, object: o})
	c.arrived, c.handled, c.taken, c.marked = handled, handled, handled, marked
	if r.Kept.AttachmentForm != noAttachmentForm {
		s.extraLocked().attached = &attachment{attachmentForm(r.Kept.AttachmentForm), r.Kept.Attachment}
	}
	sock := &objectSocket{o: o, s: s, atEdge: true}
	if !r.AutoRespondedAt.IsZero() {
		sock.lastAutoResponse = r.AutoRespondedAt.UnixNano()
	}
	if len(r.AutoResponses) > 0 { // as after hibernation: the object need not set them again
		o.autoResponses.CompareAndSwap(nil, newAutoResponses(r.AutoResponses))
	}
	s.extraLocked().objectSocket = sock
	s.consumer = toObject
	s.facts |= manualClose
	o.mu.Lock()
	o.registry.add(sock, r.Kept.Tags)
	o.mu.Unlock()
	c.feeds = r.Kept.Feeds
	s.acceptLocked(0)
	s.tellAndUnlock()
	o.mu.Lock()
	if !sock.removed { // by Abandon, which has ended the subscriptions
		o.ns.topics.restore(sock, r.Topics)
	}
	o.mu.Unlock()
	o.restoreFeeds(sock, r)
	r.Conn.Bind(c)
}

// Leave ends the objects of this node for which leaving returns true, because they get another home: it waits until the events that run or wait
// have ended, and drops the values, after Suspend with SuspendMove. Sockets that an object has accepted with AcceptWebSocket stay open at
// their edges; others end with 1011. IsHome must return true until Leave has returned, and nothing that is new must be given to these objects.
// If ctx ends first, Leave returns its error: the storage fences what is left.
func (h *ClusterHost) Leave(ctx context.Context, leaving func(ID) bool) error {
	var errs []error
	for _, o := range h.n.allObjects() {
		if leaving(o.id) {
			errs = append(errs, o.leave(ctx))
		}
	}
	return errors.Join(errs...)
}

// leave is Leave for one object.
func (o *object) leave(ctx context.Context) error {
	o.mu.Lock()
	o.cluster.leaving = true
	o.mu.Unlock()
	_, err := o.runQueued(ctx, "Leave", func() {
		defer o.moved(ErrNotHome) // before another event could begin
		o.unload(SuspendMove)
	})
	if err != nil {
		o.moved(ErrNotHome)
		return err
	}
	return o.waitForStorageRelease(ctx)
}

// movedReason is what the peers of sockets are told that cannot survive the move.
const movedReason = "object has moved"

// Abandon ends the objects of this node for which abandoned returns true, because another node may be their home already: their values are
// dropped without Suspend, events that wait fail with ErrNotHome, and the context of the event that runs ends, with ErrNotHome as its cause.
// Nothing is waited for. Sockets are treated as by Leave. Call it also after Leave, when IsHome returns false: an event that came at the
// last moment may have made an object again.
func (h *ClusterHost) Abandon(abandoned func(ID) bool) {
	for _, o := range h.n.allObjects() {
		if abandoned(o.id) {
			o.moved(ErrNotHome)
		}
	}
}

// moved drops what is left of an object that has another home. Its sockets go on at their edges.
func (o *object) moved(cause error) {
	o.mu.Lock()
	o.cluster.moved = true
	running := o.cluster.event
	o.mu.Unlock()
	o.reset(cause, movedReason)
	if running != nil {
		running.cancel(cause)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.forgotten {
		o.forgetLocked()
	}
	o.refuseCallsLocked()
}

// beginHere notes the event that is about to run. It returns false if it must not: the object has another home, or is about to have one.
func (o *object) beginHere(e *eventContext) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.cluster.moved {
		return false
	}
	o.cluster.event = e
	return true
}

// refusedHere is called when an event does not run because the object has another home. If it is of a socket, the edge must not be told that it
// has been handled: whether this node is the home may have changed since the event was taken from the queue.
func (o *object) refusedHere() {
	s := o.handling.Load()
	if s == nil {
		return
	}
	if c := clusterSocketOf(s); c != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		c.movedLocked()
	}
}

// movedLocked notes that the object has moved: the edge sends what has not been handled to the next home. The socket's mu must be held.
func (c *ClusterSocket) movedLocked() { c.cut, c.moved = true, true }

// endHere notes that the event is over.
func (o *object) endHere(e *eventContext) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.cluster.event == e {
		o.cluster.event = nil
	}
}

// refuseCallsLocked has the calls in the queue fail as those of an object that has been forgotten: an event that does not end must not hold
// them up. mu must be held.
func (o *object) refuseCallsLocked() {
	o.queue.DeleteFunc(func(e queuedEvent) bool {
		if e.call == nil {
			return false
		}
		if !e.call.abandoned {
			e.call.begun, e.call.refused, e.call.run = true, true, nil
			o.waitingCalls--
			close(e.call.done)
		}
		return true
	})
	o.abandonedCalls = 0
}
