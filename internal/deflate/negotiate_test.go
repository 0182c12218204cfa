package deflate

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestAcceptAsWorkers expects the recorded answers of the Workers runtime. "" means declined.
func TestAcceptAsWorkers(t *testing.T) {
	for _, c := range []struct{ name, offer, answer string }{
		{"none", "", ""},
		{"cmwb", "permessage-deflate; client_max_window_bits", "permessage-deflate; client_max_window_bits=15"},
		{"cmwb-15", "permessage-deflate; client_max_window_bits=15", "permessage-deflate; client_max_window_bits=15"},
		{"cmwb-9", "permessage-deflate; client_max_window_bits=9", "permessage-deflate; client_max_window_bits=9"},
		{"cmwb-8", "permessage-deflate; client_max_window_bits=8", "permessage-deflate; client_max_window_bits=8"},
		{"cmwb-16", "permessage-deflate; client_max_window_bits=16", ""},
		{"smwb-none", "permessage-deflate; server_max_window_bits", ""},
		{"smwb-15", "permessage-deflate; server_max_window_bits=15", "permessage-deflate; server_max_window_bits=15"},
		{"smwb-8", "permessage-deflate; server_max_window_bits=8", "permessage-deflate; server_max_window_bits=8"},
		{"smwb-7", "permessage-deflate; server_max_window_bits=7", ""},
		{"smwb-16", "permessage-deflate; server_max_window_bits=16", ""},
		{"cnct", "permessage-deflate; client_no_context_takeover", "permessage-deflate; client_no_context_takeover"},
		{"both-nct", "permessage-deflate; server_no_context_takeover; client_no_context_takeover", "permessage-deflate; client_no_context_takeover; server_no_context_takeover"},
		{"nct-with-value", "permessage-deflate; server_no_context_takeover=1", ""},
		{"dup-param", "permessage-deflate; client_max_window_bits; client_max_window_bits=12", ""},
		{"unknown-param", "permessage-deflate; foo=bar", ""},
		{"unknown-ext", "x-webkit-deflate-frame", ""},
		{"unknown-then-deflate", "foo, permessage-deflate", "permessage-deflate"},
		{"two-good-offers", "permessage-deflate; server_no_context_takeover, permessage-deflate", "permessage-deflate; server_no_context_takeover"},
		{"upper-case", "Permessage-Deflate; Client_Max_Window_Bits", ""},
		{"no-spaces", "permessage-deflate;client_max_window_bits;server_max_window_bits=12", "permessage-deflate; client_max_window_bits=15; server_max_window_bits=12"},
		{"garbage", ";;;,,,=", ""},
		{"two-headers", "foo\npermessage-deflate", "permessage-deflate"},
	} {
		t.Run(c.name, func(t *testing.T) { assert.Equal(t, c.answer, answerTo(c.offer, Want{})) })
	}
}

// answerTo returns the server's answer to an offer with one header per line.
func answerTo(offer string, w Want) string {
	p, ok := Accept(strings.Split(offer, "\n"), w)
	if !ok {
		return ""
	}
	return p.String()
}

