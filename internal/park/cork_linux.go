//go:build !edgews_noloop

package park

import (
	"sync"
	"sync/atomic"
)

// corks delays writes during rounds, so that everything a round sends to a connection leaves in one system call. A round is the
// events that a poller has fetched, or the frames that one connection has read (see Conn.Cork).
//
// While any round lasts, DeferWrite returns true for every connection. The end of any round flushes everything. A round whose handler
// blocks is ended early by check, through releaseAll.
type corks struct {
	// state: the low 32 bits count the rounds that last, the high 32 bits count the calls of releaseAll. endRound does not count down
	// for a round that releaseAll has ended.
	state atomic.Uint64
	begun atomic.Uint32 // rounds that have ever begun

	mu        sync.Mutex
	waiting   []Handler // Flush is called for these
	spare     []Handler // the backing array for waiting after the next flush
	begunSeen uint32    // begun, at the last call of stalled
}

// beginRound returns the argument for endRound, which is not 0.
func (k *corks) beginRound() (round uint32) {
	k.begun.Add(1)
	return uint32(k.state.Add(1)>>32) + 1
}

// endRound ends a round and flushes everything, including what other rounds have sent.
func (k *corks) endRound(round uint32) {
	for {
		old := k.state.Load()
		if uint32(old>>32)+1 != round || k.state.CompareAndSwap(old, old-1) {
			break
		}
	}
	k.flush()
}

// count returns how many rounds last.
func (k *corks) count() uint32 { return uint32(k.state.Load()) }

// stalled reports whether a round lasts and none has begun since the last call.
func (k *corks) stalled() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	begun := k.begun.Load()
	stalled := begun == k.begunSeen
	k.begunSeen = begun
	return stalled && k.count() > 0
}

// releaseAll ends all rounds and flushes.
func (k *corks) releaseAll() {
	for {
		old := k.state.Load()
		if k.state.CompareAndSwap(old, (old>>32+1)<<32) {
			break
		}
	}
	k.flush()
}

// deferFlush reports whether h must wait for Flush.
func (k *corks) deferFlush(h Handler) bool { return k.count() > 0 && k.deferInRound(h) }

// deferInRound is deferFlush while a round lasts, or has just ended.
func (k *corks) deferInRound(h Handler) bool {
	k.mu.Lock()
	lasts := k.count() > 0 // otherwise its flush may already be over
	if lasts {
		k.waiting = append(k.waiting, h)
	}
	k.mu.Unlock()
	return lasts
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
	flushAll(due)
	clear(due)
	k.mu.Lock()
	k.spare = due[:0]
	k.mu.Unlock()
}

// flushAll calls Flush. If there are several, what they write leaves together.
func flushAll(due []Handler) {
	var b *Batch
	if len(due) >= ringFrom {
		b = NewBatch()
		defer b.Close()
	}
	for _, h := range due {
		b.MakeRoom()
		h.Flush(b)
	}
}
