package frame

import "fmt"

// The status codes a decoder fails with (RFC 6455 §7.4.1).
const (
	codeProtocol       = 1002
	codeInvalidPayload = 1007
	codePolicy         = 1008
	codeTooBig         = 1009
)

// Error says which rule the peer broke, and is the status code to close the connection with.
type Error struct {
	Code    uint16
	Section string // where the rule stands, such as "RFC 6455 §5.2"
	Detail  string // what the peer did
}

// Error returns the detail and the section.
func (e *Error) Error() string { return e.Detail + " (" + e.Section + ")" }

func violation(section, format string, args ...any) *Error {
	return newError(codeProtocol, section, format, args...)
}

func newError(code uint16, section, format string, args ...any) *Error {
	return &Error{Code: code, Section: "RFC 6455 " + section, Detail: fmt.Sprintf(format, args...)}
}
