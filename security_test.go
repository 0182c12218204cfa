package edgews_test

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const securityPage = "docs/security.md"

// otherOptions are the numbers among the options that limit nothing that a peer, a client or a server could use up.
var otherOptions = map[string]string{
	"Compression.Threshold":      "from which size on messages are compressed",
	"Compression.Level":          "a setting of the compressor",
	"Compression.WindowBits":     "negotiated: 8 to 15 by RFC 7692",
	"Compression.PeerWindowBits": "negotiated: 8 to 15 by RFC 7692",
	"HubOptions.ShutdownWindow":  "how Shutdown spreads its work",
	"MeterOptions.MinuteFloor":   "a unit of accounting",
	"MeterOptions.MessageUnit":   "a unit of accounting",
	"MeterOptions.Interval":      "how often is booked",
}

// notPeers are the constants whose names are those of limits, and that no peer can reach or that change nothing for it.
var notPeers = map[string]string{
	"maxCompressionLevel":     "bounds an option",
	"maxCopied":               "how much is copied at a time",
	"maxIdleTimeout":          "bounds an option",
	"maxKeptPuts":             "memory that is kept for reuse",
	"maxLeaseBytes":           "how often a connection books; quotas are kept",
	"maxLeaseMessages":        "how often a connection books; quotas are kept",
	"maxLifetimePart":         "how MaxLifetime is spread",
	"maxOtherCommits":         "meters that share a ledger",
	"maxPastRosters":          "hubs that a program moves a socket through",
	"maxPollDelay":            "of a Store that fails",
	"maxReasons":              "the text of an error of Shutdown",
	"maxRetryDelay":           "of an accept that fails, as in net/http",
	"maxSpan":                 "the range of a clock",
	"maxSpanBits":             "the range of a clock",
	"maxSuspendRounds":        "a detail of Shutdown",
	"maxSuspending":           "a detail of Shutdown",
	"maxTick":                 "the precision of a clock",
	"maxTrimmed":              "how much of what is removed one Publish removes",
	"maxUnfinished":           "the text of an error of Shutdown",
	"ticksPerLimit":           "the precision of a clock",
	"refillLimit":             "how much is written at a time",
	"flushTimeout":            "of a ledger's Store",
	"quotaLedgerTimeout":      "of a ledger's Store",
	"buf.maxPooled":           "memory that is kept for reuse",
	"cluster.maxBodyMessage":  "how much is sent at a time",
	"cluster.maxEvents":       "what is shown of the past",
	"cluster.maxGeneration":   "bounds an option",
	"cluster.maxPart":         "how much is sent at a time",
	"cluster.maxShards":       "bounds an option",
	"deflate.MaxWindowBits":   "of RFC 7692",
	"deflate.maxBlock":        "a detail of the compressor",
	"deflate.maxDistanceBits": "of RFC 1951",
	"deflate.maxGuess":        "a first estimate, which grows with what has arrived",
	"deflate.maxHistory":      "a detail of the compressor",
	"deflate.maxLengthBits":   "of RFC 1951",
	"deflate.maxLiteralBits":  "of RFC 1951",
	"deflate.maxMatch":        "of RFC 1951",
	"deflate.maxWindow":       "of RFC 1951",
	"fifo.maxKept":            "memory that is kept for reuse",
	"frame.MaxHeader":         "of RFC 6455",
	"link.maxLimit":           "bounds an option",
	"link.maxSpare":           "memory that is kept for reuse",
	"metrics.maxPacked":       "how values are packed; larger ones are counted in another way",
	"metrics.maxPart":         "how values are packed; larger ones are counted in another way",
	"metrics.maxShards":       "how counters are spread",
	"outbox.bundleLimit":      "how much is written at a time",
	"outbox.keepLimit":        "memory that is kept for reuse",
	"park.MaxSpan":            "the range of a clock",
	"park.batchLimit":         "how many writes leave together",
	"park.corkLimit":          "how long writes are gathered",
	"park.maxEvents":          "how many events are fetched at a time",
	"park.maxLoops":           "how connections are spread",
	"park.rawIOLimit":         "how much one system call of the quick kind moves",
	"park.tlsWriteLimit":      "how much is written without a goroutine",
	"tunnel.maxIdlePipes":     "pipes that are kept for reuse",
}

// defaultNames are the defaults whose names are not "default" and the option's name.
var defaultNames = map[string]string{"FeedOptions.Keep": "defaultFeedKeep"}

