//go:build !edgews_noloop

package park

import (
	"sync"
	"sync/atomic"
	"syscall"
)

// poller is a goroutine that fetches events and runs the turns of their connections.
type poller struct {
	// progress changes each time the poller begins to handle something: the low half is the connection's index in the table, the high
	// half counts. 0: it has not handled anything yet.
	progress     atomic.Uint64
	waiting      atomic.Bool // for events, or about to end
	yielding     atomic.Bool // it has yielded its P and will go on when it is scheduled
	progressSeen uint64      // progress when observe last looked; guarded by the loop's mu

	// fetched is the number of fetched events, in the high half, and of those taken so far, in the low half. takeOverEvents may set it to
	// 0 while the poller's goroutine is in a handler.
	fetched atomic.Uint32
	mu      sync.Mutex // held while another goroutine copies events, and by the poller before it overwrites them
	events  [maxEvents]syscall.EpollEvent

	// Owned by the poller's goroutine.
	conn         *Conn // whose turn it runs
	buf          *[largeBuffer]byte
	spare        any // see Handler.Received
	turnCount    uint32
	shortWaitHit bool // the last wait was a short one that returned one event
	sinceYield   int  // events handled since the poller last yielded its P
}

// maxEvents is how many events a poller fetches at once.
const maxEvents = 128

// poll is the poller's goroutine. It ends when another poller waits in its place, when the loop stops, or when a handler calls
// runtime.Goexit: then another poller continues.
func (l *loop) poll(p *poller) {
	p.buf = largeBuffers.Get().(*[largeBuffer]byte)
	done := false
	defer func() {
		if !done { // a handler has called runtime.Goexit
			go p.conn.serveInGoroutine()
			l.takeOverEvents(p, 1)
		}
		p.waiting.Store(true)
		l.removePoller(p)
	}()
	l.handleEvents(p)
	for !l.stopped.Load() && l.fetchEvents(p) {
		l.handleEvents(p)
	}
	largeBuffers.Put(p.buf)
	done = true
}

// fetchEvents waits for events, unless the backlog has something to do, and fetches them. It reports whether the poller is still needed.
func (l *loop) fetchEvents(p *poller) bool {
	backlog := !l.backlog.empty()
	if p.sinceYield >= eventsPerYield || l.yieldOverdue.Load() {
		p.sinceYield = 0
		p.yielding.Store(true)
		l.yieldProcessor()
		p.yielding.Store(false)
	}
	p.discardFetched()
	n, needed := 0, true
	if backlog || !p.shortWaitHit && !l.isWatched() { // right after a short wait there would be no event
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
	p.fetched.Store(uint32(n) << 16)
	p.sinceYield += n
	if n > 1 || n == 1 && !l.isWatched() {
		l.scheduleCheck()
	}
	return needed
}

// handleEvents handles the fetched events, as one round of corks if there are several, and then continues one turn of the backlog.
func (l *loop) handleEvents(p *poller) {
	l.lastWake.Store(Now())
	inRound, round := false, uint32(0)
	for {
		event, more := p.nextEvent()
		if event == nil {
			break
		}
		if more {
			l.scheduleCheck() // this handler may block, and the other events wait for it
			if !inRound {
				round, inRound = l.corks.beginRound(), true
			}
		}
		p.noteProgress(uint32(event.Fd))
		l.dispatch(p, event, more)
	}
	if inRound {
		l.corks.endRound(round)
	}
	if c := l.backlog.pop(); c != nil {
		p.noteProgress(l.table.index(c.fd))
		p.conn = c
		if !c.serve(p.buf, &p.spare, c.pending.Swap(turnTaken), !l.backlog.empty()) {
			l.backlog.push(c)
		}
	}
}

// noteProgress tells check that p begins to handle something of the connection with an index.
func (p *poller) noteProgress(index uint32) {
	p.turnCount++
	p.progress.Store(uint64(p.turnCount)<<32 | uint64(index))
}

// nextEvent takes the next fetched event, and reports whether there are more.
func (p *poller) nextEvent() (event *syscall.EpollEvent, more bool) {
	counts := p.fetched.Add(1)
	n, taken := counts>>16, counts&0xffff
	if taken > n {
		return nil, false
	}
	return &p.events[(taken-1)%maxEvents], taken < n
}

// discardFetched waits for a goroutine that copies p's events, so that they may be overwritten.
func (p *poller) discardFetched() {
	p.mu.Lock()
	p.fetched.Store(0)
	p.mu.Unlock()
}

// hasUnhandledEvents reports whether there are events that p has not taken.
func (p *poller) hasUnhandledEvents() bool {
	counts := p.fetched.Load()
	return counts&0xffff < counts>>16
}

// giveEventsTo distributes the events that p has not taken equally among others. Some of them may get none.
func (p *poller) giveEventsTo(others []*poller) {
	p.mu.Lock()
	defer p.mu.Unlock()
	counts := p.fetched.Swap(0)
	n, taken := counts>>16, counts&0xffff
	if taken >= n {
		return
	}
	events := p.events[taken:n]
	for i, other := range others {
		part := events[i*len(events)/len(others) : (i+1)*len(events)/len(others)]
		other.fetched.Store(uint32(copy(other.events[:], part)) << 16)
	}
}

// dispatch handles an event. more says whether the poller has further ones.
func (l *loop) dispatch(p *poller, event *syscall.EpollEvent, more bool) {
	if event.Fd < 0 {
		return // of wakeFD: the loop has been stopped
	}
	c := l.table.find(uint32(event.Fd), uint32(event.Pad))
	if c == nil {
		return
	}
	if s := c.offLoop.Load(); s != nil {
		s.handleTLSEvent(c)
		return
	}
	pending := uint32(pendingRead)
	if event.Events != syscall.EPOLLIN { // which is rare
		if event.Events&(syscall.EPOLLOUT|syscall.EPOLLHUP|syscall.EPOLLERR) != 0 {
			c.h.Writable() // without the turn, which may be in a handler that blocks
		}
		if pending = pendingOf(event.Events); pending == 0 {
			return
		}
	}
	if !c.pending.CompareAndSwap(0, turnTaken) && !c.addPending(pending) {
		return
	}
	p.conn = c
	if !c.serve(p.buf, &p.spare, pending, more || !l.backlog.empty()) {
		l.backlog.push(c)
	}
}

// pendingOf translates epoll's events.
func pendingOf(events uint32) (pending uint32) {
	if events&syscall.EPOLLIN != 0 {
		pending |= pendingRead
	}
	if events&(syscall.EPOLLRDHUP|syscall.EPOLLHUP|syscall.EPOLLERR) != 0 {
		pending |= pendingHangup
	}
	return pending
}
