package main

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func defaults(t *testing.T, args ...string) (f figures) {
	t.Helper()
	flags := flag.NewFlagSet("scaling", flag.ContinueOnError)
	f.register(flags)
	require.NoError(t, flags.Parse(args))
	return f
}

var update = flag.Bool("update", false, "write what the program prints into docs/scaling.md")

// TestDocument checks that docs/scaling.md shows what the program prints.
func TestDocument(t *testing.T) {
	const name = "../../scaling.md"
	page, err := os.ReadFile(name)
	require.NoError(t, err)
	var out bytes.Buffer
	f := defaults(t)
	f.print(&out)
	before, rest, found := strings.Cut(strings.ReplaceAll(string(page), "\r\n", "\n"), "```text\n")
	require.True(t, found)
	shown, after, found := strings.Cut(rest, "```\n")
	require.True(t, found)
	if *update {
		require.NoError(t, os.WriteFile(name, []byte(before+"```text\n"+out.String()+"```\n"+after), 0o644))
		return
	}
	assert.Equal(t, out.String(), shown, "bring docs/scaling.md up to date with: go test ./docs/code/scaling -update")
}

// The placement is that of cluster: the result for three members is the one of its TestPlacementNeverChanges.
func TestPlacement(t *testing.T) {
	ids := []string{"a", "b", "c"}
	seeds := seedsOf(ids)
	var all strings.Builder
	for s := range 32 {
		all.WriteString(ids[winner(seeds, s)])
	}
	assert.Equal(t, "cccbaaccbbccbbcabaccaccbaaaaccaa", all.String())
	assert.Equal(t, []int{11, 7, 14}, owners(ids, 32))
}

// A cluster of half the size, with half of everything, is asked the same of each node, but for the claims.
func TestProportions(t *testing.T) {
	whole, half := defaults(t), defaults(t, "-nodes", "50", "-sockets", "50000000", "-objects", "1000000")
	assert.InDelta(t, whole.memory(), half.memory(), 1)
	assert.InDelta(t, whole.renewals()/2, half.renewals(), 1e-9)
	assert.InDelta(t, whole.channels()*2, half.channels(), 1e-6)
	assert.InDelta(t, whole.death().claims*2, half.death().claims, 1e-9)
}

func TestNumbers(t *testing.T) {
	for want, got := range map[string]string{
		"1,234,567": number(1234567), "< 0.01": number(0.00123), "12.3": number(12.34), "0": number(0), "100": number(100.4),
		"1.5 GiB": with(1.5*(1<<30), "B"), "512 B": with(512, "B"), "52 µs": with(52e-6, "s"), "20 ms": with(0.02, "s"), "16.9 s": with(16.875, "s"),
		"4.5 h": duration(16129), "10 min": duration(600), "60 s": duration(60), "3.0 d": duration(3 * 24 * 3600), "0.40 %": percent(0.004), "450 %": percent(4.5),
	} {
		assert.Equal(t, want, got)
	}
}
