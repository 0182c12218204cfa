package edgews_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "github.com/edgews/edgews"

// sources parses the files of a package that are not tests.
func sources(t *testing.T, dir string) []*ast.File {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	require.NoError(t, err)
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		require.NoError(t, err)
		files = append(files, f)
	}
	require.NotEmpty(t, files, dir)
	return files
}

func importsOf(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	for _, f := range sources(t, dir) {
		for _, spec := range f.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			require.NoError(t, err)
			all = append(all, path)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// standard says whether path belongs to the standard library.
func standard(path string) bool { return !strings.Contains(strings.Split(path, "/")[0], ".") }

func isNet(path string) bool { return path == "net" || strings.HasPrefix(path, "net/") }

func TestLayers(t *testing.T) {
	internal := func(name string) string { return module + "/internal/" + name }
	cases := []struct {
		name, dir string
		allowed   func(path string) bool
	}{
		{"root: std and the internal packages", ".", func(path string) bool {
			return standard(path) || strings.HasPrefix(path, internal(""))
		}},
		{"frame: bytes only", "internal/frame", func(path string) bool {
			return !isNet(path) && (standard(path) || strings.HasPrefix(path, "github.com/gobwas/"))
		}},
		{"deflate: bytes only", "internal/deflate", func(path string) bool {
			return !isNet(path) && (standard(path) || path == "github.com/klauspost/compress/flate" || path == internal("header"))
		}},
		{"park: connections only", "internal/park", standard},
		{"buf: byte slices only", "internal/buf", func(path string) bool { return standard(path) && !isNet(path) }},
		{"handshake: no sockets, no event loop", "internal/handshake", func(path string) bool {
			return standard(path) || slices.Contains([]string{internal("deflate"), internal("header"), internal("idna")}, path)
		}},
		{"header: syntax only", "internal/header", func(path string) bool { return standard(path) && !isNet(path) }},
		{"idna: names only", "internal/idna", func(path string) bool { return standard(path) && !isNet(path) }},
		{"jsonfield: JSON only", "internal/jsonfield", func(path string) bool { return standard(path) && !isNet(path) }},
		{"ratelimit: no connections", "internal/ratelimit", func(path string) bool { return standard(path) && !isNet(path) }},
		{"storetest: what those who write an engine have anyway", "storetest", func(path string) bool {
			return standard(path) || path == module
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for _, path := range importsOf(t, c.dir) {
				assert.True(t, c.allowed(path), "imports %s", path)
			}
		})
	}
}

// TestBillingLayer checks that what counts and prices usage knows nothing of what is counted.
func TestBillingLayer(t *testing.T) {
	for _, name := range []string{"bill.go", "estimate.go", "plan.go", "plans.go", "quota.go", "tally.go", "usage.go", "usd.go"} {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		require.NoError(t, err)
		for _, spec := range f.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			require.NoError(t, err)
			assert.True(t, standard(path) && !isNet(path), "%s imports %s", name, path)
		}
	}
}

func TestCodecsStartNoGoroutines(t *testing.T) {
	for _, dir := range []string{"internal/frame", "internal/deflate"} {
		for _, f := range sources(t, dir) {
			ast.Inspect(f, func(n ast.Node) bool {
				_, starts := n.(*ast.GoStmt)
				assert.False(t, starts, "%s starts a goroutine", dir)
				return true
			})
		}
	}
}

// What the library asks of those who import it.
func TestRequirements(t *testing.T) {
	mod, err := os.ReadFile("go.mod")
	require.NoError(t, err)
	var direct []string
	for line := range strings.Lines(string(mod)) {
		fields := strings.Fields(line)
		if len(fields) >= 2 && strings.HasPrefix(fields[1], "v") && !strings.HasSuffix(strings.TrimSpace(line), "// indirect") {
			direct = append(direct, fields[0])
		}
	}
	assert.Equal(t, []string{"github.com/gobwas/ws", "github.com/klauspost/compress", "github.com/stretchr/testify"}, direct)
}
