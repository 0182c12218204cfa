package edgews

import (
	"errors"
	"fmt"
)

// The errors of calls on a socket. Compare with [errors.Is]: the text of a returned error may add the limit, the value and the fix.
var (
	// ErrNotAccepted: the socket has not been accepted yet, so it can neither send nor close.
	ErrNotAccepted = errors.New("edgews: socket is not accepted: call Accept, or one of the receive methods, first")

	// ErrAccepted: the call needs a socket that has not been accepted or used in a response.
	ErrAccepted = errors.New("edgews: socket is already accepted or used in a response")

	// ErrUsed: the socket was given to Respond, and the other end of its pair has the network connection now. Deviation: in Workers
	// send and close of such an end do nothing, and it can be used in another response.
	ErrUsed = errors.New("edgews: socket was used in a response; talk through its other end")

	// ErrNotPair: Respond was given a socket that is neither an end of a NewPair nor from Dial.
	ErrNotPair = errors.New("edgews: Respond needs an end of a NewPair, or a socket from Dial")

	// ErrClosed: the socket is closing or closed, so nothing more can be sent.
	ErrClosed = errors.New("edgews: socket is closed")

	// ErrBufferFull: the message does not fit in the socket's queue, which has up to SendBuffer bytes that the peer has not taken.
	ErrBufferFull = errors.New("edgews: send buffer is full")

	// ErrMessageTooBig: a received message is larger than MaxMessageSize.
	ErrMessageTooBig = errors.New("edgews: message is too big")

	// ErrRateLimited: the peer sent more than RateLimit allows.
	ErrRateLimited = errors.New("edgews: rate limit exceeded")

	// ErrInvalidUTF8: a text message or a close reason is not valid UTF-8 (RFC 6455 §5.6, §8.1).
	ErrInvalidUTF8 = errors.New("edgews: text is not valid UTF-8; use SendBytes for binary data")

	// ErrInvalidClose: a status code or reason that may not be sent in a Close frame (RFC 6455 §7.4).
	ErrInvalidClose = errors.New("edgews: invalid close")

	// ErrReceiving: another goroutine is receiving from this socket. Only one may at a time, because the bytes of a message are
	// valid until the next call.
	ErrReceiving = errors.New("edgews: another goroutine is receiving from this socket")

	// ErrNoPong: nothing arrived within KeepAliveTimeout after a keep-alive ping.
	ErrNoPong = errors.New("edgews: peer does not answer keep-alive pings")

	// ErrWriteTimeout: the peer took no bytes for WriteTimeout.
	ErrWriteTimeout = errors.New("edgews: peer takes no data")
)

// CloseError says how a socket ended. Err returns it once Done is closed, and the receive methods return it after the last message.
type CloseError struct {
	Code     StatusCode
	Reason   string
	WasClean bool // each side has sent a Close
}

// Error returns the code and the reason, and whether the connection was closed or lost.
func (e *CloseError) Error() string {
	how := "lost"
	if e.WasClean {
		how = "closed"
	}
	if e.Reason == "" {
		return fmt.Sprintf("edgews: connection %s: %s", how, e.Code)
	}
	return fmt.Sprintf("edgews: connection %s: %s %q", how, e.Code, e.Reason)
}

// ProtocolError says which rule of RFC 6455 or RFC 7692 the peer broke. The peer was sent a Close frame with Code.
type ProtocolError struct {
	Code    StatusCode
	Section string // for example "RFC 6455 §5.5"
	Detail  string
}

// Error returns the rule and what was received.
func (e *ProtocolError) Error() string {
	return fmt.Sprintf("edgews: protocol error %d: %s (%s)", uint16(e.Code), e.Detail, e.Section)
}

// HandshakeError says why an opening handshake failed: why Upgrade refused a request, or what was wrong with the response to Dial.
type HandshakeError struct {
	// StatusCode is the HTTP status that was sent (Upgrade) or received (Dial); 0 if there was no response. It is 101 for a
	// response that switched protocols but was wrong in another part.
	StatusCode int
	// Detail says what was wrong. For a request that Upgrade refused, it is the body of the response.
	Detail string
	// Err is the cause; nil if Detail says everything.
	Err error
}

// maxShownCause is how many characters of a cause the text of a HandshakeError has: net/http's errors may contain a whole Location header.
const maxShownCause = 1000

// Error returns Detail and the first 1000 characters of the cause.
func (e *HandshakeError) Error() string {
	s := "edgews: handshake failed: " + e.Detail
	if e.Err != nil {
		s += ": " + shorten(e.Err.Error(), maxShownCause)
	}
	return s
}

// Unwrap returns the cause.
func (e *HandshakeError) Unwrap() error { return e.Err }

// endError is what a receive method returns after the end of a socket that has failed: the CloseError and its cause. [errors.Is] and
// [errors.As] see both.
type endError struct {
	*CloseError
	cause error
}

func (e *endError) Unwrap() []error { return []error{e.CloseError, e.cause} }

func (e *endError) Error() string { return e.CloseError.Error() + ": " + e.cause.Error() }
