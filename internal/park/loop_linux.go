package park

import (
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// loop waits for all connections of the process that are on it. Mostly one poller waits: two would take turns, each to be woken
// by the scheduler. Handlers run where the event was read. When one blocks, check notices within about a
// millisecond and adds a poller, which also takes over the events that the blocked one has fetched. Under a load that
// one cannot bear there are more, up to one a processor. A poller that finds another waiting when it has finished ends.
type loop struct {
	epfd        int
	wakeFD      int     // an eventfd that ends the pollers when it can be read
	eventWaiter *waiter // waits for events
	yieldWaiter *waiter // waits for nothing
	table       table
	timers      timers
	corks       corks

	backlog backlog

	lastWake       atomic.Uint32 // the time when a poller last woke up; see Now
	pollerWaits    atomic.Bool   // a poller waits for events
	checkScheduled atomic.Bool   // check will run
	yielding       atomic.Bool   // a poller has left its processor to others
	yieldOverdue   atomic.Bool   // … and some may have had to wait for that
	handedOff      atomic.Bool   // a handler has given work to a goroutine that may wait for the poller's processor
	lastBlocked    atomic.Int64  // when a handler was last found blocked, or 0; see now
	lastOtherRan   atomic.Int64  // when somebody else has last had another processor; see now
	stopped        atomic.Bool

	quickWakes int // events in a row that followed each other briskly; owned by who sleeps

	mu              sync.Mutex
	pollers         []*poller
	checkTimer      *time.Timer
	unwatchedChecks int  // how often in a row check has found nobody waiting
	wasIdle         bool // it has found nobody at work
	closed          bool // epfd and bell are no longer ours
}

var (
	loopMu     sync.Mutex
	activeLoop atomic.Pointer[loop] // nil: there is none
	loopConns  int                  // connections on it; guarded by loopMu
)

// currentLoop returns the loop of a connection that is on it.
func currentLoop() *loop { return activeLoop.Load() }

// enterLoop returns the loop for one more connection.
func acquireLoop() (*loop, bool) {
	loopMu.Lock()
	defer loopMu.Unlock()
	l := activeLoop.Load()
	if l == nil {
		var err error
		if l, err = newLoop(); err != nil {
			return nil, false
		}
		activeLoop.Store(l)
	}
	loopConns++
	return l, true
}

// vacancy is how long the loop stays when its last connection has gone.
const unusedLoopLifetime = 50 * time.Millisecond

// leave is for one connection less.
func (l *loop) release() {
	loopMu.Lock()
	defer loopMu.Unlock()
	if loopConns--; loopConns == 0 {
		time.AfterFunc(unusedLoopLifetime, l.stopIfUnused)
	}
}

// retire ends the loop if it is not used any more.
func (l *loop) stopIfUnused() {
	loopMu.Lock()
	defer loopMu.Unlock()
	if loopConns > 0 || activeLoop.Load() != l {
		return
	}
	activeLoop.Store(nil)
	l.stopped.Store(true)
	l.timers.stop()
	l.wakePollers()
}

func newLoop() (*loop, error) {
	growFDTable()
	l := &loop{epfd: -1, wakeFD: -1}
	l.timers.table, l.timers.start = &l.table, time.Now()
	l.timers.nextSweep.Store(math.MaxInt64)
	if err := l.open(); err != nil {
		l.close()
		return nil, err
	}
	l.addPoller()
	return l, nil
}

func (l *loop) open() (err error) {
	if l.epfd, err = syscall.EpollCreate1(syscall.EPOLL_CLOEXEC); err != nil {
		return err
	}
	bell, _, errno := syscall.RawSyscall(syscall.SYS_EVENTFD2, 0, syscall.O_CLOEXEC|syscall.O_NONBLOCK, 0)
	if errno != 0 {
		return errno
	}
	l.wakeFD = int(bell)
	if err := syscall.EpollCtl(l.epfd, syscall.EPOLL_CTL_ADD, l.wakeFD, &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: -1, Pad: -1}); err != nil {
		return err
	}
	if l.eventWaiter, err = newWaiter(l.epfd, syscall.EPOLLIN); err != nil {
		return err
	}
	l.yieldWaiter, err = newWaiter(l.wakeFD, syscall.EPOLLOUT) // it always has room
	return err
}

func (l *loop) close() {
	l.eventWaiter.close()
	l.yieldWaiter.close()
	for _, fd := range []int{l.epfd, l.wakeFD} {
		if fd >= 0 {
			_ = syscall.Close(fd)
		}
	}
}

// growDescriptors makes the kernel's table of descriptors large at once, as far as is reasonable. It grows by doubling otherwise, and
// with many threads each time takes so long that the runtime starts dozens more of them.
var growFDTable = sync.OnceFunc(func() {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return
	}
	highest := min(limit.Cur, 1<<17) - 1
	fd, _, errno := syscall.Syscall(syscall.SYS_FCNTL, 0, syscall.F_DUPFD_CLOEXEC, uintptr(highest))
	if errno == 0 {
		_ = syscall.Close(int(fd))
	}
})

// ring wakes the pollers that wait.
func (l *loop) wakePollers() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed { // and somebody else may have the number
		return
	}
	one := uint64(1)
	_, _, _ = syscall.RawSyscall(syscall.SYS_WRITE, uintptr(l.wakeFD), uintptr(unsafe.Pointer(&one)), 8)
}

const edgeTriggered = uint32(syscall.EPOLLRDHUP) | 1<<31 // EPOLLET, which package syscall has as a negative number

func (l *loop) register(c *Conn, op int, events uint32) error {
	return syscall.EpollCtl(l.epfd, op, int(c.fd), &syscall.EpollEvent{Events: events | edgeTriggered, Fd: c.fd, Pad: int32(c.gen)})
}

