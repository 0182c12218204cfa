//go:build linux

package load

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Conns are open connections to one server.
type Conns struct {
	Extensions string // what the server agreed to, on the first of them

	raw bool
	fds []int
}

// Open opens n connections.
func Open(t Target, n int) (*Conns, error) {
	o, err := newOpener(t)
	if err != nil {
		return nil, err
	}
	c := &Conns{raw: t.Raw, fds: make([]int, 0, n)}
	o.more = func() bool { return o.open+len(c.fds) < n }
	o.done = func(s *slot, _ time.Time) error {
		if len(c.fds) == 0 {
			c.Extensions = extensions(s.head[:s.n])
		}
		c.fds = append(c.fds, s.fd)
		return nil
	}
	if err := o.run(); err != nil {
		return nil, fmt.Errorf("opening connection %d of %d: %w", len(c.fds)+1, n, err)
	}
	return c, nil
}

// Close cuts all connections.
func (c *Conns) Close() {
	for _, fd := range c.fds {
		cut(fd)
	}
}

// cut closes without leaving the port in TIME_WAIT, of which there are too few.
func cut(fd int) {
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	unix.Close(fd)
}

// Churn opens connections for a time, says one message on each, checks the answer and cuts it. Messages of the report are
// connections, and latency is from connect to answer.
func Churn(t Target, d time.Duration) (Report, error) {
	o, err := newOpener(t)
	if err != nil {
		return Report{}, err
	}
	var r Report
	o.echo = &Echo(t.Raw, 128, 1).Batches[0]
	deadline := time.Now().Add(d)
	o.more = func() bool { return time.Now().Before(deadline) }
	o.done = func(s *slot, now time.Time) error {
		r.Messages++
		r.Latency.add(now.Sub(s.started), 1)
		cut(s.fd)
		return nil
	}
	err = o.run()
	return r, err
}
