package cluster

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// lease is a period in which a node may own shards: from a renewal on, and as long as each renewal is acknowledged within TTL of the
// one before. When it has ended it never begins again; what the node claimed in it, it does not own in the next.
type lease struct {
	clock     clock
	until     atomic.Int64    // when it ends unless it is extended, as a time.Duration of clock
	over      atomic.Bool     // it has ended, whatever until says
	unbounded bool            // it does not end by itself: Options.UnsafeWithoutSelfFencing
	beat      uint64          // of the renewal with which it began
	ctx       context.Context // ends with it
	cancel    context.CancelFunc
	endOnce   sync.Once
}

func newLease(c clock, until time.Duration, beat uint64, unbounded bool) *lease {
	l := &lease{clock: c, beat: beat, unbounded: unbounded}
	l.until.Store(int64(until))
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l
}

// valid reports whether the lease has not ended. It looks at the clock each time: a process that has been suspended gets the right
// answer before any timer has run.
func (l *lease) valid() bool {
	return !l.over.Load() && (l.unbounded || int64(l.clock.now()) < l.until.Load())
}

// extend moves the end to until, unless the lease has ended already or ends later. A process that is suspended within extend does no
// harm: until is counted from the moment at which the renewal was sent.
func (l *lease) extend(until time.Duration) bool {
	if !l.valid() {
		return false
	}
	if int64(until) > l.until.Load() {
		l.until.Store(int64(until))
	}
	return true
}

// end ends the lease. It reports whether it had not been ended before.
func (l *lease) end() (first bool) {
	l.endOnce.Do(func() {
		l.over.Store(true)
		l.cancel()
		first = true
	})
	return first
}

// holding is a shard that a node has claimed.
type holding struct {
	epoch uint64
	lease *lease // in which it was claimed
}

// valid reports whether the node still owns the shard. h may be nil.
func (h *holding) valid() bool { return h != nil && h.lease.valid() }
