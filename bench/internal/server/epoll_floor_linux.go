package server

import (
	"net"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// epollFloor is one loop with one buffer for all connections.
type epollFloor struct {
	poll   int
	listen int
	events [256]unix.EpollEvent
	buf    []byte

	// unsent has the bytes that the kernel has not accepted, by descriptor. Such a connection is not read until they are written.
	unsent map[int][]byte

	broadcast bool
	all       []int
	in        map[int]*splitter // of the connections that broadcast
}

// rawWait is the time, in milliseconds, for which the loop sleeps in a system call that the scheduler does not know about. That makes
// a loop in Go as cheap as one in C. After it the loop waits in an ordinary system call.
const rawWait = 2

func serveEpollFloor(l net.Listener, c Config) error {
	f, err := l.(*net.TCPListener).File() // blocking from here on: the loop accepts only when the listener is readable
	if err != nil {
		return err
	}
	defer f.Close()
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	e := &epollFloor{
		poll: poll, listen: int(f.Fd()), buf: make([]byte, max(512<<10, c.Buffer)),
		unsent: map[int][]byte{}, broadcast: c.Work == Broadcast, in: map[int]*splitter{},
	}
	if err := e.watch(e.listen, unix.EPOLLIN); err != nil {
		return err
	}
	runtime.LockOSThread()
	return e.run()
}

func (e *epollFloor) watch(fd int, events uint32) error {
	return unix.EpollCtl(e.poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
}

func (e *epollFloor) run() error {
	for {
		n, err := e.wait()
		if err != nil {
			return err
		}
		for _, ev := range e.events[:n] {
			e.handle(int(ev.Fd), ev.Events)
		}
	}
}

func (e *epollFloor) wait() (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(e.poll), uintptr(unsafe.Pointer(&e.events[0])),
		uintptr(len(e.events)), rawWait, 0, 0)
	if errno == 0 && n > 0 {
		return int(n), nil
	}
	if errno == unix.EINTR {
		runtime.Gosched() // the scheduler has sent a signal to preempt this thread
		return 0, nil
	}
	got, err := unix.EpollWait(e.poll, e.events[:], -1)
	if err == unix.EINTR {
		return 0, nil
	}
	return got, err
}

func (e *epollFloor) handle(fd int, events uint32) {
	switch {
	case fd == e.listen:
		e.accept()
	case events&unix.EPOLLOUT != 0:
		e.flush(fd)
	default:
		e.read(fd)
	}
}

func (e *epollFloor) accept() {
	fd, _, err := unix.Accept4(e.listen, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	if err != nil {
		return
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if e.watch(fd, unix.EPOLLIN) != nil {
		unix.Close(fd)
		return
	}
	if e.broadcast {
		e.all = append(e.all, fd)
	}
}

func (e *epollFloor) read(fd int) {
	n, err := rawIO(unix.SYS_READ, fd, e.buf)
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
	case err != nil || n == 0:
		e.close(fd)
	case e.broadcast:
		e.cast(fd, e.buf[:n])
	default:
		e.write(fd, e.buf[:n])
	}
}

func (e *epollFloor) cast(from int, p []byte) {
	in := e.in[from]
	if in == nil {
		in = new(splitter)
		e.in[from] = in
	}
	in.split(p, func(frame []byte) {
		for _, fd := range e.all {
			e.write(fd, frame)
		}
	})
}

func (e *epollFloor) write(fd int, p []byte) {
	if waiting := e.unsent[fd]; waiting != nil {
		e.unsent[fd] = append(waiting, p...)
		return
	}
	n, err := rawIO(unix.SYS_WRITE, fd, p)
	if err != nil && err != unix.EAGAIN {
		e.close(fd)
		return
	}
	if n = max(n, 0); n < len(p) {
		e.unsent[fd] = append([]byte(nil), p[n:]...)
		e.change(fd, unix.EPOLLOUT)
	}
}

func (e *epollFloor) flush(fd int) {
	p := e.unsent[fd]
	n, err := rawIO(unix.SYS_WRITE, fd, p)
	if err != nil && err != unix.EAGAIN {
		e.close(fd)
		return
	}
	if p = p[max(n, 0):]; len(p) > 0 {
		e.unsent[fd] = p
		return
	}
	delete(e.unsent, fd)
	e.change(fd, unix.EPOLLIN)
}

func (e *epollFloor) change(fd int, events uint32) {
	_ = unix.EpollCtl(e.poll, unix.EPOLL_CTL_MOD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
}

func (e *epollFloor) close(fd int) {
	delete(e.unsent, fd)
	delete(e.in, fd)
	unix.Close(fd)
}

func rawIO(call uintptr, fd int, p []byte) (int, error) {
	n, _, errno := unix.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}
