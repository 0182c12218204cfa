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
// connection. A new home does not take messages up to that number again. The same holds for the close event, whose mark says that it has been handled.

// markPrefix is what the keys of marks begin with in an object's storage; the key of the connection follows.
const markPrefix = "\x00seen\x00"

// ClusterEnded is what ClusterHost.Restore returns in place of a number for a connection whose close event an earlier home has handled.
const ClusterEnded = math.MaxUint64

// markLocked adds to b the mark of the message that the event of ctx handles, and deletes the marks of connections that have ended. It returns
// what to call when b is stored, or nil. The write lock must be held.
func (l *storageLease) markLocked(ctx context.Context, b Batch) (marked Batch, stored func()) {
	o := l.o
	if o.ns.opts.Cluster == nil {
		return b, nil
	}
	c, handled := o.handledByEvent(ctx)
	ended, missed := o.changedMarks()
	if c == nil && len(ended) == 0 && len(missed) == 0 {
		return b, nil
	}
	if c != nil {
		b.Puts = append(slices.Clip(b.Puts), Entry{markPrefix + c.key, handled.encode()})
	}
	b.Puts = append(slices.Clip(b.Puts), missed...)
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
		o.cluster.missed = o.cluster.missed[len(missed):]
	}
}

// handledByEvent returns the socket whose message or close event is being handled by the event of ctx, and its mark; nil: there is none.
func (o *object) handledByEvent(ctx context.Context) (*ClusterSocket, mark) {
	s := o.handling.Load()
	if e := eventOf(ctx); s == nil || e == nil || e.o != o {
		return nil, mark{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c := clusterSocketOf(s)
	switch {
	case c == nil:
	case c.ending:
		return c, mark{c.arrived, markOfEnd}
	case c.handling:
		return c, mark{c.taken, 0}
	}
	return nil, mark{}
}

// mark is what an object's storage has of a connection.
type mark struct {
	number uint64 // how many messages have been handled
	flag   byte   // markOfEnd; otherwise how many homes have begun without the connection, plus one; 0: none
}

// markOfEnd is the flag of a connection whose close event has changed the storage.
const markOfEnd = 1

// maxMissed is how many homes may begin without a connection before its mark is deleted. An edge that cannot be reached is not waited for; when it
// comes back, it announces its connections to the next home, which must not take again what has been handled.
const maxMissed = 16

func (m mark) encode() []byte {
	value := binary.AppendUvarint(nil, m.number)
	if m.flag != 0 {
		value = append(value, m.flag)
	}
	return value
}

func parseMark(value []byte) (m mark) {
	number, n := binary.Uvarint(value)
	m.number = number
	if n > 0 && len(value) > n {
		m.flag = value[n]
	}
	return m
}

// missed returns the mark when one more home has begun without its connection, and false if it is to be deleted.
func (m mark) missed() (next mark, keep bool) {
	if m.flag == markOfEnd {
		return m, false
	}
	m.flag = max(m.flag, markOfEnd) + 1
	return m, m.flag <= maxMissed+1
}

// clusterObject is what an object of a cluster keeps besides its sockets. Guarded by the object's mu.
type clusterObject struct {
	leaving bool          // it is moving to another node: nothing new begins
	moved   bool          // another node may be its home: what was queued here fails
	event   *eventContext // of the event that runs, or ran last; nil: none does
	ended   []string      // keys of connections that have ended and whose marks the next commit deletes
	missed  []Entry       // marks of connections that were not announced, as the next commit stores them
}

// changedMarks returns the keys of connections whose marks are to be deleted, and marks to be stored.
func (o *object) changedMarks() (ended []string, missed []Entry) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.cluster.ended), slices.Clone(o.cluster.missed)
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
func (o *object) readMarks(ctx context.Context) (map[string]mark, error) {
	l, err := o.acquireStorage(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer l.release()
	store, err := l.openForReading(ctx)
	if err != nil {
		return nil, err
	}
	marks := make(map[string]mark)
	for e, err := range store.Scan(ctx, Range{Prefix: markPrefix}) {
		if err != nil {
			return nil, l.stopIfFenced(err)
		}
		marks[strings.TrimPrefix(e.Key, markPrefix)] = parseMark(e.Value)
	}
	return marks, nil
}
