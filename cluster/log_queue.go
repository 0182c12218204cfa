package cluster

import (
	"context"
	"log/slog"
	"slices"
	"sync"
)

// maxQueuedLogs bounds the records that wait for a handler that is slow or stuck. Further ones are dropped, and counted in a record of their own.
const maxQueuedLogs = 1024

// logQueue keeps the records of a Logger until a goroutine has given them to its handler, in their order. Records are made while locks are held: a
// handler that blocks delays nothing then, and may call methods of the Cluster.
type logQueue struct {
	mu      sync.Mutex
	queue   []queuedLog
	dropped int
	written chan struct{} // closed when the goroutine ends; nil: there is none
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

// flushLogger waits until the records of a Logger that newQueuedLogger has made have been written.
func flushLogger(l *slog.Logger) {
	h, isQueued := l.Handler().(queuedHandler)
	if !isQueued {
		return
	}
	h.q.mu.Lock()
	written := h.q.written
	h.q.mu.Unlock()
	if written != nil {
		<-written
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
	if q.written == nil {
		q.written = make(chan struct{})
		go q.write()
	}
}

// write gives the records to their handlers until there are none.
func (q *logQueue) write() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.queue) > 0 {
		queue, dropped := q.queue, q.dropped
		q.queue, q.dropped = nil, 0
		q.mu.Unlock()
		for _, l := range queue {
			_ = l.handler.Handle(context.Background(), l.record)
		}
		if dropped > 0 {
			last := queue[len(queue)-1]
			slog.New(last.handler).Warn("edgews: log records were dropped: the handler is too slow", "dropped", dropped)
		}
		q.mu.Lock()
	}
	close(q.written)
	q.written = nil
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
