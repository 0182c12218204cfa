//go:build !edgews_noloop

package park

import (
	"io"
	"runtime"
	"sync"
	"syscall"
)

// The turn of a connection is the exclusive right to read it and to run its handler. slot.pending contains the right and what has
// happened since it was last swapped. A goroutine that adds to pending and finds that the turn was free has the turn from then on,
// and must call serve. A goroutine that finds the turn taken does nothing more: releaseTurn fails as long as anything is pending, so
// the goroutine with the turn handles it.
const (
	turnTaken       = 1 << iota // a goroutine has the turn, or the connection is in the backlog
	pendingRead                 // there may be bytes to read
	pendingHangup               // the peer has ended the connection, or it has failed: reads return that after the last byte
	pendingWritable             // a write before the connection moved to the loop returned ErrWouldBlock
	pendingWake                 // Wake was called
	turnYielded                 // YieldTurn was called: the turn continues after others
)

// addPending adds what has happened. It reports whether the caller has the turn now.
func (c *Conn) addPending(what uint32) (gotTurn bool) {
	return c.pending.Or(what|turnTaken)&turnTaken == 0
}

// releaseTurn releases the turn, unless something is pending.
func (c *Conn) releaseTurn() bool { return c.pending.CompareAndSwap(turnTaken, 0) }

// loopTryTurn is TryTurn of a connection that is on the loop.
func (c *Conn) loopTryTurn() bool { return c.pending.CompareAndSwap(0, turnTaken) }

// loopReturnTurn is the opposite of loopTryTurn.
func (c *Conn) loopReturnTurn() {
	if !c.releaseTurn() {
		go c.serveInGoroutine()
	}
}

// notify is addPending for callers that cannot take the turn themselves.
func (c *Conn) notify(what uint32) {
	if c.addPending(what) {
		go c.serveInGoroutine()
	}
}

// serveInGoroutine calls serve outside a poller, until it is done.
func (c *Conn) serveInGoroutine() {
	done := false
	defer func() {
		if !done { // the handler has called runtime.Goexit
			go c.serveInGoroutine()
		}
	}()
	if l := loopOf(c.fd); l != nil { // the pollers may have waited for long
		l.lastWake.Store(Now())
	}
	buf := largeBuffers.Get().(*[largeBuffer]byte)
	for !c.serve(buf, nil, c.pending.Swap(turnTaken), false) {
		runtime.Gosched()
	}
	largeBuffers.Put(buf)
	done = true
}

// serve handles pending, then what is added meanwhile, until nothing is left, the budget is used up or YieldTurn is called. In the first
// case it releases the turn and returns true. In the others the connection keeps the turn, and serve must be called again.
func (c *Conn) serve(buf *[largeBuffer]byte, spare *any, pending uint32, othersWait bool) (done bool) {
	c.crowd = othersWait
	budget := turnBudget
	if othersWait {
		budget = sharedTurnBudget
	}
	usual := budget
	for {
		if pending&(pendingWritable|pendingWake) != 0 {
			budget -= c.wake(pending)
		}
		if pending&(pendingRead|pendingHangup) != 0 {
			c.mayRead = !c.isClosed()
			c.hangup = c.hangup || pending&pendingHangup != 0
		}
		n := 0
		for c.mayRead {
			into, huge := buf[:usual], (*[hugeBuffer]byte)(nil)
			if !c.anyBuffer {
				if into, huge = c.readBuffer(buf, usual); into == nil {
					break // until Wake
				}
			}
			var errno syscall.Errno
			if n, errno = readSocket(int(c.fd), into); n > 0 && errno == 0 {
				// A short read has emptied the socket (epoll(7), edge-triggered): the next bytes lead to another event.
				c.mayRead = n == len(into) || c.hangup
				if huge != nil && n <= smallRead { // the handler may block, and would keep the buffer for so long
					copy(buf[:], into[:n])
					hugeBuffers.Put(huge)
					into, huge = buf[:], nil
				}
				c.anyBuffer = c.h.Received(into[:n], spare)
			} else {
				c.readFailed(errno)
			}
			if huge != nil {
				hugeBuffers.Put(huge)
			}
			if !c.mayRead {
				break
			}
			if budget -= max(n, readCost); budget <= 0 {
				return false
			}
		}
		if c.releaseTurn() {
			return true
		}
		if budget -= max(n, readCost); budget <= 0 {
			return false
		}
		pending = c.pending.Swap(turnTaken)
		if pending&turnYielded != 0 {
			c.pending.Or(pending &^ turnYielded)
			return false
		}
	}
}

const (
	// turnBudget is how many bytes serve reads before the poller fetches events again.
	turnBudget = largeBuffer
	// sharedTurnBudget is turnBudget while other connections wait for the poller. That is a few hundred small messages, which take a
	// few dozen microseconds.
	sharedTurnBudget = 16 << 10
	// readCost and wakeCost are what a read and a call of Woken use of the budget at least, in bytes.
	readCost = 1 << 10
	wakeCost = 1 << 10
	// smallRead is how many bytes are copied from a buffer for a HugeRead at most, because they do not need one.
	smallRead = 16 << 10
)

// wake calls Writable and Woken if they are pending. It returns what that uses of the budget, in bytes.
func (c *Conn) wake(pending uint32) (cost int) {
	if pending&pendingWritable != 0 && !c.isClosed() {
		c.h.Writable()
	}
	if pending&pendingWake != 0 && !c.isClosed() {
		c.anyBuffer = false
		c.h.Woken()
		cost = wakeCost
	}
	return cost
}

// readBuffer returns where to read the next bytes to: to buf, of which usual bytes are a UsualRead, unless the handler has a buffer of its own. A
// buffer for a HugeRead is returned twice; the caller puts it back. nil: the handler wants no bytes.
func (c *Conn) readBuffer(buf *[largeBuffer]byte, usual int) (into []byte, huge *[hugeBuffer]byte) {
	into, size := c.h.ReadBuffer()
	switch {
	case size == NoRead:
		return nil, nil
	case into != nil:
		return into, nil
	case size == UsualRead:
		return buf[:usual], nil
	case size == HugeRead && Now()-c.loopNow() <= hugeReadsFor:
		huge = hugeBuffers.Get().(*[hugeBuffer]byte)
		return huge[:], huge
	}
	return buf[:], nil
}

// readFailed handles a read that has returned no bytes.
func (c *Conn) readFailed(errno syscall.Errno) {
	switch errno {
	case syscall.EINTR:
	case syscall.EAGAIN:
		c.mayRead = false
	case 0:
		c.readEnded(io.EOF)
	default:
		c.readEnded(errno)
	}
}

// hugeReadsFor is how long a HugeRead is possible after a poller of the loop, or a turn outside them, has begun, in milliseconds. Beyond it, a
// LargeRead takes its place, so that other connections wait less.
const hugeReadsFor = 5

// hugeBuffers has the buffers for a HugeRead. Most programs need none: that is why a poller does not keep one.
var hugeBuffers = sync.Pool{New: func() any { return new([hugeBuffer]byte) }}

func (c *Conn) readEnded(err error) {
	c.anyBuffer = false
	c.h.ReadEnded(err) // if it calls runtime.Goexit, mayRead is still true and it is called again
	c.mayRead = false
}
