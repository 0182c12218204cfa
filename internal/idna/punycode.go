package idna

import (
	"unicode"
	"unicode/utf8"
)

// The parameters of RFC 3492 §5.
const (
	punyBase        = 36
	punyTMin        = 1
	punyTMax        = 26
	punySkew        = 38
	punyDamp        = 700
	punyInitialBias = 72
	punyInitialN    = 0x80
)

// punycode encodes a label (RFC 3492 §6.3).
func punycode(label string) string {
	runes := []rune(label)
	var out []byte
	for _, c := range runes {
		if c < utf8.RuneSelf {
			out = append(out, byte(c))
		}
	}
	basic := len(out)
	if basic > 0 {
		out = append(out, '-')
	}
	n, delta, bias := rune(punyInitialN), 0, punyInitialBias
	for handled := basic; handled < len(runes); n++ {
		next := smallestFrom(runes, n)
		delta += int(next-n) * (handled + 1)
		n = next
		for _, c := range runes {
			switch {
			case c < n:
				delta++
			case c == n:
				out = appendPunyNumber(out, delta, bias)
				bias = punyAdapt(delta, handled+1, handled == basic)
				delta = 0
				handled++
			}
		}
		delta++
	}
	return string(out)
}

// smallestFrom returns the smallest of runes that is at least n. One of them has to be.
func smallestFrom(runes []rune, n rune) rune {
	smallest := rune(unicode.MaxRune)
	for _, c := range runes {
		if c >= n {
			smallest = min(smallest, c)
		}
	}
	return smallest
}

// appendPunyNumber appends q as a variable-length integer (RFC 3492 §3.3).
func appendPunyNumber(out []byte, q, bias int) []byte {
	for k := punyBase; ; k += punyBase {
		t := min(max(k-bias, punyTMin), punyTMax)
		if q < t {
			return append(out, punyDigit(q))
		}
		out = append(out, punyDigit(t+(q-t)%(punyBase-t)))
		q = (q - t) / (punyBase - t)
	}
}

// punyDigit returns the digit for d, 0 to 35: a to z and 0 to 9 (RFC 3492 §5).
func punyDigit(d int) byte {
	if d < 26 {
		return 'a' + byte(d)
	}
	return '0' + byte(d-26)
}

// punyAdapt is the bias adaptation of RFC 3492 §6.1.
func punyAdapt(delta, points int, first bool) int {
	if first {
		delta /= punyDamp
	} else {
		delta /= 2
	}
	delta += delta / points
	k := 0
	for ; delta > (punyBase-punyTMin)*punyTMax/2; k += punyBase {
		delta /= punyBase - punyTMin
	}
	return k + (punyBase-punyTMin+1)*delta/(delta+punySkew)
}
