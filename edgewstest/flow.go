package edgewstest

import (
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"syscall"
	"time"
)

// Faults says what goes wrong in one direction of a connection. The zero value means nothing. Bytes are counted from 1, beginning with
// the first that is written after [Flow.Set], or after [FaultConn], with these faults.
type Faults struct {
	// Delay is the time from when a byte is written until it can be read. The end of the connection is delayed too.
	Delay time.Duration

	// ReadSize is how many bytes a Read returns at most; 1: one byte per read. 0: no bound.
	ReadSize int

	// Buffer is how many bytes can have been written and not yet been read; then a Write waits. 0: 64 KiB.
	Buffer int

	// StallAt is the first byte that is held, with all that follow, the end included, until [Flow.Resume]. 0: none.
	StallAt int64

	// DropAt is the first byte that is lost, with all that follow. Writing them succeeds, and the reader waits: neither end is told,
	// as when packets are filtered. 0: none.
	DropAt int64

	// CutAt is the byte in whose place the connection ends, as by [Conn.Cut]: the reader gets the bytes before it and then io.EOF.
	// 0: none.
	CutAt int64

	// ResetAt is the byte in whose place the connection is reset, as by [Conn.Reset], but the reader gets the bytes before it. 0: none.
	ResetAt int64
}

// check panics if a field has an impossible value: that is a mistake in the test.
func (f Faults) check() {
	for _, field := range []struct {
		name  string
		value int64
	}{
		{"Delay", int64(f.Delay)}, {"ReadSize", int64(f.ReadSize)}, {"Buffer", int64(f.Buffer)},
		{"StallAt", f.StallAt}, {"DropAt", f.DropAt}, {"CutAt", f.CutAt}, {"ResetAt", f.ResetAt},
	} {
		if field.value < 0 {
			panic(fmt.Sprintf("edgewstest: Faults.%s is %d: it must not be negative", field.name, field.value))
		}
	}
}

// Flow is one direction of a [Conn]. Its methods may be called from any goroutine at any time, also while bytes are on their way.
type Flow struct {
	link *link

	// Guarded by link.mu. Positions count the bytes since the connection began, from 0.
	faults    Faults
	stallFrom int64   // positions at which a fault begins; never: none
	dropFrom  int64   //
	cutFrom   int64   //
	resetFrom int64   //
	queue     []piece // written, not read
	queued    int     // the bytes in queue
	written   int64   // position of the next byte that is written
	position  int64   // of the next byte that is read

	writerClosed, readerClosed bool      // by Close or CloseWrite of the Conn
	writerEnd                  error     // what writing returns, because of the other end or of a fault
	readerEnd                  error     // what reading returns behind the queue
	endReady                   time.Time // when it may return that
	readDeadline               deadline
	writeDeadline              deadline
}

// piece is bytes that were written at the same time.
type piece struct {
	bytes []byte
	ready time.Time // when they can be read; zero: at once
}

// never is a position that is not reached.
const never = math.MaxInt64

// defaultBuffer is the order of what TCP connections buffer.
const defaultBuffer = 64 << 10

func (f *Flow) init(l *link) {
	f.link = l
	f.setLocked(Faults{})
}

// Set replaces the faults, and ends a stall. Bytes that have been written and not read arrive at the time that was set for them.
// It panics if a field is negative.
func (f *Flow) Set(faults Faults) {
	faults.check()
	f.link.mu.Lock()
	defer f.link.mu.Unlock()
	f.setLocked(faults)
}

func (f *Flow) setLocked(faults Faults) {
	position := func(n int64) int64 {
		if n == 0 {
			return never
		}
		return f.written + n - 1
	}
	f.faults = faults
	f.stallFrom, f.dropFrom = position(faults.StallAt), position(faults.DropAt)
	f.cutFrom, f.resetFrom = position(faults.CutAt), position(faults.ResetAt)
	f.link.changed.Broadcast()
}

// Stall holds everything that has not been read, until Resume: the reader waits, and so does the writer when the buffer is full.
func (f *Flow) Stall() {
	f.link.mu.Lock()
	defer f.link.mu.Unlock()
	f.stallFrom = f.position
}

