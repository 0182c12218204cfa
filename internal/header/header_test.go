package header_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/edgews/edgews/internal/header"
)

func TestIsToken(t *testing.T) {
	for s, want := range map[string]bool{
		"chat": true, "v1.json": true, "!#$%&'*+-.^_`|~09azAZ": true,
		"": false, "a b": false, "a,b": false, `a"b`: false, "a/b": false, "ä": false, "a\x7f": false, "a\t": false,
	} {
		assert.Equal(t, want, header.IsToken(s), "%q", s)
	}
}

// A token is visible ASCII without the delimiters of RFC 9110 §5.6.2.
func TestIsTokenKnowsEveryDelimiter(t *testing.T) {
	for c := range 256 {
		want := c > ' ' && c < 0x7f && !slices.Contains([]byte(`"(),/:;<=>?@[\]{}`), byte(c))
		assert.Equal(t, want, header.IsToken(string([]byte{byte(c)})), "%q", c)
	}
}

func TestElements(t *testing.T) {
	assert.Equal(t, []string{"a", "b c", "d"}, slices.Collect(header.Elements([]string{" a,\tb c ,, ", "d"})))
	for range header.Elements([]string{"a, b"}) {
		break
	}
}

func TestContains(t *testing.T) {
	for _, tt := range []struct {
		lines []string
		want  bool
	}{
		{nil, false},
		{[]string{"upgrade"}, true},
		{[]string{"Keep-Alive,\tUPGRADE"}, true},
		{[]string{"keep-alive", "Upgrade"}, true},
		{[]string{", ,upgrade,"}, true},
		{[]string{"upgraded"}, false},
		{[]string{"no upgrade"}, false},
	} {
		assert.Equal(t, tt.want, header.Contains(tt.lines, "upgrade"), "%q", tt.lines)
	}
}