// TestLimitsAreListed compares the tables of limits with the options and constants of the code, both ways.
func TestLimitsAreListed(t *testing.T) {
	listed := limitRows(readText(t, securityPage))
	options, constants := numericOptions(t), packageConstants(t)
	assert.Empty(t, limitFaults(listed, options, constants, otherOptions, notPeers))
}

func TestLimitsAreChecked(t *testing.T) {
	options := map[string]bool{"Options.Size": true, "Options.Level": true, "Options.Rate": true}
	constants := map[string]constant.Value{
		"defaultSize": constant.MakeInt64(32 << 20), "maxTags": constant.MakeInt64(10), "park.waitTimeout": constant.MakeInt64(int64(time.Second)),
		"buf.maxKept": constant.MakeInt64(5),
	}
	others, hidden := map[string]string{"Options.Level": "a setting"}, map[string]string{"buf.maxKept": "reuse"}
	sound := map[string]string{"Options.Size": "32 MiB", "Options.Rate": "none", "maxTags": "10", "park.waitTimeout": "1 s"}
	assert.Empty(t, limitFaults(sound, options, constants, others, hidden))

	for _, c := range []struct{ row, value, fault string }{
		{"Options.Size", "", "Options.Size is in no table"},
		{"Options.Size", "31 MiB", "Options.Size: the table says 31 MiB, the code 33554432"},
		{"Options.Size", "none", "Options.Size: the table says none, the code 33554432"},
		{"Options.Rate", "3", "Options.Rate: the table says 3, the code none"},
		{"Options.Sise", "3", "Options.Sise is in a table, but not in the code"},
		{"maxTags", "", "maxTags is in no table"},
		{"maxTags", "eleven", "maxTags: the table says eleven, the code 10"},
		{"park.waitTimeout", "1,000 ms", ""},
		{"park.waitTimeout", "1 min", "park.waitTimeout: the table says 1 min, the code 1000000000"},
		{"buf.maxKept", "5", "buf.maxKept is in a table, and among those that do not belong there"},
	} {
		listed := maps.Clone(sound)
		if listed[c.row] = c.value; c.value == "" {
			delete(listed, c.row)
		}
		var want []string
		if c.fault != "" {
			want = []string{c.fault}
		}
		assert.Equal(t, want, limitFaults(listed, options, constants, others, hidden), "%s: %s", c.row, c.value)
	}
	stale := map[string]string{"maxGone": "reuse"}
	maps.Copy(stale, hidden)
	assert.Equal(t, []string{"maxGone is an exception that is not needed"}, limitFaults(sound, options, constants, others, stale))
}

