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

// Params is what was agreed.
type Params struct {
	ServerNoContextTakeover bool
	ClientNoContextTakeover bool

	// The windows that the sides compress within, 8 to 15; 0: not stated, which means 15.
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
// The order of the parameters is that of the Workers runtime.
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

// Want is one side's wishes.
type Want struct {
	// NoContextTakeover is for our own messages: none refers to an earlier one.
	NoContextTakeover     bool
	PeerNoContextTakeover bool

	// WindowBits bounds the history that we compress against, PeerWindowBits the one we would like the
	// peer to use: 8 to 15, 0 means 15.
	WindowBits     int
	PeerWindowBits int
}

// windowBits returns bits with its default, and within the bounds.
func windowBits(bits int) int {
	if bits == 0 {
		return MaxWindowBits
	}
	return min(max(bits, MinWindowBits), MaxWindowBits)
}
