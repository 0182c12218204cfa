//go:build !edgews_noloop

package tunnel

import (
	"sync"
	"syscall"
)

// pipe carries spliced bytes from one connection to another. It belongs to a turn, and to a side while bytes wait in it.
type pipe struct {
	in, out int // descriptors
	n       int // bytes in the pipe
}

// pipeSize is the capacity in bytes that is asked for. Where the system's limit is lower, a splice moves less.
const pipeSize = 256 << 10

// errNotSpliceable is what splice(2) returns for descriptors that it cannot move bytes between.
const errNotSpliceable = syscall.EINVAL

// maxIdlePipes is how many pipes are kept for the next use. At any moment no more are in use than turns run, and tunnels wait for room.
const maxIdlePipes = 16

// open counts the tunnels, and keeps pipes while there are any.
var open tunnels

type tunnels struct {
	mu    sync.Mutex
	count int
	idle  []*pipe
}

// add changes the number of tunnels. When there are none left, it closes the pipes.
func (t *tunnels) add(n int) {
	t.mu.Lock()
	t.count += n
	var unused []*pipe
	if t.count == 0 {
		unused, t.idle = t.idle, nil
	}
	t.mu.Unlock()
	for _, p := range unused {
		p.close()
	}
}

// takePipe returns an empty pipe, or nil if there are no descriptors left.
func takePipe() *pipe {
	if p := open.takeIdle(); p != nil {
		return p
	}
	var fds [2]int
	if syscall.Pipe2(fds[:], syscall.O_CLOEXEC|syscall.O_NONBLOCK) != nil {
		return nil
	}
	_, _, _ = syscall.Syscall(syscall.SYS_FCNTL, uintptr(fds[0]), syscall.F_SETPIPE_SZ, pipeSize) // a limit of the user's may forbid it
	return &pipe{in: fds[1], out: fds[0]}
}

func (t *tunnels) takeIdle() *pipe {
	t.mu.Lock()
	defer t.mu.Unlock()
	last := len(t.idle) - 1
	if last < 0 {
		return nil
	}
	p := t.idle[last]
	t.idle = t.idle[:last]
	return p
}

// release keeps an empty pipe for the next use, and closes any other.
func (p *pipe) release() {
	if p.n > 0 || !open.keepIdle(p) {
		p.close()
	}
}

func (t *tunnels) keepIdle(p *pipe) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.count == 0 || len(t.idle) == maxIdlePipes {
		return false
	}
	t.idle = append(t.idle, p)
	return true
}

func (p *pipe) close() {
	_ = syscall.Close(p.in)
	_ = syscall.Close(p.out)
}
