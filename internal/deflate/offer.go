package deflate

import (
	"errors"
	"fmt"
	"strings"
)

// Offer returns the value of a client's Sec-WebSocket-Extensions. An offer that limits the server's window is followed by one
// without that limit, since a server that does not support it has to decline the first (RFC 7692 §5.1).
func Offer(w Want) string {
	p := Params{ClientNoContextTakeover: w.NoContextTakeover, ServerNoContextTakeover: w.PeerNoContextTakeover}
	fallback := p.String() + "; " + clientMaxWindowBits
	if bits := offeredServerBits(w); bits != 0 {
		return fallback + bitsParam(serverMaxWindowBits, bits) + ", " + fallback
	}
	return fallback
}

// offeredServerBits returns the server's window in the offer, 0 if the offer does not limit it.
func offeredServerBits(w Want) int {
	if bits := windowBits(w.PeerWindowBits); bits < MaxWindowBits {
		return bits
	}
	return 0
}

// Agree checks a server's answer to Offer for a client. values are all lines of the answer's Sec-WebSocket-Extensions. If ok is
// false and err is nil, the server has declined. If err is not nil, the answer is malformed or was not offered, and the client must
// fail the connection (RFC 6455 §9.1, RFC 7692 §5.1, §7.1).
func Agree(values []string) (p Params, ok bool, err error) {
	for e, err := range extensions(values) {
		if err == nil && ok {
			err = errors.New("two extensions for one offer")
		}
		if err == nil {
			p, err = readAnswer(e)
		}
		if err != nil {
			return Params{}, false, fmt.Errorf("deflate: server answered %.100q: %w", strings.Join(values, ", "), err)
		}
		ok = true
	}
	return p, ok, nil
}

func readAnswer(e extension) (Params, error) {
	if e.name != Extension {
		return Params{}, fmt.Errorf("%.40s was not offered", e.name)
	}
	answer, err := parseExtensionParams(e.params)
	if err != nil {
		return Params{}, err
	}
	return answer.Params, answer.check()
}

// check checks an answer to Offer. The server may state a parameter that the offer does not have (RFC 7692 §7.1.1, §7.1.2.1), and
// any window is a valid answer to an offer without one.
//
// Deviation: a server that cannot do without context takeover must decline (RFC 7692 §7.1.1.1), but some leave
// server_no_context_takeover out of the answer instead. That is accepted, at the cost of the memory for the window.
func (t extensionParams) check() error {
	if t.clientWindow && t.ClientMaxWindowBits == 0 {
		return fmt.Errorf("%s has no value", clientMaxWindowBits) // RFC 7692 §7.1.2.2
	}
	return nil
}
