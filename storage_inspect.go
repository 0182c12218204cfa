package edgews

import (
	"cmp"
	"context"
)

// inspect calls read with the storage of the object, for Namespace.ScanStorage and Namespace.Alarm. It shares the lease of the object, because an
// engine has the storage of an object open only once, but not its calls: what keeps an object active is billed, and an operator who looks on
// must not change the bill. With errForgotten read was not called; other errors are for the caller.
func (o *object) inspect(ctx context.Context, read func(context.Context, ObjectStore) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(o.ns.eventsContext, func() { cancel(ErrShutdown) })()
	l, err := o.beginInspection(ctx)
	if err != nil {
		return err
	}
	defer l.endInspection()
	store, err := l.openForReading(ctx)
	if err != nil {
		return o.inspectionError(err)
	}
	return o.inspectionError(l.stopIfFenced(read(ctx, store)))
}

// scan yields the entries that r selects. The error is to be yielded.
func (o *object) scan(ctx context.Context, store ObjectStore, r Range, yield func(Entry, error) bool) error {
	for e, err := range store.Scan(ctx, r.withoutReserved()) {
		if err == nil && o.ns.eventsContext.Err() != nil {
			err = ErrShutdown
		}
		if err != nil {
			return err
		}
		if !yield(e, nil) {
			return nil
		}
	}
	return nil
}

// inspectionError returns ErrShutdown if that is why an inspection has failed with err, and otherwise err.
func (o *object) inspectionError(err error) error {
	if err != nil && o.ns.eventsContext.Err() != nil {
		return ErrShutdown
	}
	return err
}

// beginInspection keeps the storage open until endInspection.
func (o *object) beginInspection(ctx context.Context) (*storageLease, error) {
	over := ctx.Err() // without mu: it is the program's code
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.forgotten {
		return nil, errForgotten
	}
	if err := cmp.Or(o.checkUsableLocked(nil), over); err != nil {
		return nil, err
	}
	l := o.storageLeaseLocked()
	l.inspections++
	return l, nil
}

// endInspection is the opposite of beginInspection. The last one gives the storage back, if the object does not use it.
func (l *storageLease) endInspection() {
	o := l.o
	o.mu.Lock()
	defer o.mu.Unlock()
	if l.inspections--; l.inspections == 0 {
		o.quiet.broadcast() // for waitForInspections
		o.checkIdleLocked(o.stateLocked())
	}
}

// waitForInspections waits until no Namespace.ScanStorage or Alarm uses the storage. Shutdown has cut, so no new ones begin.
func (o *object) waitForInspections(ctx context.Context) error {
	for {
		o.mu.Lock()
		l := o.storage.Load()
		if l == nil || l.inspections == 0 {
			o.mu.Unlock()
			return nil
		}
		ended := o.quiet.wait()
		o.mu.Unlock()
		if err := waitFor(ctx, ended); err != nil {
			return err
		}
	}
}
