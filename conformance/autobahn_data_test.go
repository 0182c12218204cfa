package conformance

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// dataSet is data to compress. The licence of upstream's files does not allow a copy; these are of the same kinds and sizes.
type dataSet struct {
	first byte // opcode of the messages
	data  []byte
}

// dataSets returns the data of 12.1 to 12.5. Section 13 uses the first.
func dataSets() []dataSet {
	r := rand.New(rand.NewPCG(6455, 7692))
	return []dataSet{
		{opText, repeatTo(194056, func() string {
			return fmt.Sprintf(`{"id":%d,"name":"%s %s","score":%.3f,"tags":["%s","%s"]},`, r.IntN(1e6), word(r), word(r), r.Float64(), word(r), word(r))
		})},
		{opBinary, bitmap(r, 512)},
		{opBinary, repeatTo(222218, func() string { return word(r) + " " })},
		{opText, repeatTo(263527, func() string {
			return fmt.Sprintf("<tr class=\"row\"><td><a href=\"/%s/%d\">%s</a></td><td>%s</td></tr>\n", word(r), r.IntN(1e4), word(r), word(r))
		})},
		{opBinary, repeatTo(1042328, func() string { return "\nstream\n" + noise(r, 4000) + "\nendstream\nendobj" })},
	}
}

// repeatTo repeats piece up to n bytes.
func repeatTo(n int, piece func() string) []byte {
	var b []byte
	for len(b) < n {
		b = append(b, piece()...)
	}
	return b[:n]
}

// word returns a random word. Frequent words are short.
func word(r *rand.Rand) string {
	syllables := []string{"ka", "to", "mi", "ren", "sol", "ver", "ich", "und", "der", "al", "o", "est"}
	var b strings.Builder
	for range 1 + int(r.ExpFloat64()) {
		b.WriteString(syllables[min(int(r.ExpFloat64()*3), len(syllables)-1)])
	}
	return b.String()
}

// bitmap is a grey picture with soft gradients and some noise.
func bitmap(r *rand.Rand, side int) []byte {
	b := make([]byte, 0, 1078+side*side)
	b = append(b, make([]byte, 1078)...)
	for y := range side {
		for x := range side {
			b = append(b, byte((x*x+y*y)>>11+r.IntN(4)))
		}
	}
	return b
}

func noise(r *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return string(b)
}
