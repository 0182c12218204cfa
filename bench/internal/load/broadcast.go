//go:build linux

package load

import "time"

// Broadcast sends batches on the first connection for a time. The next batch follows when all connections have received the last one.
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
