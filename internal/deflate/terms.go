package deflate

import (
	"fmt"
	"strconv"
)

// terms are the parameters of one offer, or of the answer to one.
type terms struct {
	Params

	// ClientMaxWindowBits is stated, with a value or (in an offer only) without.
	clientWindow bool
}

// readTerms reads the parameters of a permessage-deflate element. The names are compared as they are, upper
// and lower case, as the Workers runtime does.
func readTerms(params []param) (t terms, err error) {
	seen := make(map[string]bool, len(params))
	for _, p := range params {
		// RFC 7692 §7.1: multiple parameters with the same name decline the offer, or fail the answer.
		if seen[p.name] {
			return t, fmt.Errorf("%s is there twice", p.name)
		}
		seen[p.name] = true
		if !t.set(p) {
			return t, fmt.Errorf("%s is unknown or has a bad value", p.name)
		}
	}
	return t, nil
}

func (t *terms) set(p param) (ok bool) {
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

// parseBits reads a decimal integer without leading zeroes between 8 and 15 (RFC 7692 §7.1.2).
func parseBits(s string) (bits int, ok bool) {
	bits, err := strconv.Atoi(s)
	if err != nil || bits < MinWindowBits || bits > MaxWindowBits || strconv.Itoa(bits) != s {
		return 0, false
	}
	return bits, true
}
