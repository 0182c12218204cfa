package park

import (
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

// A poller that finds nothing to do sleeps in one of two ways. In the runtime's poller it costs nobody anything, but
// falling asleep and being woken by the scheduler take longer than handling a message. In a system call that the
// scheduler does not know of both are quick, but its processor is lost to others meanwhile, and the scheduler's monitor, which sees
// somebody run, wakes up dozens of times to watch. So a poller naps only while events follow each other so
// quickly that naps are short, and lets the others have their turn in between.
//
// One thing is lost with a single processor: a goroutine that blocks in a system call, such as reading a slow file, keeps it until
// the monitor looks twice, which is every ten milliseconds as long as somebody seems to run. That is so in every busy
// program; napping makes the loop look busy at a fifth of its load.
const (
	// nap is how long, in milliseconds, a poller sleeps at the most without the scheduler's knowledge.
	shortWaitMillis = 2
	// brisk is how soon events have to follow each other for naps.
	quickWakeWithin = shortWaitMillis * time.Millisecond * 3 / 4
	// streak is how many in a row have to: a nap in vain costs what so many others save.
	quickWakesNeeded = 64
	// manners is how many events a poller handles before it lets others have the processor.
	eventsPerYield = 32
)

// gate is an epoll instance above a descriptor, in the runtime's poller: this is how a poller waits for the loop's like any
// other goroutine. It is opened for one wait at a time, so that what happens at other times wakes nobody.
type waiter struct {
	target int
	events uint32

	fd    int
	file  *os.File
	raw   syscall.RawConn
	check func(uintptr) bool

	mu    sync.Mutex // held by who waits
	armed bool
}

// newGate makes what waits until target is ready for events.
func newWaiter(target int, events uint32) (*waiter, error) {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	g := &waiter{target: target, events: events, fd: fd}
	g.check = g.ready
	if err = g.control(syscall.EPOLL_CTL_ADD, 0); err == nil {
		err = syscall.SetNonblock(fd, true) // or os.NewFile would not give it to the runtime
	}
	g.file = os.NewFile(uintptr(fd), "epoll")
	if err == nil {
		err = g.file.SetDeadline(time.Time{}) // fails if the runtime did not take it
	}
	if err == nil {
		g.raw, err = g.file.SyscallConn()
	}
	if err != nil {
		g.close()
	}
	return g, err
}

func (g *waiter) control(op int, events uint32) error {
	return syscall.EpollCtl(g.fd, op, g.target, &syscall.EpollEvent{Events: events | syscall.EPOLLONESHOT})
}

// waitLocked waits until the target is ready, or for no reason. mu must be held.
func (g *waiter) waitLocked() {
	g.armed = false
	_ = g.raw.Read(g.check)
}

// passed is called by the runtime before it waits, and when the gate has something to say.
func (g *waiter) ready(uintptr) bool {
	if !g.armed {
		g.armed = g.control(syscall.EPOLL_CTL_MOD, g.events) == nil
		return !g.armed
	}
	var event syscall.EpollEvent // to be told of it shuts the gate
	n, _, errno := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(g.fd), uintptr(unsafe.Pointer(&event)), 1, 0, 0, 0)
	return n > 0 || errno != 0
}

func (g *waiter) close() {
	if g != nil {
		_ = g.file.Close()
	}
}

// sleep waits for events, which there may be none of after all. It reports whether the poller is still needed.
func (l *loop) waitForEvents(p *poller) (n int, needed bool) {
	if !l.pollerWaits.CompareAndSwap(false, true) {
		return l.waitBesideOther(p)
	}
	p.waiting.Store(true)
	if l.quickWakes >= quickWakesNeeded {
		n = l.shortWait(p)
	} else {
		n = l.longWait(p)
	}
	p.waiting.Store(false)
	l.pollerWaits.Store(false)
	return n, true
}

// sore is for how long after a handler has blocked another one is expected to.
const blockedWindow = time.Second

// standBy sleeps although another poller does. While handlers block now and then it is good to have somebody who goes on at once,
// but to wake two for one event is too much otherwise.
func (l *loop) waitBesideOther(p *poller) (n int, needed bool) {
	if hurt := l.lastBlocked.Load(); hurt == 0 || l.elapsed()-hurt > int64(blockedWindow) || !l.eventWaiter.mu.TryLock() {
		return 0, false
	}
	p.waiting.Store(true)
	l.eventWaiter.waitLocked()
	l.eventWaiter.mu.Unlock()
	n = l.epollWait(p, 0)
	p.waiting.Store(false)
	return n, true
}

// nap sleeps without the scheduler's knowledge.
func (l *loop) shortWait(p *poller) int {
	l.yieldProcessor()
	n := l.epollWait(p, shortWaitMillis)
	p.shortWaitHit = n == 1
	switch {
	case n == 0: // it was in vain
		l.quickWakes = 0
	case n < 0:
		runtime.Gosched() // the signal that has ended it asks for this
	}
	return n
}

// park sleeps in the runtime's poller.
func (l *loop) longWait(p *poller) int {
	l.cancelCheck()
	began := time.Now()
	l.eventWaiter.mu.Lock()
	l.eventWaiter.waitLocked()
	l.eventWaiter.mu.Unlock()
	if l.quickWakes++; time.Since(began) > quickWakeWithin {
		l.quickWakes = 0
	}
	return l.epollWait(p, 0)
}

// stepAside lets others have the processor before it is lost to them, unless they have been seen to have another: offering
// it would wake them for nothing. Who has just been given work waits for this very one, though: to wake another that takes
// the work away lasts many times as long as most handlers. If this may be the only processor, it also has the runtime look
// who else could run. As long as there is somebody, which would be us, the runtime does that every ten milliseconds only.
func (l *loop) yieldProcessor() {
	handed := l.handedOff.Load()
	if handed {
		l.handedOff.Store(false)
	}
	if !handed && l.elapsed()-l.lastOtherRan.Load() < int64(shortWaitMillis*time.Millisecond) {
		return
	}
	l.yielding.Store(true)
	if l.yieldOverdue.Load() && l.yieldWaiter.mu.TryLock() {
		l.yieldOverdue.Store(false)
		l.yieldWaiter.waitLocked()
		l.yieldWaiter.mu.Unlock()
	} else {
		runtime.Gosched()
	}
	l.yielding.Store(false)
}

// now is the time in nanoseconds since the loop began.
func (l *loop) elapsed() int64 { return int64(time.Since(l.timers.start)) }

// epoll is epoll_wait without telling the scheduler.
func (l *loop) epollWait(p *poller, timeout uintptr) int {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(l.epfd), uintptr(unsafe.Pointer(&p.events[0])), maxEvents, timeout, 0, 0)
	if errno != 0 {
		return -1
	}
	return int(n)
}
