//go:build !edgews_noloop

package park

// The event loop, for readers who know epoll(7).
//
// The epoll instance of the loop contains every connection of the process that is on the loop: plain sockets edge-triggered, the sockets
// under TLS one-shot. (With many processors there are several loops, which know nothing of each other: loops_linux.go.) Goroutines of the loop, the pollers, fetch events from it and run the handlers of the connections themselves; no event is
// handed to a goroutine of the connection. Mostly there is one poller: with two, the scheduler would wake them in turns.
//
// # The life of an event
//
//  1. A poller waits (wait_linux.go) and fetches up to maxEvents events into an array of its own (fetchEvents).
//  2. It takes them one by one (handleEvents). If there are several, they are a round: until its end, DeferWrite returns true, so that
//     everything the round sends to a connection leaves in one write (cork_linux.go), and where the kernel allows it the writes to many
//     connections leave in one system call (batch_linux.go, uring_linux.go).
//  3. dispatch finds the connection in the table by its descriptor and generation. The event of a connection that has been closed
//     since finds none. For a TLS connection, it starts a goroutine that reads (tls_linux.go), and that is all. EPOLLOUT leads to a
//     call of Writable at once.
//  4. EPOLLIN and the end of the stream need the connection's turn (turn_linux.go), the exclusive right to read it and to run its
//     handler. If another goroutine has it, dispatch leaves a flag for that goroutine and goes on to the next event. Otherwise the
//     poller now has the turn.
//  5. The poller reads and calls Received until a read is short or returns EAGAIN, or until the budget of the turn is used up. It
//     releases the turn, unless a flag has been left: then it handles that too.
//
// Wake works like an event, except that its caller cannot take the turn: if the turn is free, a new goroutine runs it.
//
// # Fairness
//
// A turn reads turnBudget bytes, or sharedTurnBudget if other events or connections wait for the poller; small reads and calls of Woken
// are charged a minimum. A connection that uses up its budget, or calls YieldTurn, keeps its turn and joins the backlog. A poller alternates: it fetches
// events (without waiting if there is a backlog), handles all of them, and then continues one turn of the backlog. So a connection on
// which little arrives waits for the events of one fetch and for one turn, however many others have more to read. After eventsPerYield events
// a poller yields its processor (the runtime's P) to other goroutines of the program.
//
// # Handlers that block
//
// A handler may block, and then holds up its poller: the events that the poller has fetched and not taken, the round whose writes are
// deferred, and the waiting for further events. check (watchdog_linux.go) runs about every millisecond while there is anything to
// watch. A poller that has made no progress between two checks is blocked. Then check
//
//   - ends the rounds and flushes what handlers have sent;
//   - starts pollers that take over the blocked poller's events;
//   - starts a poller if none is left that fetches events or continues the backlog.
//
// When the handler returns, its poller finds no events left, and goes on like any other.
//
// # When pollers start and end
//
// A loop starts with its first connection, with one poller. All loops stop unusedLoopLifetime after the last connection has gone. Pollers
// are added when a handler blocks (above), when a handler has called runtime.Goexit, and under load: if check finds
// checksUntilOverload times in a row that no poller waits for events, it adds one, as long as fewer than GOMAXPROCS make progress. A
// poller that has nothing to do while another one waits ends. Only within blockedWindow after a handler has blocked, one more waits.
//
// # Locks
//
// offLoop.mu > loopMu > loop.mu > poller.mu. table.mu, timers.mu, corks.mu, backlog.mu and ring.mu are leaves: no other lock is taken under
// them. ring.mu is held while a batch is written, and never waited for.
// waiter.mu is held during a wait, by a poller that holds no other lock. No lock is held while a method of a Handler runs, so handlers
// may hold their own locks while they call methods of Conn. The turn is not a lock: it is never waited for.
//
// A descriptor must not be closed while a goroutine uses it, since its number could become another connection's. The goroutine with
// the turn may use it; all others count themselves in slot.fdUsers (acquireFD).

