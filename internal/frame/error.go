package frame

import "fmt"

// The status codes of a decoder's errors (RFC 6455 §7.4.1).
const (
	statusProtocolError   = 1002
	statusInvalidPayload  = 1007
	statusPolicyViolation = 1008
	statusMessageTooBig   = 1009
)

// Error is a rule that the peer broke, with the status code to close the connection with.
type Error struct {
	Code    uint16
	Section string // of the rule, such as "RFC 6455 §5.2"
	Detail  string // what the peer did
}

// Error returns the detail and the section.
func (e *Error) Error() string { return e.Detail + " (" + e.Section + ")" }

func protocolError(section, format string, args ...any) *Error {
	return newError(statusProtocolError, section, format, args...)
}

func newError(code uint16, section, format string, args ...any) *Error {
	return &Error{Code: code, Section: "RFC 6455 " + section, Detail: fmt.Sprintf(format, args...)}
}