func TestAcceptReadsTheGrammar(t *testing.T) {
	const cmwb12 = "permessage-deflate; client_max_window_bits=12"
	for _, c := range []struct{ name, offer, answer string }{
		{"quoted value", `permessage-deflate; client_max_window_bits="12"`, cmwb12},
		{"quoted value with escapes", `permessage-deflate; client_max_window_bits="\1\2"`, cmwb12},
		{"spaces and tabs", "\t permessage-deflate \t;\tclient_max_window_bits = 12 ", cmwb12},
		{"empty elements", ", ,permessage-deflate; client_max_window_bits=12,,", cmwb12},
		{"comma in quotes before", `foo; x="a,b;c", ` + cmwb12, cmwb12},
		{"escaped quote before", `foo; x="a\"," , ` + cmwb12, cmwb12},
		{"token in quotes before", `foo; x="a\bc", ` + cmwb12, cmwb12},
		{"offer inside quotes", `foo; x=", permessage-deflate, "`, ""},
		{"quote never closed", `foo; x="a, permessage-deflate`, ""},
		{"quote never closed, next line", "foo; x=\"a\n" + cmwb12, cmwb12},
		{"backslash at the end", `permessage-deflate; client_max_window_bits="12\`, ""},
		{"empty value", "permessage-deflate; client_max_window_bits=", ""},
		{"empty quoted value", `permessage-deflate; client_max_window_bits=""`, ""},
		{"garbage behind quotes", `permessage-deflate; client_max_window_bits="12"2`, ""},
		{"leading zero", "permessage-deflate; client_max_window_bits=09", ""},
		{"plus", "permessage-deflate; client_max_window_bits=+9", ""},
		{"minus", "permessage-deflate; client_max_window_bits=-9", ""},
		{"fraction", "permessage-deflate; client_max_window_bits=9.0", ""},
		{"hexadecimal", "permessage-deflate; client_max_window_bits=0xa", ""},
		{"huge", "permessage-deflate; client_max_window_bits=99999999999999999999", ""},
		{"two values", "permessage-deflate; client_max_window_bits=9=9", ""},
		{"empty parameter", "permessage-deflate;", ""},
		{"parameter of spaces", "permessage-deflate; ; client_max_window_bits", ""},
		{"name with a space", "permessage deflate", ""},
		{"name with a value", "permessage-deflate=1", ""},
		{"server bits zero", "permessage-deflate; server_max_window_bits=0", ""},
		{"client takeover with a value", "permessage-deflate; client_no_context_takeover=true", ""},
		{"same flag twice", "permessage-deflate; server_no_context_takeover; server_no_context_takeover", ""},
		{"declined, then good", "permessage-deflate; client_max_window_bits=99, " + cmwb12, cmwb12},
		{"declined on the line before", "permessage-deflate; foo\n" + cmwb12, cmwb12},
		{"not UTF-8", "permessage-deflate; \xff\xfe", ""},
		{"upper case parameter", "permessage-deflate; CLIENT_MAX_WINDOW_BITS", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			assert.Equal(t, c.answer, answerTo(c.offer, Want{}))
		})
	}
}

func TestAcceptAppliesWant(t *testing.T) {
	for _, c := range []struct {
		name, offer string
		want        Want
		answer      Params
	}{
		{"bare client bits get ours", "permessage-deflate; client_max_window_bits", Want{PeerWindowBits: 12}, Params{ClientMaxWindowBits: 12}},
		{"smaller client bits stay", "permessage-deflate; client_max_window_bits=9", Want{PeerWindowBits: 12}, Params{ClientMaxWindowBits: 9}},
		{"larger client bits shrink", "permessage-deflate; client_max_window_bits=15", Want{PeerWindowBits: 12}, Params{ClientMaxWindowBits: 12}},
		{"client bits not offered", "permessage-deflate", Want{PeerWindowBits: 12}, Params{}},
		{"server bits not offered", "permessage-deflate", Want{WindowBits: 12}, Params{}},
		{"larger server bits shrink", "permessage-deflate; server_max_window_bits=15", Want{WindowBits: 12}, Params{ServerMaxWindowBits: 12}},
		{"smaller server bits stay", "permessage-deflate; server_max_window_bits=10", Want{WindowBits: 12}, Params{ServerMaxWindowBits: 10}},
		{"no takeover of ours", "permessage-deflate", Want{NoContextTakeover: true}, Params{ServerNoContextTakeover: true}},
		{"no takeover of theirs", "permessage-deflate", Want{PeerNoContextTakeover: true}, Params{ClientNoContextTakeover: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, ok := Accept([]string{c.offer}, c.want)
			assert.True(t, ok)
			assert.Equal(t, c.answer, got)
		})
	}
}

func TestOffer(t *testing.T) {
	assert.Equal(t, "permessage-deflate; client_max_window_bits", Offer(Want{}))
	assert.Equal(t, "permessage-deflate; client_max_window_bits", Offer(Want{WindowBits: 9, PeerWindowBits: 15}))
	assert.Equal(t, "permessage-deflate; client_no_context_takeover; server_no_context_takeover; client_max_window_bits; server_max_window_bits=12, "+
		"permessage-deflate; client_no_context_takeover; server_no_context_takeover; client_max_window_bits",
		Offer(Want{NoContextTakeover: true, PeerNoContextTakeover: true, PeerWindowBits: 12}))
}

func TestAgree(t *testing.T) {
	for _, c := range []struct {
		name, answer string
		params       Params
	}{
		{"as it is", "permessage-deflate", Params{}},
		{"client bits", "permessage-deflate; client_max_window_bits=8", Params{ClientMaxWindowBits: 8}},
		{"quoted", `permessage-deflate; client_max_window_bits="10"`, Params{ClientMaxWindowBits: 10}},
		{"both flags unasked", "permessage-deflate; server_no_context_takeover; client_no_context_takeover", Params{ServerNoContextTakeover: true, ClientNoContextTakeover: true}},
		{"server bits unasked", "permessage-deflate; server_max_window_bits=9", Params{ServerMaxWindowBits: 9}},
		{"server bits as asked", "permessage-deflate; server_max_window_bits=12", Params{ServerMaxWindowBits: 12}},
		{"server bits fewer", "permessage-deflate; server_max_window_bits=8", Params{ServerMaxWindowBits: 8}},
		{"server bits left out", "permessage-deflate", Params{}},
		{"empty elements", ",permessage-deflate,", Params{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, ok, err := Agree([]string{c.answer})
			require.NoError(t, err)
			assert.True(t, ok)
			assert.Equal(t, c.params, got)
		})
	}
}

func TestAgreeDeclined(t *testing.T) {
	for _, values := range [][]string{nil, {""}, {" , ", ""}} {
		p, ok, err := Agree(values)
		assert.NoError(t, err)
		assert.False(t, ok)
		assert.Zero(t, p)
	}
}

func TestAgreeRefuses(t *testing.T) {
	for _, c := range []struct{ name, answer string }{
		{"unknown extension", "foo"},
		{"upper case", "Permessage-Deflate"},
		{"another behind", "permessage-deflate, foo"},
		{"the same twice", "permessage-deflate, permessage-deflate"},
		{"the same on two lines", "permessage-deflate\npermessage-deflate"},
		{"unknown parameter", "permessage-deflate; foo=bar"},
		{"parameter twice", "permessage-deflate; server_no_context_takeover; server_no_context_takeover"},
		{"flag with a value", "permessage-deflate; server_no_context_takeover=1"},
		{"client bits without a value", "permessage-deflate; client_max_window_bits"},
		{"client bits 7", "permessage-deflate; client_max_window_bits=7"},
		{"client bits 16", "permessage-deflate; client_max_window_bits=16"},
		{"server bits without a value", "permessage-deflate; server_max_window_bits"},
		{"garbage", ";;;,,,="},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, ok, err := Agree(strings.Split(c.answer, "\n"))
			require.Error(t, err)
			assert.False(t, ok)
			assert.Zero(t, p)
		})
	}
}

// FuzzAccept: the answer to any offer is one that a client accepts.
func FuzzAccept(f *testing.F) {
	f.Add("permessage-deflate; client_max_window_bits; server_max_window_bits=12", "", 12, 9)
	f.Add(`foo; x="a,\"b", permessage-deflate;client_max_window_bits="9"`, ";;;,,,=", 0, 0)
	f.Add("permessage-deflate; server_no_context_takeover", "permessage-deflate", 99, -3)
	f.Fuzz(func(t *testing.T, line1, line2 string, bits, peerBits int) {
		lines := []string{line1, line2}
		p, ok := Accept(lines, Want{WindowBits: bits, PeerWindowBits: peerBits})
		if !ok {
			require.Zero(t, p)
			return
		}
		agreed, ok, err := Agree([]string{p.String()})
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, p, agreed)
		_, _, _ = Agree(lines)
	})
}

func TestSides(t *testing.T) {
	p := Params{ServerNoContextTakeover: true, ServerMaxWindowBits: 10}
	server, client := Side{true, 10}, Side{false, MaxWindowBits}
	own, peer := p.Sides(false)
	assert.Equal(t, [2]Side{server, client}, [2]Side{own, peer})
	own, peer = p.Sides(true)
	assert.Equal(t, [2]Side{client, server}, [2]Side{own, peer})
}

// TestAnswersOfOtherOffers says which answers a client understands that has made certain offers.
func TestAnswersOfOtherOffers(t *testing.T) {
	for _, c := range []struct {
		answer, offers string
		ok             bool
	}{
		{"permessage-deflate", "permessage-deflate", true},
		{"permessage-deflate", "", false},
		{"permessage-deflate", "x-other", false},
		{"permessage-deflate; server_no_context_takeover; client_no_context_takeover", "permessage-deflate", true},
		{"permessage-deflate", "permessage-deflate; server_no_context_takeover", false},
		{"permessage-deflate", "permessage-deflate; server_no_context_takeover, permessage-deflate", true},
		{"permessage-deflate; client_max_window_bits=10", "permessage-deflate", false},
		{"permessage-deflate; client_max_window_bits=10", "permessage-deflate; client_max_window_bits", true},
		{"permessage-deflate; client_max_window_bits=10", "permessage-deflate; client_max_window_bits=9", false},
		{"permessage-deflate; client_max_window_bits=9", "permessage-deflate; client_max_window_bits=9", true},
		{"permessage-deflate", "permessage-deflate; client_max_window_bits=9", true},
		{"permessage-deflate", "permessage-deflate; server_max_window_bits=9", false},
		{"permessage-deflate; server_max_window_bits=10", "permessage-deflate; server_max_window_bits=9", false},
		{"permessage-deflate; server_max_window_bits=8", "permessage-deflate; server_max_window_bits=9", true},
		{"permessage-deflate; server_max_window_bits=8", "permessage-deflate", true},
		{"x-other", "x-other", false},
		{"", "permessage-deflate", false},
	} {
		assert.Equal(t, c.ok, Answers(c.answer, strings.Split(c.offers, "\n")), "%q to %q", c.answer, c.offers)
	}
}
