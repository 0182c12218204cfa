package edgews

import (
	"sync"
	"time"
)

// unacceptedWarningDelay is how long a server's socket may wait to be accepted before a warning is logged. A program that takes this
// long has probably forgotten to accept, and nothing is read from the peer meanwhile.
const unacceptedWarningDelay = 10 * time.Second

// unacceptedTimers has the timer of each socket that waits to be accepted, by *Socket. Accepting the socket removes its entry.
var unacceptedTimers sync.Map

// warnIfUnaccepted is warnIfUnacceptedLocked for callers that do not hold mu.
func (s *Socket) warnIfUnaccepted() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.warnIfUnacceptedLocked()
}

// warnIfUnacceptedLocked starts a timer that logs a warning unless the socket is accepted in time. Without a Logger it does nothing. mu
// must be held.
func (s *Socket) warnIfUnacceptedLocked() {
	if s.opts.Logger == nil || s.isAcceptedLocked() || s.hasEndedLocked() {
		return
	}
	unacceptedTimers.Store(s, time.AfterFunc(unacceptedWarningDelay, s.warnUnaccepted))
}

// stopUnacceptedTimerLocked stops the timer and returns true, if there is one. mu must be held.
func (s *Socket) stopUnacceptedTimerLocked() bool {
	if s.opts.Logger == nil {
		return false
	}
	timer, ok := unacceptedTimers.LoadAndDelete(s)
	if ok {
		timer.(*time.Timer).Stop()
	}
	return ok
}

// warnUnaccepted runs on the timer's goroutine.
func (s *Socket) warnUnaccepted() {
	s.mu.Lock()
	waiting := s.stopUnacceptedTimerLocked()
	logger := s.opts.Logger
	s.mu.Unlock()
	if waiting {
		logger.Warn("edgews: socket has not been accepted, so that nothing is read from it: call Accept, AcceptWebSocket or a method that receives",
			"since", unacceptedWarningDelay, s.logAttr())
	}
}
