package edgews

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// jsonLook looks for a field of a JSON object without decoding anything else. Its data is valid JSON.
type jsonLook struct {
	data  []byte
	field string

	depth, values int // how many more there may be

	at      int
	key     bool // what comes next at the top is the name of a field
	wanted  bool // … or the value of the field, which begins at begin
	begin   int
	nesting int
}

// find returns the field's value as it stands there, the last one if there are several, or nil.
func (l *jsonLook) find() (value []byte, err error) {
	if trimmed := bytes.TrimLeft(l.data, " \t\r\n"); trimmed[0] != '{' {
		return nil, &badMessage{reason: "it is not a JSON object"}
	}
	depth, values := l.depth, l.values
	for ; l.at < len(l.data); l.at++ {
		switch l.data[l.at] {
		case '"':
			l.text()
		case '{', '[':
			l.nesting++
			l.values--
			l.key = l.nesting == 1
		case ':':
			if l.nesting == 1 {
				l.begin = l.at + 1
			}
		case ',', '}', ']':
			if l.nesting == 1 && l.wanted {
				value, l.wanted = bytes.TrimSpace(l.data[l.begin:l.at]), false
			}
			if l.data[l.at] != ',' {
				l.nesting--
				break
			}
			l.values--
			l.key = l.nesting == 1
		}
		switch {
		case l.nesting > depth:
			return nil, &badMessage{reason: fmt.Sprintf("it is nested deeper than MaxDepth, %d", depth)}
		case l.values < 0:
			return nil, &badMessage{reason: fmt.Sprintf("it has more values than MaxValues, %d", values)}
		}
	}
	return value, nil
}

// text goes to the end of the string that begins here, and looks at it if it is the name of a field.
func (l *jsonLook) text() {
	begin, escaped := l.at, false
	for l.at++; l.data[l.at] != '"'; l.at++ {
		if l.data[l.at] == '\\' {
			escaped = true
			l.at++
		}
	}
	if !l.key || l.nesting != 1 {
		return
	}
	l.key = false
	name := l.data[begin+1 : l.at]
	l.wanted = string(name) == l.field
	if escaped {
		var plain string
		l.wanted = json.Unmarshal(l.data[begin:l.at+1], &plain) == nil && plain == l.field
	}
}
