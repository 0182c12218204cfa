package edgews_test

import (
	"context"
	"fmt"
	"go/ast"
	"go/token"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/internal/park"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const architecture = "docs/architecture.md"

// TestArchitectureNames checks that what docs/architecture.md and the glossary name in backticks exists. In drawings, which have no
// backticks, it checks the names that have a dot.
func TestArchitectureNames(t *testing.T) {
	known := declaredNames(t)
	assert.Empty(t, unknownNames(readText(t, architecture), known), architecture)
	assert.Empty(t, unknownNames(glossary(t), known), "glossary of CONTRIBUTING.md")
}

func TestArchitectureNamesAreChecked(t *testing.T) {
	known := declaredNames(t)
	const sound = "`wire.go`, `internal/park/park.go` and `store/bolt`: `Socket`, `Socket.Send`, `Socket.mu`, `link.transmit`, `sendResult`, `hosted`,\n" +
		"`park.Conn.TryWrite`, `park.loop.dispatch`.\n```\nwire.send --> park.Handler.Flush (wire_write.go), and so on.\n```\n"
	assert.Empty(t, unknownNames(sound, known))
	for _, wrong := range []string{
		"wires.go", "internal/park/wire.go", "store/bold", "Sockets", "Socket.Sent", "Socket.send.mu", "transmit", "Conn.TryWrite", "park.Conn.Send", "ordinary",
	} {
		assert.Equal(t, []string{wrong}, unknownNames(sound+"See `"+wrong+"`.", known))
	}
	assert.Equal(t, []string{"wire.sends", "wires.go"}, unknownNames(sound+"\n```mermaid\nA[wire.sends] --> B[wires.go]\n```\n", known))
}

// TestGlossary checks that the glossary is short, in order, and has no term twice.
func TestGlossary(t *testing.T) {
	var terms []string
	for _, row := range regexp.MustCompile(`(?m)^\| ([^|]+) \|`).FindAllStringSubmatch(glossary(t), -1)[1:] {
		terms = append(terms, strings.ToLower(row[1]))
	}
	assert.LessOrEqual(t, len(terms), 40)
	assert.Equal(t, slices.Compact(slices.Sorted(slices.Values(terms))), terms)
}

// glossary returns the glossary of CONTRIBUTING.md.
func glossary(t *testing.T) string {
	t.Helper()
	_, section, found := strings.Cut(readText(t, "CONTRIBUTING.md"), "\n## Glossary\n")
	require.True(t, found)
	section, _, _ = strings.Cut(section, "\n## ")
	return section
}

func readText(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.FromSlash(name))
	require.NoError(t, err)
	return string(content)
}

var (
	codeFence  = regexp.MustCompile("(?ms)^```.*?^```$")
	inlineCode = regexp.MustCompile("`([^`]+)`")
	dottedName = regexp.MustCompile(`[A-Za-z_][\w/-]*(?:\.[A-Za-z_]\w*)+`)
)

// unknownNames returns the names on a page that are neither declared nor the path of a file or a folder, in the order of the page.
func unknownNames(page string, known map[string]bool) (unknown []string) {
	check := func(name string) {
		if _, err := os.Stat(filepath.FromSlash(name)); err != nil && !known[name] {
			unknown = append(unknown, name)
		}
	}
	for _, code := range inlineCode.FindAllStringSubmatch(codeFence.ReplaceAllString(page, ""), -1) {
		check(code[1])
	}
	for _, drawing := range codeFence.FindAllString(page, -1) {
		for _, name := range dottedName.FindAllString(drawing, -1) {
			check(name)
		}
	}
	return unknown
}

// declaredNames returns what is declared in the root package, and with the package's name before it in the packages below it:
// functions, types, constants and variables, and as Type.name methods and fields.
func declaredNames(t *testing.T) map[string]bool {
	t.Helper()
	known := make(map[string]bool)
	dirs, err := filepath.Glob("internal/*")
	require.NoError(t, err)
	for _, dir := range append(dirs, ".", "store/bolt", "cluster", "cluster/internal/link") {
		prefix := ""
		if dir != "." {
			prefix = filepath.Base(dir) + "."
		}
		for _, f := range sources(t, dir) {
			for _, decl := range f.Decls {
				for _, name := range namesOf(decl) {
					known[prefix+name] = true
				}
			}
		}
	}
	return known
}

