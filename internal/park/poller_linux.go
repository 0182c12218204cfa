package park

import (
	"sync"
	"sync/atomic"
	"syscall"
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
	from    *poller // whose events it handles
	buf     *[largeBuffer]byte
	napped  bool // a nap has brought one event
	handled int  // events since it last let others have the processor
}

// fetch is how many events a poller takes at once.
const fetch = 64

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
	if p.handled >= manners || l.overdue.Load() {
		p.handled = 0
		l.stepAside()
	}
	n := 0
	if !p.napped { // or it would find nothing now either
		n = l.epoll(p, 0)
	}
	p.napped = false
	if n <= 0 {
		p.handled = 0
		n = max(l.sleep(p), 0)
	}
	p.mu.Lock()
	p.next, p.n = 0, n
	p.mu.Unlock()
	p.handled += n
	if n > 1 || n == 1 && !l.watched() {
		l.guard()
	}
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
