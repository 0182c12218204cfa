package memory

import (
	"context"
	"errors"

	"github.com/edgews/edgews/cluster"
)

// ErrWatchBroken: [Engine.BreakWatch] has ended a Watch.
var ErrWatchBroken = errors.New("edgews: watch of the memory engine is broken")

// watcher is a call of Watch.
type watcher struct {
	pending []cluster.Change // that fn has not seen; guarded by Memory.mu
	more    chan struct{}    // has one element if there may be some
}

// showLocked queues a change for all watchers.
func (m *Memory) showLocked(c cluster.Change) {
	for w := range m.watchers {
		w.pending = append(w.pending, c)
		select {
		case w.more <- struct{}{}:
		default:
		}
	}
}

func (e *Engine) Watch(ctx context.Context, fn func(cluster.Change)) error {
	if err := e.enter(ctx); err != nil {
		return err
	}
	e.mu.Lock()
	broken := e.broken
	e.mu.Unlock()

	w := &watcher{more: make(chan struct{}, 1)}
	e.m.watch(w)
	defer e.m.unwatch(w)
	for {
		changed := e.changes()
		for _, c := range e.m.take(w) {
			if err := e.awaitShown(ctx, broken); err != nil {
				return err
			}
			fn(c)
		}
		if e.isBroken(broken) {
			return ErrWatchBroken
		}
		select {
		case <-w.more:
		case <-changed: // perhaps BreakWatch
		case <-ctx.Done():
			return ctx.Err()
		case <-e.closed:
			return ErrClosed
		case <-e.m.closed:
			return ErrClosed
		}
	}
}

// isBroken reports whether BreakWatch has been called since it had been called so many times.
func (e *Engine) isBroken(before int) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.broken != before
}

// watch begins to queue changes for w, the present state first.
func (m *Memory) watch(w *watcher) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, member := range m.members {
		w.pending = append(w.pending, cluster.Change{Member: &member})
	}
	for _, o := range m.owners {
		w.pending = append(w.pending, cluster.Change{Ownership: &o})
	}
	w.pending = append(w.pending, cluster.Change{Synced: true})
	m.watchers[w] = struct{}{}
}

func (m *Memory) unwatch(w *watcher) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.watchers, w)
}

func (m *Memory) take(w *watcher) (changes []cluster.Change) {
	m.mu.Lock()
	defer m.mu.Unlock()
	changes, w.pending = w.pending, nil
	return changes
}

// awaitShown returns when a watch may show its next change, or an error that ends it. broken is how often watches had been broken when it
// began.
func (e *Engine) awaitShown(ctx context.Context, broken int) error {
	if plan := e.currentPlan(); plan != nil {
		if err := e.sleep(ctx, plan("Watch").Before); err != nil {
			return err
		}
	}
	for {
		e.mu.Lock()
		isBroken, waits, changed := e.broken != broken, e.held || e.partitioned, e.changed
		e.mu.Unlock()
		switch {
		case isBroken:
			return ErrWatchBroken
		case !waits:
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-e.closed:
			return ErrClosed
		case <-e.m.closed:
			return ErrClosed
		}
	}
}
