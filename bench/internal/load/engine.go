//go:build linux

package load

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Engine sends a script on connections. Its methods must not run concurrently. They return when all answers have been received.
type Engine struct {
	script *Script
	poll   *poller
	conns  []conn
	buf    []byte
	in     inflater
	start  time.Time

	busy     int                 // connections with outstanding answers
	finished func(c *conn) error // called when all answers to a batch have been received

	timer  int // a timerfd
	ticked func(ticks int) error

	report *Report
}

// conn is one connection. It must not be copied out of the engine's slice.
type conn struct {
	id     int
	fd     int
	step   int           // index of the next batch of the script
	batch  *Batch        // the batch that was sent last
	sent   time.Duration // when it was, or should have been, sent
	unsent []byte        // the part that the kernel has not accepted
	check  checker
}

// waiting reports whether answers to the batch are outstanding.
func (c *conn) waiting() bool { return c.batch != nil && c.check.messages < len(c.batch.want) }

// timerID is the number under which the timer's events arrive.
const timerID = -1

// NewEngine returns an engine that sends s on c.
func NewEngine(c *Conns, s *Script, takeover bool) (*Engine, error) {
	p, err := newPoller()
	if err != nil {
		return nil, err
	}
	e := &Engine{script: s, poll: p, conns: make([]conn, len(c.fds)), buf: make([]byte, 1<<20), start: time.Now()}
	for i, fd := range c.fds {
		e.conns[i] = conn{id: i, fd: fd, check: checker{raw: s.Raw, pongs: s.Pings, takeover: takeover}}
		if err := p.add(fd, i, unix.EPOLLIN); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// Close releases the engine. The connections stay open.
func (e *Engine) Close() { e.poll.close() }

// Echo keeps one batch outstanding on each connection for a time.
func (e *Engine) Echo(d time.Duration) (Report, error) {
	deadline := e.now() + d
	return e.echo(func() bool { return e.now() < deadline })
}

// Rounds sends n batches on each connection.
func (e *Engine) Rounds(n int) (Report, error) {
	left := (n - 1) * len(e.conns)
	return e.echo(func() bool { left--; return left >= 0 })
}

func (e *Engine) echo(more func() bool) (Report, error) {
	e.finished = func(c *conn) error {
		if !more() {
			return nil
		}
		return e.send(c, e.now())
	}
	return e.run(func() error {
		for i := range e.conns {
			if err := e.send(&e.conns[i], e.now()); err != nil {
				return err
			}
		}
		return nil
	})
}

// run handles events until no answers are outstanding.
func (e *Engine) run(begin func() error) (Report, error) {
	e.report = new(Report)
	before := e.payload()
	if err := begin(); err != nil {
		return Report{}, err
	}
	for e.busy > 0 {
		if err := e.handleEvents(); err != nil {
			return Report{}, err
		}
	}
	e.report.Payload = e.payload() - before
	return *e.report, nil
}

func (e *Engine) payload() (n int) {
	for i := range e.conns {
		n += e.conns[i].check.payload
	}
	return n
}

func (e *Engine) handleEvents() error {
	events, err := e.poll.wait(answerTimeout)
	if err != nil {
		return err
	}
	if len(events) == 0 {
		return fmt.Errorf("no answer within %v on %d connections", answerTimeout, e.busy)
	}
	for _, ev := range events {
		switch {
		case ev.Fd == timerID:
			err = e.tick()
		case ev.Events&unix.EPOLLOUT != 0:
			err = e.flush(&e.conns[ev.Fd])
		default:
			err = e.read(&e.conns[ev.Fd])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// expect starts the next batch of c.
func (e *Engine) expect(c *conn, at time.Duration) {
	c.batch = &e.script.Batches[c.step]
	c.step = (c.step + 1) % len(e.script.Batches)
	c.sent = at
	c.check.begin()
	e.busy++
}

func (e *Engine) send(c *conn, at time.Duration) error {
	e.expect(c, at)
	c.unsent = c.batch.send
	return e.write(c)
}

// write writes as much as the kernel accepts. The rest follows when the connection is writable.
func (e *Engine) write(c *conn) error {
	n, err := unix.Write(c.fd, c.unsent)
	if err != nil && err != unix.EAGAIN {
		return fmt.Errorf("write: %w", err)
	}
	if c.unsent = c.unsent[max(n, 0):]; len(c.unsent) == 0 {
		return nil
	}
	return e.poll.change(c.fd, c.id, unix.EPOLLIN|unix.EPOLLOUT)
}

func (e *Engine) flush(c *conn) error {
	if err := e.read(c); err != nil || len(c.unsent) == 0 {
		return err
	}
	if err := e.write(c); err != nil || len(c.unsent) > 0 {
		return err
	}
	return e.poll.change(c.fd, c.id, unix.EPOLLIN)
}

func (e *Engine) read(c *conn) error {
	n, err := unix.Read(c.fd, e.buf)
	switch {
	case err == unix.EAGAIN:
		return nil
	case err != nil:
		return fmt.Errorf("read: %w", err)
	case n == 0:
		return errClosed
	case c.batch == nil:
		return errors.New("server sends before the client does")
	}
	messages, err := c.check.feed(c.batch, e.buf[:n], &e.in)
	if err == nil && c.check.pinged && len(c.unsent) == 0 {
		err = e.pong(c)
	}
	if err != nil {
		return err
	}
	if messages == 0 {
		return nil
	}
	e.report.Messages += messages
	e.report.Latency.add(e.now()-c.sent, messages)
	if c.check.messages < len(c.batch.want) {
		return nil
	}
	e.busy--
	return e.finished(c)
}

// pong answers a ping. A ping that arrives while a frame is partly written is answered later, or not if another one follows.
func (e *Engine) pong(c *conn) error {
	c.check.pinged = false
	var b Batch
	b.frame(pong, c.check.ping, 0, false)
	return writeAll(c.fd, b.send)
}

func (e *Engine) now() time.Duration { return time.Since(e.start) }
