//go:build !edgews_noloop

package park

import (
	"runtime"
	"time"
)

// check runs from a time.Timer and looks for pollers that make no progress because a handler blocks. It is scheduled when a poller
// begins something that must not be held up: the handler of one event while others wait, a round, or any handler while no
// poller waits for events. It schedules itself as long as that lasts.

// The time between two checks.
const (
	checkInterval     = 700 * time.Microsecond
	idleCheckInterval = time.Millisecond       // while no poller makes progress
	recheckInterval   = 300 * time.Microsecond // if a handler was found blocked with events behind it, or progress has resumed
)

// checksUntilOverload is how many checks in a row must find no poller waiting before a poller is added.
const checksUntilOverload = 4

// scheduleCheck makes check run soon.
func (l *loop) scheduleCheck() {
	if !l.checkScheduled.Load() {
		l.scheduleFirstCheck()
	}
}

func (l *loop) scheduleFirstCheck() {
	if l.checkScheduled.Swap(true) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.startCheckTimerLocked(checkInterval)
}

func (l *loop) startCheckTimerLocked(after time.Duration) {
	if l.checkTimer == nil {
		l.checkTimer = time.AfterFunc(after, l.check)
	} else {
		l.checkTimer.Reset(after)
	}
}

// cancelCheck stops the timer of check if there is nothing to watch: the only poller is about to wait, and no round lasts.
func (l *loop) cancelCheck() {
	if !l.checkScheduled.Load() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.checkTimer != nil && len(l.pollers) == 1 && l.corks.count() == 0 && l.checkTimer.Stop() {
		l.checkScheduled.Store(false)
	}
}

// check flushes what handlers hold up, and adds pollers where handlers block or the load requires it.
func (l *loop) check() {
	if l.stopped.Load() {
		return
	}
	l.checkScheduled.Store(false) // first, so that a poller that begins something from here on schedules another check
	if l.yielding.Load() {
		l.yieldOverdue.Store(true)
	} else {
		l.lastOtherRan.Store(l.elapsed())
	}
	l.corks.flush()
	seen := l.observe()
	l.blocked.Store(int32(seen.blocked))
	if seen.blocked > 0 {
		l.lastBlocked.Store(l.elapsed())
	}
	if seen.blocked > 0 || l.corks.stalled() {
		l.corks.releaseAll()
	}
	for _, h := range seen.blockers {
		h.Flush(nil)
	}
	for _, p := range seen.stuck {
		l.takeOverEvents(p, (seen.blocked+len(seen.stuck)-1)/len(seen.stuck))
	}
	if seen.needsPoller(!l.backlog.empty()) {
		l.addPollers(max(1, seen.blocked/4))
	}
	if seen.busy || len(seen.stuck) > 0 || seen.unwatched && seen.blocked > 0 || l.corks.count() > 0 {
		l.scheduleNextCheck(seen.progressing > 0, len(seen.stuck) > 0)
	}
}

// observation is what a check has found.
type observation struct {
	busy                 bool      // a poller has begun something since the last check
	progressing, blocked int       // numbers of pollers
	ready                int       // number of pollers that only wait to be scheduled
	stuck                []*poller // blocked, with events that they have not taken
	blockers             []Handler // the handlers that block
	unwatched            bool      // no poller waits for events
	overloaded           bool      // unwatched for checksUntilOverload checks, with fewer than GOMAXPROCS pollers progressing
}

// needsPoller reports whether pollers must be added, to wait for events or to go on with the backlog. Where many handlers block, a few that
// return between two checks are no sign that there are enough pollers. As long as there are pollers that only lack a P, more of them would
// only lack it too.
func (s *observation) needsPoller(backlog bool) bool {
	switch {
	case s.ready > 0:
		return false
	case s.blocked > 0 && backlog:
		return true
	}
	return s.unwatched && (s.overloaded && len(s.stuck) == 0 || s.blocked > 0 && s.progressing < max(1, s.blocked/8))
}

// observe compares the progress of each poller with what the last check saw.
func (l *loop) observe() (s observation) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.pollers {
		progress := p.progress.Load()
		moved := progress != p.progressSeen
		p.progressSeen = progress
		switch s.busy = s.busy || moved; {
		case p.waiting.Load():
		case moved:
			s.progressing++
		case p.yielding.Load(), progress == 0: // it has not been scheduled since
			s.ready++
		default:
			s.blocked++
			if c := l.table.at(uint32(progress)); c != nil {
				s.blockers = append(s.blockers, c.h)
			}
			if p.hasUnhandledEvents() {
				s.stuck = append(s.stuck, p)
			}
		}
	}
	s.unwatched = !l.isWatched()
	if l.unwatchedChecks++; !s.unwatched {
		l.unwatchedChecks = 0
	}
	if s.overloaded = l.unwatchedChecks >= checksUntilOverload && s.progressing < runtime.GOMAXPROCS(0); s.overloaded {
		l.unwatchedChecks = 0
	}
	return s
}

// scheduleNextCheck schedules the check after one that found pollers progressing, or stuck.
func (l *loop) scheduleNextCheck(progressing, stuck bool) {
	if l.checkScheduled.Swap(true) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	after := checkInterval
	switch wasIdle := l.wasIdle; {
	case stuck:
		after = recheckInterval
	case !progressing:
		after = idleCheckInterval
	case wasIdle:
		after = recheckInterval
	}
	l.wasIdle = !progressing
	l.startCheckTimerLocked(after)
}