// How far apart the looks are that check takes. A handler that is found in two of them is blocked.
const (
	checkInterval     = 700 * time.Microsecond
	idleCheckInterval = time.Millisecond       // as long as pollers are found waiting
	recheckInterval   = 300 * time.Microsecond // when one is not, for the first time
)

// overload is how often in a row nobody must be found waiting until there is another poller.
const checksUntilOverload = 4

// guard has check run soon.
func (l *loop) scheduleCheck() {
	if !l.checkScheduled.Load() {
		l.scheduleFirstCheck()
	}
}

func (l *loop) scheduleFirstCheck() {
	if l.checkScheduled.Swap(true) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.startCheckTimerLocked(checkInterval)
}

func (l *loop) startCheckTimerLocked(after time.Duration) {
	if l.checkTimer == nil {
		l.checkTimer = time.AfterFunc(after, l.check)
	} else {
		l.checkTimer.Reset(after)
	}
}

// relax has check not run, when there is nothing for it to see.
func (l *loop) cancelCheck() {
	if !l.checkScheduled.Load() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.checkTimer != nil && len(l.pollers) == 1 && l.corks.count() == 0 && l.checkTimer.Stop() {
		l.checkScheduled.Store(false)
	}
}

// check flushes what handlers hold up, and has somebody go on where one blocks. It comes again while there is anything to see.
func (l *loop) check() {
	if l.stopped.Load() {
		return
	}
	l.checkScheduled.Store(false) // first: what begins from here on wants another check
	if l.yielding.Load() {
		l.yieldOverdue.Store(true)
	} else {
		l.lastOtherRan.Store(l.elapsed())
	}
	l.corks.flush()
	seen := l.observe()
	if seen.blocked > 0 {
		l.lastBlocked.Store(l.elapsed())
	}
	if seen.blocked > 0 || l.corks.stalled() {
		l.corks.releaseAll()
	}
	for _, h := range seen.blockers {
		h.Flush()
	}
	for _, p := range seen.stuck {
		l.takeOverEvents(p, (seen.blocked+len(seen.stuck)-1)/len(seen.stuck))
	}
	if seen.needsPoller() || seen.blocked > 0 && !l.backlog.empty() {
		l.addPoller()
	}
	if seen.busy || len(seen.stuck) > 0 || seen.unwatched && seen.blocked > 0 || l.corks.count() > 0 {
		l.scheduleNextCheck(seen.progressing > 0, len(seen.stuck) > 0)
	}
}

// sight is what check has seen.
type observation struct {
	busy                 bool      // somebody has begun a turn
	progressing, blocked int       // pollers
	stuck                []*poller // blocked, with events that wait
	blockers             []Handler // what blocks them
	unwatched            bool      // nobody waits for events
	overloaded           bool      // … which has been so for a while, and there are processors left
}

// lacking reports whether somebody has to wait for events who is not there.
func (s *observation) needsPoller() bool {
	return s.unwatched && (s.overloaded && len(s.stuck) == 0 || s.progressing == 0 && s.blocked > 0)
}

// look sees what the pollers have done since it last looked.
func (l *loop) observe() (s observation) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.pollers {
		turn := p.progress.Load()
		moved := turn != p.progressSeen
		p.progressSeen = turn
		switch s.busy = s.busy || moved; {
		case p.waiting.Load(), turn == 0: // it has not begun to handle anything
		case moved:
			s.progressing++
		default:
			s.blocked++
			if c := l.table.at(int32(turn)); c != nil {
				s.blockers = append(s.blockers, c.h)
			}
			if p.hasUnhandledEvents() {
				s.stuck = append(s.stuck, p)
			}
		}
	}
	s.unwatched = !l.isWatched()
	if l.unwatchedChecks++; !s.unwatched {
		l.unwatchedChecks = 0
	}
	if s.overloaded = l.unwatchedChecks >= checksUntilOverload && s.progressing < runtime.GOMAXPROCS(0); s.overloaded {
		l.unwatchedChecks = 0
	}
	return s
}

// again has check take another look: soon, if handlers have been found blocked that held others up.
func (l *loop) scheduleNextCheck(progressing, blocked bool) {
	if l.checkScheduled.Swap(true) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	after := checkInterval
	switch wasCalm := l.wasIdle; {
	case blocked:
		after = recheckInterval
	case !progressing:
		after = idleCheckInterval
	case wasCalm:
		after = recheckInterval
	}
	l.wasIdle = !progressing
	l.startCheckTimerLocked(after)
}

// addPoller starts a poller.
func (l *loop) addPoller() { l.startPollers(make([]*poller, 1), nil) }

// relieve starts n pollers for the events that blocked has fetched. As many handlers may block again as have so far, and each of
// them would hold up what is behind it until check comes again: that is why there is more than one.
func (l *loop) takeOverEvents(blocked *poller, n int) { l.startPollers(make([]*poller, n), blocked) }

func (l *loop) startPollers(pollers []*poller, blocked *poller) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	for i := range pollers {
		pollers[i] = new(poller)
	}
	if blocked != nil {
		blocked.giveEventsTo(pollers)
	}
	l.pollers = append(l.pollers, pollers...)
	for _, p := range pollers {
		go l.poll(p)
	}
}

func (l *loop) removePoller(p *poller) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pollers = slices.DeleteFunc(l.pollers, func(other *poller) bool { return other == p })
	if l.stopped.Load() && len(l.pollers) == 0 && !l.closed {
		l.closed = true
		l.close()
	}
}

// watched reports whether a poller waits, so that another one is not needed.
func (l *loop) isWatched() bool { return l.pollerWaits.Load() }
