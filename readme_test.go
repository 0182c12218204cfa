package edgews_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestReadmeIsTested checks that every Go block of the README stands in an example, which is compiled and run.
func TestReadmeIsTested(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	files, err := filepath.Glob("example*_test.go")
	require.NoError(t, err)
	var examples strings.Builder
	for _, name := range files {
		source, err := os.ReadFile(name)
		require.NoError(t, err)
		examples.WriteString(unindent(string(source)))
	}

	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(readme), -1)
	require.NotEmpty(t, blocks)
	for _, block := range blocks {
		if !strings.Contains(examples.String(), unindent(block[1])) {
			t.Errorf("this block of README.md stands in no example file:\n%s", block[1])
		}
	}
}

// TestReadmeLimits checks the table of defaults against the doc comments of Options, from which it is taken.
func TestReadmeLimits(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	options, err := os.ReadFile("options.go")
	require.NoError(t, err)
	doc := strings.Join(strings.Fields(strings.ReplaceAll(string(options), "//", " ")), " ")

	rows := regexp.MustCompile("(?m)^\\|[^|]*\\| ([^|]*) \\| `([A-Za-z]+)` \\|$").FindAllStringSubmatch(string(readme), -1)
	require.NotEmpty(t, rows)
	for _, row := range rows {
		value, field := row[1], row[2]
		comment, _, found := strings.Cut(doc, " "+field+" ")
		require.True(t, found, field)
		rest := doc[len(comment):]
		require.Contains(t, rest[:min(len(rest), 400)], value, "the default of %s", field)
	}
}

// unindent removes leading white space from every line.
func unindent(source string) string {
	return regexp.MustCompile(`(?m)^[ \t]+`).ReplaceAllString(source, "")
}
