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

// shutdown is how far a namespace's end has come.
type shutdown struct {
	mu    sync.Mutex // a leaf
	state shutdownState
	done  chan struct{}
}

type shutdownState uint8

const (
	serving shutdownState = iota
	closing               // no new sockets
	cutOff                // no events but the ends of sockets
)

func (s *shutdown) at() shutdownState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

func (s *shutdown) begun() bool { return s.at() != serving }

// refuses says whether r comes too late.
func (s *shutdown) refuses(r *http.Request) bool {
	state := s.at()
	return state == cutOff || state == closing && IsUpgrade(r)
}

// shutdownDetail is what a client is told.
const shutdownDetail = "the server is shutting down"

// isShuttingDown reports whether ctx belongs to an object of a namespace that is shutting down.
func isShuttingDown(ctx context.Context) bool {
	o, ok := ctx.Value(objectOf{}).(*object)
	return ok && o.ns.closing.begun()
}

// begin reports whether the caller is the first.
func (s *shutdown) begin() (first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != serving {
		return false
	}
	s.state, s.done = closing, make(chan struct{})
	return true
}

// cut lets no more events in.
func (s *shutdown) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = cutOff
}

// closeSpread is over how long the sockets are closed, so that not all clients come back in the same moment.
const closeSpread = time.Second

// shutdownReason is what the peers of sockets are told.
const shutdownReason = "service restart"

// Shutdown ends the namespace: requests to upgrade are answered with 503 from now on; the sockets of all objects
// close with ShutdownCode (by default 1012, service restart), each at a moment of its own within a second, or within half the
// time that ctx leaves; then the contexts of WaitUntil functions are cancelled, with the cause ErrShutdown; and events that are running or
// waiting, the close events of those sockets and WaitUntil functions finish, which may save what they have. When they have,
// or when ctx ends, everything that is left is cut: contexts of events are cancelled too, connections closed, requests
// refused, also those that wait for their turn, and messages dropped. WebSocketClose is still called for each socket.
//
// Upgrade and Respond answer with 503 too, when the object has the request already. A socket that an object dials or holds after
// its sockets were closed lasts until everything else has finished: Shutdown does not wait for its end, and cuts it.
//
// No alarms go off any more; those that are set stay in the Store, which is not used any more once Shutdown has returned
// nil. When Shutdown returns, another namespace may have the name on that Store; if it has returned an error, a commit
// that was cut may still be under way there.
//
// What the namespace's meter knows goes to its records and its ledger, if ctx has not ended by then: Meter.Flush, with
// another context, makes up for it.
//
// It returns nil when all had the time, or an error that wraps ctx.Err() and names the objects that were cut, with what
// kept them busy, or why the ledger could not be written. Further calls wait for the first to end. With net/http:
//
//	server.RegisterOnShutdown(func() { rooms.Shutdown(ctx) })
//
// net/http does not wait for that function: call Shutdown once more before the process ends.
func (n *Namespace) Shutdown(ctx context.Context) error {
	if !n.closing.begin() {
		select {
		case <-n.closing.done:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	defer close(n.closing.done)
	defer n.freeName()
	n.alarms.stop()
	n.closeSockets(ctx)
	n.tell(ErrShutdown)
	n.closeLate()
	err := n.quiesce(ctx)
	if err != nil {
		err = n.unfinished(err)
	}
	n.closing.cut()
	n.cut(ErrShutdown)
	n.cutSockets()
	n.clock.stop()
	n.dropAll()
	return cmp.Or(err, n.releaseAll(ctx), n.opts.Meter.Flush(ctx))
}

// sockets returns all that objects have, accepted either way.
func (n *Namespace) sockets() (all []*Socket) {
	for _, o := range n.all() {
		all = append(all, o.sockets()...)
	}
	return all
}

// closeSockets closes all sockets, one by one in random order, spread over time.
func (n *Namespace) closeSockets(ctx context.Context) {
	sockets := n.sockets()
	spread := closeSpread
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
		_ = s.Close(n.opts.ShutdownCode, shutdownReason) // or it has ended
	}
}

// closeLate closes the sockets that objects have accepted after closeSockets.
func (n *Namespace) closeLate() {
	for _, s := range n.sockets() {
		_ = s.Close(n.opts.ShutdownCode, shutdownReason) // or it is closing, or has ended
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

// quiesce waits until no object has anything left to do. An object that is done may be given more by another.
func (n *Namespace) quiesce(ctx context.Context) error {
	for again := true; again; {
		again = false
		for _, o := range n.all() {
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
	maxReasons    = 4 // … and what keeps each of them
)

// unfinished returns the error of a Shutdown that has given up because of err. It says why.
func (n *Namespace) unfinished(err error) error {
	var names []string
	count := 0
	for _, o := range n.all() {
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

// unfinished says what keeps o from being quiet.
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
	if waiting := o.queue.len() - int(o.left); waiting > 0 {
		kept = append(kept, fmt.Sprintf("%d events that wait", waiting))
	}
	if sockets := len(o.conns.all); sockets > 0 {
		kept = append(kept, fmt.Sprintf("%d sockets", sockets))
	}
	return fmt.Sprintf("object %s has %s", o.id, strings.Join(kept, ", "))
}

// brief is r in a few words.
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

// isQuiet reports whether nothing is left to do, or to keep.
func (o *object) isQuiet() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.isQuietLocked()
}

// isQuietLocked is isQuiet. mu must be held.
func (o *object) isQuietLocked() bool {
	return !o.running && o.queue.len() == 0 && len(o.conns.all) == 0 && len(o.workers) == 0 && !o.storingLocked() && o.onlyLateGuestsLocked()
}

// onlyLateGuestsLocked reports whether all sockets that keep the object awake were accepted after Shutdown had closed those that there were. mu
// must be held.
func (o *object) onlyLateGuestsLocked() bool {
	for _, g := range o.guests {
		if !g.afterShutdown {
			return false
		}
	}
	return true
}

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

// cutSockets ends what is left, without waiting for anybody.
func (n *Namespace) cutSockets() {
	for _, s := range n.sockets() {
		n.cutSocket(s)
	}
}

// cutSocket ends s without waiting for its peer, which is told if it has not been.
func (n *Namespace) cutSocket(s *Socket) {
	_ = s.Close(n.opts.ShutdownCode, shutdownReason)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loseLocked(ErrShutdown)
}

// dropAll drops the values of all objects in which no handler is stuck.
func (n *Namespace) dropAll() {
	for _, o := range n.all() {
		o.mu.Lock()
		if !o.running && !o.pinnedLocked() {
			o.hibernateLocked()
		}
		o.mu.Unlock()
	}
}

// releaseAll waits until nobody uses the store any more.
func (n *Namespace) releaseAll(ctx context.Context) error {
	for _, o := range n.all() {
		if err := o.awaitRelease(ctx); err != nil {
			return fmt.Errorf("edgews: namespace %q was shut down, but the storage of object %s is in use: %w", n.name, o.id, err)
		}
	}
	if looked := n.alarms.stoppedLooking(); looked != nil {
		return waitFor(ctx, looked)
	}
	return nil
}
