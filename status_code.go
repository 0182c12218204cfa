package edgews

import "fmt"

// StatusCode is the code of a Close (RFC 6455 §7.4 and the IANA registry).
type StatusCode uint16

// The registered codes. 1004, 1005, 1006 and 1015 are never sent: 1004 is reserved, and the others stand, on one side only, for a Close
// without a code, a missing Close and a failed TLS handshake.
const (
	StatusNormalClosure           StatusCode = 1000
	StatusGoingAway               StatusCode = 1001
	StatusProtocolError           StatusCode = 1002
	StatusUnsupportedData         StatusCode = 1003
	StatusNoStatusRcvd            StatusCode = 1005
	StatusAbnormalClosure         StatusCode = 1006
	StatusInvalidFramePayloadData StatusCode = 1007
	StatusPolicyViolation         StatusCode = 1008
	StatusMessageTooBig           StatusCode = 1009
	StatusMandatoryExtension      StatusCode = 1010
	StatusInternalError           StatusCode = 1011
	StatusServiceRestart          StatusCode = 1012
	StatusTryAgainLater           StatusCode = 1013
	StatusBadGateway              StatusCode = 1014
	StatusTLSHandshake            StatusCode = 1015
)

const firstStatus = 1000

// statusNames are the names of the codes from firstStatus on. An array takes no time when the program starts, as a map would.
var statusNames = [...]string{
	StatusNormalClosure - firstStatus:           "normal closure",
	StatusGoingAway - firstStatus:               "going away",
	StatusProtocolError - firstStatus:           "protocol error",
	StatusUnsupportedData - firstStatus:         "unsupported data",
	StatusNoStatusRcvd - firstStatus:            "no status received",
	StatusAbnormalClosure - firstStatus:         "abnormal closure",
	StatusInvalidFramePayloadData - firstStatus: "invalid frame payload data",
	StatusPolicyViolation - firstStatus:         "policy violation",
	StatusMessageTooBig - firstStatus:           "message too big",
	StatusMandatoryExtension - firstStatus:      "mandatory extension",
	StatusInternalError - firstStatus:           "internal error",
	StatusServiceRestart - firstStatus:          "service restart",
	StatusTryAgainLater - firstStatus:           "try again later",
	StatusBadGateway - firstStatus:              "bad gateway",
	StatusTLSHandshake - firstStatus:            "TLS handshake",
}

// String returns the number and, for a registered code, its name: "1001 going away".
func (c StatusCode) String() string {
	if i := int(c) - firstStatus; 0 <= i && i < len(statusNames) && statusNames[i] != "" {
		return fmt.Sprintf("%d %s", uint16(c), statusNames[i])
	}
	return fmt.Sprintf("%d", uint16(c))
}

// maxReason is the longest close reason in bytes of UTF-8: a control frame carries at most 125 bytes
// (RFC 6455 §5.5), two of which are the code.
const maxReason = 123

// checkClose returns why Close cannot be called with code and reason, or nil. The order of the checks is workerd's: code, length of the
// reason, reason without a code.
func checkClose(code StatusCode, reason string) error {
	if code != 0 && !sendable(code) {
		return fmt.Errorf("%w: status code %d; use 1000 to 4999 except 1004, 1005, 1006 and 1015", ErrInvalidClose, uint16(code))
	}
	if len(reason) > maxReason {
		return fmt.Errorf("%w: the reason has %d bytes of UTF-8; the limit is %d", ErrInvalidClose, len(reason), maxReason)
	}
	if code == 0 && reason != "" {
		return fmt.Errorf("%w: a reason needs a status code", ErrInvalidClose)
	}
	return nil
}

// sendable reports whether Close takes code. It is workerd's rule, which allows unassigned codes that a peer may refuse.
func sendable(code StatusCode) bool {
	switch code {
	case 1004, StatusNoStatusRcvd, StatusAbnormalClosure, StatusTLSHandshake:
		return false
	}
	return 1000 <= code && code <= 4999
}
