//go:build linux

package load

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// atOnce is the number of connections that are opened at a time.
const atOnce = 32

// answerTimeout is the time within which a server must send something.
const answerTimeout = 20 * time.Second

// opener opens connections: the handshake, and a first echo if echo is set.
type opener struct {
	target  Target
	addr    *unix.SockaddrInet4
	request []byte
	echo    *Batch

	poll   *poller
	slots  [atOnce]slot
	open   int // slots in use
	opened int // connections so far

	more func() bool // whether to open another connection
	done func(s *slot, now time.Time) error
}

// slot is a connection that is being opened.
type slot struct {
	fd      int
	stage   stage
	started time.Time
	check   checker
	n       int
	head    [4 << 10]byte // the answer so far; later the complete answer
}

type stage uint8

const (
	connecting stage = iota
	answering        // the request was sent
	echoing          // the first message was sent
)

func newOpener(t Target) (*opener, error) {
	addr, err := t.sockaddr()
	if err != nil {
		return nil, err
	}
	p, err := newPoller()
	return &opener{target: t, addr: addr, request: t.request(), poll: p}, err
}

func (o *opener) run() error {
	defer o.poll.close()
	for i := range o.slots {
		if err := o.next(i); err != nil {
			return err
		}
	}
	for o.open > 0 {
		events, err := o.poll.wait(answerTimeout)
		if err != nil {
			return err
		}
		if len(events) == 0 {
			return errors.New("server does not finish the handshake")
		}
		for _, e := range events {
			if err := o.step(int(e.Fd)); err != nil {
				return err
			}
		}
	}
	return nil
}

// next opens another connection in slot i, if there are more.
func (o *opener) next(i int) error {
	if !o.more() {
		return nil
	}
	s := &o.slots[i]
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	s.fd, s.stage, s.n, s.started = fd, connecting, 0, time.Now()
	s.check = checker{raw: o.target.Raw}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return err
	}
	if err := o.bind(fd); err != nil {
		return err
	}
	if err := unix.Connect(fd, o.addr); err != nil && err != unix.EINPROGRESS {
		return fmt.Errorf("connect: %w", err)
	}
	o.open++
	return o.poll.add(fd, i, unix.EPOLLOUT)
}

// bind binds the connection to one of a few addresses of the loopback interface in turn. When half of the ports between two addresses
// are in use, the kernel searches for a free one for milliseconds.
func (o *opener) bind(fd int) error {
	const addresses = 8
	o.opened++
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
		return err
	}
	return unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, byte(1 + o.opened%addresses)}})
}

func (o *opener) step(i int) error {
	s := &o.slots[i]
	switch s.stage {
	case connecting:
		return o.connected(s, i)
	case answering:
		return o.answered(s, i)
	}
	return o.echoed(s, i)
}

func (o *opener) connected(s *slot, i int) error {
	if code, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_ERROR); err != nil || code != 0 {
		return fmt.Errorf("connect: %w", errors.Join(err, unix.Errno(code)))
	}
	if err := o.poll.change(s.fd, i, unix.EPOLLIN); err != nil {
		return err
	}
	switch {
	case o.target.Raw:
		return o.ready(s, i)
	case o.target.Half:
		if err := writeAll(s.fd, o.request[:len(o.request)/2]); err != nil {
			return err
		}
		return o.finish(s, i)
	}
	s.stage = answering
	return writeAll(s.fd, o.request)
}

func (o *opener) answered(s *slot, i int) error {
	n, err := unix.Read(s.fd, s.head[s.n:])
	if err == unix.EAGAIN {
		return nil
	}
	if err != nil || n == 0 {
		return fmt.Errorf("server ends the handshake: %w", errors.Join(err, errClosed))
	}
	s.n += n
	end := bytes.Index(s.head[:s.n], []byte("\r\n\r\n"))
	if end < 0 {
		return nil
	}
	if end+4 != s.n {
		return errors.New("server sends before the client does")
	}
	if err := checkAnswer(s.head[:s.n]); err != nil {
		return err
	}
	return o.ready(s, i)
}

func (o *opener) ready(s *slot, i int) error {
	if o.echo == nil {
		return o.finish(s, i)
	}
	s.stage = echoing
	return writeAll(s.fd, o.echo.send)
}

func (o *opener) echoed(s *slot, i int) error {
	var buf [4 << 10]byte
	n, err := unix.Read(s.fd, buf[:])
	if err == unix.EAGAIN {
		return nil
	}
	if err != nil || n == 0 {
		return fmt.Errorf("server closes instead of an echo: %w", errors.Join(err, errClosed))
	}
	if _, err := s.check.feed(o.echo, buf[:n], nil); err != nil {
		return err
	}
	if s.check.messages < len(o.echo.want) {
		return nil
	}
	return o.finish(s, i)
}

func (o *opener) finish(s *slot, i int) error {
	o.open--
	if err := o.poll.remove(s.fd); err != nil {
		return err
	}
	if err := o.done(s, time.Now()); err != nil {
		return err
	}
	return o.next(i)
}

var errClosed = errors.New("connection is closed")

// writeAll writes p in one call, which succeeds if the buffer of the connection is empty.
func writeAll(fd int, p []byte) error {
	n, err := unix.Write(fd, p)
	if err == nil && n < len(p) {
		err = unix.EAGAIN
	}
	return err
}
