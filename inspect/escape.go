package inspect

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of texts, in bytes before they are escaped.
const (
	maxLogText = 500 // of an error
	maxName    = 200 // of a peer's address, a host, a path, a tag, a name
)

// escape returns s for people to read on one line: characters that do not print, and bytes that are not UTF-8, are written as \n, \u202e or \xff.
// What is beyond max bytes is replaced by an ellipsis.
func escape(s string, max int) string {
	cut := len(s) > max
	if cut {
		s = s[:runeStart(s, max)]
	}
	if !isPlain(s) {
		s = escapeAll(s, "")
	}
	if cut {
		s += "…"
	}
	return s
}

// escapeLines is escape for a text of several lines, without a bound: line feeds and tabs stay.
func escapeLines(s string) string {
	if isPlain(s) {
		return s
	}
	return escapeAll(s, "\n\t")
}

// isPlain reports whether s is printable ASCII.
func isPlain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// escapeAll escapes what does not print, except for the characters in keep. The escapes of characters are those of JSON.
func escapeAll(s, keep string) string {
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD"):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case unicode.IsPrint(r), strings.ContainsRune(keep, r):
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r > 0xFFFF:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// runeStart returns the greatest index up to i at which a character of s begins, or i if there is none near.
func runeStart(s string, i int) int {
	for j := i; j > i-utf8.UTFMax && j > 0; j-- {
		if utf8.RuneStart(s[j]) {
			return j
		}
	}
	return i
}
