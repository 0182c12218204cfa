// Package timerheap keeps many deadlines with a single time.Timer, which is set to the earliest of them.
package timerheap

import (
	"sync"
	"time"
)

// Timers calls Fire for each value whose deadline has come. A deadline cannot be taken back; the owner of the value decides in Fire whether
// it still counts. All methods may be called from any goroutine. No goroutine exists while no deadline has come.
type Timers[T any] struct {
	// Fire is called with the deadline and its value, never before the deadline, and without a mutex of Timers held. Calls come one after
	// the other, the earliest deadline first, unless an earlier one is added while a call runs; then two calls may overlap. It must be set
	// before the first Add, and it may call Add.
	Fire func(deadline time.Time, v T)

	mu      sync.Mutex
	heap    []entry[T] // the parent of i is (i-1)/2 and is not later than i
	timer   *time.Timer
	timerAt time.Time // when timer fires; zero: it is not set
	stopped bool
}

// entry is a deadline, by the monotonic clock, and its value.
type entry[T any] struct {
	deadline time.Time
	value    T
}

// Add has Fire called for v at deadline. After Stop it does nothing.
func (t *Timers[T]) Add(deadline time.Time, v T) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stopped {
		return
	}
	t.heap = append(t.heap, entry[T]{deadline, v})
	t.upLocked(len(t.heap) - 1)
	t.setTimerLocked()
}

// Stop forgets all deadlines. A call of Fire that has begun goes on.
func (t *Timers[T]) Stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopped, t.heap = true, nil
	if t.timer != nil {
		t.timer.Stop()
	}
}

// setTimerLocked sets the timer to the earliest deadline, unless it fires by then anyway. mu must be held.
func (t *Timers[T]) setTimerLocked() {
	if len(t.heap) == 0 || !t.timerAt.IsZero() && !t.heap[0].deadline.Before(t.timerAt) {
		return
	}
	t.timerAt = t.heap[0].deadline
	if t.timer == nil {
		t.timer = time.AfterFunc(time.Until(t.timerAt), t.fire)
	} else {
		t.timer.Reset(time.Until(t.timerAt))
	}
}

// fire calls Fire for every deadline that has come.
func (t *Timers[T]) fire() {
	for {
		e, ok := t.next()
		if !ok {
			return
		}
		t.Fire(e.deadline, e.value)
	}
}

// next removes and returns the earliest deadline if it has come. Otherwise it sets the timer and returns false.
func (t *Timers[T]) next() (entry[T], bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.heap) > 0 && !t.heap[0].deadline.After(time.Now()) {
		return t.popLocked(), true
	}
	if len(t.heap) == 0 {
		t.heap = nil // a burst of deadlines must not cost memory for ever
	}
	t.timerAt = time.Time{}
	t.setTimerLocked()
	return entry[T]{}, false
}

// popLocked removes and returns the earliest deadline. mu must be held, and the heap must not be empty.
func (t *Timers[T]) popLocked() entry[T] {
	first, last := t.heap[0], len(t.heap)-1
	t.heap[0] = t.heap[last]
	t.heap[last] = entry[T]{}
	t.heap = t.heap[:last]
	t.downLocked(0)
	return first
}

// upLocked moves entry i towards the root until its parent is not later. mu must be held.
func (t *Timers[T]) upLocked(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !t.heap[i].deadline.Before(t.heap[parent].deadline) {
			return
		}
		t.heap[i], t.heap[parent] = t.heap[parent], t.heap[i]
		i = parent
	}
}

// downLocked moves entry i away from the root until neither child is earlier. mu must be held.
func (t *Timers[T]) downLocked(i int) {
	for {
		child := 2*i + 1
		if child >= len(t.heap) {
			return
		}
		if right := child + 1; right < len(t.heap) && t.heap[right].deadline.Before(t.heap[child].deadline) {
			child = right
		}
		if !t.heap[child].deadline.Before(t.heap[i].deadline) {
			return
		}
		t.heap[i], t.heap[child] = t.heap[child], t.heap[i]
		i = child
	}
}
