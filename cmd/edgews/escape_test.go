package main

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/edgews/edgews"
)

func TestEscape(t *testing.T) {
	for _, test := range []struct{ name, text, oneLine, lines string }{
		{"plain", "hello, world", "hello, world", "hello, world"},
		{"letters and emoji", "Grüße 世界 👩\u200d👧", "Grüße 世界 👩\u200d👧", "Grüße 世界 👩\u200d👧"},
		{"colour", "\x1b[31mred", `\x1b[31mred`, `\x1b[31mred`},
		{"title", "\x1b]0;owned\a", `\x1b]0;owned\a`, `\x1b]0;owned\a`},
		{"C1 control", "\u009b31m", `\u009b31m`, `\u009b31m`},
		{"C1 as a byte", "\x9b31m", `\x9b31m`, `\x9b31m`},
		{"DEL and backspace", "ab\x7f\b", `ab\x7f\b`, `ab\x7f\b`},
		{"carriage return", "safe\revil", `safe\revil`, `safe\revil`},
		{"lines and tabs", "a\n\tb", `a\n\tb`, "a\n      b"},
		{"right to left", "abc\u202etxt.exe", `abc\u202etxt.exe`, `abc\u202etxt.exe`},
		{"line separator", "a\u2028b", `a\u2028b`, `a\u2028b`},
		{"not UTF-8", "a\xff\xc3", `a\xff\xc3`, `a\xff\xc3`},
		{"replacement character", "\ufffd", "\ufffd", "\ufffd"},
		{"backslash", `a\nb`, `a\nb`, `a\nb`},
		{"empty", "", "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := escape(test.text, onOneLine); got != test.oneLine {
				t.Errorf("on one line: got %q, want %q", got, test.oneLine)
			}
			if got := escape(test.text, onLines); got != test.lines {
				t.Errorf("on lines: got %q, want %q", got, test.lines)
			}
		})
	}
}

// harmless reports whether text has no character that controls a terminal, except the ends of lines if they are allowed.
func harmless(text string, lines bool) bool {
	for _, r := range text {
		if (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)) && !(lines && r == '\n') {
			return false
		}
	}
	return utf8.ValidString(text)
}

func FuzzEscape(f *testing.F) {
	for _, seed := range []string{"hello", "\x1b[2J", "\u009b", "\xff\n\t", "\u202e"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, as := range []layout{onOneLine, onLines} {
			if got := escape(text, as); !harmless(got, as == onLines) {
				t.Errorf("%q becomes %q", text, got)
			}
		}
		if strings.Contains(escape(text, onOneLine), "\n") {
			t.Errorf("%q has several lines", text)
		}
		if !utf8.ValidString(text) {
			return // no text message
		}
		line := messageJSON(edgews.Message{Kind: edgews.Text, Data: []byte(text)})
		var back struct{ Text string }
		if err := json.Unmarshal(line, &back); err != nil || back.Text != text || !harmless(strings.TrimSuffix(string(line), "\n"), false) {
			t.Errorf("%q becomes %q, and that %q: %v", text, line, back.Text, err)
		}
	})
}
