package edgews

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"
)

// shutdownProgress is how far Shutdown has come.
type shutdownProgress struct {
	mu    sync.Mutex // a leaf, also under the mu of a socket or an object
	phase shutdownPhase
	done  chan struct{} // made by the first Shutdown, closed when it returns
}

type shutdownPhase uint8

const (
	notShuttingDown  shutdownPhase = iota
	closingSockets                 // no new sockets
	suspendingValues               // no new sockets, and no calls but those of objects
	eventsCutOff                   // no events but the ends of sockets
)

func (s *shutdownProgress) currentPhase() shutdownPhase {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.phase
}

func (s *shutdownProgress) hasBegun() bool { return s.currentPhase() != notShuttingDown }

// refuses reports whether r comes too late.
func (s *shutdownProgress) refuses(r *http.Request) bool {
	phase := s.currentPhase()
	return phase == eventsCutOff || phase != notShuttingDown && IsUpgrade(r)
}

// shutdownDetail is what the client of a refused request is told.
const shutdownDetail = "the server is shutting down"

// isShuttingDown reports whether ctx belongs to an object of a namespace that is shutting down.
func isShuttingDown(ctx context.Context) bool {
	o, ok := ctx.Value(objectContextKey{}).(*object)
	return ok && o.ns.shutdown.hasBegun()
}

// begin enters the phase closingSockets. It returns false for every call but the first.
func (s *shutdownProgress) begin() (first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase != notShuttingDown {
		return false
	}
	s.phase, s.done = closingSockets, make(chan struct{})
	return true
}

// enter enters a later phase.
func (s *shutdownProgress) enter(phase shutdownPhase) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.phase = phase
}

// closeSpread is over how long Shutdown spreads the closing of sockets, so that not all clients connect again in the same moment.
const closeSpread = time.Second

// shutdownReason is what the peers of sockets are told.
const shutdownReason = "service restart"

