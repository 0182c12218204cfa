package edgews_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// documentedPackages are the packages that programs import.
var documentedPackages = []string{".", "client/js", "dialh2", "edgewsh2", "edgewstest", "store/bolt", "storetest"}

// shownIn are the types that need no example of their own: the example of another uses them by name.
var shownIn = map[string]string{
	"AlarmChange":        "ExampleStore",
	"AlarmHandler":       "ExampleMessageHandler",
	"AlarmInfo":          "ExampleNamespace_RunAlarm",
	"AutoResponse":       "ExampleNamespace",
	"Batch":              "ExampleStore",
	"Bill":               "ExampleMeter",
	"CallHandler":        "ExampleMessageHandler",
	"CloseCause":         "ExampleSocketObservation",
	"CloseHandler":       "ExampleMessageHandler",
	"ClusterEvent":       "ExampleClusterInfo",
	"ClusterInformer":    "ExampleClusterInfo",
	"ClusterLeaseInfo":   "ExampleClusterInfo",
	"ClusterLinkInfo":    "ExampleClusterInfo",
	"ClusterMemberInfo":  "ExampleClusterInfo",
	"ClusterMovesInfo":   "ExampleClusterInfo",
	"ClusterShardInfo":   "ExampleClusterInfo",
	"ClusterShardState":  "ExampleClusterInfo",
	"ClusterConn":        "ExampleCluster",
	"ClusterFeed":        "ExampleCluster",
	"ClusterHost":        "ExampleCluster",
	"ClusterKept":        "ExampleCluster",
	"ClusterPosition":    "ExampleCluster",
	"ClusterPositions":   "ExampleCluster",
	"ClusterPublication": "ExampleCluster",
	"ClusterRestored":    "ExampleCluster",
	"ClusterSocket":      "ExampleCluster",
	"ClusterUpgrade":     "ExampleCluster",
	"Direction":          "ExampleObserver",
	"DueAlarm":           "ExampleStore",
	"Entry":              "ExampleStore",
	"ErrorEvent":         "ExampleCloseEvent",
	"ErrorHandler":       "ExampleMessageHandler",
	"Expectation":        "ExamplePlan_Estimate",
	"Explanation":        "ExampleNamespace_Explain",
	"Fact":               "ExampleRecord",
	"FeedFrame":          "ExampleFeed",
	"FeedOptions":        "ExampleFeed",
	"Fence":              "ExampleStore",
	"HubOptions":         "ExampleHub_Upgrade_limit",
	"Kind":               "ExampleMessage",
	"Line":               "ExampleMeter",
	"ManyGetter":         "ExampleStore",
	"MessageEvent":       "ExampleSocket_OnMessage",
	"MessageObservation": "ExampleObserver",
	"MeterOptions":       "ExampleRecord",
	"NopObserver":        "ExampleObserver",
	"Object":             "ExampleNamespace",
	"ObjectEvent":        "ExampleObjectObservation",
	"ObjectInfo":         "ExampleNamespace_Objects",
	"ObjectKey":          "ExampleStore",
	"ObjectState":        "ExampleNamespace_Objects",
	"ObjectStore":        "ExampleStore",
	"OpenEvent":          "ExampleNewWebSocket",
	"Presence":           "ExampleFeed",
	"ProxyOptions":       "ExampleProxy",
	"Rate":               "ExamplePlan_anotherVendor",
	"RateLimit":          "ExampleOptions",
	"Reason":             "ExampleNamespace_Explain",
	"ReconnectOptions":   "ExampleReconnect",
	"RefusalCause":       "ExampleRefusalObservation",
	"RelayError":         "ExampleRelay",
	"SocketEvent":        "ExampleSocketObservation",
	"SocketInfo":         "ExampleSocket_Info",
	"SuspendReason":      "ExampleSuspender",
	"Trigger":            "ExampleObjectObservation",
	"Usage":              "ExampleMeter",
	"bolt.Options":       "Example",
	"bolt.Store":         "Example",
	"edgewstest.Faults":  "ExampleFaultConn",
	"edgewstest.Flow":    "ExampleServer_Conn",
	"edgewstest.Frame":   "ExampleServer_DialPeer",
	"edgewstest.Peer":    "ExampleServer_DialPeer",
}

