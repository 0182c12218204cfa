package edgewsnats

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/edgews/edgews/cluster"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Watch reads the stream of records, in whose order everything has been acknowledged. It publishes a message of its own after it has begun to
// read: what was acknowledged before is before this message, wherever it reads from, also from a server that is behind.
func (e *Engine) Watch(ctx context.Context, fn func(cluster.Change)) error {
	inner, leave, err := e.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	return e.ended(ctx, e.watch(inner, fn))
}

// watchHeartbeat is how often the server of the consumer says that it is alive. Without two of them, Watch ends: with NATS's default of 15 s a
// dead server would go unnoticed for longer than the default TTL.
const watchHeartbeat = time.Second

// watchStall is how long nothing may arrive while there is something that this Engine itself has stored. Then Watch ends: a consumer may send
// heartbeats and nothing else, and the caller watches again, with another consumer.
const watchStall = 5 * time.Second

var errStalled = errors.New("edgews: NATS sends heartbeats and no records")

func (e *Engine) watch(ctx context.Context, fn func(cluster.Change)) error {
	ctx, end := context.WithCancel(ctx)
	defer end()
	l := layout{e.o.Name}
	attempt, cancel := context.WithTimeout(ctx, streamTimeout)
	defer cancel()
	consumer, err := e.js.OrderedConsumer(attempt, l.recordsStream(), jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy, FilterSubjects: []string{l.recordsSubjects()},
		// Without a limit, a consumer whose server has died may be created again and again without success, while Watch does not end. With
		// it the caller watches again, with another consumer.
		MaxResetAttempts: 1,
	})
	if err != nil {
		return fmt.Errorf("edgews: watching the records in NATS: %w", err)
	}
	messages, err := consumer.Messages(jetstream.PullHeartbeat(watchHeartbeat))
	if err != nil {
		return fmt.Errorf("edgews: watching the records in NATS: %w", err)
	}
	defer func() { go messages.Stop() }() // it waits while the consumer is created again
	begun, err := e.publishSync(ctx, l.syncSubject())
	if err != nil {
		return err
	}
	arrived := make(chan arrival)
	go receive(ctx, messages, arrived) // ends with ctx, after the request that is under way
	tick := time.NewTicker(watchStall)
	defer tick.Stop()
	var shown, expected, before uint64 // numbers of messages; the last two are of the tick before
	for synced := false; ; {
		var a arrival
		select {
		case a = <-arrived:
		case <-tick.C:
			if shown < expected && shown == before {
				return errStalled
			}
			expected, before = e.stored.Load(), shown
			continue
		case <-ctx.Done():
			a.err = ctx.Err()
		}
		if a.err != nil {
			return fmt.Errorf("edgews: watching the records in NATS: %w", a.err)
		}
		meta, err := a.m.Metadata()
		if err != nil {
			return err
		}
		if err := show(a.m, fn); err != nil {
			return err
		}
		shown = meta.Sequence.Stream
		if !synced && shown >= begun {
			synced = true
			fn(cluster.Change{Synced: true})
		}
	}
}

// arrival is what Next of a consumer has returned.
type arrival struct {
	m   jetstream.Msg
	err error
}

// receive passes on what arrives. It is no part of watch, because Next does not look at a context while it creates the consumer again.
func receive(ctx context.Context, messages jetstream.MessagesContext, arrived chan<- arrival) {
	for {
		m, err := messages.Next()
		select {
		case arrived <- arrival{m, err}:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// show calls fn with what a message of the stream of records says.
func show(m jetstream.Msg, fn func(cluster.Change)) error {
	if len(m.Data()) == 0 {
		return nil // of publishSync
	}
	r, err := parseRecord(m.Data())
	switch {
	case err != nil:
		return err
	case r.Member != nil:
		fn(cluster.Change{Member: r.Member, Gone: r.Gone})
	case r.Owner != nil:
		fn(cluster.Change{Ownership: r.Owner})
	}
	return nil
}

// publishSync stores an empty message, and returns its number.
func (e *Engine) publishSync(ctx context.Context, subject string) (uint64, error) {
	for {
		seq, err := e.request(ctx, nats.NewMsg(subject))
		switch {
		case err == nil:
			e.hasStored(seq)
			return seq, nil
		case isRefusal(err) && !isCode(err, codeUnavailable), errors.Is(err, nats.ErrConnectionClosed):
			return 0, err
		}
		if err := pause(ctx); err != nil {
			return 0, err
		}
	}
}

// hasStored notes the number of a message in the stream of records.
func (e *Engine) hasStored(seq uint64) {
	for old := e.stored.Load(); old < seq && !e.stored.CompareAndSwap(old, seq); old = e.stored.Load() {
	}
}
