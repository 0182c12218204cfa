package memory

import (
	"context"
	"time"
)

// Plan says what happens to a call of the method with that name, for example "Renew". It is called once for each call, concurrently. For
// "Watch" it is called before each change that is shown, and only Before counts.
type Plan func(method string) Fault

// Fault is what happens to one call. The zero Fault is none.
//
// Methods of edgews.Store know whether they have succeeded, as its contract demands: they look at Before, LoseRequest, Err and After only,
// and a Before that is cut short by the end of the context has no effect. Other requests are on their way whether their caller waits or
// not: one that takes longer than its caller waits is applied late.
type Fault struct {
	Before      time.Duration // how long the request takes
	LoseRequest bool          // it never arrives
	LoseAnswer  bool          // it has been applied, but the caller does not learn it
	Err         error         // what is returned if the request or the answer is lost; nil: the call waits until its context ends
	After       time.Duration // how long the answer takes
}

// SetPlan injects faults into the calls that begin from now on. Nil ends that.
func (e *Engine) SetPlan(p Plan) { e.set(func() { e.plan = p }) }

// Partition cuts the connection off, or restores it. While it is cut off, all requests are lost, the answers of earlier ones too, and no
// watch shows anything; all that is silent, as in a network.
func (e *Engine) Partition(on bool) { e.set(func() { e.partitioned = on }) }

// HoldWatch stops the watches of this connection, or lets them go on and show what they have missed. Calls are not affected.
func (e *Engine) HoldWatch(on bool) { e.set(func() { e.held = on }) }

// BreakWatch ends the watches of this connection with ErrWatchBroken.
func (e *Engine) BreakWatch() { e.set(func() { e.broken++ }) }

func (e *Engine) set(change func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	change()
	close(e.changed)
	e.changed = make(chan struct{})
}

func (e *Engine) changes() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.changed
}

func (e *Engine) currentPlan() Plan {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.plan
}

func (e *Engine) isPartitioned() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.partitioned
}

// fault returns what happens to a call.
func (e *Engine) fault(method string) (f Fault) {
	if plan := e.currentPlan(); plan != nil {
		f = plan(method)
	}
	if e.isPartitioned() {
		f.LoseRequest, f.Err = true, nil
	}
	return f
}

// enter returns why a call cannot begin.
func (e *Engine) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-e.closed:
		return ErrClosed
	case <-e.m.closed:
		return ErrClosed
	default:
		return nil
	}
}

// call makes a request whose outcome the caller may not learn.
func call[T any](ctx context.Context, e *Engine, method string, apply func() (T, error)) (T, error) {
	var none T
	if err := e.enter(ctx); err != nil {
		return none, err
	}
	f := e.fault(method)
	if f == (Fault{}) {
		return apply()
	}
	type answer struct {
		result T
		err    error
	}
	answered := make(chan answer, 1)
	e.m.launch(func() {
		if f.LoseRequest || e.m.sleep(f.Before) != nil {
			return
		}
		result, err := apply()
		if f.LoseAnswer || e.isPartitioned() || e.m.sleep(f.After) != nil {
			return
		}
		answered <- answer{result, err}
	})
	var lost <-chan time.Time
	if f.Err != nil && (f.LoseRequest || f.LoseAnswer) {
		t := time.NewTimer(f.Before + f.After)
		defer t.Stop()
		lost = t.C
	}
	select {
	case a := <-answered:
		return a.result, a.err
	case <-lost:
		return none, f.Err
	case <-ctx.Done():
		return none, ctx.Err()
	case <-e.closed:
		return none, ErrClosed
	case <-e.m.closed:
		return none, ErrClosed
	}
}

// launch runs a request that Close waits for.
func (m *Memory) launch(request func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.isClosed {
		m.inAir.Go(request)
	}
}

// sleep waits, and returns ErrClosed if the Memory is closed meanwhile.
func (m *Memory) sleep(d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-m.closed:
		return ErrClosed
	}
}

// sleep waits, and returns an error if the context or the connection ends meanwhile.
func (e *Engine) sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-e.closed:
		return ErrClosed
	case <-e.m.closed:
		return ErrClosed
	}
}
