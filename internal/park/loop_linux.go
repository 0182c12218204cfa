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
	epfd   int
	bell   int   // an eventfd that ends the pollers when it can be read
	gate   *gate // waits for events
	aside  *gate // waits for nothing
	table  table
	alarms alarms
	corks  corks

	backlog backlog

	clock    atomic.Uint32 // the time when a poller last woke up; see Now
	sleeping atomic.Bool   // a poller waits for events
	armed    atomic.Bool   // check will run
	yielding atomic.Bool   // a poller has left its processor to others
	overdue  atomic.Bool   // … and some may have had to wait for that
	handed   atomic.Bool   // a handler has given work to a goroutine that may wait for the poller's processor
	hurt     atomic.Int64  // when a handler was last found blocked, or 0; see now
	freed    atomic.Int64  // when somebody else has last had another processor; see now
	stopped  atomic.Bool

	streak int // events in a row that followed each other briskly; owned by who sleeps

	mu      sync.Mutex
	pollers []*poller
	checker *time.Timer
	loaded  int  // how often in a row check has found nobody waiting
	calm    bool // it has found nobody at work
	closed  bool // epfd and bell are no longer ours
}

var (
	loopMu  sync.Mutex
	loopNow atomic.Pointer[loop] // nil: there is none
	lodgers int                  // connections on it; guarded by loopMu
)

// currentLoop returns the loop of a connection that is on it.
func currentLoop() *loop { return loopNow.Load() }

// enterLoop returns the loop for one more connection.
func enterLoop() (*loop, bool) {
	loopMu.Lock()
	defer loopMu.Unlock()
	l := loopNow.Load()
	if l == nil {
		var err error
		if l, err = newLoop(); err != nil {
			return nil, false
		}
		loopNow.Store(l)
	}
	lodgers++
	return l, true
}

// vacancy is how long the loop stays when its last connection has gone.
const vacancy = 50 * time.Millisecond

// leave is for one connection less.
func (l *loop) leave() {
	loopMu.Lock()
	defer loopMu.Unlock()
	if lodgers--; lodgers == 0 {
		time.AfterFunc(vacancy, l.retire)
	}
}

// retire ends the loop if it is not used any more.
func (l *loop) retire() {
	loopMu.Lock()
	defer loopMu.Unlock()
	if lodgers > 0 || loopNow.Load() != l {
		return
	}
	loopNow.Store(nil)
	l.stopped.Store(true)
	l.alarms.stop()
	l.ring()
}

func newLoop() (*loop, error) {
	growDescriptors()
	l := &loop{epfd: -1, bell: -1}
	l.alarms.table, l.alarms.start = &l.table, time.Now()
	l.alarms.next.Store(math.MaxInt64)
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
	l.bell = int(bell)
	if err := syscall.EpollCtl(l.epfd, syscall.EPOLL_CTL_ADD, l.bell, &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: -1, Pad: -1}); err != nil {
		return err
	}
	if l.gate, err = newGate(l.epfd, syscall.EPOLLIN); err != nil {
		return err
	}
	l.aside, err = newGate(l.bell, syscall.EPOLLOUT) // it always has room
	return err
}

func (l *loop) close() {
	l.gate.close()
	l.aside.close()
	for _, fd := range []int{l.epfd, l.bell} {
		if fd >= 0 {
			_ = syscall.Close(fd)
		}
	}
}

