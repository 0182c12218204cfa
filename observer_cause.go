package edgews

import "errors"

// cause says why a socket ends that neither side has closed before.
func (e *closeResult) cause() CloseCause {
	isAny := func(targets ...error) bool {
		for _, target := range targets {
			if errors.Is(e.err, target) {
				return true
			}
		}
		return false
	}
	switch _, violation := errors.AsType[*ProtocolError](e.err); {
	case e.WasClean:
		return ClosedByPeer
	case isAny(ErrShutdown, ErrHubShutdown, errEvicted, errHibernated):
		return ClosedByShutdown
	case e.Code == StatusInternalError:
		return ClosedAfterFailure
	case isAny(ErrNoPong):
		return ClosedAsSilent
	case isAny(ErrWriteTimeout):
		return ClosedAsSlow
	case isAny(ErrMessageTooBig, ErrRateLimited, ErrQuota):
		return ClosedForLimit
	case violation:
		return ClosedForProtocol
	}
	return ClosedAsLost
}