// Resume lets go what Stall, or Faults.StallAt, holds.
func (f *Flow) Resume() {
	f.link.mu.Lock()
	defer f.link.mu.Unlock()
	f.stallFrom = never
	f.link.changed.Broadcast()
}

// Drop loses everything that is written from now on, as Faults.DropAt does.
func (f *Flow) Drop() {
	f.link.mu.Lock()
	defer f.link.mu.Unlock()
	f.dropFrom = f.written
}

// BytesWritten returns how many bytes have been written since the connection began, those that were dropped included.
func (f *Flow) BytesWritten() int64 {
	f.link.mu.Lock()
	defer f.link.mu.Unlock()
	return f.written
}

// BytesRead returns how many bytes have been read since the connection began.
func (f *Flow) BytesRead() int64 {
	f.link.mu.Lock()
	defer f.link.mu.Unlock()
	return f.position
}

func (f *Flow) writeBytes(p []byte) (n int, err error) {
	f.link.mu.Lock()
	defer f.link.mu.Unlock()
	for {
		if n > 0 && n == len(p) {
			return n, nil // a fault that these bytes have reached is noticed by the next call
		}
		if err := f.writeErrorLocked(); err != nil {
			return n, err
		}
		if len(p) == 0 {
			return 0, nil
		}
		if room := f.roomLocked(); room > 0 {
			part := p[n:min(len(p), n+room)]
			n += len(part)
			f.takeLocked(part)
			continue
		}
		f.link.changed.Wait()
	}
}

// writeErrorLocked returns why nothing can be written, or nil. link.mu must be held.
func (f *Flow) writeErrorLocked() error {
	switch {
	case f.writerClosed:
		return net.ErrClosed
	case f.writerEnd != nil:
		return f.writerEnd
	case f.writeDeadline.passed():
		return os.ErrDeadlineExceeded
	}
	return nil
}

// roomLocked returns how many bytes can be written. link.mu must be held.
func (f *Flow) roomLocked() int {
	if f.isDroppingLocked() {
		return math.MaxInt32 // they take no room
	}
	buffer := f.faults.Buffer
	if buffer == 0 {
		buffer = defaultBuffer
	}
	return buffer - f.queued
}

func (f *Flow) isDroppingLocked() bool { return f.written >= f.dropFrom }

// takeLocked queues p, up to the byte at which a fault begins, and lets the fault happen. link.mu must be held.
func (f *Flow) takeLocked(p []byte) {
	passing := min(f.dropFrom, f.cutFrom, f.resetFrom) - f.written
	if passing > 0 {
		f.queueLocked(p[:min(int64(len(p)), passing)])
	}
	f.written += int64(len(p))
	switch {
	case f.written > f.resetFrom:
		f.link.resetLocked(f)
	case f.written > f.cutFrom:
		f.link.cutLocked()
	}
	f.link.changed.Broadcast()
}

// queueLocked appends p to the queue. link.mu must be held.
func (f *Flow) queueLocked(p []byte) {
	f.queued += len(p)
	ready := f.readyTime()
	if last := len(f.queue) - 1; last >= 0 && f.queue[last].ready.Equal(ready) {
		f.queue[last].bytes = append(f.queue[last].bytes, p...)
		return
	}
	f.queue = append(f.queue, piece{append([]byte(nil), p...), ready})
}

// readyTime returns when what is written now can be read; zero: at once.
func (f *Flow) readyTime() time.Time {
	if f.faults.Delay == 0 {
		return time.Time{}
	}
	return time.Now().Add(f.faults.Delay)
}

func (f *Flow) readBytes(p []byte) (int, error) {
	f.link.mu.Lock()
	defer f.link.mu.Unlock()
	for {
		n, wait, err := f.tryReadLocked(p)
		if n > 0 || err != nil || len(p) == 0 {
			return n, err
		}
		f.waitLocked(wait)
	}
}

