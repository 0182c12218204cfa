package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/edgews/edgews/inspect"
)

// How a screen is drawn: xterm's sequences, which every terminal of today knows.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l" // a screen of its own, without a cursor
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	toTop       = "\x1b[H"
	eraseLine   = "\x1b[K"
	eraseBelow  = "\x1b[J"
)

// paper returns what the table is printed on.
func (i *inspection) paper() paper {
	if !isTerminal(i.env.stdout) {
		return paper{}
	}
	return paper{columns: width(i.env.stdout), bold: i.env.colours(i.env.stdout)}
}

// showAgainAndAgain prints the table until ctx or the connection ends.
func (i *inspection) showAgainAndAgain(ctx context.Context) error {
	show := i.printAgain
	if isTerminal(i.env.stdout) && !i.json {
		show = i.redraw
		fmt.Fprint(i.env.stdout, enterScreen)
		defer fmt.Fprint(i.env.stdout, leaveScreen)
	}
	tick := time.NewTicker(i.every)
	defer tick.Stop()
	for {
		if err := show(ctx); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-i.client.socket.Done():
			return fmt.Errorf("the server has ended the connection: %w", i.client.socket.Err())
		case <-ctx.Done():
			return cause(ctx)
		}
	}
}

// printAgain prints the table after those before. Of the log it prints only what is new.
func (i *inspection) printAgain(ctx context.Context) error {
	first := i.printed == 0
	r, err := i.read(ctx, defaultInspectRows)
	if err != nil {
		return err
	}
	if log, ok := r.reply.(inspect.LogList); ok {
		i.seen = max(i.seen, log.Last)
		if len(log.Entries) == 0 && !first {
			return nil
		}
		r.sheets[0].headless = !first
	} else if !first && !i.json {
		fmt.Fprintln(i.env.stdout)
	}
	i.printed++
	if i.json {
		return writeJSON(i.env.stdout, r.reply, "")
	}
	return r.write(i.env.stdout, i.paper())
}

// redraw draws the table over the one before. It shows as many rows as fit.
func (i *inspection) redraw(ctx context.Context) error {
	lines := height(i.env.stdout)
	r, err := i.read(ctx, max(lines-4, 1)) // besides the first line, the headings and what is selected
	if err != nil {
		return err
	}
	p := i.paper()
	var text bytes.Buffer
	status := fmt.Sprintf("edgews inspect %s at %s, every %s; ^C ends", i.table, time.Now().Format(time.TimeOnly), i.every)
	if more := r.more(); more != "" {
		status += "; " + more
	}
	fmt.Fprintln(&text, clip(status, p.columns))
	if err := r.write(&text, p); err != nil {
		return err
	}
	shown := strings.Split(strings.TrimSuffix(text.String(), "\n"), "\n")
	shown = shown[:min(len(shown), lines)]
	_, err = io.WriteString(i.env.stdout, toTop+strings.Join(shown, eraseLine+"\r\n")+eraseLine+eraseBelow)
	return err
}

// height returns the number of lines of the terminal w, 24 if that is not known.
func height(w io.Writer) int {
	if f, ok := w.(*os.File); ok {
		if _, lines, err := term.GetSize(int(f.Fd())); err == nil && lines > 0 {
			return lines
		}
	}
	return 24
}
