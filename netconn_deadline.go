package edgews

import (
	"os"
	"sync"
	"time"
)

// deadline is a point in time that may be moved while calls wait for it. It is the context of those calls.
type deadline struct {
	mu sync.Mutex
	// Guarded by mu.
	timer      *time.Timer
	done       chan struct{} // closed at the deadline; replaced when the deadline is moved after that
	err        error         // why done is closed; nil: it is not
	final      bool          // the connection is closed, so the deadline cannot be moved
	generation int           // counts calls of set, so that a timer that fires late finds that it was replaced
}

func newDeadline() *deadline { return &deadline{done: make(chan struct{})} }

// set moves the deadline to t; the zero time means none. After expire it does nothing.
func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.final {
		return
	}
	d.generation++
	if d.timer != nil {
		d.timer.Stop()
	}
	if d.err != nil {
		d.done, d.err = make(chan struct{}), nil
	}
	if t.IsZero() {
		return
	}
	left := time.Until(t)
	if left <= 0 {
		d.expireLocked(os.ErrDeadlineExceeded)
		return
	}
	generation := d.generation
	d.timer = time.AfterFunc(left, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.generation == generation {
			d.expireLocked(os.ErrDeadlineExceeded)
		}
	})
}

// expire makes all present and future calls fail with err. The deadline cannot be moved afterwards.
func (d *deadline) expire(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.final {
		return
	}
	d.final = true
	if d.timer != nil {
		d.timer.Stop()
	}
	if d.err == nil {
		d.expireLocked(err)
	}
	d.err = err
}

// expireLocked closes done because of err, unless it is closed. mu must be held.
func (d *deadline) expireLocked(err error) {
	if d.err == nil {
		d.err = err
		close(d.done)
	}
}

// Deadline implements [context.Context]. It tells no time, because the time may be moved.
func (d *deadline) Deadline() (time.Time, bool) { return time.Time{}, false }

// Value implements [context.Context].
func (d *deadline) Value(any) any { return nil }

// Done implements [context.Context].
func (d *deadline) Done() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.done
}

// Err implements [context.Context], with the errors of a net.Conn.
func (d *deadline) Err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}