// namesOf returns the names that a declaration declares.
func namesOf(decl ast.Decl) (names []string) {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		return []string{qualified(d)}
	case *ast.GenDecl:
		if d.Tok == token.IMPORT {
			return nil
		}
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.ValueSpec:
				for _, id := range s.Names {
					names = append(names, id.Name)
				}
			case *ast.TypeSpec:
				names = append(names, s.Name.Name)
				for _, member := range membersOf(s.Type) {
					names = append(names, s.Name.Name+"."+member)
				}
			}
		}
	}
	return names
}

// membersOf returns the fields of a struct type, or the methods of an interface.
func membersOf(typ ast.Expr) (names []string) {
	var fields *ast.FieldList
	switch typ := typ.(type) {
	case *ast.StructType:
		fields = typ.Fields
	case *ast.InterfaceType:
		fields = typ.Methods
	default:
		return nil
	}
	for _, f := range fields.List {
		for _, id := range f.Names {
			names = append(names, id.Name)
		}
	}
	return names
}

// TestArchitecturePathIn compares the list "One message in" with the stack of a listener. Without the event loop there is no such stack.
func TestArchitecturePathIn(t *testing.T) {
	if !park.HasLoop {
		t.Skip("no event loop")
	}
	stacks := make(chan []string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := edgews.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		s.OnMessage(func(edgews.MessageEvent) { stacks <- callersInLibrary() })
		s.Accept()
	}))
	defer server.Close()
	client, _, err := edgews.Dial(t.Context(), "ws"+strings.TrimPrefix(server.URL, "http"), nil)
	require.NoError(t, err)
	defer client.Close(edgews.StatusNormalClosure, "")
	want := listedFunctions(t, "One message in")
	var stack []string
	for range 1000 { // the first may come while the connection still moves to the loop
		require.NoError(t, client.Write(t.Context(), edgews.Text, []byte("hello")))
		if stack = <-stacks; stack[0] == want[0] {
			break
		}
	}
	assert.Equal(t, want, stack)
}

// TestArchitecturePathToObject compares the list "One message to a hibernated object" with the stack of a constructor.
func TestArchitecturePathToObject(t *testing.T) {
	stacks := make(chan []string, 1)
	accepted := make(chan *edgews.Socket, 1)
	n := edgews.NewNamespace("documented", func(_ context.Context, st *edgews.State) (edgews.Object, error) {
		stacks <- callersInLibrary()
		return documented{st, accepted}, nil
	}, nil)
	id := n.IDFromName("object")
	n.Get(id).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	<-stacks
	client := <-accepted
	require.NoError(t, n.Hibernate(t.Context(), id))
	require.NoError(t, client.Send("hello"))
	assert.Equal(t, listedFunctions(t, "One message to a hibernated object"), <-stacks)
	require.NoError(t, n.Shutdown(t.Context()))
}

// documented is an object that accepts one end of a pair, and passes the other on.
type documented struct {
	st     *edgews.State
	client chan *edgews.Socket
}

func (d documented) ServeHTTP(http.ResponseWriter, *http.Request) {
	client, server := edgews.NewPair()
	if err := d.st.AcceptWebSocket(server); err == nil {
		client.Accept()
		d.client <- client
	}
}

func (documented) WebSocketMessage(context.Context, *edgews.Socket, edgews.Message) error { return nil }

// listedFunctions returns the functions of a numbered list on the page, under the heading.
func listedFunctions(t *testing.T, heading string) (functions []string) {
	t.Helper()
	_, section, found := strings.Cut(readText(t, architecture), "\n### "+heading+"\n")
	require.True(t, found, heading)
	section, _, _ = strings.Cut(section, "\n#")
	for n := 1; ; n++ {
		item := regexp.MustCompile(fmt.Sprintf("(?m)^%d\\. `([^`]+)`", n)).FindStringSubmatch(section)
		if item == nil {
			break
		}
		functions = append(functions, item[1])
	}
	require.NotEmpty(t, functions, heading)
	return functions
}

// callersInLibrary returns the functions of the library that have called the caller, outermost first, as the page names them.
func callersInLibrary() (names []string) {
	var pcs [64]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for {
		frame, more := frames.Next()
		if name, ours := strings.CutPrefix(frame.Function, module); ours && !strings.HasSuffix(frame.File, "_test.go") {
			name = strings.TrimPrefix(strings.TrimPrefix(name, "/internal/"), ".")
			names = append([]string{strings.NewReplacer("(*", "", ")", "").Replace(name)}, names...)
		}
		if !more {
			return names
		}
	}
}
