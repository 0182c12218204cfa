package idna_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/edgews/edgews/internal/idna"
)

func TestToASCII(t *testing.T) {
	for host, want := range map[string]string{
		"example.com":           "example.com",
		"bücher.example":        "xn--bcher-kva.example",
		"a.bücher.рф":           "a.xn--bcher-kva.xn--p1ai",
		"straße.example":        "xn--strae-oqa.example",
		"उदाहरण.भारत":           "xn--p1b6ci4b4b3a.xn--h2brj9c",
		"xn--bcher-kva.example": "xn--bcher-kva.example",
	} {
		got, err := idna.ToASCII(host)
		assert.NoError(t, err, host)
		assert.Equal(t, want, got, host)
	}
	for host, want := range map[string]string{
		"bu\u0308cher.example":                "use the punycode form",
		"ｅxample.com":                         "use the punycode form",
		"bücher。example":                      "use the punycode form",
		"☕.example":                           "use the punycode form",
		"a\u200db\u0308.example":              "use the punycode form",
		"bü cher.example":                     "use the punycode form",
		"b\xffcher.example":                   "use the punycode form",
		strings.Repeat("ü", 100) + ".example": "the limit is 63",
	} {
		_, err := idna.ToASCII(host)
		assert.ErrorContains(t, err, want, "%q", host)
	}
}
