// Package fifo has a first-in-first-out queue that reuses its memory.
package fifo

import "slices"

// Queue is a first-in-first-out queue. The zero value is empty. Its owner synchronises the calls.
type Queue[T any] struct {
	items []T
	head  int // the index of the oldest item in items
}

// maxKept is the largest capacity, in items, that an empty queue keeps: after a burst the rest goes to the garbage collector.
const maxKept = 256

// Len returns the number of items.
func (q *Queue[T]) Len() int { return len(q.items) - q.head }

// Push appends an item.
func (q *Queue[T]) Push(v T) {
	if q.head > len(q.items)/2 && len(q.items) == cap(q.items) { // fewer items are moved than have been popped
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, v)
}

// Front returns the oldest item. The queue must not be empty.
func (q *Queue[T]) Front() *T { return &q.items[q.head] }

// Back returns the newest item. The queue must not be empty.
func (q *Queue[T]) Back() *T { return &q.items[len(q.items)-1] }

// Pop removes and returns the oldest item. The queue must not be empty.
func (q *Queue[T]) Pop() T {
	v := q.items[q.head]
	var zero T
	q.items[q.head] = zero
	q.head++
	if q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
		if cap(q.items) > maxKept {
			q.items = nil
		}
	}
	return v
}

// Items returns the items, the oldest first. The slice is the queue's own: it may be changed in place, and is valid until the next call of a
// method that adds or removes items.
func (q *Queue[T]) Items() []T { return q.items[q.head:] }

// Truncate removes all items but the n oldest ones.
func (q *Queue[T]) Truncate(n int) {
	clear(q.items[q.head+n:])
	q.items = q.items[:q.head+n]
}

// DeleteFunc removes the items for which remove returns true. The others keep their order.
func (q *Queue[T]) DeleteFunc(remove func(T) bool) {
	q.items = slices.Clone(slices.DeleteFunc(q.items[q.head:], remove))
	q.head = 0
}

// Shrink frees the memory of an empty queue.
func (q *Queue[T]) Shrink() {
	if q.Len() == 0 {
		q.items, q.head = nil, 0
	}
}
