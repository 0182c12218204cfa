//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/edgews/edgews/bench/internal/proc"
)

// write prints the result: machine and settings, the tables of the plan, and the notes.
func (b *bench) write(w io.Writer, command string) {
	fmt.Fprint(w, wrapped(b.header(command)))
	b.plan.write(w, b)
	if len(b.notes) > 0 {
		fmt.Fprintln(w)
	}
	for _, n := range b.notes {
		fmt.Fprintf(w, "* %s\n", n)
	}
}

func (b *bench) header(command string) string {
	rounds := "one round"
	if b.rounds > 1 {
		rounds = fmt.Sprintf("medians of %d rounds", b.rounds)
	}
	text := fmt.Sprintf("`%s` on %s: %s, %v for each figure; ratios are taken within a round. %s, %s; servers on core %d, load on core %d. %s.",
		command, time.Now().Format(time.DateOnly), rounds, b.length,
		proc.CPUModel(), proc.Kernel(), b.serverCore, b.loadCore, strings.Join(b.versions(), ", "))
	if len(b.othersShare) > 0 {
		text += fmt.Sprintf(" Other processes used %.0f %% of the servers' core (median; %.0f %% at most).",
			100*median(b.othersShare), 100*slices.Max(b.othersShare))
	}
	return text
}

// width is the longest line of text, in characters.
const width = 120

// wrapped breaks text into lines.
func wrapped(text string) string {
	var out strings.Builder
	used := 0
	for word := range strings.FieldsSeq(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case used == 0:
		case used+1+n > width:
			out.WriteByte('\n')
			used = 0
		default:
			out.WriteByte(' ')
			used++
		}
		out.WriteString(word)
		used += n
	}
	return out.String() + "\n"
}

// quoted returns a command line for a shell with these arguments.
func quoted(args []string) string {
	var line strings.Builder
	for i, a := range args {
		if i > 0 {
			line.WriteByte(' ')
		}
		if strings.ContainsAny(a, " '\"") {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		line.WriteString(a)
	}
	return line.String()
}

// versions returns the versions of everything that was compared.
func (b *bench) versions() []string {
	list := []string{"Go " + strings.TrimPrefix(runtime.Version(), "go"), "edgews " + revision()}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if b.compares(m.Path) && m.Path != "github.com/edgews/edgews" {
				list = append(list, strings.TrimPrefix(m.Path, "github.com/")+" "+m.Version)
			}
		}
	}
	for _, s := range b.subjects {
		if s.version == nil {
			continue
		}
		if v := s.version(); !slices.Contains(list, v) {
			list = append(list, v)
		}
	}
	return list
}

func (b *bench) compares(module string) bool {
	return slices.ContainsFunc(b.subjects, func(s subject) bool { return s.Module == module })
}

// revision returns the current commit, with a mark if files have changed.
func revision() string {
	return commandOutput("git", "describe", "--always", "--dirty", "--tags")
}

// commandOutput returns the output of a command, or "unknown".
func commandOutput(name string, args ...string) string {
	text, err := exec.Command(name, args...).Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(text))
}

// packageVersion returns the name and the version of a package that npm has installed.
func packageVersion(name string) string {
	var p struct{ Version string }
	text, err := os.ReadFile(filepath.Join(nodeDir(), "node_modules", name, "package.json"))
	if err != nil || json.Unmarshal(text, &p) != nil {
		return name + " unknown"
	}
	return name + " " + p.Version
}
