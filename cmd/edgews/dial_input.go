package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// input is where lines come from.
type input struct {
	next        func() (string, error) // io.EOF after the last line
	interactive bool                   // a person types them
}

// inputLine is a line, without its end, or why there is none.
type inputLine struct {
	text string
	err  error
}

// newInput returns the lines of r, or all of r as one.
func newInput(r io.Reader, whole bool) *input {
	if whole {
		read := false
		return &input{next: func() (string, error) {
			if read {
				return "", io.EOF
			}
			read = true
			all, err := io.ReadAll(r)
			return string(all), err
		}}
	}
	lines := bufio.NewReader(r)
	return &input{next: func() (string, error) {
		text, err := lines.ReadString('\n')
		if errors.Is(err, io.EOF) && text != "" {
			err = nil // the last line has no end
		}
		return strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r"), err
	}}
}

// lines returns a channel of the input's lines. The goroutine that reads ends after an error, after ctx, or with the process if stdin has
// nothing more to say.
func (in *input) lines(ctx context.Context) <-chan inputLine {
	lines := make(chan inputLine)
	go func() {
		for {
			text, err := in.next()
			select {
			case lines <- inputLine{text, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return lines
}

// openTerminal puts the terminal into raw mode and returns what is typed, with a line editor and a history. Everything that is printed goes
// through the editor, so that it does not mix with the line that is being typed. restore undoes this.
func (d *dial) openTerminal(interrupt context.CancelCauseFunc) (in *input, restore func(), err error) {
	keyboard := d.env.stdin.(*os.File)
	screen := terminalOf(d.env.stdout, d.env.stderr)
	if screen == nil {
		return newInput(keyboard, false), func() {}, nil
	}
	before, err := term.MakeRaw(int(keyboard.Fd()))
	if err != nil {
		return nil, nil, fmt.Errorf("the terminal: %w", err)
	}
	editor := term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{&keys{keyboard, interrupt}, screen}, "> ")
	resize := func() {
		if columns, rows, err := term.GetSize(int(screen.Fd())); err == nil && columns > 0 && rows > 0 {
			_ = editor.SetSize(columns, rows)
		}
	}
	resize()
	d.print.through(&resizing{editor, resize})
	d.note("lines are sent as messages; /help lists the commands, ^D closes the socket")
	restore = func() {
		d.print.through(nil)
		editor.SetPrompt("")
		_ = term.Restore(int(keyboard.Fd()), before)
		fmt.Fprint(screen, "\r\x1b[K")
	}
	return &input{next: editor.ReadLine, interactive: true}, restore, nil
}

// terminalOf returns the first of streams that is a terminal, or nil.
func terminalOf(streams ...io.Writer) *os.File {
	for _, s := range streams {
		if isTerminal(s) {
			return s.(*os.File)
		}
	}
	return nil
}

// keys reads from the keyboard and notices ^C, which is only a byte in raw mode.
type keys struct {
	keyboard  io.Reader
	interrupt context.CancelCauseFunc
}

func (k *keys) Read(p []byte) (int, error) {
	n, err := k.keyboard.Read(p)
	const controlC = 3
	for _, b := range p[:n] {
		if b == controlC {
			k.interrupt(&signalError{os.Interrupt})
		}
	}
	return n, err
}

// resizing is a writer that looks at the size of the terminal first, since no signal tells of changes on all systems.
type resizing struct {
	editor *term.Terminal
	resize func()
}

func (r *resizing) Write(p []byte) (int, error) {
	r.resize()
	return r.editor.Write(p)
}
