package park

import (
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// poller waits for events and handles them.
type poller struct {
	seq     atomic.Uint32 // counts the events it has begun to handle
	waiting atomic.Bool   // for events
	seen    uint32        // seq, when check looked; guarded by the loop's mu

	mu     sync.Mutex
	events [fetch]syscall.EpollEvent
	next   int // the first of events that nobody handles yet
	n      int

	current atomic.Pointer[Conn] // whose turn it has

	// Owned by the goroutine.
	from *poller // whose events it handles
	buf  *[largeBuffer]byte
}

const (
	// fetch is how many events a poller takes at once.
	fetch = 64
	// nap is how long, in milliseconds, a poller sleeps without the scheduler's knowledge, which makes falling asleep and
	// waking up much cheaper. Its processor is lost to others meanwhile.
	nap = 2
)

// poll is a poller's life.
func (l *loop) poll(p, blocked *poller) {
	p.buf = largeBuffers.Get().(*[largeBuffer]byte)
	done := false
	defer func() {
		if !done { // a handler has called runtime.Goexit
			go p.current.Load().serveAlone()
			l.addPoller(p.from)
		}
		l.removePoller(p)
	}()
	if blocked != nil {
		l.handle(p, blocked)
	}
	for !l.stopped.Load() && !l.watched() {
		l.wait(p)
		l.handle(p, p)
	}
	largeBuffers.Put(p.buf)
	done = true
}

// wait fetches events.
func (l *loop) wait(p *poller) {
	runtime.Gosched() // everybody else first: from here on this processor may be blocked
	n := l.epoll(p, 0)
	if n <= 0 {
		n = l.sleep(p)
	}
	p.mu.Lock()
	p.next, p.n = 0, max(n, 0)
	p.mu.Unlock()
	if n > 1 || l.watchers.Load() == 0 {
		l.guard()
	}
}

// sleep waits for as long as it takes: first for a nap, since the next event often follows soon.
func (l *loop) sleep(p *poller) int {
	p.waiting.Store(true)
	l.watchers.Add(1)
	n := 0
	if l.napping.CompareAndSwap(false, true) {
		n = l.epoll(p, nap)
		l.napping.Store(false)
		if n <= 0 {
			runtime.Gosched() // the signal that may have ended it asks for this
		}
	}
	for n <= 0 && !l.stopped.Load() {
		n, _ = syscall.EpollWait(l.epfd, p.events[:], -1)
	}
	l.watchers.Add(-1)
	p.waiting.Store(false)
	return n
}

// epoll is epoll_wait without telling the scheduler.
func (l *loop) epoll(p *poller, timeout uintptr) int {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(l.epfd), uintptr(unsafe.Pointer(&p.events[0])), fetch, timeout, 0, 0)
	if errno != 0 {
		return -1
	}
	return int(n)
}

// handle handles the events that from has fetched.
func (l *loop) handle(p, from *poller) {
	p.from = from
	l.clock.Store(Now())
	held, since := false, uint32(0)
	for {
		event, more, ok := from.take()
		if !ok {
			break
		}
		if more && !held {
			since, held = l.corks.begin(), true
		}
		if more {
			l.guard() // this handler may block as well, and the others wait behind it
		}
		p.seq.Add(1)
		l.dispatch(p, event, more)
	}
	if held {
		l.corks.end(since)
	}
}

// take returns the next event, and whether there are others behind it.
func (p *poller) take() (event syscall.EpollEvent, more, ok bool) {
	p.mu.Lock()
	if ok = p.next < p.n; ok {
		event = p.events[p.next]
		p.next++
		more = p.next < p.n
	}
	p.mu.Unlock()
	return event, more, ok
}

func (p *poller) holdsEvents() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.next < p.n
}

func (l *loop) dispatch(p *poller, event syscall.EpollEvent, more bool) {
	if event.Fd < 0 {
		return // the bell: the loop has been stopped
	}
	c := l.table.find(event.Fd, uint32(event.Pad))
	if c == nil {
		return
	}
	if s := c.stream.Load(); s != nil {
		s.rouse(c)
		return
	}
	if !c.note(notesOf(event.Events)) {
		return
	}
	p.current.Store(c)
	c.serve(p.buf, more)
	p.current.Store(nil)
}

func notesOf(events uint32) (n uint32) {
	if events&syscall.EPOLLIN != 0 {
		n |= readable
	}
	if events&(syscall.EPOLLRDHUP|syscall.EPOLLHUP|syscall.EPOLLERR) != 0 {
		n |= ending
	}
	if events&(syscall.EPOLLOUT|syscall.EPOLLHUP|syscall.EPOLLERR) != 0 {
		n |= writable
	}
	return n
}
