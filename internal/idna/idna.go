// Package idna converts host names in Unicode to the ASCII form that browsers send in the Origin header.
//
// A browser maps characters before it encodes a name (UTS #46): it lowers their case, composes accents and replaces wide and narrow
// forms. This package has no tables for that. It refuses names that the mapping would, or might, change.
package idna

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxLabel is the longest label of a host name, in bytes (RFC 1035 §2.3.4).
const maxLabel = 63

// ToASCII returns host with each label that is not ASCII in punycode (RFC 3492, RFC 5890 §2.3.2.1). host is in lower case. A character
// that a browser would map to another before it encodes the name is an error, and so is a label that is too long.
func ToASCII(host string) (string, error) {
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

// checkLabel refuses characters that a browser replaces, or may replace, by others: combining accents, wide and narrow forms, and
// characters other than letters, marks, digits and the hyphen.
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
