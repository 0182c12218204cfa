//go:build linux

package load

import (
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"
)

// Rate says batches at a fixed rate, on one connection after the other. Latency counts from when a batch was due, however
// late it could be sent.
func (e *Engine) Rate(perSecond int, d time.Duration) (Report, error) {
	period := time.Second / time.Duration(perSecond)
	begin := e.now() // before the timer begins: a batch must not seem to be sent before it is due
	if err := e.startTimer(period); err != nil {
		return Report{}, err
	}
	defer unix.Close(e.timer)
	r := rate{e: e, period: period, due: begin, deadline: begin + d}
	e.ticked = func(ticks int) error { r.owed += ticks; return r.pay() }
	e.finished = func(*conn) error { return r.pay() }
	e.busy++ // the run itself, until the deadline
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

// tick reads how often the timer has rung.
func (e *Engine) tick() error {
	return e.ticked(e.rung())
}

// rung returns 0 if the timer has not.
func (e *Engine) rung() int {
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
	due      time.Duration // when the last batch that was sent had to be
	deadline time.Duration
	owed     int // batches that are due
	next     int // connection
	running  bool
}

// pay sends what is due on connections that wait for nothing.
func (r *rate) pay() error {
	if r.running && r.due >= r.deadline {
		r.running = false
		r.e.busy--
	}
	for ; r.running && r.owed > 0; r.owed-- {
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

// idle returns the next connection in turn that waits for nothing, or nil.
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
