package cluster

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// maxQueuedLogs bounds the records that wait for a handler that is slow or stuck. Further ones are dropped, and counted in a record of their own.
const maxQueuedLogs = 1024

// flushTimeout bounds how long the end of a node waits for a handler.
const flushTimeout = time.Second

// logQueue keeps the records of a Logger until a goroutine has given them to its handler, in their order. Records are made while locks are held: a
// handler that blocks delays nothing then, and may call methods of the Cluster.
type logQueue struct {
	mu      sync.Mutex
	queue   []queuedLog
	dropped int           // records, since the last one that says so
	last    slog.Handler  // of the last record
	added   uint64        // records that were put into queue
	written uint64        // of these, those whose handlers have returned
	writing bool          // there is a goroutine
	changed chan struct{} // closed when written changes; nil: none waits
}

type queuedLog struct {
	handler slog.Handler
	record  slog.Record
}

// newQueuedLogger returns a Logger that gives its records to l later. If l is such a Logger already, it returns l.
func newQueuedLogger(l *slog.Logger) *slog.Logger {
	if _, isQueued := l.Handler().(queuedHandler); isQueued {
		return l
	}
	return slog.New(queuedHandler{new(logQueue), l.Handler()})
}

// flushLogger waits until the records that a Logger of newQueuedLogger has made so far have been written, but not longer than flushTimeout.
func flushLogger(l *slog.Logger) {
	if h, isQueued := l.Handler().(queuedHandler); isQueued {
		h.q.flush()
	}
}

func (q *logQueue) flush() {
	expired := time.NewTimer(flushTimeout)
	defer expired.Stop()
	q.mu.Lock()
	defer q.mu.Unlock()
	target := q.added
	if q.dropped > 0 {
		target++ // the record that says so
	}
	for q.written < target {
		if q.changed == nil {
			q.changed = make(chan struct{})
		}
		changed := q.changed
		q.mu.Unlock()
		select {
		case <-changed:
			q.mu.Lock()
		case <-expired.C:
			q.mu.Lock()
			return
		}
	}
}

func (q *logQueue) add(l queuedLog) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.queue) >= maxQueuedLogs {
		q.dropped++
		return
	}
	q.queue = append(q.queue, l)
	q.last = l.handler
	q.added++
	if !q.writing {
		q.writing = true
		go q.write()
	}
}

// write gives the records to their handlers until there are none.
func (q *logQueue) write() {
	isOver := false
	defer func() {
		if !isOver { // a handler has called runtime.Goexit
			go q.write()
		}
	}()
	for {
		l, ok := q.next()
		if !ok {
			break
		}
		q.give(l)
	}
	isOver = true
}

// next returns the next record, or one that says how many were dropped when the others have been written.
func (q *logQueue) next() (l queuedLog, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case len(q.queue) > 0:
		l, q.queue[0] = q.queue[0], queuedLog{}
		q.queue = q.queue[1:]
	case q.dropped > 0:
		l = queuedLog{q.last, slog.NewRecord(time.Now(), slog.LevelWarn, "edgews: log records were dropped: the handler is too slow", 0)}
		l.record.AddAttrs(slog.Int("dropped", q.dropped))
		q.dropped = 0
		q.added++
	default:
		q.queue, q.writing = nil, false
		return l, false
	}
	return l, true
}

func (q *logQueue) give(l queuedLog) {
	defer func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.written++
		if q.changed != nil {
			close(q.changed)
			q.changed = nil
		}
	}()
	_ = l.handler.Handle(context.Background(), l.record)
}

// queuedHandler is the handler of a Logger whose records go through a queue.
type queuedHandler struct {
	q    *logQueue
	next slog.Handler
}

func (h queuedHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

func (h queuedHandler) Handle(_ context.Context, r slog.Record) error {
	h.q.add(queuedLog{h.next, r.Clone()})
	return nil
}

func (h queuedHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return queuedHandler{h.q, h.next.WithAttrs(slices.Clone(attrs))}
}

func (h queuedHandler) WithGroup(name string) slog.Handler {
	return queuedHandler{h.q, h.next.WithGroup(name)}
}
