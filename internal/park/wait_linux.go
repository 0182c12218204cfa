//go:build !edgews_noloop

package park

import (
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

// A poller that has nothing to do waits for events in one of two ways.
//
// A long wait uses the runtime's poller, through a waiter. The goroutine is parked and its processor (the runtime's P) is free for
// others. But parking it and waking it again take longer than handling a message.
//
// A short wait is an epoll_wait of a few milliseconds in a raw system call, of which the scheduler does not know. It begins and ends
// quickly. But its P is lost to other goroutines meanwhile, and the runtime's monitor thread (sysmon), which sees a goroutine that
// runs, wakes up dozens of times. So a poller uses short waits only while events follow each other so quickly that the waits are
// short, and yields its P to other goroutines in between.
//
// With GOMAXPROCS=1, short waits have a cost: a goroutine that blocks in a system call, such as reading a slow file, keeps the P until
// sysmon has seen it twice, and sysmon looks every ten milliseconds as long as a goroutine seems to be running. That is so in every
// busy program; short waits make the loop look busy at a fifth of its capacity.
const (
	// shortWaitMillis is the timeout of a short wait, in milliseconds.
	shortWaitMillis = 2
	// quickWakeWithin is how soon a long wait must end to count as a quick wake.
	quickWakeWithin = shortWaitMillis * time.Millisecond * 3 / 4
	// quickWakesNeeded is the number of quick wakes in a row after which a poller uses short waits: a short wait that times out costs
	// as much as that many others save.
	quickWakesNeeded = 64
	// eventsPerYield is how many events a poller handles before it yields its P.
	eventsPerYield = 32
)

// waiter is an epoll instance that contains one descriptor and is itself in the runtime's poller. With it, a goroutine waits for the
// descriptor (the loop's epoll instance, for example) as it would for a connection. The descriptor is armed for one wait at a time, so
// that events at other times wake no goroutine.
type waiter struct {
	target int
	events uint32

	fd    int
	file  *os.File
	raw   syscall.RawConn
	check func(uintptr) bool // ready, as a func value that is allocated once

	mu    sync.Mutex // held during a wait
	armed bool
}

// newWaiter returns a waiter for the given events of target.
func newWaiter(target int, events uint32) (*waiter, error) {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	w := &waiter{target: target, events: events, fd: fd}
	w.check = w.ready
	if err = w.control(syscall.EPOLL_CTL_ADD, 0); err == nil {
		err = syscall.SetNonblock(fd, true) // otherwise os.NewFile does not add it to the runtime's poller
	}
	w.file = os.NewFile(uintptr(fd), "epoll")
	if err == nil {
		err = w.file.SetDeadline(time.Time{}) // fails if the runtime's poller did not take it
	}
	if err == nil {
		w.raw, err = w.file.SyscallConn()
	}
	if err != nil {
		w.close()
	}
	return w, err
}

func (w *waiter) control(op int, events uint32) error {
	return syscall.EpollCtl(w.fd, op, w.target, &syscall.EpollEvent{Events: events | syscall.EPOLLONESHOT})
}

// waitLocked waits until the target is ready. It may also return without a reason. mu must be held, and is held during the wait.
func (w *waiter) waitLocked() {
	w.armed = false
	_ = w.raw.Read(w.check)
}

// ready is called by RawConn.Read before it waits and each time the epoll instance has become readable. RawConn.Read returns when it
// returns true.
func (w *waiter) ready(uintptr) bool {
	if !w.armed {
		w.armed = w.control(syscall.EPOLL_CTL_MOD, w.events) == nil
		return !w.armed
	}
	var event syscall.EpollEvent // fetching the event disarms the target (EPOLLONESHOT)
	n, _, errno := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(w.fd), uintptr(unsafe.Pointer(&event)), 1, 0, 0, 0)
	return n > 0 || errno != 0
}

func (w *waiter) close() {
	if w != nil {
		_ = w.file.Close()
	}
}

// waitForEvents waits until there are events and fetches up to maxEvents of them. n may be 0 or negative. needed is false if the
// poller must end, because another one is waiting.
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

// blockedWindow is how long after a handler has blocked another one is expected to block.
const blockedWindow = time.Second

// waitBesideOther waits although another poller does. While handlers block now and then, a second waiting poller continues at once when
// one blocks. At other times it would only be woken for nothing.
func (l *loop) waitBesideOther(p *poller) (n int, needed bool) {
	if last := l.lastBlocked.Load(); last == 0 || l.elapsed()-last > int64(blockedWindow) || !l.eventWaiter.mu.TryLock() {
		return 0, false
	}
	p.waiting.Store(true)
	l.eventWaiter.waitLocked()
	l.eventWaiter.mu.Unlock()
	n = l.epollWait(p, 0)
	p.waiting.Store(false)
	return n, true
}

// shortWait waits without the scheduler's knowledge, for shortWaitMillis at most.
func (l *loop) shortWait(p *poller) int {
	l.yieldProcessor()
	n := l.epollWait(p, shortWaitMillis)
	p.shortWaitHit = n == 1
	switch {
	case n == 0: // timed out
		l.quickWakes = 0
	case n < 0:
		runtime.Gosched() // the signal that interrupted the wait may be the runtime's, which asks for this
	}
	return n
}

// longWait waits in the runtime's poller.
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

// yieldProcessor lets other goroutines use the poller's P. It does nothing if check has recently seen that others have a P of their
// own: runtime.Gosched would then wake an idle P for nothing. But if a handler has handed work to a goroutine (WorkHandedOff), that
// goroutine is queued on this very P, and it yields: waking another P that takes the work away takes many times as long as most
// handlers run.
//
// If this may be the only P and check could not run in time (yieldOverdue), it waits for the yieldWaiter instead, which is always ready:
// going through the runtime's poller makes the runtime look for other goroutines that are ready to run. Otherwise sysmon does that only
// every ten milliseconds, as long as a goroutine, such as this one, is running.
func (l *loop) yieldProcessor() {
	handedOff := l.handedOff.Load()
	if handedOff {
		l.handedOff.Store(false)
	}
	if !handedOff && l.elapsed()-l.lastOtherRan.Load() < int64(shortWaitMillis*time.Millisecond) {
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

// elapsed is the time in nanoseconds since the loop began.
func (l *loop) elapsed() int64 { return int64(time.Since(l.timers.start)) }

// fetchLimit is how many events a poller fetches at once. While handlers block, that is fewer the more of them do: events that are left
// in the epoll instance are there for the next poller whose handler returns, and events that a poller has fetched wait for its handler.
func (l *loop) fetchLimit() uintptr {
	if blocked := l.blocked.Load(); blocked > 0 {
		return uintptr(max(1, maxEvents/(4*blocked)))
	}
	return maxEvents
}

// epollWait is epoll_wait in a raw system call, of which the scheduler does not know. The timeout is in milliseconds. It returns a
// negative number if it fails or is interrupted.
func (l *loop) epollWait(p *poller, timeout uintptr) int {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(l.epfd), uintptr(unsafe.Pointer(&p.events[0])), l.fetchLimit(), timeout, 0, 0)
	if errno != 0 {
		return -1
	}
	return int(n)
}
