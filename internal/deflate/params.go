package deflate

import "strconv"

// Extension is the registered name of the extension (RFC 7692 §7).
const Extension = "permessage-deflate"

// The parameters of the extension (RFC 7692 §7.1).
const (
	clientNoContextTakeover = "client_no_context_takeover"
	serverNoContextTakeover = "server_no_context_takeover"
	clientMaxWindowBits     = "client_max_window_bits"
	serverMaxWindowBits     = "server_max_window_bits"
)

// MinWindowBits and MaxWindowBits bound the base-2 logarithm of a window (RFC 7692 §7.1.2).
const (
	MinWindowBits = 8
	MaxWindowBits = 15
)

// Params are the negotiated parameters.
type Params struct {
	ServerNoContextTakeover bool
	ClientNoContextTakeover bool

	// The base-2 logarithms of the windows that the two sides compress with, 8 to 15. 0: not stated, which means 15.
	ServerMaxWindowBits int
	ClientMaxWindowBits int
}

// Side is what was agreed for the messages of one side.
type Side struct {
	NoContextTakeover bool // no message refers to an earlier one
	WindowBits        int  // 8 to 15
}

// Sides returns what was agreed for our own messages and for the peer's. client says which side is ours.
func (p Params) Sides(client bool) (own, peer Side) {
	own = Side{p.ServerNoContextTakeover, windowBits(p.ServerMaxWindowBits)}
	peer = Side{p.ClientNoContextTakeover, windowBits(p.ClientMaxWindowBits)}
	if client {
		own, peer = peer, own
	}
	return own, peer
}

// String returns p as the value of Sec-WebSocket-Extensions: "permessage-deflate; client_max_window_bits=12".
// The parameters are in the order of the Workers runtime.
func (p Params) String() string {
	s := Extension
	if p.ClientNoContextTakeover {
		s += "; " + clientNoContextTakeover
	}
	if p.ServerNoContextTakeover {
		s += "; " + serverNoContextTakeover
	}
	return s + bitsParam(clientMaxWindowBits, p.ClientMaxWindowBits) + bitsParam(serverMaxWindowBits, p.ServerMaxWindowBits)
}

func bitsParam(name string, bits int) string {
	if bits == 0 {
		return ""
	}
	return "; " + name + "=" + strconv.Itoa(bits)
}

// Want are the parameters that one side prefers.
type Want struct {
	// With NoContextTakeover no message of this side refers to an earlier one.
	NoContextTakeover     bool
	PeerNoContextTakeover bool

	// WindowBits limits the window of this side's messages, PeerWindowBits is the limit that this side asks of the peer. Both are
	// base-2 logarithms from 8 to 15; 0 means 15.
	WindowBits     int
	PeerWindowBits int
}

// windowBits returns bits within its bounds, or its default if it is 0.
func windowBits(bits int) int {
	if bits == 0 {
		return MaxWindowBits
	}
	return min(max(bits, MinWindowBits), MaxWindowBits)
}
