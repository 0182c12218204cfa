package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestDeviations checks that the guide for users of Workers names everything exported whose documentation has a deviation.
func TestDeviations(t *testing.T) {
	_, table, ok := strings.Cut(read(t, "from-workers.md"), "## Deviations\n")
	require.True(t, ok)
	table, _, ok = strings.Cut(table, "\n## ")
	require.True(t, ok)
	names := deviations(t)
	require.Greater(t, len(names), 15)
	for _, name := range names {
		assert.Contains(t, table, name)
	}
}

// deviations returns the exported names of the root package whose documentation has a deviation.
func deviations(t *testing.T) (names []string) {
	t.Helper()
	files, err := filepath.Glob("../*.go")
	require.NoError(t, err)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		require.NoError(t, err)
		add := func(doc *ast.CommentGroup, idents ...*ast.Ident) {
			for _, name := range idents {
				if name.IsExported() && strings.Contains(doc.Text(), "Deviation:") {
					names = append(names, name.Name)
				}
			}
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				add(n.Doc, n.Name)
			case *ast.GenDecl:
				if spec, ok := n.Specs[0].(*ast.TypeSpec); ok {
					add(n.Doc, spec.Name)
				}
			case *ast.ValueSpec:
				add(n.Doc, n.Names...)
			case *ast.Field:
				add(n.Doc, n.Names...)
			}
			return true
		})
	}
	return names
}

// TestJavaScript lets Node parse the JavaScript of the guides, as modules.
func TestJavaScript(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil && os.Getenv("CI") == "true" {
		t.Fatal(err)
	}
	if err != nil {
		t.Skip("no node")
	}
	for _, b := range blocks(t, "js") {
		file := filepath.Join(t.TempDir(), "block.mjs")
		require.NoError(t, os.WriteFile(file, []byte(b.text), 0o600))
		out, err := exec.CommandContext(t.Context(), node, "--check", file).CombinedOutput()
		assert.NoError(t, err, "%s:\n%s\n%s", b.page, b.text, out)
	}
}
