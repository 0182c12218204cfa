package conformance

import (
	"fmt"
	"strings"
)

// Section 6: UTF-8.

const (
	kosme     = "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5"
	surrogate = "\xed\xa0\x80"
	tooHigh   = "\xf4\x90\x80\x80" // U+110000
	edited    = "edited"
	umlauts   = "Hello-µ@ßöäüàá-UTF-8!!"

	badText = 1007
)

// octetFrames returns a message with one octet in each frame.
func octetFrames(s string) []rawFrame {
	f := frames(text(s[:1]).more())
	for i := range len(s) - 1 {
		f = append(f, cont(s[i+1:i+2]).more())
	}
	f[len(f)-1].first |= fin
	return f
}

func utf8Handling() []autobahnCase {
	cases := []autobahnCase{
		{"6.1.1", 0, frames(text("")), frames(text("")), closedByPeer},
		{"6.1.2", 0, frames(text("").more(), cont("").more(), cont("")), frames(text("")), closedByPeer},
		{"6.1.3", 0, frames(text("").more(), cont("middle frame payload").more(), cont("")), frames(text("middle frame payload")), closedByPeer},
		{"6.2.1", 0, frames(text(umlauts)), frames(text(umlauts)), closedByPeer},
		{"6.2.2", 0, frames(text(umlauts[:12]).more(), cont(umlauts[12:])), frames(text(umlauts)), closedByPeer},
		{"6.2.3", 0, octetFrames(umlauts), frames(text(umlauts)), closedByPeer},
		{"6.2.4", 0, octetFrames(kosme), frames(text(kosme)), closedByPeer},
		{"6.3.1", 0, frames(text(kosme + surrogate + edited)), nil, fails(badText)},
		{"6.3.2", 0, octetFrames(kosme + surrogate + edited), nil, fails(badText)},
	}
	for i, group := range utf8Sequences {
		for j, s := range group.sequences() {
			c := autobahnCase{id: fmt.Sprintf("6.%d.%d", i+5, j+1), send: frames(text(s)), end: fails(badText)}
			if group.valid(j) {
				c.want, c.end = frames(text(s)), closedByPeer
			}
			cases = append(cases, c)
		}
	}
	return cases
}

// utf8FailFast are the cases in which the connection has to be failed as soon as the text cannot be valid any more: the rest is never
// sent. Octets before the error have to be accepted.
var utf8FailFast = []scripted{
	{"6.4.1", invalidFragment(kosme, tooHigh), fails(badText)},
	{"6.4.2", invalidFragment(kosme+tooHigh[:1], tooHigh[1:2]), fails(badText)},
	{"6.4.3", invalidOctets(kosme, tooHigh), fails(badText)},
	{"6.4.4", invalidOctets(kosme+tooHigh[:1], tooHigh[1:2]), fails(badText)},
}

// invalidFragment sends a fragment that is valid so far, and one that is not.
func invalidFragment(good, bad string) func(*rawPeer) {
	return func(p *rawPeer) {
		p.send(text(good).more(), ping("still there?"))
		p.expect(pong("still there?"))
		p.send(cont(bad).more())
	}
}

// invalidOctets sends a part of a frame that is valid so far, and octets that are not. The frame is never completed.
func invalidOctets(good, bad string) func(*rawPeer) {
	return func(p *rawPeer) {
		whole := text(good+bad+edited).append(nil, p.client)
		start, stop := len(whole)-len(bad+edited), len(whole)-len(edited)
		p.writeChopped(whole[:start], 0)
		p.expectSilence()
		p.writeChopped(whole[start:stop], 0)
	}
}

// utf8Group is a subsection: sequences separated by spaces, that are all valid or all invalid except for those listed.
type utf8Group struct {
	isValid bool
	hex     string
	except  []int // the numbers, from 1, of sequences with the opposite validity
}

func (g utf8Group) sequences() (list []string) {
	for _, field := range strings.Fields(g.hex) {
		var s []byte
		fmt.Sscanf(field, "%x", &s)
		list = append(list, string(s))
	}
	return list
}

func (g utf8Group) valid(i int) bool {
	for _, n := range g.except {
		if n == i+1 {
			return !g.isValid
		}
	}
	return g.isValid
}

