package edgews_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "github.com/edgews/edgews"

// rootLayers are the layers of the root package. A file that matches no pattern is in no layer, and no rule concerns it.
var rootLayers = []layer{
	{
		name: "prices",
		files: []string{
			"billing_bigint.go", "billing_charge.go", "billing_estimate.go", "billing_plans.go", "billing_table.go", "billing_usd.go",
		},
		names: []string{"Usage", "Plan", "Rate", "Span", "SpanActive", "SpanBusy", "SpanOpen", "spanNames", "Bill", "Line"},
	},
	{name: "meters", files: []string{"billing*.go"}},
	{name: "wire", files: []string{"wire*.go"}, names: []string{"wire"}},
	{name: "pairs", files: []string{"pair*.go"}, names: []string{"memory"}},
	{name: "clusters", files: []string{"cluster*.go"}},
	{
		name:  "objects",
		files: []string{"object*.go", "hibernate*.go", "state*.go", "stub*.go", "storage*.go", "feed*.go", "namespace*.go", "topics*.go"},
		names: []string{"object", "objectSocket", "pinnedSocket", "topicTable"},
	},
	{name: "sockets", files: []string{
		"socket*.go", "event*.go", "receive*.go", "stream*.go", "message*.go", "json*.go", "netconn*.go", "ping.go", "relay*.go",
	}},
}

// rootRules are the rules of the root package. The exceptions are the functions that break them today; one that is no longer needed
// fails the test, so the lists can only become shorter.
var rootRules = []layerRule{
	{from: "prices", only: true, through: []string{"ErrQuota"}},
	{from: "meters", not: []string{"wire", "pairs", "clusters"}, except: []string{"Socket.countForObjectLocked"}},
	{from: "wire", not: []string{"objects", "clusters"}, except: []string{
		"Socket.askObjectLocked", "wire.deliver", "wire.storeLocked", "wireConfig",
	}},
	{from: "clusters", not: []string{"pairs"}, through: []string{"sendResult"}},
	{from: "sockets", not: []string{"wire", "pairs", "objects", "clusters"}, through: []string{
		"objectSocket", "pinnedSocket", "attachment", "ClusterPosition", "clusterSocketOf",
	}, except: []string{
		"Prepared.plain", "Socket.awaitArrivalLocked", "Socket.closeSlowLocked", "Socket.closedLocked", "Socket.deliverLateLocked", "Socket.finish",
		"Socket.isPlainLocked", "Socket.objectDone", "Socket.send", "Socket.sendEncoded", "Socket.sendPlain",
	}},
}

// TestLayersOfTheRoot checks which parts of the root package name which.
func TestLayersOfTheRoot(t *testing.T) {
	for _, v := range loadRoot(t).violations(rootLayers, rootRules) {
		t.Error(v)
	}
}

