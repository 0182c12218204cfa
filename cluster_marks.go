package edgews

import (
	"context"
	"encoding/binary"
	"math"
	"slices"
	"strings"
)

// The messages of a socket whose connection is at an edge have numbers, and the edge sends those again that no home has acknowledged. So that
// no message changes the storage twice, the first commit of the event that handles a message also stores its number: the mark of the
// connection. A new home does not take messages up to that number again. The same holds for the close event, whose mark is endMark.

// markPrefix is what the keys of marks begin with in an object's storage; the key of the connection follows.
const markPrefix = "\x00seen\x00"

// endMark is the mark of a connection whose close event has been handled.
const endMark = math.MaxUint64

// markLocked adds to b the mark of the message that the event of ctx handles, and deletes the marks of connections that have ended. It returns
// what to call when b is stored, or nil. The write lock must be held.
func (l *storageLease) markLocked(ctx context.Context, b Batch) (marked Batch, stored func()) {
	o := l.o
	if o.ns.opts.Cluster == nil {
		return b, nil
	}
	c, number := o.handledMessage(ctx)
	ended := o.endedMarks()
	if c == nil && len(ended) == 0 {
		return b, nil
	}
	if c != nil {
		b.Puts = append(slices.Clip(b.Puts), Entry{markPrefix + c.key, binary.AppendUvarint(nil, number)})
	}
	for _, key := range ended {
		b.Deletes = append(slices.Clip(b.Deletes), markPrefix+key)
	}
	return b, func() {
		if c != nil {
			c.noteMarked()
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		o.cluster.ended = o.cluster.ended[len(ended):]
	}
}

// handledMessage returns the socket whose message or close event is being handled by the event of ctx, and its mark; nil: there is none.
func (o *object) handledMessage(ctx context.Context) (c *ClusterSocket, number uint64) {
	s := o.handling.Load()
	if e := eventOf(ctx); s == nil || e == nil || e.o != o {
		return nil, 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c = clusterSocketOf(s)
	switch {
	case c == nil:
	case c.ending:
		return c, endMark
	case c.handling:
		return c, c.taken
	}
	return nil, 0
}

// clusterObject is what an object of a cluster keeps besides its sockets. Guarded by the object's mu.
type clusterObject struct {
	leaving bool          // it is moving to another node: nothing new begins
	moved   bool          // another node may be its home: what was queued here fails
	event   *eventContext // of the event that runs, or ran last; nil: none does
	ended   []string      // keys of connections that have ended and whose marks the next commit deletes
}

// endedMarks returns the keys of connections whose marks are to be deleted.
func (o *object) endedMarks() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.cluster.ended)
}

// beginEnd is called before the event that is the last one of s.
func (s *Socket) beginEnd() {
	if c := clusterSocketOf(s); c != nil {
		s.mu.Lock()
		c.ending = true
		s.mu.Unlock()
	}
}

// finishedHere notes that s has had its last event.
func (o *object) finishedHere(s *Socket) {
	if c := clusterSocketOf(s); c != nil {
		s.mu.Lock()
		c.finishedIn = o
		c.forgetMarkAndUnlock()
	}
}

// Forgotten says that the edge does not announce the connection to another home any more: it has been told that all has been handled, or it is
// lost. What the storage keeps of the connection can go.
func (c *ClusterSocket) Forgotten() {
	c.self.mu.Lock()
	c.forgotten = true
	c.forgetMarkAndUnlock()
}

// noteMarked notes that a mark of the connection has been stored.
func (c *ClusterSocket) noteMarked() {
	c.self.mu.Lock()
	c.marked = true
	c.forgetMarkAndUnlock()
}

// forgetMarkAndUnlock has the mark of the connection deleted with the next commit, if there is one that is of no use any more: the socket has
// had its last event, and no other home gets the connection. The socket's mu must be held; it is released.
func (c *ClusterSocket) forgetMarkAndUnlock() {
	o := c.finishedIn
	isDue := o != nil && c.marked && c.forgotten
	if isDue {
		c.marked = false
	}
	c.self.mu.Unlock()
	if isDue {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.cluster.ended = append(o.cluster.ended, c.key)
	}
}

// readMarks returns the marks in the object's storage, by the keys of their connections.
func (o *object) readMarks(ctx context.Context) (map[string]uint64, error) {
	l, err := o.acquireStorage(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer l.release()
	store, err := l.openForReading(ctx)
	if err != nil {
		return nil, err
	}
	marks := make(map[string]uint64)
	for e, err := range store.Scan(ctx, Range{Prefix: markPrefix}) {
		if err != nil {
			return nil, l.stopIfFenced(err)
		}
		number, _ := binary.Uvarint(e.Value)
		marks[strings.TrimPrefix(e.Key, markPrefix)] = number
	}
	return marks, nil
}
