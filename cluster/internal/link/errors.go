package link

import (
	"errors"
	"fmt"
)

// Errors of links and channels. They are wrapped where there is something to add: compare them with errors.Is.
var (
	// ErrProtocol is the error of a peer that breaks the rules of the protocol.
	ErrProtocol = errors.New("edgews: link: protocol error")
	// ErrWindowFull is returned by TrySend and Open when the peer has not consumed enough of what was sent before.
	ErrWindowFull = errors.New("edgews: link: the window is full")
	// ErrTooLarge is returned for a message or a greeting that is larger than the peer takes.
	ErrTooLarge = errors.New("edgews: link: message too large")
	// ErrTooManyChannels is returned by Open when the link has as many channels as the peer allows.
	ErrTooManyChannels = errors.New("edgews: link: too many channels")
	// ErrEnded is returned by sends after End, after Reset and after the channel's last event.
	ErrEnded = errors.New("edgews: link: the channel has ended")
	// ErrSessionLost is the end of channels when the peer has forgotten the session, or has begun another one.
	ErrSessionLost = errors.New("edgews: link: the peer has lost the session")
	// ErrUnknownChannel is the end of a channel of which the peer knows nothing any more.
	ErrUnknownChannel = errors.New("edgews: link: the peer does not know the channel")
	// ErrReplaced is the end of channels when another incarnation of the member, or another member, answers at its address.
	ErrReplaced = errors.New("edgews: link: another process answers at the member's address")
	// ErrRemoved is the end of channels when the peer was removed with Manager.Remove.
	ErrRemoved = errors.New("edgews: link: the peer was removed")
	// ErrClosed is returned by methods of a Manager after Close, and is the end of its channels.
	ErrClosed = errors.New("edgews: link: closed")
	// ErrInsecure is returned when neither TLS nor a secret is set and an address is not a loopback address.
	ErrInsecure = errors.New("edgews: link: neither a secret nor TLS is set, and the address is not on loopback")
	// ErrAuth is the failure of a handshake with a peer that has not proved that it belongs to the cluster.
	ErrAuth = errors.New("edgews: link: authentication failed")
	// ErrRefused is the failure of a handshake that the peer has refused: another cluster, no common version.
	ErrRefused = errors.New("edgews: link: the peer refused the handshake")
)

// ResetError is the end of a channel that the peer has reset.
type ResetError struct {
	Code   uint16 // codes from 256 on belong to the caller; the others are this package's
	Reason []byte // what the peer passed to Reset
}

// Error implements error.
func (e *ResetError) Error() string {
	return fmt.Sprintf("edgews: link: the peer reset the channel: code %d, %q", e.Code, e.Reason)
}

// CodeRefused is the code of the reset that refuses a channel for which Accept has returned nil.
const CodeRefused uint16 = 1
