//go:build !edgews_noloop && !edgews_nouring && (amd64 || arm64)

package park

import (
	"bytes"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// A ring (io_uring(7)) gives the kernel many writes in one system call. It is used for nothing else: reading and waiting are epoll's.
//
// Every write is an IORING_OP_SEND with MSG_DONTWAIT. The kernel executes such a request during io_uring_enter, and completes it with EAGAIN
// where send(2) would fail with it: nothing is left to be done later, in another thread or by polling. send waits for all completions all
// the same, because the kernel must have finished with the bytes before it returns.
//
// There is one ring, which one goroutine at a time uses. Others do not wait for it: they write without it.
type ring struct {
	mu sync.Mutex // held while a batch is written; the rest is guarded by it

	failed bool // the kernel has refused it since it was opened: it is not used any more

	fd      int
	queues  []byte // the memory of both queues, shared with the kernel
	entries []byte // the memory of sqes

	sqTail         *uint32 // of the submission queue, where send adds requests
	cqHead, cqTail *uint32 // of the completion queue: collect takes results at the head
	sqMask, cqMask uint32
	sqes           []ringRequest
	cqes           []ringResult
}

// ringRequest is struct io_uring_sqe, as IORING_OP_SEND needs it.
type ringRequest struct {
	opcode   uint8
	flags    uint8
	ioprio   uint16
	fd       int32
	_        uint64
	addr     uint64
	len      uint32
	msgFlags uint32
	userData uint64 // the index of the write
	_        [3]uint64
}

// ringResult is struct io_uring_cqe.
type ringResult struct {
	userData uint64
	result   int32
	_        uint32
}

// ringParams is struct io_uring_params, with struct io_sqring_offsets and struct io_cqring_offsets.
type ringParams struct {
	sqEntries, cqEntries, flags, sqThreadCPU, sqThreadIdle, features, wqFD uint32

	_  [3]uint32
	sq struct {
		head, tail, mask, entries, flags, dropped, array, _ uint32
		_                                                   uint64
	}
	cq struct {
		head, tail, mask, entries, overflow, cqes, flags, _ uint32
		_                                                   uint64
	}
}

const (
	sysRingSetup = 425
	sysRingEnter = 426

	ringOpSend         = 26
	ringEnterGetEvents = 1
	ringOffsetQueues   = 0
	ringOffsetEntries  = 0x10000000

	// ringFeatures are those without which no ring is used: IORING_FEAT_SINGLE_MMAP, and IORING_FEAT_NATIVE_WORKERS, which Linux has since 5.12.
	// Older kernels count the ring's memory against RLIMIT_MEMLOCK, and have defects that were mended by then.
	ringFeatures = 1<<0 | 1<<9
)

// theRing is opened for the first batch and then lasts as long as the process: 28 KiB and one descriptor.
// It is nil if there is none.
var theRing = sync.OnceValue(openRing)

// openRing returns a new ring, or nil if the kernel has none or does not allow it. Under a seccomp filter it does not even ask: some filters
// end the process for a system call that they do not know. It asks once: a program that sets a filter later must allow io_uring_enter.
func openRing() *ring {
	if isFiltered() {
		return nil
	}
	var params ringParams
	fd, _, errno := syscall.Syscall(sysRingSetup, batchLimit, uintptr(unsafe.Pointer(&params)), 0)
	if errno != 0 {
		return nil
	}
	r := &ring{fd: int(fd)}
	if params.features&ringFeatures != ringFeatures || !r.mapMemory(&params) {
		r.close()
		return nil
	}
	return r
}

// isFiltered reports whether there may be a seccomp filter: the kernel says so, or says nothing.
func isFiltered() bool {
	status, err := os.ReadFile("/proc/thread-self/status")
	return err != nil || !bytes.Contains(status, []byte("\nSeccomp:\t0\n"))
}

func (r *ring) mapMemory(params *ringParams) bool {
	const access, kind = syscall.PROT_READ | syscall.PROT_WRITE, syscall.MAP_SHARED | syscall.MAP_POPULATE
	size := max(params.sq.array+4*params.sqEntries, params.cq.cqes+params.cqEntries*uint32(unsafe.Sizeof(ringResult{})))
	var err error
	if r.queues, err = syscall.Mmap(r.fd, ringOffsetQueues, int(size), access, kind); err != nil {
		return false
	}
	size = params.sqEntries * uint32(unsafe.Sizeof(ringRequest{}))
	if r.entries, err = syscall.Mmap(r.fd, ringOffsetEntries, int(size), access, kind); err != nil {
		return false
	}
	r.sqTail = r.word(params.sq.tail)
	r.cqHead, r.cqTail = r.word(params.cq.head), r.word(params.cq.tail)
	r.sqMask, r.cqMask = *r.word(params.sq.mask), *r.word(params.cq.mask)
	r.sqes = unsafe.Slice((*ringRequest)(unsafe.Pointer(&r.entries[0])), params.sqEntries)
	r.cqes = unsafe.Slice((*ringResult)(unsafe.Pointer(&r.queues[params.cq.cqes])), params.cqEntries)
	for i := range params.sqEntries { // entry i of the queue is always request i
		*r.word(params.sq.array + 4*i) = i
	}
	return true
}

// word returns a number in the memory of the queues.
func (r *ring) word(offset uint32) *uint32 { return (*uint32)(unsafe.Pointer(&r.queues[offset])) }

func (r *ring) close() {
	for _, memory := range [][]byte{r.queues, r.entries} {
		if memory != nil {
			_ = syscall.Munmap(memory)
		}
	}
	_ = syscall.Close(r.fd)
}

// writeRing gives the writes of the batch to the kernel, and stores the results. It returns how many, from the first one, have a result: 0 if
// there is no ring, or another goroutine uses it.
func (b *Batch) writeRing() int {
	r := theRing()
	if r == nil || !r.mu.TryLock() {
		return 0
	}
	defer r.mu.Unlock()
	return r.send(b.writes[:b.count], &b.results)
}

// send executes the writes and stores their results. It returns how many, from the first one, have been executed: mostly all.
func (r *ring) send(writes []batchedWrite, results *[batchLimit]int32) int {
	if r.failed {
		return 0
	}
	tail := *r.sqTail
	for i := range writes {
		w := &writes[i]
		noteBatchedWrite(int(w.conn.fd), w.p)
		r.sqes[(tail+uint32(i))&r.sqMask] = ringRequest{
			opcode:   ringOpSend,
			fd:       w.conn.fd,
			addr:     uint64(uintptr(unsafe.Pointer(unsafe.SliceData(w.p)))),
			len:      uint32(len(w.p)),
			msgFlags: syscall.MSG_DONTWAIT | syscall.MSG_NOSIGNAL,
			userData: uint64(i),
		}
	}
	atomic.StoreUint32(r.sqTail, tail+uint32(len(writes)))
	taken, done := 0, 0
	for done < len(writes) {
		n, _, errno := syscall.Syscall6(sysRingEnter, uintptr(r.fd), uintptr(len(writes)-taken), uintptr(len(writes)-done), ringEnterGetEvents, 0, 0)
		if errno == 0 {
			taken += int(n)
		}
		done += r.collect(results)
		if errno != 0 && errno != syscall.EINTR && done == taken {
			r.failed = true
			break
		}
	}
	atomic.StoreUint32(r.sqTail, tail+uint32(taken)) // takes back what the kernel has not taken: it looks at the queue only in io_uring_enter
	runtime.KeepAlive(writes)
	return done
}

// collect stores the results that have arrived, and returns how many.
func (r *ring) collect(results *[batchLimit]int32) (n int) {
	head, tail := *r.cqHead, atomic.LoadUint32(r.cqTail)
	for ; head != tail; head++ {
		c := &r.cqes[head&r.cqMask]
		results[c.userData] = c.result
		n++
	}
	atomic.StoreUint32(r.cqHead, head)
	return n
}
