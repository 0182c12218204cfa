//go:build linux

package load

import "time"

// Broadcast says a batch on the first connection, waits until everybody has all of it, and says the next, for a time.
// The report counts deliveries.
func (e *Engine) Broadcast(d time.Duration) (Report, error) {
	deadline := e.now() + d
	publish := func() error {
		now := e.now()
		for i := range e.conns {
			e.expect(&e.conns[i], now)
		}
		c := &e.conns[0]
		c.unsent = c.batch.send
		return e.write(c)
	}
	e.finished = func(*conn) error {
		if e.busy > 0 || e.now() >= deadline {
			return nil
		}
		return publish()
	}
	return e.run(publish)
}
