package park

import (
	"sync"
	"sync/atomic"
	"syscall"
)

// poller waits for events and handles them.
type poller struct {
	// turn says which event is being handled: its descriptor, and in the high half how many there have been.
	progress     atomic.Uint64
	waiting      atomic.Bool // for events
	progressSeen uint64      // turn, when check looked; guarded by the loop's mu

	// batch says how many events there are, in the high half, and how many of them have been taken.
	batch  atomic.Uint32
	mu     sync.Mutex // held to inherit, and by its owner before events change
	events [maxEvents]syscall.EpollEvent

	// Owned by the goroutine.
	conn         *Conn // whose turn it has
	buf          *[largeBuffer]byte
	spare        any // what the handlers keep; see Handler
	turnCount    uint32
	shortWaitHit bool // a nap has brought one event
	sinceYield   int  // events since it last let others have the processor
}

// fetch is how many events a poller takes at once.
const maxEvents = 128

// poll is a poller's life.
func (l *loop) poll(p *poller) {
	p.buf = largeBuffers.Get().(*[largeBuffer]byte)
	done := false
	defer func() {
		if !done { // a handler has called runtime.Goexit
			go p.conn.serveInGoroutine()
			l.takeOverEvents(p, 1)
		}
		l.removePoller(p)
	}()
	l.handleEvents(p)
	for !l.stopped.Load() && l.fetchEvents(p) {
		l.handleEvents(p)
	}
	largeBuffers.Put(p.buf)
	done = true
}

// wait fetches events. It reports whether the poller is still needed.
func (l *loop) fetchEvents(p *poller) bool {
	backlog := !l.backlog.empty()
	if p.sinceYield >= eventsPerYield || l.yieldOverdue.Load() {
		p.sinceYield = 0
		l.yieldProcessor()
	}
	p.discardBatch()
	n, needed := 0, true
	if backlog || !p.shortWaitHit && !l.isWatched() { // after a nap it would find nothing
		n = l.epollWait(p, 0)
	}
	p.shortWaitHit = false
	switch {
	case backlog:
		n = max(n, 0)
		p.sinceYield++
		l.scheduleCheck()
	case n <= 0:
		p.sinceYield = 0
		n, needed = l.waitForEvents(p)
		n = max(n, 0)
	}
	p.batch.Store(uint32(n) << 16)
	p.sinceYield += n
	if n > 1 || n == 1 && !l.isWatched() {
		l.scheduleCheck()
	}
	return needed
}

// handle handles the events that p has.
func (l *loop) handleEvents(p *poller) {
	l.lastWake.Store(Now())
	held, since := false, uint32(0)
	for {
		event, more := p.nextEvent()
		if event == nil {
			break
		}
		if more {
			l.scheduleCheck() // this handler may block, and the others wait behind it
			if !held {
				since, held = l.corks.beginRound(), true
			}
		}
		p.noteTurn(event.Fd)
		l.dispatch(p, event, more)
	}
	if held {
		l.corks.endRound(since)
	}
	if c := l.backlog.pop(); c != nil {
		p.noteTurn(c.fd)
		l.runTurn(p, c, c.pending.Swap(turnTaken), !l.backlog.empty())
	}
}

// begin notes whose turn it is.
func (p *poller) noteTurn(fd int32) {
	p.turnCount++
	p.progress.Store(uint64(p.turnCount)<<32 | uint64(uint32(fd)))
}

// serve gives c its share of the poller's time. If that was not enough, c goes on after the others that wait.
func (l *loop) runTurn(p *poller, c *Conn, notes uint32, crowded bool) {
	p.conn = c
	if !c.serve(p.buf, &p.spare, notes, crowded) {
		l.backlog.push(c)
	}
}

// take returns the next event, and whether there are others behind it.
func (p *poller) nextEvent() (event *syscall.EpollEvent, more bool) {
	batch := p.batch.Add(1)
	n, taken := batch>>16, batch&0xffff
	if taken > n {
		return nil, false
	}
	return &p.events[(taken-1)%maxEvents], taken < n
}

// forget waits for whoever inherits from p, so that other events may be fetched.
func (p *poller) discardBatch() {
	p.mu.Lock()
	p.batch.Store(0)
	p.mu.Unlock()
}

// holdsEvents reports whether there are events that p has not begun to handle.
func (p *poller) hasUnhandledEvents() bool {
	batch := p.batch.Load()
	return batch&0xffff < batch>>16
}

// share gives the events that p has not begun to handle to others, in equal parts. Some may get none.
func (p *poller) giveEventsTo(others []*poller) {
	p.mu.Lock()
	defer p.mu.Unlock()
	batch := p.batch.Swap(0)
	n, taken := batch>>16, batch&0xffff
	if taken >= n {
		return
	}
	events := p.events[taken:n]
	for i, other := range others {
		part := events[i*len(events)/len(others) : (i+1)*len(events)/len(others)]
		other.batch.Store(uint32(copy(other.events[:], part)) << 16)
	}
}

func (l *loop) dispatch(p *poller, event *syscall.EpollEvent, more bool) {
	if event.Fd < 0 {
		return // the bell: the loop has been stopped
	}
	c := l.table.find(event.Fd, uint32(event.Pad))
	if c == nil {
		return
	}
	if s := c.stream.Load(); s != nil {
		s.handleTLSEvent(c)
		return
	}
	if event.Events&(syscall.EPOLLOUT|syscall.EPOLLHUP|syscall.EPOLLERR) != 0 {
		c.h.Writable() // at once: the turn may be in a handler that blocks
	}
	notes := pendingOf(event.Events)
	if notes == 0 {
		return
	}
	if !c.pending.CompareAndSwap(0, turnTaken) && !c.addPending(notes) {
		return
	}
	l.runTurn(p, c, notes, more || !l.backlog.empty())
}

func pendingOf(events uint32) (n uint32) {
	if events == syscall.EPOLLIN { // nearly always
		return pendingRead
	}
	if events&syscall.EPOLLIN != 0 {
		n |= pendingRead
	}
	if events&(syscall.EPOLLRDHUP|syscall.EPOLLHUP|syscall.EPOLLERR) != 0 {
		n |= pendingHangup
	}
	return n
}
