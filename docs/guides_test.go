// Package docs checks the guides in this folder: that their Go is compiled and run, that their links lead somewhere, that their
// diagrams can be drawn.
package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// block is a fenced block of a page.
type block struct {
	page, language, text string
}

var fence = regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```$")

// blocks returns the fenced blocks of the guides in one language, in order.
func blocks(t *testing.T, language string) (found []block) {
	t.Helper()
	for _, page := range guides(t) {
		for _, match := range fence.FindAllStringSubmatch(read(t, page), -1) {
			if match[1] == language {
				found = append(found, block{page, match[1], match[2]})
			}
		}
	}
	require.NotEmpty(t, found, language)
	return found
}

// guides returns the names of the pages in this folder.
func guides(t *testing.T) []string {
	t.Helper()
	pages, err := filepath.Glob("*.md")
	require.NoError(t, err)
	require.NotEmpty(t, pages)
	return pages
}

func read(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.FromSlash(name))
	require.NoError(t, err)
	return strings.ReplaceAll(string(content), "\r\n", "\n")
}

var leadingSpace = regexp.MustCompile(`(?m)^[ \t]+`)

// unindent removes leading white space from every line.
func unindent(text string) string { return leadingSpace.ReplaceAllString(text, "") }

// sources returns the unindented text of the Go files that the guides quote: those of the packages in code.
func sources(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	require.NoError(t, filepath.WalkDir("code", func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".go") {
			all.WriteString(unindent(read(t, path)))
		}
		return err
	}))
	return all.String()
}

// TestGoBlocks checks that every Go block stands in a file of the packages in code, which are compiled, and whose tests run it.
func TestGoBlocks(t *testing.T) {
	code := sources(t)
	for _, b := range blocks(t, "go") {
		if !strings.Contains(code, unindent(b.text)) {
			t.Errorf("this block of %s stands in no file of code:\n%s", b.page, b.text)
		}
	}
}

// TestOutputBlocks checks that what a guide says is printed stands in the output comment of an example, which go test compares.
func TestOutputBlocks(t *testing.T) {
	var code strings.Builder
	for line := range strings.Lines(sources(t)) {
		if comment, ok := strings.CutPrefix(strings.TrimRight(line, "\n"), "//"); ok {
			code.WriteString(strings.TrimSpace(comment) + "\n")
		}
	}
	for _, b := range blocks(t, "output") {
		if !strings.Contains(code.String(), unindent(b.text)) {
			t.Errorf("this block of %s is the output of no example:\n%s", b.page, b.text)
		}
	}
}

var (
	inlineCode = regexp.MustCompile("`[^`\n]*`")
	link       = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	heading    = regexp.MustCompile(`(?m)^#+ (.+)$`)
	notInSlug  = regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
)

// anchors returns the anchors that GitHub gives to the headings of a page.
func anchors(page string) map[string]bool {
	found := make(map[string]bool)
	for _, match := range heading.FindAllStringSubmatch(fence.ReplaceAllString(page, ""), -1) {
		slug := strings.ReplaceAll(notInSlug.ReplaceAllString(strings.ToLower(match[1]), ""), " ", "-")
		found[slug] = true
	}
	return found
}

// deadLinks returns the links of a page in a folder that lead to no file, or to no heading.
func deadLinks(t *testing.T, folder, page string) (dead []string) {
	t.Helper()
	prose := inlineCode.ReplaceAllString(fence.ReplaceAllString(page, ""), "")
	for _, match := range link.FindAllStringSubmatch(prose, -1) {
		target, anchor, _ := strings.Cut(match[1], "#")
		if strings.HasPrefix(target, "https://") {
			continue
		}
		file, text := filepath.Join(folder, filepath.FromSlash(target)), page
		if target != "" {
			if _, err := os.Stat(file); err != nil {
				dead = append(dead, match[1])
				continue
			}
		}
		if anchor == "" {
			continue
		}
		if target != "" {
			text = read(t, file)
		}
		if !anchors(text)[anchor] {
			dead = append(dead, match[1])
		}
	}
	return dead
}

// TestLinks checks the links of all pages of the project, except those to other sites.
func TestLinks(t *testing.T) {
	pages, err := filepath.Glob("../*.md")
	require.NoError(t, err)
	for _, page := range append(pages, guides(t)...) {
		assert.Empty(t, deadLinks(t, filepath.Dir(page), read(t, page)), page)
	}
}

func TestLinksAreChecked(t *testing.T) {
	const page = "# What it's *for*\n[a](#what-its-for) [b](../go.mod) [c](https://example.com/#x) `[d](no)`\n```\n[e](no)\n```\n"
	assert.Empty(t, deadLinks(t, ".", page))
	assert.Equal(t, []string{"no.md", "#no", "../README.md#no"}, deadLinks(t, ".", page+"[x](no.md) [y](#no) [z](../README.md#no)"))
}

// TestIndex checks that README.md of this folder has a link to each guide.
func TestIndex(t *testing.T) {
	index := read(t, "README.md")
	for _, page := range guides(t) {
		if page != "README.md" {
			assert.Contains(t, index, "]("+page+")")
		}
	}
}

// TestReaders checks that each guide says in its first sentence for whom it is.
func TestReaders(t *testing.T) {
	for _, page := range guides(t) {
		_, text, _ := strings.Cut(read(t, page), "\n\n")
		assert.Regexp(t, `^For (programmers|operators|reviewers) `, text, page)
	}
}

