// Package header has the parts of the syntax of HTTP fields that several headers share (RFC 9110 §5.6).
package header

import (
	"iter"
	"strings"
)

// IsToken reports whether s is a token (RFC 9110 §5.6.2). Field names, subprotocols and extension names are tokens.
//
// Deviation: workerd also takes the double quote, which is a delimiter.
func IsToken(s string) bool {
	for i := range len(s) {
		if !isTokenByte(s[i]) {
			return false
		}
	}
	return s != ""
}

func isTokenByte(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

// Trim removes the optional whitespace around s (RFC 9110 §5.6.3).
func Trim(s string) string { return strings.Trim(s, " \t") }

// Elements returns the elements of a comma-separated field without quoted strings. Its lines are one list, and empty elements do not
// count (RFC 9110 §5.3, §5.6.1).
func Elements(lines []string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, line := range lines {
			for element := range strings.SplitSeq(line, ",") {
				if element = Trim(element); element != "" && !yield(element) {
					return
				}
			}
		}
	}
}

// Contains reports whether a comma-separated field has the element token, in any case.
func Contains(lines []string, token string) bool {
	for element := range Elements(lines) {
		if strings.EqualFold(element, token) {
			return true
		}
	}
	return false
}