func TestLayersAreChecked(t *testing.T) {
	layers := []layer{
		{name: "prices", files: []string{"billing_usd.go"}, names: []string{"Plan"}},
		{name: "meters", files: []string{"billing*.go"}},
		{name: "sockets", files: []string{"socket*.go"}},
		{name: "wire", files: []string{"wire*.go"}},
	}
	rules := []layerRule{
		{from: "prices", only: true},
		{from: "sockets", not: []string{"wire"}, through: []string{"link"}},
		{from: "meters", not: []string{"wire"}},
	}
	sound := map[string]string{
		"billing_usd.go": "type USD int64; func (a USD) half() USD { return a / 2 }",
		"billing.go":     "type Plan struct { base USD }; type Meter struct { s *Socket; plan Plan }; func (m *Meter) close() { m.s.close() }",
		"socket.go":      "type Socket struct { m *Meter; l link }; func (s *Socket) close() { s.l.end() }",
		"wire.go":        "type link interface { end() }; type wire struct { s *Socket }; func (w *wire) end() { w.s.m.close() }; func newWire() *wire { return nil }",
		"dial.go":        "func dial() *Socket { return made().s }; func made() *wire { return newWire() }",
	}
	cases := []struct {
		name, file, source string
		rule               layerRule // another one
		want               string
	}{
		{name: "nothing"},
		{name: "a type", file: "socket.go", source: "var last *wire", want: "sockets: last names wire, of wire"},
		{name: "a function", file: "socket_send.go", source: "func send() { newWire() }", want: "sockets: send names newWire, of wire"},
		{name: "a field", file: "socket.go", source: "var s = made().s", want: "sockets: s names wire.s, of wire"},
		{name: "a type assertion", file: "socket.go", source: "func (s *Socket) send() { s.l.(interface{ s() }).s(); _ = s.l.(*wire) }",
			want: "sockets: Socket.send names wire, of wire"},
		{name: "a method elsewhere", file: "dial.go", source: "func (p Plan) of(m *Meter) {}", want: "prices: Plan.of names Meter, of meters"},
		{name: "no layer", file: "billing_usd.go", source: "var dialed = dial", want: "prices: dialed names dial, of no layer"},
		{name: "a layer only", file: "billing_usd.go", source: "type list []*Socket", want: "prices: list names Socket, of sockets"},
		{name: "an exception", file: "billing.go", source: "func (m *Meter) on(w *wire) {}",
			rule: layerRule{from: "meters", not: []string{"wire"}, except: []string{"Meter.on"}}, want: "meters: Meter.on names wire, of wire"},
		{name: "an exception that is not needed", rule: layerRule{from: "meters", except: []string{"Meter.close"}},
			want: "meters: the exception Meter.close is not needed"},
		{name: "a way that is not needed", rule: layerRule{from: "wire", not: []string{"sockets"}, through: []string{"Socket", "Plan"}},
			want: "wire: the exception Plan is not needed"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			sources := make(map[string]string)
			for name, source := range sound {
				sources[name] = "package planted\n" + source + "\n"
			}
			if c.file != "" {
				sources[c.file] = cmp.Or(sources[c.file], "package planted\n") + c.source
			}
			var want []string
			if c.want != "" {
				want = []string{c.want}
			}
			fset := token.NewFileSet()
			assert.Equal(t, want, checkPackage(t, fset, sources, nil).violations(layers, append(rules, c.rule)))
		})
	}
}

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
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
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
		{"orderedmap: the standard library", "internal/orderedmap", standard},
		{"orderedset: the standard library", "internal/orderedset", standard},
		{"outbox: buffers and frames", "internal/outbox", func(path string) bool {
			return standard(path) && !isNet(path) || slices.Contains([]string{internal("buf"), internal("fifo"), internal("frame")}, path)
		}},
		{"fifo: the standard library", "internal/fifo", standard},
		{"serial: fifo", "internal/serial", func(path string) bool { return standard(path) || path == internal("fifo") }},
		{"timerheap: the standard library", "internal/timerheap", standard},
		{"treap: the standard library", "internal/treap", standard},
		{"buf: byte slices only", "internal/buf", func(path string) bool { return standard(path) && !isNet(path) }},
		{"handshake: no sockets, no event loop", "internal/handshake", func(path string) bool {
			return standard(path) || slices.Contains([]string{internal("deflate"), internal("header"), internal("idna")}, path)
		}},
		{"extendedconnect: initialised before net/http", "internal/extendedconnect", func(path string) bool {
			return slices.Contains([]string{"os", "strings"}, path)
		}},
		{"edgewsh2: the handshake", "edgewsh2", func(path string) bool {
			return standard(path) || slices.Contains([]string{internal("extendedconnect"), internal("handshake")}, path)
		}},
		{"header: syntax only", "internal/header", func(path string) bool { return standard(path) && !isNet(path) }},
		{"idna: names only", "internal/idna", func(path string) bool { return standard(path) && !isNet(path) }},
		{"jsonfield: JSON only", "internal/jsonfield", func(path string) bool { return standard(path) && !isNet(path) }},
		{"ratelimit: no connections", "internal/ratelimit", func(path string) bool { return standard(path) && !isNet(path) }},
		{"client/js: the standard library", "client/js", standard},
		{"storetest: what those who write an engine have anyway", "storetest", func(path string) bool {
			return standard(path) || path == module
		}},
		{"edgewstest: nothing that would get into the builds of users", "edgewstest", func(path string) bool {
			return standard(path) || path == module
		}},
		{"inspect: the public API, and the client of its page", "inspect", func(path string) bool {
			return standard(path) || path == module || path == module+"/client/js"
		}},
		{"metrics: the public API", "metrics", func(path string) bool { return standard(path) || path == module }},
		{"cluster/internal/link: the standard library", "cluster/internal/link", standard},
		{"cluster: the public API, and its links", "cluster", func(path string) bool {
			return standard(path) || path == module || path == module+"/cluster/internal/link"
		}},
		{"cluster/memory: the public API", "cluster/memory", func(path string) bool {
			return standard(path) || path == module || path == module+"/cluster"
		}},
		{"cluster/enginetest: what those who write an engine have anyway", "cluster/enginetest", func(path string) bool {
			return standard(path) || slices.Contains([]string{module, module + "/cluster", module + "/storetest"}, path)
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

// TestImporters checks who imports packages that are not for everybody.
func TestImporters(t *testing.T) {
	may := map[string]func(file string) bool{
		module + "/examples/chat/chatrooms": func(file string) bool {
			return slices.Contains([]string{"examples/chat", "examples/cluster"}, filepath.ToSlash(filepath.Dir(file)))
		},
		module + "/cluster/internal/faultrun": func(file string) bool { return strings.HasSuffix(file, "_test.go") },
	}
	imported := make(map[string]bool)
	require.NoError(t, filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ".go") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range f.Imports {
			of, _ := strconv.Unquote(spec.Path.Value)
			if isAllowed := may[of]; isAllowed != nil {
				imported[of] = true
				assert.True(t, isAllowed(name), "%s imports %s", name, of)
			}
		}
		return nil
	}))
	assert.Len(t, imported, len(may), "another name is checked than that of the package")
}

