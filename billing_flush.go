package edgews

import (
	"cmp"
	"context"
	"time"
)

// flushTimeout is how long a periodic flush may take to write the ledger. The next one writes what is missing.
const flushTimeout = 30 * time.Second

// Flush makes records of everything that is still going on, and waits until Record has received all records and the ledger
// has everything, or ctx ends. Call it when the program ends, after the Shutdown of its namespaces and before it closes the
// Store. Do not call it from Record.
func (m *Meter) Flush(ctx context.Context) error {
	if m == nil {
		return nil
	}
	return cmp.Or(m.accounting.flush(ctx), m.accounting.waitDelivered(ctx))
}

// flush brings records and ledger up to date.
func (a *accounting) flush(ctx context.Context) error {
	a.recordAll()
	if a.ledger == nil {
		return nil
	}
	return a.ledger.flush(ctx)
}

// recordAll makes records of everything up to now, and delivers them unless another goroutine delivers records already.
func (a *accounting) recordAll() {
	claimed := a.claimDelivery()
	a.root.bookAll(true)
	if claimed {
		a.deliverRecords()
	}
}

// scheduleFlush starts the timer of the next periodic flush, unless it runs or a flush would have nothing to do. Any mutex may
// be held.
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

// periodicFlush refreshes quotas and flushes. It schedules the next one while something is going on or is not written. It runs in
// a goroutine of its own, started by the timer of scheduleFlush.
func (a *accounting) periodicFlush() {
	a.flushScheduled.Store(false)
	if a.flushing.Swap(true) { // the store is slow, and the flush before is still waiting for it
		a.scheduleFlush()
		return
	}
	defer a.flushing.Store(false)
	failed := true
	defer func() { // deferred, because Record may call runtime.Goexit, as failing tests do
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
