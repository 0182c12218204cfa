package deflate

import (
	"errors"
	"iter"
	"strings"

	"github.com/edgews/edgews/internal/header"
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
	p.name = header.Trim(name)
	if !hasValue {
		return p, header.IsToken(p.name)
	}
	p.value = header.Trim(value)
	if strings.HasPrefix(p.value, `"`) {
		p.value, ok = unquote(p.value)
		return p, ok && header.IsToken(p.name) && header.IsToken(p.value)
	}
	return p, header.IsToken(p.name) && header.IsToken(p.value)
}

// split cuts s at every sep outside quoted strings, and trims the parts.
func split(s string, sep byte) iter.Seq[string] {
	return func(yield func(string) bool) {
		for {
			n := unquotedIndex(s, sep)
			if n < 0 {
				yield(header.Trim(s))
				return
			}
			if !yield(header.Trim(s[:n])) {
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