// tryReadLocked reads what can be read now. Without a byte and an error, wait is when there will be some, or zero if that is unknown.
// link.mu must be held.
func (f *Flow) tryReadLocked(p []byte) (n int, wait time.Time, err error) {
	switch {
	case f.readerClosed:
		return 0, wait, net.ErrClosed
	case f.readDeadline.passed():
		return 0, wait, os.ErrDeadlineExceeded
	case f.position >= f.stallFrom, len(f.queue) == 0 && f.readerEnd == nil:
		return 0, wait, nil
	case len(f.queue) == 0 && isFuture(f.endReady):
		return 0, f.endReady, nil
	case len(f.queue) == 0:
		return 0, wait, f.readerEnd
	case isFuture(f.queue[0].ready):
		return 0, f.queue[0].ready, nil
	}
	return f.takeFromQueueLocked(p), wait, nil
}

func isFuture(t time.Time) bool { return !t.IsZero() && time.Now().Before(t) }

// takeFromQueueLocked moves bytes of the first piece to p. link.mu must be held.
func (f *Flow) takeFromQueueLocked(p []byte) (n int) {
	first := &f.queue[0]
	most := min(int64(len(p)), f.stallFrom-f.position)
	if size := f.faults.ReadSize; size > 0 {
		most = min(most, int64(size))
	}
	n = copy(p[:most], first.bytes)
	first.bytes = first.bytes[n:]
	if len(first.bytes) == 0 {
		f.queue[0] = piece{}
		f.queue = f.queue[1:]
	}
	f.queued -= n
	f.position += int64(n)
	f.link.changed.Broadcast()
	return n
}

// waitLocked waits until something changes, or until a time that is not zero. link.mu must be held; it is released meanwhile.
func (f *Flow) waitLocked(until time.Time) {
	if !until.IsZero() {
		defer time.AfterFunc(time.Until(until), f.link.wake).Stop()
	}
	f.link.changed.Wait()
}

// endLocked ends the flow: what reading returns behind the queue, and what writing returns. The first end counts. link.mu must be held.
func (f *Flow) endLocked(reader, writer error) {
	if f.readerEnd == nil {
		f.readerEnd, f.endReady = reader, f.readyTime()
	}
	if f.writerEnd == nil {
		f.writerEnd = writer
	}
}

// hasEnded reports whether nothing more can be written.
func (f *Flow) hasEnded() bool {
	f.link.mu.Lock()
	defer f.link.mu.Unlock()
	return f.writerEnd != nil
}

// hurryLocked removes all faults and delays, also for what is on its way. link.mu must be held.
func (f *Flow) hurryLocked() {
	f.setLocked(Faults{})
	f.endReady = time.Time{}
	for i := range f.queue {
		f.queue[i].ready = time.Time{}
	}
}

// discardLocked drops what has not been read, and what a fault holds. link.mu must be held.
func (f *Flow) discardLocked() {
	f.queue, f.queued = nil, 0
	f.stallFrom, f.endReady = never, time.Time{}
}

// closeWriterLocked is the writer's Close or CloseWrite. link.mu must be held.
func (f *Flow) closeWriterLocked() {
	f.writerClosed = true
	f.writeDeadline.stop()
	if f.readerEnd == nil && !f.isDroppingLocked() {
		f.readerEnd, f.endReady = io.EOF, f.readyTime()
	}
}

// closeReaderLocked is the reader's Close. If it is unnoticed, writing goes on until the buffer is full. link.mu must be held.
func (f *Flow) closeReaderLocked(unnoticed bool) {
	f.readerClosed = true
	f.readDeadline.stop()
	if unnoticed {
		return
	}
	f.discardLocked()
	if f.writerEnd == nil {
		f.writerEnd = syscall.EPIPE
	}
}

// deadline is the end of a time in which calls wait.
type deadline struct {
	at    time.Time // zero: never
	timer *time.Timer
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
	}
}

// setDeadline sets d, one of f, to t.
func (f *Flow) setDeadline(d *deadline, t time.Time) {
	f.link.mu.Lock()
	defer f.link.mu.Unlock()
	d.stop()
	d.at, d.timer = t, nil
	if isFuture(t) {
		d.timer = time.AfterFunc(time.Until(t), f.link.wake)
	}
	f.link.changed.Broadcast()
}