// limitFaults returns what is wrong with the rows of a table: the default of each limit, by name.
func limitFaults(listed map[string]string, options map[string]bool, constants map[string]constant.Value, others, hidden map[string]string) (faults []string) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	limits := maps.Clone(options)
	for name := range constants {
		if isLimit(name) {
			limits[name] = true
		}
	}
	exceptions := maps.Clone(others)
	maps.Copy(exceptions, hidden)
	for _, name := range slices.Sorted(maps.Keys(limits)) {
		value, inTable := listed[name]
		_, excepted := exceptions[name]
		switch {
		case inTable && excepted:
			fault("%s is in a table, and among those that do not belong there", name)
		case !inTable && !excepted:
			fault("%s is in no table", name)
		case inTable:
			if want := valueInCode(name, options, constants); !sameValue(value, want) {
				fault("%s: the table says %s, the code %s", name, value, want)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(listed)) {
		switch want := valueInCode(name, options, constants); {
		case limits[name]:
		case want == "":
			fault("%s is in a table, but not in the code", name)
		case !sameValue(listed[name], want): // a constant with another kind of name
			fault("%s: the table says %s, the code %s", name, listed[name], want)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(exceptions)) {
		if !limits[name] {
			fault("%s is an exception that is not needed", name)
		}
	}
	return faults
}

// isLimit reports whether a constant has the name of a limit.
func isLimit(name string) bool {
	name = name[strings.LastIndexByte(name, '.')+1:]
	if strings.HasPrefix(name, "default") {
		return false
	}
	rest, found := strings.CutPrefix(strings.ToLower(name[:1])+name[1:], "max")
	return found && rest != "" && unicode.IsUpper(rune(rest[0])) || strings.HasSuffix(name, "Limit") || strings.HasSuffix(name, "Timeout")
}

// valueInCode returns the default of an option, "none" if it has none, or the value of a constant; "" if there is no such thing.
func valueInCode(name string, options map[string]bool, constants map[string]constant.Value) string {
	if !options[name] {
		if v, ok := constants[name]; ok {
			return v.ExactString()
		}
		return ""
	}
	_, field, _ := strings.Cut(name, ".")
	key, ok := defaultNames[name]
	if !ok {
		key = "default" + field
	}
	if v, ok := constants[key]; ok {
		return v.ExactString()
	}
	return "none"
}

// units are those of the tables.
var units = map[string]int64{
	"": 1, "KiB": 1 << 10, "MiB": 1 << 20,
	"ms": int64(time.Millisecond), "s": int64(time.Second), "min": int64(time.Minute), "h": int64(time.Hour),
}

// sameValue reports whether a table's text, such as "64 KiB", stands for a value in code.
func sameValue(text, code string) bool {
	if text == code {
		return true
	}
	number, unit, _ := strings.Cut(text, " ")
	n, err := strconv.ParseInt(strings.ReplaceAll(number, ",", ""), 10, 64)
	return err == nil && units[unit] != 0 && strconv.FormatInt(n*units[unit], 10) == code
}

// limitRows returns the defaults in the tables of limits, which have five columns.
func limitRows(page string) map[string]string {
	rows := make(map[string]string)
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`|]+)` \\| ([^|]+) \\|[^|\n]+\\|[^|\n]+\\|[^|\n]+\\|$").FindAllStringSubmatch(page, -1) {
		rows[row[1]] = row[2]
	}
	return rows
}

// numericOptions returns the fields of the root's exported options, as Type.Field, that are numbers or durations.
func numericOptions(t *testing.T) map[string]bool {
	t.Helper()
	found := make(map[string]bool)
	for _, f := range sources(t, ".") {
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok || !spec.Name.IsExported() {
				return true
			}
			name := spec.Name.Name
			fields, ok := spec.Type.(*ast.StructType)
			if !ok || !strings.HasSuffix(name, "Options") && !slices.Contains([]string{"RateLimit", "Compression", "Mux"}, name) {
				return false
			}
			for _, field := range fields.Fields.List {
				for _, id := range field.Names {
					if id.IsExported() && slices.Contains([]string{"int", "int64", "time.Duration"}, typeName(field.Type)) {
						found[name+"."+id.Name] = true
					}
				}
			}
			return false
		})
	}
	require.NotEmpty(t, found)
	return found
}

// typeName returns the name of a type that has one.
func typeName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return typeName(e.X) + "." + e.Sel.Name
	}
	return ""
}

// packageConstants returns the constants of the root package and, with the package's name before them, of metrics, cluster, its links and the internal
// ones that have numbers as values. Files for all systems count; of a constant with several values, the greatest.
func packageConstants(t *testing.T) map[string]constant.Value {
	t.Helper()
	dirs, err := filepath.Glob("internal/*")
	require.NoError(t, err)
	exprs := make(map[string]ast.Expr)
	for _, dir := range append(dirs, "metrics", "cluster", "cluster/internal/link", ".") {
		prefix := ""
		if dir != "." {
			prefix = filepath.Base(dir) + "."
		}
		for _, f := range sources(t, dir) {
			for _, decl := range f.Decls {
				d, ok := decl.(*ast.GenDecl)
				if !ok || d.Tok != token.CONST {
					continue
				}
				for _, spec := range d.Specs {
					s := spec.(*ast.ValueSpec)
					for i, id := range s.Names {
						if i < len(s.Values) && (exprs[prefix+id.Name] == nil || !isZero(s.Values[i])) {
							exprs[prefix+id.Name] = s.Values[i]
						}
					}
				}
			}
		}
	}
	values := make(map[string]constant.Value)
	for name := range exprs {
		if v := evaluate(name, exprs); v != nil && v.Kind() != constant.Unknown {
			values[name] = v
		}
	}
	require.Greater(t, len(values), 100)
	return values
}

func isZero(e ast.Expr) bool {
	lit, ok := e.(*ast.BasicLit)
	return ok && lit.Value == "0"
}

