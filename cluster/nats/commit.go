package edgewsnats

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/edgews/edgews"
	"github.com/nats-io/nats.go"
)

const (
	// mostInline is the largest size of changes that are in the head itself. DueAlarms and commits of unknown outcome read heads.
	mostInline = 64 << 10

	// partSize is the size of the messages of larger changes. When they are read, they are a third larger, in JSON, and must fit into
	// max_payload of the servers, which is at least minPayload; NATS's default is 1 MiB.
	partSize   = 256 << 10
	minPayload = 512 << 10

	// maxParts leaves a place in a batch of 1000, the limit of a server, for the head and for an alarm.
	maxParts = 998

	// A commit contains everything when there would be maxSegments segments, and one more for each sizePerSegment bytes of everything, so that
	// large objects are not written all the time. It also does so when the segments would have more bytes than logMinimum and logFactor times
	// everything.
	maxSegments    = 64
	sizePerSegment = 16 << 10
	logFactor      = 2
	logMinimum     = 64 << 10

	// sendRate is how slow a connection may be for large commits, in bytes per second.
	sendRate = 1 << 20
)

// ErrTooLarge: a commit, or the object, has more than about 250 MB.
var ErrTooLarge = errors.New("edgews: object is too large for NATS")

func (o *object) Commit(ctx context.Context, b edgews.Batch) error {
	if err := o.enter(ctx); err != nil {
		return err
	}
	if !o.e.beginCommit() {
		return ErrClosed
	}
	defer o.e.commits.Done()
	select {
	case o.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	case <-o.e.closing.Done():
		return ErrClosed
	}
	defer func() { <-o.turn }()
	if o.failed != nil {
		return o.failed
	}
	return o.commit(ctx, b)
}

// commit makes one message, or an atomic batch of them: a new alarm, the parts of large changes, and the head, which replaces o.head.
func (o *object) commit(ctx context.Context, b edgews.Batch) error {
	next := o.contents.after(b)
	changes, isSnapshot := o.changes(b, next)
	h := head{
		epoch: o.epoch, nonce: newNonce(), writer: o.e.id, before: o.head.before,
		alarm: o.head.alarm, alarmSeq: o.head.alarmSeq, isCommit: true, changes: changes,
	}
	if !isSnapshot {
		h.segments = o.head.all(o.seq)
	}
	var batch []*nats.Msg
	if b.Alarm != nil && !sameTime(b.Alarm.Time, o.head.alarm) {
		h.alarm, h.alarmSeq = b.Alarm.Time, 0
		if h.setsNow = !h.alarm.IsZero(); h.setsNow {
			batch = append(batch, nats.NewMsg(layout{o.e.o.Name}.alarmSubject(o.at.k, o.at.shard, o.key, h.alarm)))
		}
	}
	if len(changes) > mostInline {
		for part := range partsOf(changes) {
			m := nats.NewMsg(o.at.partSubject)
			m.Data = part
			batch = append(batch, m)
			h.parts++
		}
		h.changes = nil
	}
	if h.parts > maxParts {
		return fmt.Errorf("%w: %s/%s: %d bytes in one commit", ErrTooLarge, o.key.Namespace, o.key.ID, len(changes))
	}
	batch = append(batch, newMessage(o.at.headSubject, h.append(nil), o.seq))
	seq, err := o.write(ctx, batch, h.nonce)
	if err != nil {
		return err
	}
	o.committed(h, seq, next, len(changes), isSnapshot)
	return nil
}

func sameTime(a, b time.Time) bool { return a.IsZero() == b.IsZero() && a.Equal(b) }

// changes returns the changes of b, or those that make everything: then the segments before are needed no more.
func (o *object) changes(b edgews.Batch, next contents) (changes []byte, isSnapshot bool) {
	if b.DeleteAll {
		return next.snapshot(), true
	}
	changes = appendChanges(b)
	tooMany := len(o.head.segments)+1 >= maxSegments+next.size/sizePerSegment
	if tooMany || o.logged+len(changes) > logMinimum+logFactor*next.size {
		return next.snapshot(), true
	}
	return changes, false
}

// partsOf cuts changes.
func partsOf(changes []byte) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(changes) > 0 {
			n := min(partSize, len(changes))
			if !yield(changes[:n]) {
				return
			}
			changes = changes[n:]
		}
	}
}

