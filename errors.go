package edgews

import (
	"errors"
	"fmt"
)

// The states a call can find a socket in. All are compared with [errors.Is]; the message of a returned
// error may add the limit, the value and the fix.
var (
	// ErrNotAccepted: the socket has not been accepted yet, so it can neither send nor close.
	ErrNotAccepted = errors.New("edgews: socket is not accepted: call Accept, or one of the receive methods, first")

	// ErrAccepted: the call needs a socket that nobody has accepted or used in a response yet.
	ErrAccepted = errors.New("edgews: socket is already accepted or used in a response")

	// ErrUsed: the socket was given to Respond; its other end now speaks to the network in its place. Deviation: in Workers such
	// an end takes send and close, which do nothing, and another response.
	ErrUsed = errors.New("edgews: socket was used in a response; talk through its other end")

	// ErrNotPair: Respond was given a socket that is not an end of a NewPair.
	ErrNotPair = errors.New("edgews: Respond needs an end of a NewPair")

	// ErrClosed: the socket is closing or closed, so nothing more can be sent on it.
	ErrClosed = errors.New("edgews: socket is closed")

	// ErrBufferFull: the socket's queue holds SendBuffer bytes that the peer has not taken.
	ErrBufferFull = errors.New("edgews: send buffer is full")

	// ErrMessageTooBig: a received message is larger than MaxMessageSize.
	ErrMessageTooBig = errors.New("edgews: message is too big")

	// ErrRateLimited: the peer sent more than RateLimit allows.
	ErrRateLimited = errors.New("edgews: rate limit exceeded")

	// ErrInvalidUTF8: a text message or a close reason is not valid UTF-8 (RFC 6455 §5.6, §8.1).
	ErrInvalidUTF8 = errors.New("edgews: text is not valid UTF-8; use SendBytes for binary data")

	// ErrInvalidClose: a status code or reason that may not be sent in a Close frame (RFC 6455 §7.4).
	ErrInvalidClose = errors.New("edgews: invalid close")

	// ErrReceiving: another goroutine is receiving from this socket. One at a time may, because the
	// bytes of a message are valid until the next call.
	ErrReceiving = errors.New("edgews: another goroutine is receiving from this socket")

	// ErrNoPong: the peer did not answer a keep-alive ping within KeepAliveTimeout.
	ErrNoPong = errors.New("edgews: peer does not answer keep-alive pings")

	// ErrWriteTimeout: the peer took no bytes for WriteTimeout.
	ErrWriteTimeout = errors.New("edgews: peer takes no data")
)

// CloseError says how a socket ended. It is what Err returns once Done is closed, and what the
// receive methods return after the last message.
type CloseError struct {
	Code     StatusCode
	Reason   string
	WasClean bool // both sides said Close
}

// Error names the code, the reason and who is to blame.
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

// ProtocolError says which rule of RFC 6455 or RFC 7692 the peer broke. The peer was told with a
// Close frame that carries Code.
type ProtocolError struct {
	Code    StatusCode
	Section string // for example "RFC 6455 §5.5"
	Detail  string
}

// Error gives the rule and what was received.
func (e *ProtocolError) Error() string {
	return fmt.Sprintf("edgews: protocol error %d: %s (%s)", uint16(e.Code), e.Detail, e.Section)
}

// HandshakeError says why an opening handshake failed: a request that Upgrade refused, or an answer
// that Dial did not accept.
type HandshakeError struct {
	// StatusCode is the HTTP status that was sent (Upgrade) or received (Dial), which is 101 for an answer that
	// switched protocols wrongly; 0 when there was none.
	StatusCode int
	// Detail says what was wrong; of a request that Upgrade refused, it is the body of the answer.
	Detail string
	// Err is the cause, if there is one beyond Detail.
	Err error
}

// Error gives the reason, and the cause.
func (e *HandshakeError) Error() string {
	s := "edgews: handshake failed: " + e.Detail
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *HandshakeError) Unwrap() error { return e.Err }

// endError is what a receive method returns after the end: the CloseError, and what caused it when the
// connection was not simply closed. [errors.Is] and [errors.As] see both.
type endError struct {
	*CloseError
	cause error
}

func (e *endError) Unwrap() []error { return []error{e.CloseError, e.cause} }

func (e *endError) Error() string { return e.CloseError.Error() + ": " + e.cause.Error() }
