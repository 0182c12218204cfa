package deflate

import (
	"errors"
	"iter"
	"strings"
)

// extension is one element of a Sec-WebSocket-Extensions header (RFC 6455 §9.1).
type extension struct {
	name   string
	params []param
}

// param is "name" or "name=value". A given value is never empty, with or without quotes.
type param struct {
	name, value string
}

var errSyntax = errors.New("not in the form of RFC 6455 §9.1")

// extensions yields the elements of all header lines, which are one list (RFC 9110 §5.3). A malformed element is yielded with an
// error, and the iteration goes on.
func extensions(lines []string) iter.Seq2[extension, error] {
	return func(yield func(extension, error) bool) {
		for _, line := range lines {
			for element := range split(line, ',') {
				// RFC 9110 §5.6.1.2: a recipient ignores empty elements.
				if element != "" && !yield(parseExtension(element)) {
					return
				}
			}
		}
	}
}

func parseExtension(s string) (e extension, err error) {
	first := true
	for part := range split(s, ';') {
		p, ok := parseParam(part)
		switch {
		case !ok, first && p.value != "":
			return e, errSyntax
		case first:
			e.name, first = p.name, false
		default:
			e.params = append(e.params, p)
		}
	}
	return e, nil
}

func parseParam(s string) (p param, ok bool) {
	name, value, hasValue := strings.Cut(s, "=")
	p.name = trim(name)
	if !hasValue {
		return p, isToken(p.name)
	}
	p.value = trim(value)
	if strings.HasPrefix(p.value, `"`) {
		p.value, ok = unquote(p.value)
		return p, ok && isToken(p.name) && isToken(p.value)
	}
	return p, isToken(p.name) && isToken(p.value)
}

// split cuts s at every sep outside quoted strings, and trims the parts.
func split(s string, sep byte) iter.Seq[string] {
	return func(yield func(string) bool) {
		for {
			n := unquotedIndex(s, sep)
			if n < 0 {
				yield(trim(s))
				return
			}
			if !yield(trim(s[:n])) {
				return
			}
			s = s[n+1:]
		}
	}
}

// unquotedIndex returns the index of the first c in s outside quoted strings, or -1. A quoted string without an end is as long as the
// rest of s.
func unquotedIndex(s string, c byte) int {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case quoted && s[i] == '\\':
			i++
		case !quoted && s[i] == c:
			return i
		}
	}
	return -1
}

// unquote parses s, which must be one quoted-string (RFC 9110 §5.6.4).
func unquote(s string) (value string, ok bool) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), i == len(s)-1
		case '\\':
			i++
		}
		if i < len(s) {
			b.WriteByte(s[i])
		}
	}
	return "", false
}

// trim removes the optional whitespace of RFC 9110 §5.6.3.
func trim(s string) string { return strings.Trim(s, " \t") }

// isToken reports whether s is a token (RFC 9110 §5.6.2).
func isToken(s string) bool {
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
