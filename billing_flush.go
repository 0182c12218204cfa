package edgews

import (
	"context"
	"time"
)

// roundTime is how long the ledger may take in a round. What it does not write then it writes in the next.
const flushTimeout = 30 * time.Second

// stir sees to it that there will be a round, if rounds do anything. The mutexes of meters, sockets and objects may be held.
func (a *accounting) scheduleFlush() {
	if a.opts.Record == nil && a.ledger == nil && a.quotaCount.Load() == 0 || a.flushScheduled.Load() || a.flushScheduled.Swap(true) {
		return
	}
	wait := a.opts.Interval
	if a.quotaCount.Load() > 0 {
		wait = min(wait, untilTomorrow())
	}
	time.AfterFunc(wait, a.periodicFlush)
}

// round brings records and ledger up to date, and looks at quotas. Rounds come as long as something goes on or is not written.
func (a *accounting) periodicFlush() {
	a.flushScheduled.Store(false)
	if a.flushing.Swap(true) { // the store is slow: the next round will do
		a.scheduleFlush()
		return
	}
	defer a.flushing.Store(false)
	failed := true
	defer func() { // Record may call runtime.Goexit, as failing tests do
		if failed || !a.root.isIdle() {
			a.scheduleFlush()
		}
	}()
	if a.quotaCount.Load() > 0 {
		a.root.refreshQuotas()
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	err := a.flush(ctx)
	if err != nil {
		a.logger().Error("edgews: meter's ledger is not up to date", "ledger", a.opts.Ledger, "error", err)
	}
	failed = err != nil
}

// record makes records of everything up to now, and tells Record unless another goroutine does.
func (a *accounting) recordAll() {
	claimed := a.claimDelivery()
	a.root.bookAll(true)
	if claimed {
		a.deliverRecords()
	}
}