import (
	"math"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// HasLoop says whether this build has the event loop: on Linux, without the build tag edgews_noloop.
const HasLoop = true

// loop is the event loop. See the comment at the top of this file.
type loop struct {
	// Immutable.
	epfd        int
	wakeFD      int     // an eventfd that wakes the pollers when the loop stops
	eventWaiter *waiter // waits for epfd to be readable
	yieldWaiter *waiter // waits for nothing: wakeFD is always writable; see yieldProcessor

	table   table
	timers  timers
	corks   corks
	backlog backlog

	lastWake       atomic.Uint32 // when a poller last returned from waiting; see Now
	pollerWaits    atomic.Bool   // a poller waits for events
	checkScheduled atomic.Bool   // check will run
	yielding       atomic.Bool   // a poller has yielded its P
	yieldOverdue   atomic.Bool   // check ran only because a poller yielded: other goroutines may have had to wait as well
	handedOff      atomic.Bool   // a handler has called WorkHandedOff since a poller last yielded
	blocked        atomic.Int32  // handlers that the last check found blocked
	lastBlocked    atomic.Int64  // when check last found a handler blocked, or 0; see elapsed
	lastOtherRan   atomic.Int64  // when check last ran beside the pollers, so on another P; see elapsed
	stopped        atomic.Bool

	quickWakes int // long waits in a row that ended soon; owned by the poller that has set pollerWaits

	// Guarded by mu.
	mu              sync.Mutex
	pollers         []*poller
	checkTimer      *time.Timer
	unwatchedChecks int  // checks in a row that found no poller waiting
	wasIdle         bool // the last check found no poller making progress
	closed          bool // the descriptors have been closed
}

// newLoop starts one of count loops.
func newLoop(count int) (*loop, error) {
	go growFDTable() // connections need not wait for it
	l := &loop{epfd: -1, wakeFD: -1}
	l.table.shift = uint8(bits.TrailingZeros(uint(count)))
	l.timers.table, l.timers.start = &l.table, time.Now()
	l.timers.nextSweep.Store(math.MaxInt64)
	if err := l.open(); err != nil {
		l.close()
		return nil, err
	}
	l.addPollers(1)
	return l, nil
}

func (l *loop) open() (err error) {
	if l.epfd, err = syscall.EpollCreate1(syscall.EPOLL_CLOEXEC); err != nil {
		return err
	}
	fd, _, errno := syscall.RawSyscall(syscall.SYS_EVENTFD2, 0, syscall.O_CLOEXEC|syscall.O_NONBLOCK, 0)
	if errno != 0 {
		return errno
	}
	l.wakeFD = int(fd)
	if err := syscall.EpollCtl(l.epfd, syscall.EPOLL_CTL_ADD, l.wakeFD, &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: -1, Pad: -1}); err != nil {
		return err
	}
	if l.eventWaiter, err = newWaiter(l.epfd, syscall.EPOLLIN); err != nil {
		return err
	}
	l.yieldWaiter, err = newWaiter(l.wakeFD, syscall.EPOLLOUT)
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

// growFDTable makes the kernel's table of descriptors large at once, up to the limit of the process or 2^17. Otherwise it grows by
// doubling, and in a process with many threads each time takes so long that the runtime starts dozens more of them. The kernel takes about ten
// milliseconds for it.
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

// stop ends a loop that has no connections. Its pollers close it.
func (l *loop) stop() {
	l.stopped.Store(true)
	l.timers.stop()
	l.wakePollers()
}

// wakePollers wakes the pollers that wait, so that they see that the loop has stopped.
func (l *loop) wakePollers() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed { // the number may be another descriptor's by now
		return
	}
	one := uint64(1)
	_, _, _ = syscall.RawSyscall(syscall.SYS_WRITE, uintptr(l.wakeFD), uintptr(unsafe.Pointer(&one)), 8)
}

const edgeTriggered = uint32(syscall.EPOLLRDHUP) | 1<<31 // EPOLLET, a negative number in package syscall

// register adds c to the epoll instance, or changes its events.
func (l *loop) register(c *Conn, op int, events uint32) error {
	return syscall.EpollCtl(l.epfd, op, int(c.fd), l.table.event(c, events|edgeTriggered))
}

// addPollers starts n pollers.
func (l *loop) addPollers(n int) { l.startPollers(make([]*poller, n), nil) }

// takeOverEvents starts n pollers for the events that blocked has fetched and not taken. As many handlers may block as have already,
// and each of them would hold up the events behind it until the next check. That is why n may be more than 1.
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

// removePoller is the last thing that a poller does. The last poller of a stopped loop closes it.
func (l *loop) removePoller(p *poller) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pollers = slices.DeleteFunc(l.pollers, func(other *poller) bool { return other == p })
	if l.stopped.Load() && len(l.pollers) == 0 && !l.closed {
		l.closed = true
		l.close()
	}
}

// isWatched reports whether a poller waits for events, so that another one need not.
func (l *loop) isWatched() bool { return l.pollerWaits.Load() }
