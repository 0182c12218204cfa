package frame

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// beginnings contains every proper prefix of every character's encoding.
var beginnings = sync.OnceValue(func() map[string]bool {
	all := map[string]bool{}
	for r := rune(utf8.RuneSelf); r <= utf8.MaxRune; r++ {
		if !utf8.ValidRune(r) {
			continue
		}
		for s := string(r); len(s) > 1; {
			s = s[:len(s)-1]
			all[s] = true
		}
	}
	return all
})

// naiveValid is slow and obviously right: decoding replaces invalid bytes, so encoding the result does not return s.
func naiveValid(s string) bool { return string([]rune(s)) == s }

// naiveBegins reports whether s is the beginning of some valid text.
func naiveBegins(s string) bool {
	for cut := 0; cut <= 3 && cut <= len(s); cut++ {
		head, tail := s[:len(s)-cut], s[len(s)-cut:]
		if naiveValid(head) && (tail == "" || beginnings()[tail]) {
			return true
		}
	}
	return false
}

// checkUTF8 writes s in pieces of the given size and compares each answer with the oracle's.
func checkUTF8(t *testing.T, s string, size int) {
	t.Helper()
	var u UTF8
	for end := 0; end < len(s); {
		begin := end
		end = min(end+size, len(s))
		require.Equal(t, naiveBegins(s[:end]), u.Write([]byte(s[begin:end])), "%q after %d bytes, by %d", s, end, size)
	}
	require.Equal(t, naiveValid(s), u.Done(), "%q by %d", s, size)
	require.Equal(t, naiveBegins(s), u.Write(nil), "%q by %d: not sticky", s, size)
}

var utf8Table = []struct{ name, text string }{
	{"empty", ""},
	{"ASCII", "Hello"},
	{"two bytes", "привет"},
	{"three bytes", "\u20ac\u4e16\u754c\ufffd\uffff"},
	{"four bytes", "\U00010000\U0001f600\U0010ffff"},
	{"mixed", "aé€😀z"},
	{"long", strings.Repeat("aé€😀z", 30)},
	{"Autobahn 6.4.1", "κόσμε\xf4\x90\x80\x80edited"},
	{"lone continuation", "a\x80"},
	{"lead alone", "\xc3"},
	{"lead then ASCII", "\xc3a"},
	{"overlong of two, C0", "\xc0\x80"},
	{"overlong of two, C1", "\xc1\xbf"},
	{"overlong of three", "\xe0\x80\x80"},
	{"overlong of four", "\xf0\x80\x80\x80"},
	{"overlong of four, largest", "\xf0\x8f\xbf\xbf"},
	{"first of three", "\xe0\xa0\x80"},
	{"before surrogates", "\xed\x9f\xbf"},
	{"surrogate", "\xed\xa0\x80"},
	{"after surrogates", "\xee\x80\x80"},
	{"largest", "\xf4\x8f\xbf\xbf"},
	{"too large", "\xf4\x90\x80\x80"},
	{"F5", "\xf5"},
	{"five bytes", "\xf8\x88\x80\x80\x80"},
	{"FE", "\xfe"},
	{"FF", "\xff"},
	{"cut after two of three", "a\xe2\x82"},
	{"cut after three of four", "a\xf0\x9f\x98"},
	{"bad third byte", "\xe2\x82a"},
	{"bad fourth byte", "\xf0\x9f\x98a"},
	{"bad, then good", "\xf0\x9f\x98\u20ac"},
}

func TestUTF8(t *testing.T) {
	for _, test := range utf8Table {
		t.Run(test.name, func(t *testing.T) {
			for size := 1; size <= len(test.text)+1; size++ {
				checkUTF8(t, test.text, size)
			}
		})
	}
}

// Every pair of bytes between fixed ones: all places where one more byte decides.
func TestUTF8Pairs(t *testing.T) {
	for a := 0x7f; a <= 0xff; a++ {
		for b := 0x7f; b <= 0xff; b++ {
			s := string([]byte{'x', byte(a), byte(b), 0x80, 0xbf})
			for size := 1; size <= len(s); size++ {
				checkUTF8(t, s, size)
			}
		}
	}
}

func TestUTF8Reset(t *testing.T) {
	var u UTF8
	require.False(t, u.Write([]byte{0xff}))
	require.False(t, u.Write([]byte("fine")))
	u.Reset()
	require.True(t, u.Write([]byte("fine")))
	require.True(t, u.Write([]byte{0xe2}))
	require.False(t, u.Done())
	u.Reset()
	require.True(t, u.Done())
}

func TestUTF8AllocatesNothing(t *testing.T) {
	var u UTF8
	a, b := []byte("a\xf0\x9f"), []byte("\x98\x80z")
	require.Zero(t, testing.AllocsPerRun(100, func() {
		u.Write(a)
		u.Write(b)
	}))
	require.True(t, u.Done())
}

func FuzzUTF8(f *testing.F) {
	for i, test := range utf8Table {
		f.Add(test.text, uint8(i%5))
	}
	beginnings() // here, so that the first input does not take long
	f.Fuzz(func(t *testing.T, s string, size uint8) {
		if len(s) > 200 {
			s = s[:200] // the oracle is quadratic
		}
		checkUTF8(t, s, 1+int(size%64))
	})
}

func BenchmarkUTF8(b *testing.B) {
	for _, script := range []struct{ name, text string }{{"ascii", "chat"}, {"cyrillic", "чат"}} {
		for _, n := range []int{8, 1024} {
			b.Run(fmt.Sprintf("script=%s/size=%d", script.name, n*len(script.text)), func(b *testing.B) {
				p := []byte(strings.Repeat(script.text, n))
				b.SetBytes(int64(len(p)))
				var u UTF8
				for b.Loop() {
					u.Write(p)
				}
			})
		}
	}
}
