package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	inPackage = regexp.MustCompile(`\b(edgews|edgewstest|storetest|inspect|metrics|cluster|memory|enginetest|edgewsnats|postgres)\.([A-Z]\w*)`)
	inType    = regexp.MustCompile(`(?:^|[^.\w])([A-Z]\w*)\.([A-Z]\w*)`) // not behind the name of a package
)

// TestNames checks that the names of edgews in the text of the guides exist: edgews.Upgrade, Socket.Send, and the like.
func TestNames(t *testing.T) {
	names := exported(t)
	require.Contains(t, names, "edgews.Upgrade")
	require.Contains(t, names, "Socket.Send")
	require.Contains(t, names, "Options.KeepAlive")
	for _, page := range guides(t) {
		for _, name := range unknownNames(read(t, page), names) {
			t.Errorf("%s: %s does not exist", page, name)
		}
	}
}

func TestNamesAreChecked(t *testing.T) {
	names := map[string]bool{"edgews.Socket": true, "Socket.Send": true}
	const page = "`edgews.Socket` `Socket.Send` `http.Server` `Server.Close`\n```go\nedgews.Other\n```\n"
	assert.Empty(t, unknownNames(page, names))
	assert.Equal(t, []string{"edgews.Sokket", "Socket.Sned"}, unknownNames(page+"`edgews.Sokket` `Socket.Sned(x)`", names))
}

// unknownNames returns the names in the inline code of a page that look like those of edgews, and are not. Blocks of Go are compiled anyway.
func unknownNames(page string, names map[string]bool) (unknown []string) {
	for _, code := range inlineCode.FindAllString(fence.ReplaceAllString(page, ""), -1) {
		for _, match := range inPackage.FindAllString(code, -1) {
			if !names[match] {
				unknown = append(unknown, match)
			}
		}
		if strings.Contains(code, "http.") || strings.Contains(code, "websocket.") {
			continue // types of other packages
		}
		for _, match := range inType.FindAllStringSubmatch(code, -1) {
			if name := match[1] + "." + match[2]; names["edgews."+match[1]] && !names[name] {
				unknown = append(unknown, name)
			}
		}
	}
	return unknown
}

// exported returns the exported names of the packages, as edgews.Upgrade, and the exported methods and fields of the types of edgews, as Socket.Send.
func exported(t *testing.T) map[string]bool {
	t.Helper()
	names := make(map[string]bool)
	for pkg, folder := range map[string]string{
		"edgews": "..", "edgewstest": "../edgewstest", "storetest": "../storetest", "inspect": "../inspect", "metrics": "../metrics",
		"cluster": "../cluster", "memory": "../cluster/memory", "enginetest": "../cluster/enginetest", "edgewsnats": "../cluster/nats",
		"postgres": "../cluster/postgres",
	} {
		files, err := filepath.Glob(folder + "/*.go")
		require.NoError(t, err)
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
			require.NoError(t, err)
			for _, decl := range tree.Decls {
				addNames(names, pkg, decl)
			}
		}
	}
	return names
}

// addNames adds what a declaration declares.
func addNames(names map[string]bool, pkg string, decl ast.Decl) {
	switch decl := decl.(type) {
	case *ast.FuncDecl:
		if decl.Recv == nil {
			names[pkg+"."+decl.Name.Name] = true
			return
		}
		receiver := decl.Recv.List[0].Type
		if star, ok := receiver.(*ast.StarExpr); ok {
			receiver = star.X
		}
		if ident, ok := receiver.(*ast.Ident); ok {
			names[ident.Name+"."+decl.Name.Name] = true
		}
	case *ast.GenDecl:
		for _, spec := range decl.Specs {
			switch spec := spec.(type) {
			case *ast.ValueSpec:
				for _, name := range spec.Names {
					names[pkg+"."+name.Name] = true
				}
			case *ast.TypeSpec:
				names[pkg+"."+spec.Name.Name] = true
				addMembers(names, spec)
			}
		}
	}
}

// addMembers adds the fields of a struct, and the methods of an interface.
func addMembers(names map[string]bool, spec *ast.TypeSpec) {
	ast.Inspect(spec.Type, func(n ast.Node) bool {
		if field, ok := n.(*ast.Field); ok {
			for _, name := range field.Names {
				names[spec.Name.Name+"."+name.Name] = true
			}
		}
		return true
	})
}
