//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
)

// The text between these lines of a file is replaced.
const (
	sectionBegin = "<!-- bench:begin -->\n"
	sectionEnd   = "<!-- bench:end -->\n"
)

// replaceSection puts text between the marks in a file.
func replaceSection(file string, text []byte) error {
	old, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	head, _, tail, err := cutSection(file, old)
	if err != nil {
		return err
	}
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	return os.WriteFile(file, bytes.Join([][]byte{head, text, tail}, nil), info.Mode())
}

// checkSection returns the error that replaceSection would return. It is called before the measurement, which takes minutes.
func checkSection(file string) error {
	p, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	_, _, _, err = cutSection(file, p)
	return err
}

// cutSection returns the text up to the section, including the first mark, the section, and the rest.
func cutSection(file string, p []byte) (head, section, tail []byte, err error) {
	begin := bytes.Index(p, []byte(sectionBegin))
	end := bytes.Index(p, []byte(sectionEnd))
	if begin < 0 || end < begin {
		return nil, nil, nil, fmt.Errorf("%s has no line %q with a line %q after it", file, sectionBegin[:len(sectionBegin)-1], sectionEnd[:len(sectionEnd)-1])
	}
	begin += len(sectionBegin)
	return p[:begin:begin], p[begin:end], p[end:], nil
}
