package edgewsnats

import (
	"context"
	"fmt"
	"iter"
	"sync"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/cluster"
)

// place is where an object is stored.
type place struct {
	stream      string
	subject     string // the beginning of the object's subjects
	headSubject string
	partSubject string
	shard       cluster.Shard
	k           int           // the number of the stream
	batches     chan struct{} // a place for each batch that is under way
}

func (e *Engine) placeOf(o edgews.ObjectKey) (place, error) {
	config, batches, err := e.setup()
	if err != nil {
		return place{}, err
	}
	s := cluster.ShardOf(o, config.Shards)
	k := int(s) % len(batches)
	l := layout{e.o.Name}
	subject := l.objectSubject(k, s, o)
	return place{l.objectsStream(k), subject, subject + ".head", subject + ".part", s, k, batches[k]}, nil
}

// object is the storage of an object under one epoch. Its contents are in memory. Only the fence of a commit shows that it has been opened with
// a newer epoch.
type object struct {
	e     *Engine
	key   edgews.ObjectKey
	at    place
	epoch uint64
	turn  chan struct{} // has an element while there is a commit, which guards the following

	head   head
	seq    uint64 // of head; 0: there is none
	logged int    // the size of the changes of all segments
	failed error  // why there can be no more commits, or nil

	mu       sync.Mutex
	contents contents // written with turn and mu
}

// Open loads the object. It writes only if the epoch is new, or if another Engine has written last.
func (e *Engine) Open(ctx context.Context, key edgews.ObjectKey, f edgews.Fence) (edgews.ObjectStore, error) {
	inner, leave, err := e.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	o, err := e.open(inner, key, max(f.Epoch, firstEpoch))
	if err != nil {
		return nil, e.ended(ctx, err)
	}
	return o, nil
}

// firstEpoch is the epoch of an object that has no head.
const firstEpoch = 1

func (e *Engine) open(ctx context.Context, key edgews.ObjectKey, epoch uint64) (*object, error) {
	at, err := e.placeOf(key)
	if err != nil {
		return nil, err
	}
	o := &object{e: e, key: key, at: at, epoch: epoch, turn: make(chan struct{}, 1)}
	for {
		if err := o.fence(ctx); err != nil {
			return nil, err
		}
		complete, err := o.load(ctx)
		if err != nil || complete {
			return o, err
		}
		if err := pause(ctx); err != nil { // it has been changed meanwhile
			return nil, err
		}
	}
}

// readHead returns the present head and its number, or an empty head and 0.
func (o *object) readHead(ctx context.Context) (head, uint64, error) {
	m, err := o.e.getLast(ctx, o.at.stream, o.at.headSubject)
	if err != nil || m == nil {
		return head{epoch: firstEpoch}, 0, err
	}
	h, err := parseHead(m.Data, m.Seq)
	if err != nil {
		return head{}, 0, fmt.Errorf("%w: %s", err, m.Subject)
	}
	return h, m.Seq, nil
}

// fence sees to it that the head has the epoch of o and was written by this Engine. So a commit that another process has sent under the same
// epoch before it was killed, and that is still on its way, is not stored any more.
func (o *object) fence(ctx context.Context) error {
	for {
		h, seq, err := o.readHead(ctx)
		if err != nil {
			return err
		}
		switch {
		case h.epoch > o.epoch:
			return edgews.ErrFenced
		case h.epoch == o.epoch && h.writer == o.e.id:
			o.head, o.seq = h, seq
			return nil
		}
		// If the outcome of this is unknown, the next head shows it.
		next := head{
			epoch: o.epoch, nonce: newNonce(), writer: o.e.id, before: h.nonce,
			alarm: h.alarm, alarmSeq: h.alarmSeq, segments: h.all(seq),
		}
		seq, err = o.e.request(ctx, newMessage(o.at.headSubject, next.append(nil), seq))
		if err == nil {
			o.head, o.seq = next, seq
			return nil
		}
		if isFull(err) || isRefusal(err) && !isCode(err, codeWrongSeq, codeSeqInProcess, codeUnavailable) {
			return err
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

// enter returns why a call cannot begin.
func (o *object) enter(ctx context.Context) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case o.e.closing.Err() != nil:
		return ErrClosed
	}
	return nil
}

// snapshot returns the present contents.
func (o *object) snapshot(ctx context.Context) (contents, error) {
	if err := o.enter(ctx); err != nil {
		return contents{}, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.contents, nil
}

func (o *object) Get(ctx context.Context, key string) ([]byte, error) {
	c, err := o.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	value, exists := c.entries.Get(key)
	if !exists {
		return nil, edgews.ErrKeyNotFound
	}
	return append([]byte{}, value...), nil
}

// GetMany is part of edgews.ManyGetter.
func (o *object) GetMany(ctx context.Context, keys []string) (map[string][]byte, error) {
	c, err := o.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	values := make(map[string][]byte, len(keys))
	for _, key := range keys {
		if value, exists := c.entries.Get(key); exists {
			values[key] = append([]byte{}, value...)
		}
	}
	return values, nil
}

func (o *object) Scan(ctx context.Context, r edgews.Range) iter.Seq2[edgews.Entry, error] {
	return func(yield func(edgews.Entry, error) bool) {
		c, err := o.snapshot(ctx)
		if err == nil {
			first, end := r.Bounds()
			left := r.Limit
			c.entries.Scan(first, end, r.Reverse, func(key string, value []byte) bool {
				if err = ctx.Err(); err != nil {
					return false
				}
				entry := edgews.Entry{Key: key}
				if !r.KeysOnly {
					entry.Value = append([]byte{}, value...)
				}
				left--
				return yield(entry, nil) && left != 0
			})
		}
		if err != nil {
			yield(edgews.Entry{}, err)
		}
	}
}

// Release does nothing: the garbage collector frees the contents.
func (o *object) Release() {}
