package edgewsnats

import (
	"context"
	"fmt"
	"sync"
)

// loadsAtOnce is how many messages are read at the same time.
const loadsAtOnce = 32

// load reads the contents that o.head says. It returns false if the head has been replaced, and what it refers to has been removed.
func (o *object) load(ctx context.Context) (complete bool, err error) {
	pieces := o.head.all(o.seq)
	if o.head.isCommit && o.head.parts == 0 {
		pieces = pieces[:len(pieces)-1] // its changes are at hand
	}
	var seqs []uint64
	for _, s := range pieces {
		if s.parts == 0 {
			seqs = append(seqs, s.seq)
		}
		for i := range s.parts {
			seqs = append(seqs, s.seq-uint64(s.parts)+uint64(i))
		}
	}
	messages, err := o.e.getAll(ctx, o.at.stream, seqs)
	if err != nil {
		return false, err
	}
	for _, m := range messages {
		if m == nil {
			return false, o.checkReplaced(ctx)
		}
	}
	c, logged := contents{}, 0
	for _, s := range pieces {
		n := max(s.parts, 1)
		raw, err := o.changesOf(s, messages[:n])
		if err == nil {
			c, err = c.changed(raw)
		}
		if err != nil {
			return false, fmt.Errorf("%w: %s, message %d", err, o.at.subject, s.seq)
		}
		messages, logged = messages[n:], logged+len(raw)
	}
	if o.head.isCommit && o.head.parts == 0 {
		if c, err = c.changed(o.head.changes); err != nil {
			return false, fmt.Errorf("%w: %s, message %d", err, o.at.subject, o.seq)
		}
		logged += len(o.head.changes)
	}
	o.contents, o.logged = c, logged
	return true, nil
}

// changesOf returns the changes of a commit, which are in these messages.
func (o *object) changesOf(s segment, messages []*message) ([]byte, error) {
	if s.parts == 0 {
		m := messages[0]
		if m.Subject != o.at.headSubject {
			return nil, ErrDamaged
		}
		h, err := parseHead(m.Data, m.Seq)
		if err == nil && (!h.isCommit || h.parts != 0) {
			err = ErrDamaged
		}
		return h.changes, err
	}
	var raw []byte
	for _, m := range messages {
		if m.Subject != o.at.partSubject {
			return nil, ErrDamaged
		}
		raw = append(raw, m.Data...)
	}
	return raw, nil
}

// checkReplaced returns ErrDamaged if the head is still the same.
func (o *object) checkReplaced(ctx context.Context) error {
	_, seq, err := o.readHead(ctx)
	if err == nil && seq == o.seq {
		err = fmt.Errorf("%w: messages of %s are missing", ErrDamaged, o.at.subject)
	}
	return err
}

// getAll returns the messages with these numbers; nil stands for one that does not exist.
func (e *Engine) getAll(ctx context.Context, stream string, seqs []uint64) ([]*message, error) {
	messages := make([]*message, len(seqs))
	err := atOnce(len(seqs), func(i int) (err error) {
		messages[i], err = e.getSeq(ctx, stream, seqs[i])
		return err
	})
	return messages, err
}

// atOnce calls run with 0 to n-1, several at the same time, and returns one of the errors.
func atOnce(n int, run func(i int) error) error {
	if n == 1 {
		return run(0)
	}
	var wg sync.WaitGroup
	errs := make([]error, n)
	places := make(chan struct{}, loadsAtOnce)
	for i := range n {
		places <- struct{}{}
		wg.Go(func() {
			errs[i] = run(i)
			<-places
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
