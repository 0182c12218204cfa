package main

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// layout says what escape does with the ends of lines and with tabs.
type layout uint8

const (
	onOneLine layout = iota + 1 // they are escaped
	onLines                     // they are kept; the lines after the first are indented, so that none passes for one of edgews
)

// escape returns text with everything escaped that could control a terminal or hide what the text says: control characters (C0, DEL, C1),
// characters that change the direction of writing, other invisible ones, and bytes that are not UTF-8. The joiners that emoji and some scripts
// need are kept. The result can be read, but not turned back into text: a backslash stays one.
func escape(text string, as layout) string {
	if safe(text) {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case r == '\n' && as == onLines:
			b.WriteString("\n  ")
		case r == '\t' && as == onLines:
			b.WriteString("    ")
		case visible(r):
			b.WriteRune(r)
		default:
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		i += size
	}
	return b.String()
}

// safe reports whether text has only visible ASCII characters and spaces, which are most texts.
func safe(text string) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}

// visible reports whether a terminal shows r as a character.
func visible(r rune) bool {
	const nonJoiner, joiner = '\u200c', '\u200d'
	return unicode.IsPrint(r) || r == nonJoiner || r == joiner
}

// quote returns text in quotes, escaped.
func quote(text string) string { return `"` + escape(text, onOneLine) + `"` }