// growDescriptors makes the kernel's table of descriptors large at once, as far as is reasonable. It grows by doubling otherwise, and
// with many threads each time takes so long that the runtime starts dozens more of them.
var growDescriptors = sync.OnceFunc(func() {
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
func (l *loop) ring() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed { // and somebody else may have the number
		return
	}
	one := uint64(1)
	_, _, _ = syscall.RawSyscall(syscall.SYS_WRITE, uintptr(l.bell), uintptr(unsafe.Pointer(&one)), 8)
}

const edge = uint32(syscall.EPOLLRDHUP) | 1<<31 // EPOLLET, which package syscall has as a negative number

func (l *loop) watch(c *Conn, op int, events uint32) error {
	return syscall.EpollCtl(l.epfd, op, int(c.fd), &syscall.EpollEvent{Events: events | edge, Fd: c.fd, Pad: int32(c.gen)})
}

// How far apart the looks are that check takes. A handler that is found in two of them is blocked.
const (
	patience = 700 * time.Microsecond
	calm     = time.Millisecond       // as long as pollers are found waiting
	doubt    = 300 * time.Microsecond // when one is not, for the first time
)

// overload is how often in a row nobody must be found waiting until there is another poller.
const overload = 4

// guard has check run soon.
func (l *loop) guard() {
	if !l.armed.Load() {
		l.arm()
	}
}

func (l *loop) arm() {
	if l.armed.Swap(true) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.checkLocked(patience)
}

func (l *loop) checkLocked(after time.Duration) {
	if l.checker == nil {
		l.checker = time.AfterFunc(after, l.check)
	} else {
		l.checker.Reset(after)
	}
}

// relax has check not run, when there is nothing for it to see.
func (l *loop) relax() {
	if !l.armed.Load() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.checker != nil && len(l.pollers) == 1 && l.corks.count() == 0 && l.checker.Stop() {
		l.armed.Store(false)
	}
}

// check flushes what handlers hold up, and has somebody go on where one blocks. It comes again while there is anything to see.
func (l *loop) check() {
	if l.stopped.Load() {
		return
	}
	l.armed.Store(false) // first: what begins from here on wants another check
	if l.yielding.Load() {
		l.overdue.Store(true)
	} else {
		l.freed.Store(l.now())
	}
	l.corks.flush()
	seen := l.look()
	if seen.blocked > 0 {
		l.hurt.Store(l.now())
	}
	if seen.blocked > 0 || l.corks.stale() {
		l.corks.lift()
	}
	for _, h := range seen.slow {
		h.Flush()
	}
	for _, p := range seen.held {
		l.relieve(p, (seen.blocked+len(seen.held)-1)/len(seen.held))
	}
	if seen.lacking() || seen.blocked > 0 && !l.backlog.empty() {
		l.addPoller()
	}
	if seen.busy || len(seen.held) > 0 || seen.unwatched && seen.blocked > 0 || l.corks.count() > 0 {
		l.again(seen.progressing > 0, len(seen.held) > 0)
	}
}

// sight is what check has seen.
type sight struct {
	busy                 bool      // somebody has begun a turn
	progressing, blocked int       // pollers
	held                 []*poller // blocked, with events that wait
	slow                 []Handler // what blocks them
	unwatched            bool      // nobody waits for events
	overloaded           bool      // … which has been so for a while, and there are processors left
}

// lacking reports whether somebody has to wait for events who is not there.
func (s *sight) lacking() bool {
	return s.unwatched && (s.overloaded && len(s.held) == 0 || s.progressing == 0 && s.blocked > 0)
}

// look sees what the pollers have done since it last looked.
func (l *loop) look() (s sight) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.pollers {
		turn := p.turn.Load()
		moved := turn != p.seen
		p.seen = turn
		switch s.busy = s.busy || moved; {
		case p.waiting.Load(), turn == 0: // it has not begun to handle anything
		case moved:
			s.progressing++
		default:
			s.blocked++
			if c := l.table.at(int32(turn)); c != nil {
				s.slow = append(s.slow, c.h)
			}
			if p.holdsEvents() {
				s.held = append(s.held, p)
			}
		}
	}
	s.unwatched = !l.watched()
	if l.loaded++; !s.unwatched {
		l.loaded = 0
	}
	if s.overloaded = l.loaded >= overload && s.progressing < runtime.GOMAXPROCS(0); s.overloaded {
		l.loaded = 0
	}
	return s
}

// again has check take another look: soon, if handlers have been found blocked that held others up.
func (l *loop) again(progressing, blocked bool) {
	if l.armed.Swap(true) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	after := patience
	switch wasCalm := l.calm; {
	case blocked:
		after = doubt
	case !progressing:
		after = calm
	case wasCalm:
		after = doubt
	}
	l.calm = !progressing
	l.checkLocked(after)
}

// addPoller starts a poller.
func (l *loop) addPoller() { l.start(make([]*poller, 1), nil) }

// relieve starts n pollers for the events that blocked has fetched. As many handlers may block again as have so far, and each of
// them would hold up what is behind it until check comes again: that is why there is more than one.
func (l *loop) relieve(blocked *poller, n int) { l.start(make([]*poller, n), blocked) }

func (l *loop) start(pollers []*poller, blocked *poller) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	for i := range pollers {
		pollers[i] = new(poller)
	}
	if blocked != nil {
		blocked.share(pollers)
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
func (l *loop) watched() bool { return l.sleeping.Load() }
