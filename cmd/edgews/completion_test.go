package main

import (
	"os/exec"
	"strings"
	"testing"
)

// Completions are loaded by the shell itself, and asked for commands, flags and values.
func TestCompletions(t *testing.T) {
	path := binary(t)
	for _, shell := range []struct{ name, script string }{
		{"bash", `source <("$1" completion bash); ask() { COMP_WORDS=("$@"); COMP_CWORD=$(($#-1)); _edgews; echo "${COMPREPLY[*]}"; }
			ask edgews lo; ask edgews load -sock; ask edgews completion f; ask edgews inspect al`},
		{"fish", `$argv[1] completion fish | source; complete -C 'edgews lo'; complete -C 'edgews load -sock'; complete -C 'edgews completion f'; complete -C 'edgews inspect al'`},
	} {
		t.Run(shell.name, func(t *testing.T) {
			programOrSkip(t, shell.name)
			args := []string{"-c", shell.script, path}
			if shell.name == "bash" {
				args = []string{"--norc", "-c", shell.script, "test", path}
			}
			out, err := exec.CommandContext(t.Context(), shell.name, args...).CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			for _, want := range []string{"load", "-sockets", "fish", "alarms"} {
				if !strings.Contains(string(out), want) {
					t.Errorf("%s is not offered: %s", want, out)
				}
			}
			if strings.Contains(string(out), "dial") {
				t.Errorf("other words are offered: %s", out)
			}
		})
	}
	t.Run("zsh", func(t *testing.T) {
		programOrSkip(t, "zsh")
		const script = `autoload -Uz compinit; compinit -D; source <("$1" completion zsh)
			_describe() { shift $(($# - 1)); print -l -- ${(P)1} }; _files() { }
			words=(edgews lo) CURRENT=2; _edgews; words=(edgews load -sock) CURRENT=3; _edgews; print ${_comps[edgews]}`
		out, err := exec.CommandContext(t.Context(), "zsh", "-f", "-c", script, "test", path).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		for _, want := range []string{"load:open many sockets", "-sockets:open this many sockets", "_edgews"} {
			if !strings.Contains(string(out), want) {
				t.Errorf("%s is not offered: %s", want, out)
			}
		}
	})
}