// hexRange writes the octets from first up to, but not including, end; each followed by tail.
func hexRange(first, end int, tail string) string {
	var b strings.Builder
	for i := first; i < end; i++ {
		fmt.Fprintf(&b, "%02x%s", i, tail)
	}
	return b.String()
}

// noncharacters are the two last code points of each plane, U+1FFFE to U+10FFFF, after those of the first.
func noncharacters() string {
	list := "efbfbe efbfbf"
	for plane := rune(1); plane <= 16; plane++ {
		list += fmt.Sprintf(" %x %x", string(plane<<16|0xfffe), string(plane<<16|0xffff))
	}
	return list
}

// utf8Sequences are 6.5 to 6.23, after Markus Kuhn's UTF-8 decoder stress test.
var utf8Sequences = []utf8Group{
	// 6.5 Some valid sequences.
	{true, "68656c6c6f24776f726c64 68656c6c6fc2a2776f726c64 68656c6c6fe282ac776f726c64 68656c6c6ff0a4ada2776f726c64 cebae1bdb9cf83cebcceb5", nil},
	// 6.6 All prefixes of a valid string.
	{false, "ce ceba cebae1 cebae1bd cebae1bdb9 cebae1bdb9cf cebae1bdb9cf83 cebae1bdb9cf83ce cebae1bdb9cf83cebc cebae1bdb9cf83cebcce cebae1bdb9cf83cebcceb5", []int{2, 5, 7, 9, 11}},
	// 6.7 First sequence of a certain length.
	{true, "00 c280 e0a080 f0908080", nil},
	// 6.8 First sequence of length 5 and 6.
	{false, "f888808080 fc8480808080", nil},
	// 6.9 Last sequence of a certain length.
	{true, "7f dfbf efbfbf f48fbfbf", nil},
	// 6.10 Last sequence of length 4, 5 and 6.
	{false, "f7bfbfbf fbbfbfbfbf fdbfbfbfbfbf", nil},
	// 6.11 Other boundaries.
	{true, "ed9fbf ee8080 efbfbd f48fbfbf f4908080", []int{5}},
	// 6.12 Unexpected continuation bytes.
	{false, "80 bf 80bf 80bf80 80bf80bf 80bf80bf80 80bf80bf80bf " + hexRange(0x80, 0xbf, ""), nil},
	// 6.13 Lonely start bytes, each before a space.
	{false, strings.Join([]string{hexRange(0xc0, 0xdf, "20"), hexRange(0xe0, 0xef, "20"), hexRange(0xf0, 0xf7, "20"), hexRange(0xf8, 0xfb, "20"), hexRange(0xfc, 0xfd, "20")}, " "), nil},
	// 6.14 The last continuation byte is missing.
	{false, "c0 e080 f08080 f8808080 fc80808080 df efbf f7bfbf fbbfbfbf fdbfbfbfbf", nil},
	// 6.15 All sequences of 6.14 together.
	{false, "c0e080f08080f8808080fc80808080dfefbff7bfbffbbfbfbffdbfbfbfbf", nil},
	// 6.16 Impossible bytes.
	{false, "fe ff fefeffff", nil},
	// 6.17 Overlong ASCII.
	{false, "c0af e080af f08080af f8808080af fc80808080af", nil},
	// 6.18 Maximum overlong sequences.
	{false, "c1bf e09fbf f08fbfbf f887bfbfbf fc83bfbfbfbf", nil},
	// 6.19 Overlong NUL.
	{false, "c080 e08080 f0808080 f880808080 fc8080808080", nil},
	// 6.20 Single surrogates.
	{false, "eda080 edadbf edae80 edafbf edb080 edbe80 edbfbf", nil},
	// 6.21 Pairs of surrogates.
	{false, "eda080edb080 eda080edbfbf edadbfedb080 edadbfedbfbf edae80edb080 edae80edbfbf edafbfedb080 edafbfedbfbf", nil},
	// 6.22 Noncharacters, which are valid.
	{true, noncharacters(), nil},
	// 6.23 Specials.
	{true, "efbfb9 efbfba efbfbb efbfbc efbfbd efbfbe efbfbf", nil},
}
