package deflate

// Accept is the server's side: it answers the client's offers. The values are all lines of the client's
// Sec-WebSocket-Extensions. The first offer that can be accepted is; one that has unknown or repeated
// parameters or bad values is declined and the next one considered (RFC 7692 §5.1, §7.1), and so is anything
// that cannot be read. When ok is false there is no compression.
func Accept(values []string, w Want) (p Params, ok bool) {
	for e, err := range extensions(values) {
		if err != nil || e.name != Extension {
			continue
		}
		if offer, err := readTerms(e.params); err == nil {
			return offer.answer(w), true
		}
	}
	return Params{}, false
}

func (t terms) answer(w Want) Params {
	p := Params{
		// RFC 7692 §7.1.1: the server may state both even if the offer did not.
		ServerNoContextTakeover: t.ServerNoContextTakeover || w.NoContextTakeover,
		ClientNoContextTakeover: t.ClientNoContextTakeover || w.PeerNoContextTakeover,
	}
	if t.ServerMaxWindowBits != 0 {
		p.ServerMaxWindowBits = min(t.ServerMaxWindowBits, windowBits(w.WindowBits))
	}
	// RFC 7692 §7.1.2.2: not in the offer means that the client cannot be limited.
	if t.clientWindow {
		p.ClientMaxWindowBits = min(windowBits(t.ClientMaxWindowBits), windowBits(w.PeerWindowBits))
	}
	return p
}
