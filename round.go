package edgews

import (
	"context"
	"time"
)

// roundTime is how long the ledger may take in a round. What it does not write then it writes in the next.
const roundTime = 30 * time.Second

// stir sees to it that there will be a round, if rounds do anything. The mutexes of meters, sockets and objects may be held.
func (b *books) stir() {
	if b.opts.Record == nil && b.ledger == nil && b.quotas.Load() == 0 || b.armed.Load() || b.armed.Swap(true) {
		return
	}
	wait := b.opts.Interval
	if b.quotas.Load() > 0 {
		wait = min(wait, untilTomorrow())
	}
	time.AfterFunc(wait, b.round)
}

// round brings records and ledger up to date, and looks at quotas. Rounds come as long as something goes on or is not written.
func (b *books) round() {
	b.armed.Store(false)
	if b.atWork.Swap(true) { // the store is slow: the next round will do
		b.stir()
		return
	}
	defer b.atWork.Store(false)
	failed := true
	defer func() { // Record may call runtime.Goexit, as failing tests do
		if failed || !b.all.idle() {
			b.stir()
		}
	}()
	if b.quotas.Load() > 0 {
		b.all.lookAll()
	}
	ctx, cancel := context.WithTimeout(context.Background(), roundTime)
	defer cancel()
	err := b.flush(ctx)
	if err != nil {
		b.logger().Error("edgews: meter's ledger is not up to date", "ledger", b.opts.Ledger, "error", err)
	}
	failed = err != nil
}

// record makes records of everything up to now, and tells Record unless another goroutine does.
func (b *books) record() {
	claimed := b.claim()
	b.all.settle(true)
	if claimed {
		b.tellAll()
	}
}