func TestInternalPackagesDoNotImportTheRoot(t *testing.T) {
	dirs, err := filepath.Glob("internal/*")
	require.NoError(t, err)
	require.NotEmpty(t, dirs)
	for _, dir := range dirs {
		assert.NotContains(t, importsOf(t, dir), module, dir)
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

// layer is a part of the package: the declarations in its files, and the names that belong to it wherever they are declared.
// The methods of a type in names belong to the layer too.
type layer struct {
	name  string
	files []string // patterns of file names; a file belongs to the first layer with a match
	names []string
}

// layerRule says which layers the declarations of a layer may not name.
type layerRule struct {
	from    string
	only    bool     // it may name nothing of the package but itself
	not     []string // or: the layers that it may not name
	through []string // what it may name of them: the types and functions that are made for it
	except  []string // the functions, types and variables that name them all the same
}

func (r layerRule) forbids(layer string) bool { return r.only || slices.Contains(r.not, layer) }

// checkedPackage is a package that has been type-checked.
type checkedPackage struct {
	fset  *token.FileSet
	files []*ast.File
	types *types.Package
	uses  map[*ast.Ident]types.Object
}

// loadRoot type-checks the root package, with the export data of what it imports.
func loadRoot(t *testing.T) *checkedPackage {
	t.Helper()
	root := goList(t, "-json=GoFiles,Imports", ".")[0]
	args := []string{"-export", "-deps", "-json=ImportPath,Export"}
	if raceEnabled {
		args = append(args, "-race") // which is in the build cache then
	}
	exports := make(map[string]string)
	for _, p := range goList(t, append(args, root.Imports...)...) {
		exports[p.ImportPath] = p.Export
	}
	sources := make(map[string]string)
	for _, name := range root.GoFiles {
		source, err := os.ReadFile(name)
		require.NoError(t, err)
		sources[name] = string(source)
	}
	fset := token.NewFileSet()
	return checkPackage(t, fset, sources, importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(exports[path])
	}))
}

type listedPackage struct {
	ImportPath, Export string
	GoFiles, Imports   []string
}

