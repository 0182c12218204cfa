// Package serial runs tasks one at a time and in order, on a goroutine that exists only while there are tasks.
package serial

import "github.com/edgews/edgews/internal/fifo"

// Queue holds the tasks of one owner. It has no mutex: all its methods need the mutex that guards the owner, so that the owner can decide
// under one mutex what follows from an empty queue. The zero value is empty.
//
// The owner calls Run in a goroutine when Push returns true. Run then calls the owner's RunNext until Pop has returned false.
type Queue[T any] struct {
	tasks   fifo.Queue[T]
	running bool // a goroutine is in Run
}

// Runner is the owner of a Queue.
type Runner interface {
	// RunNext locks the owner's mutex, calls Pop, unlocks the mutex and runs the task. It returns false if there was none.
	RunNext() bool
}

// Run calls RunNext until it returns false. If a task ends its goroutine with runtime.Goexit, as failing tests do, Run goes on in another
// goroutine.
func Run(r Runner) {
	over := false
	defer func() {
		if !over {
			go Run(r)
		}
	}()
	for r.RunNext() {
	}
	over = true
}

// Push appends a task. It returns true if no goroutine runs the queue: then the caller has to start one that calls Run.
func (q *Queue[T]) Push(task T) (start bool) {
	q.tasks.Push(task)
	start = !q.running
	q.running = true
	return start
}

// Pop removes and returns the first task. Only RunNext may call it. When it returns false, the queue is idle and RunNext has to return
// false.
func (q *Queue[T]) Pop() (task T, ok bool) {
	if q.Len() == 0 {
		q.running = false
		return task, false
	}
	return q.tasks.Pop(), true
}

// Len returns how many tasks wait. The one that runs is not among them.
func (q *Queue[T]) Len() int { return q.tasks.Len() }

// Idle reports whether no task waits and none runs.
func (q *Queue[T]) Idle() bool { return !q.running }

// DeleteFunc removes the waiting tasks for which remove returns true. The others keep their order.
func (q *Queue[T]) DeleteFunc(remove func(T) bool) { q.tasks.DeleteFunc(remove) }

// Shrink frees the memory of an empty queue.
func (q *Queue[T]) Shrink() { q.tasks.Shrink() }
