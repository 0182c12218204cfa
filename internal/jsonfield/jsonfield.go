// Package jsonfield finds one field of a JSON object without decoding the rest, within bounds for nesting and number of values.
package jsonfield

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// Limits bounds what Find accepts.
type Limits struct {
	MaxDepth  int // how deep arrays and objects may be nested
	MaxValues int // how many values there may be, those in arrays and objects included
}

// Find returns the value of the field called name of the object in data, as it is written there. If the object has several fields of
// that name it returns the last one's value, if it has none nil. The value is a part of data.
//
// data must be valid JSON. An error says that data is not an object or is beyond the limits; its text names the limit and has nothing of
// data.
func Find(data []byte, name string, limits Limits) (value []byte, err error) {
	if trimmed := bytes.TrimLeft(data, " \t\r\n"); trimmed[0] != '{' {
		return nil, errors.New("it is not a JSON object")
	}
	s := scanner{data: data, name: name}
	for ; s.at < len(data); s.at++ {
		s.next()
		switch {
		case s.depth > limits.MaxDepth:
			return nil, fmt.Errorf("it is nested deeper than MaxDepth, %d", limits.MaxDepth)
		case s.values > limits.MaxValues:
			return nil, fmt.Errorf("it has more values than MaxValues, %d", limits.MaxValues)
		}
	}
	return s.value, nil
}

// scanner reads an object byte by byte. Its data is valid JSON.
type scanner struct {
	data []byte
	name string // of the field that is looked for

	at     int
	depth  int // arrays and objects that are open
	values int // values that have been counted

	expectName bool   // the next string is the name of a field of the outermost object
	isWanted   bool   // the current field of the outermost object has the name
	begin      int    // where the value of that field begins
	value      []byte // what has been found
}

// next handles the token at s.at and leaves s.at at its last byte.
func (s *scanner) next() {
	switch s.data[s.at] {
	case '"':
		s.skipString()
	case '{', '[':
		s.depth++
		s.values++ // each comma counts one more
		s.expectName = s.depth == 1
	case ':':
		if s.depth == 1 {
			s.begin = s.at + 1
		}
	case ',':
		s.endField()
		s.values++
		s.expectName = s.depth == 1
	case '}', ']':
		s.endField()
		s.depth--
	}
}

// endField keeps the value that ends before s.at, if its field is the wanted one.
func (s *scanner) endField() {
	if s.depth == 1 && s.isWanted {
		s.value, s.isWanted = bytes.TrimSpace(s.data[s.begin:s.at]), false
	}
}

// skipString moves s.at to the closing quote of the string that begins there. If the string is the name of a field of the outermost
// object, it is compared with the wanted name.
func (s *scanner) skipString() {
	begin, escaped := s.at, false
	for s.at++; s.data[s.at] != '"'; s.at++ {
		if s.data[s.at] == '\\' {
			escaped = true
			s.at++
		}
	}
	if !s.expectName || s.depth != 1 {
		return
	}
	s.expectName = false
	s.isWanted = string(s.data[begin+1:s.at]) == s.name
	if escaped {
		var name string
		s.isWanted = json.Unmarshal(s.data[begin:s.at+1], &name) == nil && name == s.name
	}
}
