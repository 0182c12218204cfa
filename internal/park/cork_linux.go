package park

import (
	"sync"
	"sync/atomic"
)

// corks holds writes back while a batch of events or frames is being handled, so that what the whole batch sends to a
// connection leaves in one system call.
type corks struct {
	// state counts the batches that are being handled (low half) since they were last lifted (high half).
	state atomic.Uint64
	begun atomic.Uint32 // batches, ever

	mu        sync.Mutex
	waiting   []Handler // who was told to wait
	spare     []Handler // the other slice, emptied
	begunSeen uint32    // begun, as stale saw it
}

// begin returns what end is to be called with, which is not 0.
func (k *corks) beginRound() (since uint32) {
	k.begun.Add(1)
	return uint32(k.state.Add(1)>>32) + 1
}

// end flushes everything, also what other batches have sent: it has waited long enough.
func (k *corks) endRound(since uint32) {
	for {
		old := k.state.Load()
		if uint32(old>>32)+1 != since || k.state.CompareAndSwap(old, old-1) {
			break
		}
	}
	k.flush()
}

// count returns how many batches are being handled.
func (k *corks) count() uint32 { return uint32(k.state.Load()) }

// stale reports whether batches are being handled and none has begun since the last call.
func (k *corks) stalled() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	begun := k.begun.Load()
	stale := begun == k.begunSeen
	k.begunSeen = begun
	return stale && k.count() > 0
}

// lift lets everybody write who was held back by a batch that does not come to its end.
func (k *corks) releaseAll() {
	for {
		old := k.state.Load()
		if k.state.CompareAndSwap(old, (old>>32+1)<<32) {
			break
		}
	}
	k.flush()
}

// add reports whether h has to wait for Flush.
func (k *corks) deferFlush(h Handler) bool {
	if k.count() == 0 {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.count() == 0 { // or the flush would be over
		return false
	}
	k.waiting = append(k.waiting, h)
	return true
}

func (k *corks) flush() {
	k.mu.Lock()
	if len(k.waiting) == 0 {
		k.mu.Unlock()
		return
	}
	due := k.waiting
	k.waiting, k.spare = k.spare[:0], nil
	k.mu.Unlock()
	for _, h := range due {
		h.Flush()
	}
	clear(due)
	k.mu.Lock()
	k.spare = due[:0]
	k.mu.Unlock()
}
