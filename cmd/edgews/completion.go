package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
)

// completionCommand returns the command completion. It is a function because the command writes about all commands, itself included.
func completionCommand() *command {
	return &command{
		name:    "completion",
		args:    "bash|zsh|fish",
		summary: "print completions for a shell",
		examples: []string{
			"source <(edgews completion bash)              # in ~/.bashrc",
			"source <(edgews completion zsh)               # in ~/.zshrc, after compinit",
			"edgews completion fish > ~/.config/fish/completions/edgews.fish",
		},
		least: 1, greatest: 1, values: []string{"bash", "zsh", "fish"},
		setup: func(*flag.FlagSet) runner {
			return func(_ context.Context, e *env, args []string) error {
				write := map[string]func(io.Writer){"bash": writeBash, "zsh": writeZsh, "fish": writeFish}[args[0]]
				if write == nil {
					return &usageError{err: errors.New("the shell is bash, zsh or fish")}
				}
				write(e.stdout)
				return nil
			}
		},
	}
}

// flagNames returns the names of the command's flags, each with "-" before it.
func (c *command) flagNames() (names []string) {
	fs, _ := c.flags()
	fs.VisitAll(func(f *flag.Flag) { names = append(names, "-"+f.Name) })
	return names
}

// commandNames returns the names of all commands, and help.
func commandNames() []string {
	names := []string{"help"}
	for _, c := range commands() {
		names = append(names, c.name)
	}
	return names
}

func writeBash(w io.Writer) {
	fmt.Fprintf(w, `# Completions of edgews for bash.
_edgews() {
	local word=${COMP_WORDS[COMP_CWORD]} words=
	COMPREPLY=()
	if [ "$COMP_CWORD" -eq 1 ]; then
		COMPREPLY=($(compgen -W '%[1]s' -- "$word"))
		return
	fi
	case ${COMP_WORDS[1]} in
	help) words='%[1]s' ;;
`, strings.Join(commandNames(), " "))
	for _, c := range commands() {
		fmt.Fprintf(w, "\t%s) words='%s' ;;\n", c.name, strings.Join(append(c.flagNames(), c.values...), " "))
	}
	fmt.Fprint(w, `	esac
	COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -o default -F _edgews edgews
`)
}

func writeZsh(w io.Writer) {
	fmt.Fprint(w, "#compdef edgews\n# Completions of edgews for zsh.\n_edgews() {\n\tlocal -a commands offers\n\tcommands=(\n\t\t'help:print help'\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "\t\t%s\n", single(c.name+":"+c.summary))
	}
	fmt.Fprint(w, "\t)\n\tif (( CURRENT == 2 )); then\n\t\t_describe command commands\n\t\treturn\n\tfi\n\tcase ${words[2]} in\n")
	fmt.Fprint(w, "\thelp) _describe command commands; return ;;\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "\t%s) offers=(", c.name)
		fs, _ := c.flags()
		fs.VisitAll(func(f *flag.Flag) { fmt.Fprintf(w, "\n\t\t%s", single("-"+f.Name+":"+firstLine(f))) })
		for _, v := range c.values {
			fmt.Fprintf(w, "\n\t\t%s", single(v))
		}
		fmt.Fprint(w, ") ;;\n")
	}
	fmt.Fprint(w, "\tesac\n\t(( ${#offers} )) && _describe -o option offers\n\t_files\n}\ncompdef _edgews edgews\n")
}

func writeFish(w io.Writer) {
	fmt.Fprint(w, "# Completions of edgews for fish.\ncomplete -c edgews -n __fish_use_subcommand -f -a help -d 'print help'\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "complete -c edgews -n __fish_use_subcommand -f -a %s -d %s\n", c.name, single(c.summary))
		fmt.Fprintf(w, "complete -c edgews -n '__fish_seen_subcommand_from help' -f -a %s\n", c.name)
		within := single("__fish_seen_subcommand_from " + c.name)
		for _, v := range c.values {
			fmt.Fprintf(w, "complete -c edgews -n %s -f -a %s\n", within, v)
		}
		fs, _ := c.flags()
		fs.VisitAll(func(f *flag.Flag) {
			value := " -r"
			if b, ok := f.Value.(interface{ IsBoolFlag() bool }); ok && b.IsBoolFlag() {
				value = ""
			}
			fmt.Fprintf(w, "complete -c edgews -n %s -o %s%s -d %s\n", within, f.Name, value, single(firstLine(f)))
		})
	}
}

// firstLine returns the beginning of the meaning of a flag, without the marks around the word for its value.
func firstLine(f *flag.Flag) string {
	_, meaning := flag.UnquoteUsage(f)
	line, _, _ := strings.Cut(meaning, "\n")
	return line
}

// single returns text in single quotes, as bash and zsh read them. fish reads a backslash in them, too; no text here has one.
func single(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
