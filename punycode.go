package edgews

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Browsers write a host that is not ASCII in punycode (RFC 3492), each label by itself, and that is what an Origin header has.

// maxLabel is the longest label of a host name, in bytes (RFC 1035 §2.3.4).
const maxLabel = 63

// asciiHost returns host, which is in lower case, as browsers write it. What they would change before they write it, for which there
// is no table here, is an error.
func asciiHost(host string) (string, error) {
	if isASCII(host) {
		return host, nil
	}
	labels := strings.Split(host, ".")
	for i, label := range labels {
		if isASCII(label) {
			continue
		}
		if err := checkLabel(label); err != nil {
			return "", err
		}
		labels[i] = "xn--" + punycode(label)
		if len(labels[i]) > maxLabel {
			return "", fmt.Errorf("%q has %d bytes in punycode; the limit is %d", label, len(labels[i]), maxLabel)
		}
	}
	return strings.Join(labels, "."), nil
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// checkLabel refuses characters that a browser replaces, or may replace, by others: accents that stand by themselves, wide and
// narrow forms, and whatever is no letter, mark or digit.
func checkLabel(label string) error {
	for _, c := range label {
		accent := unicode.Is(unicode.Inherited, c) && unicode.IsMark(c) && c < 0x370
		form := 0xfb00 <= c && c <= 0xffff
		plain := c == '-' || unicode.IsLetter(c) || unicode.IsMark(c) || unicode.IsDigit(c)
		if accent || form || !plain {
			return fmt.Errorf("browsers do not write %q as it is; use the punycode form that they send, which begins with xn--", c)
		}
	}
	return nil
}

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

// smallestFrom returns the smallest of runes that is not below n. There is one.
func smallestFrom(runes []rune, n rune) rune {
	smallest := rune(unicode.MaxRune)
	for _, c := range runes {
		if c >= n {
			smallest = min(smallest, c)
		}
	}
	return smallest
}

// appendPunyNumber writes a number of variable length (RFC 3492 §3.3).
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