// evaluate returns the value of a constant, or nil if it is no number.
func evaluate(name string, exprs map[string]ast.Expr) constant.Value {
	prefix := name[:strings.LastIndexByte(name, '.')+1]
	var value func(e ast.Expr) constant.Value
	value = func(e ast.Expr) constant.Value {
		switch e := e.(type) {
		case *ast.BasicLit:
			if e.Kind == token.INT || e.Kind == token.FLOAT {
				return constant.MakeFromLiteral(e.Value, e.Kind, 0)
			}
		case *ast.ParenExpr:
			return value(e.X)
		case *ast.Ident:
			if exprs[prefix+e.Name] != nil {
				return evaluate(prefix+e.Name, exprs)
			}
		case *ast.SelectorExpr:
			name := typeName(e)
			if exprs[name] != nil {
				return evaluate(name, exprs)
			}
			if d, ok := durations[name]; ok {
				return constant.MakeInt64(int64(d))
			}
		case *ast.BinaryExpr:
			x, y := value(e.X), value(e.Y)
			if x == nil || y == nil {
				return nil
			}
			switch n, exact := constant.Uint64Val(constant.ToInt(y)); e.Op {
			case token.SHL:
				if x = constant.ToInt(x); exact && x.Kind() == constant.Int {
					return constant.Shift(x, e.Op, uint(n))
				}
			case token.ADD, token.SUB, token.MUL:
				return constant.BinaryOp(x, e.Op, y)
			}
		}
		return nil
	}
	return value(exprs[name])
}

var durations = map[string]time.Duration{
	"time.Nanosecond": time.Nanosecond, "time.Microsecond": time.Microsecond, "time.Millisecond": time.Millisecond,
	"time.Second": time.Second, "time.Minute": time.Minute, "time.Hour": time.Hour,
}

// TestLowLevelCodeIsListed compares the table of files that use unsafe or system calls with the files that do, both ways.
func TestLowLevelCodeIsListed(t *testing.T) {
	_, section, found := strings.Cut(readText(t, securityPage), "\n## Low-level code\n")
	require.True(t, found)
	var listed []string
	for _, row := range regexp.MustCompile("(?m)^\\| (`[^|]+) \\|[^|]+\\|[^|]+\\|$").FindAllStringSubmatch(section, -1) {
		for _, file := range inlineCode.FindAllStringSubmatch(row[1], -1) {
			listed = append(listed, file[1])
		}
	}
	var used []string
	for name, f := range librarySources(t) {
		if isLowLevel(f) {
			used = append(used, name)
		}
	}
	assert.ElementsMatch(t, used, listed)
}

// librarySources parses the files of all packages that a program can import, which are not tests, by their slashed paths.
func librarySources(t *testing.T) map[string]*ast.File {
	t.Helper()
	notImported := []string{"bench", "conformance", "examples", "cmd", "docs", "cluster/internal/faultrun"} // the last one is for tests
	found := make(map[string]*ast.File)
	require.NoError(t, filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		name = filepath.ToSlash(name)
		switch {
		case err != nil:
			return err
		case d.IsDir() && (slices.Contains(notImported, name) || name != "." && strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), filepath.FromSlash(name), nil, parser.ParseComments)
		found[name] = f
		return err
	}))
	require.Greater(t, len(found), 100)
	return found
}

// isLowLevel reports whether a file uses unsafe, system calls, cgo or the linker.
func isLowLevel(f *ast.File) bool {
	for _, spec := range f.Imports {
		path, _ := strconv.Unquote(spec.Path.Value)
		if path == "unsafe" || path == "syscall" || path == "C" || strings.HasPrefix(path, "golang.org/x/sys") {
			return true
		}
	}
	return slices.ContainsFunc(f.Comments, func(c *ast.CommentGroup) bool { return strings.HasPrefix(c.List[0].Text, "//go:linkname") })
}

// TestNamedTestsExist checks that the tests that the pages about security name are there.
func TestNamedTestsExist(t *testing.T) {
	declared := make(map[string]bool)
	require.NoError(t, filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err == nil {
			for _, decl := range f.Decls {
				if fn, ok := decl.(*ast.FuncDecl); ok {
					declared[fn.Name.Name] = true
				}
			}
		}
		return err
	}))
	for _, page := range []string{securityPage, "SECURITY.md"} {
		named := regexp.MustCompile("`((?:Test|Fuzz|Example)[A-Z_]\\w*)`").FindAllStringSubmatch(readText(t, page), -1)
		require.NotEmpty(t, named, page)
		for _, name := range named {
			assert.True(t, declared[name[1]], "%s names %s", page, name[1])
		}
	}
}
