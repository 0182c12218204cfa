//go:build linux

package load

import (
	"time"

	"golang.org/x/sys/unix"
)

// poller is an epoll instance. Each event has the number with which its descriptor was added.
type poller struct {
	fd     int
	events [256]unix.EpollEvent
}

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	return &poller{fd: fd}, err
}

func (p *poller) add(fd, id int, events uint32) error {
	return unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(id)})
}

func (p *poller) change(fd, id int, events uint32) error {
	return unix.EpollCtl(p.fd, unix.EPOLL_CTL_MOD, fd, &unix.EpollEvent{Events: events, Fd: int32(id)})
}

func (p *poller) remove(fd int) error {
	return unix.EpollCtl(p.fd, unix.EPOLL_CTL_DEL, fd, nil)
}

// noTimeout makes wait block until there are events.
const noTimeout = -time.Millisecond

// wait returns no events after the timeout.
func (p *poller) wait(timeout time.Duration) ([]unix.EpollEvent, error) {
	for {
		n, err := unix.EpollWait(p.fd, p.events[:], int(timeout.Milliseconds()))
		if err == unix.EINTR {
			continue
		}
		return p.events[:max(n, 0)], err
	}
}

func (p *poller) close() { unix.Close(p.fd) }
