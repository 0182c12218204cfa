package edgews

import (
	"sync"
	"time"
)

// acceptWithin is how long a server's socket may wait to be accepted before a warning is logged. No program takes that long on
// purpose, and the peer waits for its first answer.
const acceptWithin = 10 * time.Second

// unaccepted are the timers of those that wait, by *Socket. A socket that is accepted leaves nothing here.
var unaccepted sync.Map

// warnIfUnaccepted is warnIfUnacceptedLocked for callers that do not hold mu.
func (s *Socket) warnIfUnaccepted() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.warnIfUnacceptedLocked()
}

// warnIfUnacceptedLocked has a warning logged, if anything is, unless the socket is accepted in time. mu must be held.
func (s *Socket) warnIfUnacceptedLocked() {
	if s.opts.Logger == nil || s.is(accepted) || s.result != nil {
		return
	}
	s.status |= awaited
	unaccepted.Store(s, time.AfterFunc(acceptWithin, s.warnUnaccepted))
}

// noticeAcceptLocked stops the timer. mu must be held.
func (s *Socket) noticeAcceptLocked() {
	if !s.is(awaited) {
		return
	}
	s.status &^= awaited
	if timer, ok := unaccepted.LoadAndDelete(s); ok {
		timer.(*time.Timer).Stop()
	}
}

func (s *Socket) warnUnaccepted() {
	s.mu.Lock()
	waits := s.is(awaited)
	s.noticeAcceptLocked()
	logger := s.opts.Logger
	s.mu.Unlock()
	if waits {
		logger.Warn("edgews: socket has not been accepted, so that nothing is read from it: call Accept, AcceptWebSocket or a method that receives",
			"since", acceptWithin, "protocol", s.Protocol())
	}
}