// TestTypesHaveExamples checks that each exported type has an example on pkg.go.dev: of the type, of a method, or of a function that returns it.
func TestTypesHaveExamples(t *testing.T) {
	needed := make(map[string]bool)
	for _, dir := range documentedPackages {
		examples := examplesOf(t, dir)
		prefix := ""
		if dir != "." {
			prefix = filepath.Base(dir) + "."
			assert.NotEmpty(t, examples, "package %s has no example", dir)
		}
		for typ, names := range exportedTypes(t, dir) {
			name := prefix + typ
			has := slices.ContainsFunc(names, func(subject string) bool { return hasExample(examples, subject) })
			in, excepted := shownIn[name]
			switch {
			case has && excepted:
				t.Errorf("%s has an example, so it need not be shown in %s", name, in)
			case excepted:
				needed[name] = true
				assert.Contains(t, examples, in, "%s is shown in %s", name, in)
				assert.Contains(t, identifiers(t, dir, in), typ, "%s must name %s, which is shown in it", in, name)
			case !has:
				t.Errorf("%s has no example", name)
			}
		}
	}
	for name := range shownIn {
		if !needed[name] {
			t.Errorf("the exception %s is not needed", name)
		}
	}
}

func TestExamplesAreFound(t *testing.T) {
	examples := []string{"ExampleSocket_Send", "ExampleNewPair", "ExampleHub_limit"}
	for _, subject := range []string{"Socket", "NewPair", "Hub"} {
		assert.True(t, hasExample(examples, subject), subject)
	}
	for _, subject := range []string{"Sock", "SocketEvent", "Pair", "New", "HubOptions"} {
		assert.False(t, hasExample(examples, subject), subject)
	}
}

// hasExample reports whether an example is of subject, a type or a function, or of a method of it.
func hasExample(examples []string, subject string) bool {
	return slices.ContainsFunc(examples, func(name string) bool {
		rest, found := strings.CutPrefix(name, "Example"+subject)
		return found && (rest == "" || rest[0] == '_')
	})
}

// examplesOf returns the names of the examples of a package.
func examplesOf(t *testing.T, dir string) (names []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	require.NoError(t, err)
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		require.NoError(t, err)
		for _, decl := range f.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Example") {
				names = append(names, fn.Name.Name)
			}
		}
	}
	return names
}

// identifiers returns the names in an example, and in the declarations of its file that it uses: pkg.go.dev shows both.
func identifiers(t *testing.T, dir, example string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	require.NoError(t, err)
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		require.NoError(t, err)
		if declared := declarations(f); declared[example] != nil {
			found := make(map[string]bool)
			collect(example, declared, found)
			return found
		}
	}
	return nil
}

// declarations returns what a file declares, by name; methods are under the name of their type.
func declarations(f *ast.File) map[string][]ast.Node {
	found := make(map[string][]ast.Node)
	for _, decl := range f.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			name := d.Name.Name
			if d.Recv != nil {
				receiver := d.Recv.List[0].Type
				if star, ok := receiver.(*ast.StarExpr); ok {
					receiver = star.X
				}
				name = typeName(receiver)
			}
			found[name] = append(found[name], d)
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					found[spec.Name.Name] = append(found[spec.Name.Name], spec)
				case *ast.ValueSpec:
					for _, n := range spec.Names {
						found[n.Name] = append(found[n.Name], spec)
					}
				}
			}
		}
	}
	return found
}

// collect adds the names in a declaration and in those that it uses.
func collect(name string, declared map[string][]ast.Node, found map[string]bool) {
	for _, node := range declared[name] {
		ast.Inspect(node, func(n ast.Node) bool {
			if id, ok := n.(*ast.Ident); ok && !found[id.Name] {
				found[id.Name] = true
				collect(id.Name, declared, found)
			}
			return true
		})
	}
}

// exportedTypes returns the exported types of a package, and under which names examples of each are: its own, and those of the functions that
// return it, which the documentation shows beside it.
func exportedTypes(t *testing.T, dir string) map[string][]string {
	t.Helper()
	found := make(map[string][]string)
	files := sources(t, dir)
	for _, f := range files {
		for _, decl := range f.Decls {
			if d, ok := decl.(*ast.GenDecl); ok && d.Tok == token.TYPE {
				for _, spec := range d.Specs {
					if name := spec.(*ast.TypeSpec).Name; name.IsExported() {
						found[name.Name] = []string{name.Name}
					}
				}
			}
		}
	}
	for _, f := range files {
		for _, decl := range f.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok || fn.Recv != nil || !fn.Name.IsExported() || fn.Type.Results == nil {
				continue
			}
			result := fn.Type.Results.List[0].Type
			if star, ok := result.(*ast.StarExpr); ok {
				result = star.X
			}
			if name := typeName(result); found[name] != nil {
				found[name] = append(found[name], fn.Name.Name)
			}
		}
	}
	return found
}
