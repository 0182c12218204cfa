//go:build linux

package load

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Conns are open connections to one server.
type Conns struct {
	Extensions string // the extensions that the server agreed to on the first connection

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

// Close closes all connections.
func (c *Conns) Close() {
	for _, fd := range c.fds {
		resetConn(fd)
	}
}

// resetConn closes a connection without leaving its port in TIME_WAIT, since there are too few ports.
func resetConn(fd int) {
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	unix.Close(fd)
}

// Churn opens connections for a time, 32 at once. It sends one message on each, checks the answer and closes the connection. The report
// counts connections as messages, and latency is from connect to answer.
func Churn(t Target, d time.Duration) (Report, error) {
	deadline := time.Now().Add(d)
	return churn(t, func(int) bool { return time.Now().Before(deadline) })
}

// ChurnN does the same for n connections.
func ChurnN(t Target, n int) (Report, error) {
	return churn(t, func(opened int) bool { return opened < n })
}

func churn(t Target, more func(opened int) bool) (Report, error) {
	o, err := newOpener(t)
	if err != nil {
		return Report{}, err
	}
	var r Report
	o.echo = &Echo(t.Raw, 128, 1).Batches[0]
	o.more = func() bool { return more(o.opened) }
	o.done = func(s *slot, now time.Time) error {
		r.Messages++
		r.Latency.add(now.Sub(s.started), 1)
		resetConn(s.fd)
		return nil
	}
	err = o.run()
	return r, err
}