// TestDiagramsOfTheIndex checks that the sections that README.md names as diagrams have one.
func TestDiagramsOfTheIndex(t *testing.T) {
	_, list, ok := strings.Cut(read(t, "README.md"), "\nDiagrams: ")
	require.True(t, ok)
	list, _, _ = strings.Cut(list, "\n\n")
	links := link.FindAllStringSubmatch(list, -1)
	require.Len(t, links, 4)
	for _, match := range links {
		page, anchor, _ := strings.Cut(match[1], "#")
		var section string
		for part := range strings.SplitSeq(read(t, page), "\n## ") {
			if title, _, _ := strings.Cut(part, "\n"); anchors("## " + title)[anchor] {
				section = part
			}
		}
		assert.Contains(t, section, "```mermaid\n", match[1])
	}
}

// TestDiagrams checks the Mermaid blocks against the small part of the language that the guides use.
func TestDiagrams(t *testing.T) {
	for _, b := range blocks(t, "mermaid") {
		assert.Empty(t, diagramFaults(b.text), b.page)
	}
}

func TestDiagramsAreChecked(t *testing.T) {
	for text, faults := range map[string][]string{
		"sequenceDiagram\n    participant A as a peer\n    participant B\n    A->>B: hi\n    opt later\n    B-->>A: ho\n    end\n": nil,
		"stateDiagram-v2\n    state \"at rest\" as R\n    [*] --> R\n    R --> [*]: end\n":                                         nil,
		"flowchart LR\n    A[\"a b\"] -->|yes| B[\"c\"]\n    B --> A\n":                                                            nil,
		"sequenceDiagram\n    participant A\n    A->>B: hi\n":                                                                      {"B is not declared"},
		"sequenceDiagram\n    participant A\n    A->A\n":                                                                           {"A->A"},
		"sequenceDiagram\n    participant A\n    opt x\n":                                                                          {"1 end missing"},
		"sequenceDiagram\n    participant A\n    A->>A: this; that\n":                                                              {"A->>A: this; that"},
		"stateDiagram-v2\n    [*] --> R\n":                                                                                         {"R is not declared"},
		"pie\n":                                                                                                                    {"pie"},
		"flowchart LR\n    A[a (b)] --> B[\"c\"]\n":                                                                                {"A[a (b)] --> B[\"c\"]"},
	} {
		assert.Equal(t, faults, diagramFaults(text), text)
	}
}

// grammar is what the lines of a kind of diagram may be. The groups named "new" declare a name, and those named "use" use one.
type grammar struct {
	lines []*regexp.Regexp
	opens *regexp.Regexp // a line that needs an end
}

const plain = `[^;#]+` // a semicolon ends a statement, and # begins an entity

var grammars = map[string]grammar{
	"sequenceDiagram": {
		lines: []*regexp.Regexp{
			regexp.MustCompile(`^participant (?P<new>\w+)( as ` + plain + `)?$`),
			regexp.MustCompile(`^(?P<use>\w+)(->>|-->>|-x|--x)(?P<use>\w+): ` + plain + `$`),
			regexp.MustCompile(`^Note (over|right of|left of) (?P<use>\w+)(,(?P<use>\w+))?: ` + plain + `$`),
			regexp.MustCompile(`^(opt|alt|else|loop|par|and) ` + plain + `$`),
			regexp.MustCompile(`^end$`),
		},
		opens: regexp.MustCompile(`^(opt|alt|loop|par) `),
	},
	"stateDiagram-v2": {
		lines: []*regexp.Regexp{
			regexp.MustCompile(`^state "` + plain + `" as (?P<new>\w+)$`),
			regexp.MustCompile(`^(\[\*\]|(?P<use>\w+)) --> (\[\*\]|(?P<use>\w+))(: ` + plain + `)?$`),
		},
	},
	"flowchart": {
		lines: []*regexp.Regexp{
			regexp.MustCompile(`^(?P<new>\w+)(\["[^"]+"\]|\{"[^"]+"\})?( (-->|-\.->)(\|[^|"]+\|)? (?P<new>\w+)(\["[^"]+"\]|\{"[^"]+"\})?)?$`),
		},
	},
}

// diagramFaults returns what is wrong with a diagram.
func diagramFaults(text string) (faults []string) {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	kind, _, _ := strings.Cut(lines[0], " ")
	g, ok := grammars[kind]
	if !ok {
		return []string{lines[0]}
	}
	declared, used, open := make(map[string]bool), []string(nil), 0
	for _, line := range lines[1:] {
		line = strings.TrimSpace(line)
		i := slices.IndexFunc(g.lines, func(r *regexp.Regexp) bool { return r.MatchString(line) })
		if i < 0 {
			faults = append(faults, line)
			continue
		}
		match := g.lines[i].FindStringSubmatch(line)
		for j, name := range g.lines[i].SubexpNames() {
			switch {
			case name == "new":
				declared[match[j]] = true
			case name == "use" && match[j] != "":
				used = append(used, match[j])
			}
		}
		if g.opens != nil && g.opens.MatchString(line) {
			open++
		} else if line == "end" {
			open--
		}
	}
	for _, name := range used {
		if !declared[name] {
			faults = append(faults, name+" is not declared")
		}
	}
	if open != 0 {
		faults = append(faults, "1 end missing")
	}
	return faults
}
