package deflate

import (
	"fmt"
	"strconv"
)

// extensionParams are the parameters of an offer or of an answer.
type extensionParams struct {
	Params

	// clientWindow: client_max_window_bits is present, with a value or (in an offer only) without.
	clientWindow bool
}

// parseExtensionParams parses the parameters of a permessage-deflate element. Names are case-sensitive, as in the Workers runtime.
func parseExtensionParams(params []param) (t extensionParams, err error) {
	seen := make(map[string]bool, len(params))
	for _, p := range params {
		// RFC 7692 §7.1: an offer with a repeated parameter is declined, an answer with one fails the connection.
		if seen[p.name] {
			return t, fmt.Errorf("%.40s is there twice", p.name)
		}
		seen[p.name] = true
		if !t.set(p) {
			return t, fmt.Errorf("%.40s is unknown or has a bad value", p.name)
		}
	}
	return t, nil
}

func (t *extensionParams) set(p param) (ok bool) {
	switch p.name {
	case serverNoContextTakeover:
		t.ServerNoContextTakeover = true
		return p.value == "" // RFC 7692 §7.1.1.1
	case clientNoContextTakeover:
		t.ClientNoContextTakeover = true
		return p.value == "" // RFC 7692 §7.1.1.2
	case serverMaxWindowBits:
		t.ServerMaxWindowBits, ok = parseBits(p.value)
		return ok
	case clientMaxWindowBits:
		t.clientWindow = true
		t.ClientMaxWindowBits, ok = parseBits(p.value)
		return ok || p.value == "" // RFC 7692 §7.1.2.2
	}
	return false
}

// parseBits parses a decimal integer from 8 to 15 without leading zeros (RFC 7692 §7.1.2).
func parseBits(s string) (bits int, ok bool) {
	bits, err := strconv.Atoi(s)
	if err != nil || bits < MinWindowBits || bits > MaxWindowBits || strconv.Itoa(bits) != s {
		return 0, false
	}
	return bits, true
}
