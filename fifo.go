package edgews

// fifo is a first-in-first-out queue that reuses its memory. The zero value is an empty queue. Its owner must synchronise the calls.
type fifo[T any] struct {
	items []T
	head  int
}

func (q *fifo[T]) len() int { return len(q.items) - q.head }

func (q *fifo[T]) push(v T) {
	if q.head > len(q.items)/2 && len(q.items) == cap(q.items) { // moves fewer items than have been popped
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, v)
}

// front returns the oldest item; the queue must not be empty.
func (q *fifo[T]) front() *T { return &q.items[q.head] }

// back returns the newest item; the queue must not be empty.
func (q *fifo[T]) back() *T { return &q.items[len(q.items)-1] }

// pop removes and returns the oldest item; the queue must not be empty.
func (q *fifo[T]) pop() T {
	v := q.items[q.head]
	var zero T
	q.items[q.head] = zero
	q.head++
	if q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
		if cap(q.items) > fifoKeeps {
			q.items = nil
		}
	}
	return v
}

// fifoKeeps is the largest capacity, in items, that an empty queue keeps. After a burst the garbage collector frees a larger one.
const fifoKeeps = 256
