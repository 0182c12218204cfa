package deflate

import (
	"errors"
	"fmt"
)

// Offer is the client's side: the value of Sec-WebSocket-Extensions to send. A wish for the server's window is
// followed by an offer without it, since a server that cannot fulfil it has to decline the first (RFC 7692
// §5.1).
func Offer(w Want) string {
	p := Params{ClientNoContextTakeover: w.NoContextTakeover, ServerNoContextTakeover: w.PeerNoContextTakeover}
	fallback := p.String() + "; " + clientMaxWindowBits
	if bits := offeredServerBits(w); bits != 0 {
		return fallback + bitsParam(serverMaxWindowBits, bits) + ", " + fallback
	}
	return fallback
}

// offeredServerBits is the server's window in the offer, 0 when the offer does not state it.
func offeredServerBits(w Want) int {
	if bits := windowBits(w.PeerWindowBits); bits < MaxWindowBits {
		return bits
	}
	return 0
}

// Agree is the client's side: it checks the server's answer, all lines of its Sec-WebSocket-Extensions,
// against what Offer said. When ok is false and err is nil the server declined. When err is not nil the
// server answered what was not offered or makes no sense, and the connection must be failed (RFC 6455 §9.1,
// RFC 7692 §5.1, §7.1).
func Agree(values []string) (p Params, ok bool, err error) {
	for e, err := range extensions(values) {
		if err == nil && ok {
			err = errors.New("two extensions for one offer")
		}
		if err == nil {
			p, err = readAnswer(e)
		}
		if err != nil {
			return Params{}, false, fmt.Errorf("deflate: server answered %q: %w", values, err)
		}
		ok = true
	}
	return p, ok, nil
}

func readAnswer(e extension) (Params, error) {
	if e.name != Extension {
		return Params{}, fmt.Errorf("%s was not offered", e.name)
	}
	answer, err := readTerms(e.params)
	if err != nil {
		return Params{}, err
	}
	return answer.Params, answer.check()
}

// check compares an answer with what Offer said. The server may state a parameter that the offer did not
// have (RFC 7692 §7.1.1, §7.1.2.1), and any window is an answer to the offer without one.
//
// Deviation: RFC 7692 §7.1.1.1 has a server decline what it cannot do, but some leave
// server_no_context_takeover out of the answer instead. We take that for "no": what it costs is the memory of
// the window.
func (t terms) check() error {
	if t.clientWindow && t.ClientMaxWindowBits == 0 {
		return fmt.Errorf("%s has no value", clientMaxWindowBits) // RFC 7692 §7.1.2.2
	}
	return nil
}