// committed notes that h has been stored, and has what it replaces removed.
func (o *object) committed(h head, seq uint64, next contents, size int, isSnapshot bool) {
	if h.setsNow {
		h.alarmSeq = seq - uint64(h.parts) - 1
	}
	if o.head.alarmSeq != 0 && o.head.alarmSeq != h.alarmSeq {
		o.e.remove(o.at.stream, o.head.alarmSeq)
	}
	if isSnapshot {
		if o.seq != 0 {
			o.e.purge(o.at.stream, o.at.subject+".*", seq-uint64(h.parts))
		}
		o.logged = 0
	}
	o.head, o.seq = h, seq
	o.head.changes = nil
	o.logged += size
	o.mu.Lock()
	defer o.mu.Unlock()
	o.contents = next
}

// write stores a batch whose last message is a head with this nonce, and returns the number of the head. When an answer is missing, the batch
// may be stored, or may be stored later. Then write goes on, whatever ctx says, until the batch, or another head in its place, has been
// stored: the batch that is missing cannot be stored after that.
func (o *object) write(ctx context.Context, batch []*nats.Msg, n nonce) (uint64, error) {
	late := o.e.newLate("edgews: NATS: a commit takes long; trying again", o.at.stream)
	for unknown := false; ; {
		switch {
		case unknown:
			ctx = context.WithoutCancel(ctx)
		case ctx.Err() != nil:
			return 0, ctx.Err()
		case o.e.closing.Err() != nil:
			return 0, ErrClosed
		}
		seq, err := o.publish(ctx, batch)
		if err == nil {
			return seq, nil
		}
		switch {
		case isCode(err, codeWrongSeq):
			seq, err := o.find(n)
			if err != nil || seq != 0 {
				return seq, err
			}
		case isFull(err) && !unknown:
			return 0, err
		case isCode(err, codeSeqInProcess, codeIncompleteBatch, codeTooManyBatches, codeUnavailable):
		case !isRefusal(err):
			unknown = unknown || !errors.Is(err, errNotSent)
		case !unknown:
			return 0, err
		}
		late.failed(err)
		if pause(o.e.closed) != nil {
			return 0, ErrClosed
		}
	}
}

// find looks for the head that has been stored in place of o.head. It returns its number if its nonce is n, and 0 if o.head is still the
// present one, or the server is behind. ErrFenced means that another owner has replaced o.head.
func (o *object) find(n nonce) (uint64, error) {
	h, seq, err := o.readHead(o.e.closed)
	switch {
	case err != nil:
		return 0, err
	case seq <= o.seq:
		return 0, nil
	case h.nonce == n:
		return seq, nil
	}
	// Another owner: the head that it has found may be ours.
	m, err := o.e.getNext(o.e.closed, o.at.stream, o.at.headSubject, o.seq)
	if err != nil || m == nil {
		return 0, err
	}
	first, err := parseHead(m.Data, m.Seq)
	switch {
	case err != nil:
		return 0, err
	case first.nonce == n:
		return m.Seq, nil
	case h.before == n: // it has been removed since; the number is only good for the next commit, which is fenced
		return o.seq + 1, nil
	case h.epoch > o.epoch:
		return 0, edgews.ErrFenced
	}
	o.failed = fmt.Errorf("edgews: %s has been opened by another process with the same epoch %d", o.at.subject, h.epoch)
	return 0, o.failed
}

// errNotSent: the batch has not been sent completely.
var errNotSent = errors.New("edgews: NATS: batch has not been sent")

// publish sends a batch once, and returns the number of its last message. If the error is no refusal and not errNotSent, the outcome is
// unknown.
func (o *object) publish(ctx context.Context, batch []*nats.Msg) (uint64, error) {
	size := 0
	for _, m := range batch {
		size += len(m.Data)
	}
	attempt, cancel := context.WithTimeout(o.e.closed, attemptTimeout+time.Duration(size)*time.Second/sendRate)
	defer cancel()
	last := batch[len(batch)-1]
	if len(batch) > 1 {
		select {
		case o.at.batches <- struct{}{}:
			defer func() { <-o.at.batches }()
		case <-ctx.Done():
			return 0, errNotSent
		case <-attempt.Done():
			return 0, errNotSent
		}
		id := newNonce().String()
		for i, m := range batch {
			m.Header["Nats-Batch-Id"] = []string{id}
			m.Header["Nats-Batch-Sequence"] = []string{strconv.Itoa(i + 1)}
			if m == last {
				m.Header["Nats-Batch-Commit"] = []string{"1"}
			} else if err := o.e.nc.PublishMsg(m); err != nil {
				return 0, errNotSent
			}
		}
	}
	seq, err := o.e.request(attempt, last)
	if errors.Is(err, nats.ErrMaxPayload) {
		return 0, fmt.Errorf("%w: %w", ErrTooLarge, err)
	}
	return seq, err
}
