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
// calls Bind, and returns how many messages of the connection have been handled; Deliver goes on with the one behind. list is in the order
// in which the sockets were accepted, as far as that is known.
func (h *ClusterHost) Restore(ctx context.Context, id ID, list []ClusterRestored) (handled []uint64, err error) {
	if err := h.n.checkID(id); err != nil {
		return nil, err
	}
	o := h.n.objectFor(id)
	marks, err := o.readMarks(ctx)
	if err != nil {
		return nil, err
	}
	for i := range list {
		n := max(list[i].Handled, marks[list[i].Conn.Key()])
		_, marked := marks[list[i].Conn.Key()]
		delete(marks, list[i].Conn.Key())
		handled = append(handled, n)
		o.restore(&list[i], n, marked)
	}
	if err := o.feedsAreRestored(ctx, list); err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for key := range marks {
		o.cluster.ended = append(o.cluster.ended, key)
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
	o.ns.topics.restore(sock, r.Topics)
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

// moved drops what is left of an object that has another home. Its sockets go on at their edges.
func (o *object) moved(cause error) {
	o.reset(cause, movedReason)
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.forgotten {
		o.forgetLocked()
	}
}
