package deflate

// Accept returns a server's answer to a client's offers. values are all lines of the client's Sec-WebSocket-Extensions. Accept
// chooses the first valid offer. It skips offers with unknown parameters, repeated parameters or bad values (RFC 7692 §5.1, §7.1),
// and malformed elements. If ok is false, there is no compression.
func Accept(values []string, w Want) (p Params, ok bool) {
	for e, err := range extensions(values) {
		if err != nil || e.name != Extension {
			continue
		}
		if offer, err := parseExtensionParams(e.params); err == nil {
			return offer.answer(w), true
		}
	}
	return Params{}, false
}

func (t extensionParams) answer(w Want) Params {
	p := Params{
		// RFC 7692 §7.1.1: the server may state both even if the offer does not.
		ServerNoContextTakeover: t.ServerNoContextTakeover || w.NoContextTakeover,
		ClientNoContextTakeover: t.ClientNoContextTakeover || w.PeerNoContextTakeover,
	}
	if t.ServerMaxWindowBits != 0 {
		p.ServerMaxWindowBits = min(t.ServerMaxWindowBits, windowBits(w.WindowBits))
	}
	// RFC 7692 §7.1.2.2: without the parameter in the offer, the server must not limit the client's window.
	if t.clientWindow {
		p.ClientMaxWindowBits = min(windowBits(t.ClientMaxWindowBits), windowBits(w.PeerWindowBits))
	}
	return p
}
