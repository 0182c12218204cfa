//go:build linux

package load

import (
	"time"

	"golang.org/x/sys/unix"
)

// Probe sends one batch on the first connection at each tick of a timer, for a time, and skips a tick while an answer is
// outstanding. The first batch is sent at once. Latency counts from when a batch was sent. An answer that is still outstanding at
// the end counts with the time it has taken so far; the next Probe continues to wait for it.
func (e *Engine) Probe(period, d time.Duration) (Report, error) {
	if err := e.startTimer(period); err != nil {
		return Report{}, err
	}
	defer unix.Close(e.timer)
	deadline := e.now() + d
	e.finished = func(*conn) error { return nil }
	e.ticked = func(int) error { return e.probe(deadline) }
	e.busy = 1 // counts as a connection until the deadline, so that the run goes on
	if e.conns[0].waiting() {
		e.busy++
	}
	return e.run(func() error { return e.probe(deadline) })
}

// probe sends a batch if no answer is outstanding. At the deadline it ends the run.
func (e *Engine) probe(deadline time.Duration) error {
	c, now := &e.conns[0], e.now()
	switch {
	case now >= deadline:
		if c.waiting() {
			e.report.Latency.add(now-c.sent, 1)
		}
		e.busy = 0
	case !c.waiting():
		return e.send(c, now)
	}
	return nil
}