// Shutdown ends the namespace in three steps:
//
// From now on requests to upgrade are answered with 503. The sockets of all objects close with ShutdownCode (by default 1012, service
// restart), each at a random moment within a second, or within half the time until the deadline of ctx if that is less. Then the contexts
// of WaitUntil functions are cancelled, with the cause ErrShutdown.
//
// Shutdown waits until the events that are running or waiting, the close events of those sockets and the WaitUntil functions have finished.
// They may use the storage. Then it suspends the values that are a Suspender.
//
// When they have, or when ctx ends, Shutdown cuts what is left: contexts of events are cancelled, connections are closed, requests are
// refused, also those that wait for their object, and messages are dropped. WebSocketClose is still called for each socket.
//
// Upgrade and Respond answer with 503 too, in requests that the object got before Shutdown began. A socket that an object dials or holds
// after its sockets were closed lasts until everything else has finished: Shutdown does not wait for its end, and cuts it.
//
// No alarm goes off after Shutdown has begun; those that are set stay in the Store. When Shutdown returns, another namespace may use the
// name on that Store. If it has returned nil, the Store is not used any more. If it has returned an error, a commit that was cut may still
// be under way there.
//
// Shutdown flushes the namespace's meter to its records and its ledger, if ctx has not ended by then; if it has, call Meter.Flush with
// another context.
//
// It returns nil if all had the time to finish; otherwise an error that wraps ctx.Err() and names the objects that were cut, with what kept
// them busy, or says why the ledger could not be written, or that Suspend of objects goes on constructing others. A call while another is
// under way waits until that one ends. With net/http:
//
//	server.RegisterOnShutdown(func() { rooms.Shutdown(ctx) })
//
// net/http does not wait for that function: call Shutdown once more before the process ends.
func (n *Namespace) Shutdown(ctx context.Context) error {
	if !n.shutdown.begin() {
		select {
		case <-n.shutdown.done:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	defer close(n.shutdown.done)
	defer n.unregisterName()
	if n.detach != nil {
		defer n.detach()
	}
	n.alarms.stop()
	n.closeSockets(ctx)
	n.cancelBackground(ErrShutdown)
	n.closeLateSockets()
	err := n.quiesce(ctx)
	if err == nil {
		err = n.suspendAll(ctx)
	}
	if ctx.Err() != nil && err != nil {
		err = n.unfinished(err)
	}
	if err != nil {
		n.cancelRelease(ErrShutdown)
	}
	n.shutdown.enter(eventsCutOff)
	n.cancelEvents(ErrShutdown)
	n.cutSockets()
	n.idleTimers.Stop()
	n.unloadAll()
	err = cmp.Or(err, n.releaseAll(ctx))
	n.cancelRelease(ErrShutdown)
	return cmp.Or(err, n.opts.Meter.Flush(ctx))
}

// sockets returns the sockets that objects have accepted and those that keep them awake.
func (n *Namespace) sockets() (all []*Socket) {
	for _, o := range n.allObjects() {
		all = append(all, o.allSockets()...)
	}
	return all
}

// closeSockets closes all sockets, spread over closeSpread.
func (n *Namespace) closeSockets(ctx context.Context) {
	spreadOver(ctx, closeSpread, n.sockets(), func(s *Socket) {
		_ = s.closeFor(ClosedByShutdown, n.opts.ShutdownCode, shutdownReason) // an error means that it has ended
	})
}

// spreadOver calls closeSocket for all sockets in random order, spread over a time, or over half the time until the deadline of ctx if that is
// less. When ctx ends it closes the rest at once.
func spreadOver(ctx context.Context, spread time.Duration, sockets []*Socket, closeSocket func(*Socket)) {
	if deadline, ok := ctx.Deadline(); ok {
		spread = min(spread, time.Until(deadline)/2)
	}
	rand.Shuffle(len(sockets), func(i, j int) { sockets[i], sockets[j] = sockets[j], sockets[i] })
	begin, timer := time.Now(), time.NewTimer(0)
	defer timer.Stop()
	for i, s := range sockets {
		at := time.Duration((float64(i) + rand.Float64()) / float64(len(sockets)) * float64(spread))
		if wait := at - time.Since(begin); wait > time.Millisecond && ctx.Err() == nil {
			timer.Reset(wait)
			_ = waitForTimer(ctx, timer)
		}
		closeSocket(s)
	}
}

// closeLateSockets closes the sockets that objects have accepted after closeSockets.
func (n *Namespace) closeLateSockets() {
	for _, s := range n.sockets() {
		_ = s.closeFor(ClosedByShutdown, n.opts.ShutdownCode, shutdownReason) // an error means that it is closing, or has ended
	}
}

func waitForTimer(ctx context.Context, timer *time.Timer) error {
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// quiesce waits until no object has anything left to do. Objects may call each other, so it looks at all again until it has not had to wait
// for any.
func (n *Namespace) quiesce(ctx context.Context) error {
	for again := true; again; {
		again = false
		for _, o := range n.allObjects() {
			waited, err := o.quiesce(ctx)
			if err != nil {
				return err
			}
			again = again || waited
		}
	}
	return nil
}

const (
	maxUnfinished = 8 // objects that the error of Shutdown names
	maxReasons    = 4 // reasons that it gives for each
)

// unfinished returns the error of a Shutdown that has stopped waiting because of err. It names the objects that have not finished.
func (n *Namespace) unfinished(err error) error {
	var names []string
	count := 0
	for _, o := range n.allObjects() {
		if o.isQuiet() {
			continue
		}
		if count++; count <= maxUnfinished {
			names = append(names, o.unfinished())
		}
	}
	if more := count - len(names); more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return fmt.Errorf("edgews: namespace %q was shut down before %d of its objects had finished: %w: %s", n.name, count, err, strings.Join(names, "; "))
}

// unfinished describes what o still has to do, for the error of Shutdown.
func (o *object) unfinished() string {
	var kept []string
	reasons := o.reasons()
	for _, r := range reasons[:min(len(reasons), maxReasons)] {
		kept = append(kept, r.brief())
	}
	if more := len(reasons) - len(kept); more > 0 {
		kept = append(kept, fmt.Sprintf("%d more of that kind", more))
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.evictedFuncs > 0 {
		kept = append(kept, fmt.Sprintf("%d WaitUntil functions that were evicted", o.evictedFuncs))
	}
	if waiting := o.queue.Len() - int(o.abandonedCalls); waiting > 0 {
		kept = append(kept, fmt.Sprintf("%d events that wait", waiting))
	}
	if sockets := len(o.registry.all); sockets > 0 {
		kept = append(kept, fmt.Sprintf("%d sockets", sockets))
	}
	return fmt.Sprintf("object %s has %s", o.id, strings.Join(kept, ", "))
}

// brief describes r in a few words.
func (r Reason) brief() string {
	text := r.Pin
	if r.By != "" {
		text += " (" + r.By + ")"
	}
	if !r.Since.IsZero() {
		text += " for " + time.Since(r.Since).Round(time.Millisecond).String()
	}
	return text
}

// isQuiet reports whether o has nothing to do, no sockets, and nothing that keeps it awake.
func (o *object) isQuiet() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.isQuietLocked()
}

// isQuietLocked is isQuiet. mu must be held.
func (o *object) isQuietLocked() bool {
	return o.queue.Idle() && len(o.registry.all) == 0 && len(o.backgroundFuncs) == 0 && !o.isStorageInUseLocked() && o.onlyLatePinsLocked()
}

// onlyLatePinsLocked reports whether all sockets that keep the object awake were accepted after Shutdown had closed those that there
// were. mu must be held.
func (o *object) onlyLatePinsLocked() bool {
	for _, p := range o.pinned {
		if !p.afterShutdown {
			return false
		}
	}
	return true
}

// quiesce waits until o is quiet. It returns whether it had to wait.
func (o *object) quiesce(ctx context.Context) (waited bool, err error) {
	for ; ; waited = true {
		o.mu.Lock()
		if o.isQuietLocked() {
			o.mu.Unlock()
			return waited, nil
		}
		quiet := o.quiet.wait()
		o.mu.Unlock()
		if err := waitFor(ctx, quiet); err != nil {
			return waited, err
		}
	}
}

// cutSockets closes the connections that are left, without a closing handshake.
func (n *Namespace) cutSockets() {
	for _, s := range n.sockets() {
		s.cut(n.opts.ShutdownCode, ErrShutdown)
	}
}

// cut ends the socket without waiting for its peer, which is told if it has not been.
func (s *Socket) cut(code StatusCode, err error) {
	_ = s.closeFor(ClosedByShutdown, code, shutdownReason)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loseLocked(err)
}

// unloadAll drops the values of all objects except those in which a handler is still running.
func (n *Namespace) unloadAll() {
	for _, o := range n.allObjects() {
		o.mu.Lock()
		if o.queue.Idle() && !o.isPinnedLocked() {
			o.hibernateLocked()
		}
		o.mu.Unlock()
	}
}

// releaseAll waits until neither an object nor the alarm scheduler uses the Store any more.
func (n *Namespace) releaseAll(ctx context.Context) error {
	for _, o := range n.allObjects() {
		if err := o.waitForStorageRelease(ctx); err != nil {
			return fmt.Errorf("edgews: namespace %q was shut down, but the storage of object %s is in use: %w", n.name, o.id, err)
		}
	}
	for done := n.alarms.pollDone(); done != nil; done = n.alarms.pollDone() {
		if err := waitFor(ctx, done); err != nil {
			return err
		}
	}
	return nil
}
