package deflate

// Answers reports whether answer, the value of a server's Sec-WebSocket-Extensions, is an answer to one of the offers in values, the lines
// of a client's (RFC 7692 §7.1): then the client understands what that server sends, and obeys what it has asked for.
func Answers(answer string, values []string) bool {
	a, ok, err := Agree([]string{answer})
	if err != nil || !ok {
		return false
	}
	for e, err := range extensions(values) {
		if err != nil || e.name != Extension {
			continue
		}
		if offer, err := parseExtensionParams(e.params); err == nil && offer.allows(a) {
			return true
		}
	}
	return false
}

// allows reports whether a is an answer to the offer t.
func (t extensionParams) allows(a Params) bool {
	switch {
	case t.ServerNoContextTakeover && !a.ServerNoContextTakeover: // §7.1.1.1
		return false
	case t.ServerMaxWindowBits != 0 && (a.ServerMaxWindowBits == 0 || a.ServerMaxWindowBits > t.ServerMaxWindowBits): // §7.1.2.1
		return false
	case a.ClientMaxWindowBits == 0:
		return true
	}
	return t.clientWindow && a.ClientMaxWindowBits <= windowBits(t.ClientMaxWindowBits) // §7.1.2.2
}
