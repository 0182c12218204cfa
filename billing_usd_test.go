package edgews_test

import (
	"encoding/json"
	"math"
	"math/big"
	"strings"
	"testing"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestUSDString(t *testing.T) {
	for _, test := range []struct {
		amount       edgews.USD
		cents, exact string
	}{
		{0, "$0.00", "0.00"},
		{1, "$0.00", "0.000000001"},
		{-1, "$0.00", "-0.000000001"},
		{4_999_999, "$0.00", "0.004999999"},
		{5_000_000, "$0.01", "0.005"},
		{-5_000_000, "-$0.01", "-0.005"},
		{15 * edgews.Cent, "$0.15", "0.15"},
		{5_075_000_000, "$5.08", "5.075"},
		{5_074_999_999, "$5.07", "5.074999999"},
		{142_950_000_000, "$142.95", "142.95"},
		{-142_950_000_000, "-$142.95", "-142.95"},
		{9_995_000_000, "$10.00", "9.995"},
		{100 * edgews.Dollar, "$100.00", "100.00"},
		{math.MaxInt64, "$9223372036.85", "9223372036.854775807"},
		{math.MinInt64, "-$9223372036.85", "-9223372036.854775808"},
	} {
		assert.Equal(t, test.cents, test.amount.String())
		exact, err := test.amount.MarshalText()
		require.NoError(t, err)
		assert.Equal(t, test.exact, string(exact))
		back, err := edgews.ParseUSD(test.exact)
		assert.NoError(t, err)
		assert.Equal(t, test.amount, back)
	}
}

func TestParseUSD(t *testing.T) {
	for text, want := range map[string]edgews.USD{
		"0": 0, "-0": 0, "12.5": 1250 * edgews.Cent, "$12.50": 1250 * edgews.Cent, "-$12.50": -1250 * edgews.Cent,
		"007": 7 * edgews.Dollar, "0.000000001": 1, "9223372036.854775807": math.MaxInt64,
	} {
		got, err := edgews.ParseUSD(text)
		assert.NoError(t, err, text)
		assert.Equal(t, want, got, text)
	}
	for text, reason := range map[string]string{
		"": "write it like", "$": "write it like", "-": "write it like", ".5": "write it like", "5.": "write it like",
		"1e3": "write it like", "1,000": "write it like", "+1": "write it like", "$-1": "write it like", "--1": "write it like",
		"1.2.3": "write it like", " 1": "write it like", "١": "write it like", "0x1": "write it like", "1_0": "write it like",
		"0.0000000001":         "the limit is 9",
		"9223372036.854775808": "the limit is 9223372036.854775807", "-9223372036.854775809": "the limit is",
		strings.Repeat("9", 100): "the limit is",
	} {
		_, err := edgews.ParseUSD(text)
		assert.ErrorContains(t, err, reason, text)
		assert.ErrorContains(t, err, "edgews: ", text)
	}
}

func TestUSDInJSON(t *testing.T) {
	type prices struct {
		A, B, C, D edgews.USD
		ByName     map[string]edgews.USD
	}
	var got prices
	require.NoError(t, json.Unmarshal([]byte(`{"A": "0.15", "B": 0.15, "C": "$12.50", "D": null, "ByName": {"x": "-1"}}`), &got))
	want := prices{15 * edgews.Cent, 15 * edgews.Cent, 1250 * edgews.Cent, 0, map[string]edgews.USD{"x": -edgews.Dollar}}
	assert.Equal(t, want, got)

	written, err := json.Marshal(want)
	require.NoError(t, err)
	assert.JSONEq(t, `{"A": "0.15", "B": "0.15", "C": "12.50", "D": "0.00", "ByName": {"x": "-1.00"}}`, string(written))

	for _, bad := range []string{`"1e3"`, `1e3`, `true`, `{}`, `[1]`, `""`, `"\u0031\t"`, `0.1234567891`} {
		assert.Error(t, json.Unmarshal([]byte(bad), new(edgews.USD)), bad)
	}
}

func FuzzParseUSD(f *testing.F) {
	for _, seed := range []string{"0", "-$12.50", "9223372036.854775807", "0.0000000001", "1e9", "-", "$", "1.", "00.10"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := edgews.ParseUSD(text)
		if err != nil {
			return
		}
		want, ok := new(big.Rat).SetString(strings.Replace(text, "$", "", 1))
		require.True(t, ok, "%q is no number", text)
		require.Zero(t, want.Cmp(big.NewRat(int64(got), int64(edgews.Dollar))), "%q read as %d", text, int64(got))

		exact, err := got.MarshalText()
		require.NoError(t, err)
		for _, written := range []string{string(exact), got.String()} {
			back, err := edgews.ParseUSD(written)
			require.NoError(t, err)
			require.InDelta(t, int64(got), int64(back), float64(edgews.Cent)/2)
		}
		back, err := edgews.ParseUSD(string(exact))
		require.NoError(t, err)
		require.Equal(t, got, back)
	})
}
