//go:build linux

package load

import (
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"
)

// Rate sends batches at a fixed rate, on one connection after the other. Latency counts from the time at which a batch was due,
// also if it was sent later.
func (e *Engine) Rate(perSecond int, d time.Duration) (Report, error) {
	period := time.Second / time.Duration(perSecond)
	begin := e.now() // before the timer starts: a batch must not be sent before it is due
	if err := e.startTimer(period); err != nil {
		return Report{}, err
	}
	defer unix.Close(e.timer)
	r := rate{e: e, period: period, due: begin, deadline: begin + d}
	e.ticked = func(ticks int) error { r.dueCount += ticks; return r.sendDue() }
	e.finished = func(*conn) error { return r.sendDue() }
	e.busy++ // counts as a connection until the deadline, so that the run goes on
	return e.run(func() error {
		r.running = true
		return nil
	})
}

func (e *Engine) startTimer(period time.Duration) error {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return err
	}
	e.timer = fd
	every := unix.NsecToTimespec(period.Nanoseconds())
	if err := unix.TimerfdSettime(fd, 0, &unix.ItimerSpec{Interval: every, Value: every}, nil); err != nil {
		return err
	}
	return e.poll.add(fd, timerID, unix.EPOLLIN)
}

// tick handles expirations of the timer.
func (e *Engine) tick() error {
	return e.ticked(e.readTimer())
}

// readTimer returns the number of expirations since the last call.
func (e *Engine) readTimer() int {
	n, err := unix.Read(e.timer, e.buf[:8])
	if err != nil || n != 8 {
		return 0
	}
	return int(binary.NativeEndian.Uint64(e.buf))
}

// rate is the state of one run at a fixed rate.
type rate struct {
	e        *Engine
	period   time.Duration
	due      time.Duration // when the last batch was due
	deadline time.Duration
	dueCount int // batches that are due and not sent
	next     int // connection
	running  bool
}

// sendDue sends the batches that are due, on connections without outstanding answers.
func (r *rate) sendDue() error {
	if r.running && r.due >= r.deadline {
		r.running = false
		r.e.busy--
	}
	for ; r.running && r.dueCount > 0; r.dueCount-- {
		c := r.idle()
		if c == nil {
			return nil
		}
		r.due += r.period
		if err := r.e.send(c, r.due); err != nil {
			return err
		}
	}
	return nil
}

// idle returns the next connection without outstanding answers, or nil.
func (r *rate) idle() *conn {
	for range r.e.conns {
		c := &r.e.conns[r.next]
		r.next = (r.next + 1) % len(r.e.conns)
		if !c.waiting() {
			return c
		}
	}
	return nil
}