func goList(t *testing.T, args ...string) (all []listedPackage) {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list"}, args...)...).Output()
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("there is no go command")
	}
	require.NoError(t, err)
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var p listedPackage
		require.NoError(t, d.Decode(&p))
		all = append(all, p)
	}
	return all
}

func checkPackage(t *testing.T, fset *token.FileSet, sources map[string]string, imports types.Importer) *checkedPackage {
	t.Helper()
	p := &checkedPackage{fset: fset, uses: make(map[*ast.Ident]types.Object)}
	for _, name := range slices.Sorted(maps.Keys(sources)) {
		f, err := parser.ParseFile(fset, name, sources[name], 0)
		require.NoError(t, err)
		p.files = append(p.files, f)
	}
	var err error
	p.types, err = (&types.Config{Importer: imports}).Check(module, fset, p.files, &types.Info{Uses: p.uses})
	require.NoError(t, err)
	return p
}

// declaration is a function, a type, a variable or a constant of the package, with everything in it.
type declaration struct {
	name     string // with its receiver's type: Socket.send
	layer    string
	from, to token.Pos
}

// declarations returns those of the package, in the order of their positions.
func (p *checkedPackage) declarations(layers []layer) (all []declaration) {
	for _, f := range p.files {
		file := filepath.Base(p.fset.Position(f.Pos()).Filename)
		add := func(name string, n ast.Node) {
			subject, _, _ := strings.Cut(name, ".")
			all = append(all, declaration{name, layerOf(layers, file, subject), n.Pos(), n.End()})
		}
		for _, decl := range f.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				add(qualified(d), d)
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					switch s := spec.(type) {
					case *ast.TypeSpec:
						add(s.Name.Name, s)
					case *ast.ValueSpec:
						add(s.Names[0].Name, s)
					}
				}
			}
		}
	}
	slices.SortFunc(all, func(a, b declaration) int { return cmp.Compare(a.from, b.from) })
	return all
}

// layerOf returns the layer of what is declared in a file and belongs to a subject: a type, a function or a variable.
func layerOf(layers []layer, file, subject string) string {
	for _, l := range layers {
		if slices.Contains(l.names, subject) {
			return l.name
		}
	}
	for _, l := range layers {
		if slices.ContainsFunc(l.files, func(pattern string) bool { ok, _ := filepath.Match(pattern, file); return ok }) {
			return l.name
		}
	}
	return "no layer"
}

// violations returns what breaks the rules, and the exceptions that are not needed.
func (p *checkedPackage) violations(layers []layer, rules []layerRule) []string {
	decls := p.declarations(layers)
	at := func(pos token.Pos) declaration {
		for _, d := range slices.Backward(decls) {
			if d.from <= pos && pos < d.to {
				return d
			}
		}
		return declaration{}
	}
	var found []string
	needed := make(map[string]bool)
	for id, object := range p.uses {
		if object.Pkg() != p.types {
			continue
		}
		user, used := at(id.Pos()), at(object.Pos())
		for _, r := range rules {
			if r.from != user.layer || used.layer == "" || used.layer == user.layer || !r.forbids(used.layer) {
				continue
			}
			typ, _, _ := strings.Cut(used.name, ".")
			switch {
			case slices.Contains(r.through, typ):
				needed[r.from+" "+typ] = true
			case slices.Contains(r.except, user.name):
				needed[r.from+" "+user.name] = true
			default:
				found = append(found, fmt.Sprintf("%s: %s names %s, of %s", r.from, user.name, memberName(used.name, object), used.layer))
			}
		}
	}
	for _, r := range rules {
		for _, e := range slices.Concat(r.through, r.except) {
			if !needed[r.from+" "+e] {
				found = append(found, fmt.Sprintf("%s: the exception %s is not needed", r.from, e))
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// memberName returns the name of a declaration, with the field or the interface's method that is used of it.
func memberName(declared string, object types.Object) string {
	if strings.Contains(declared, ".") || declared == object.Name() {
		return declared
	}
	return declared + "." + object.Name()
}
