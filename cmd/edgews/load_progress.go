package main

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// progressEvery is how often the line is drawn.
const progressEvery = 100 * time.Millisecond

// progress draws one line on stderr while load runs, if that is a terminal. If it is not, it prints a line when a phase begins.
type progress struct {
	env     *env
	load    *load
	colours bool
	done    chan struct{}
	drawn   sync.WaitGroup

	mu    sync.Mutex
	name  string
	since time.Time
}

// newProgress begins with the phase of opening.
func newProgress(e *env, l *load) *progress {
	p := &progress{env: e, load: l, colours: e.colours(e.stderr), done: make(chan struct{}), name: "opening", since: time.Now()}
	if isTerminal(e.stderr) {
		p.drawn.Go(p.draw)
	}
	return p
}

// phase begins the next phase.
func (p *progress) phase(name string) {
	c := p.load.snapshot()
	if name == "measuring" && !isTerminal(p.env.stderr) {
		p.env.note("edgews: %d of %d sockets are open after %s", c.opened, p.load.sockets, brief(time.Since(p.since)))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.name, p.since = name, time.Now()
}

// end removes the line.
func (p *progress) end() {
	close(p.done)
	p.drawn.Wait()
}

// draw draws the line until end.
func (p *progress) draw() {
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	for {
		line := p.line(width(p.env.stderr) - len("^C ")) // the terminal prints ^C behind it, and a full line would begin the next one
		fmt.Fprintf(p.env.stderr, "\r%s\x1b[K", line)
		select {
		case <-tick.C:
		case <-p.done:
			fmt.Fprint(p.env.stderr, "\r\x1b[K")
			return
		}
	}
}

// line returns the line, of at most columns characters besides colours.
func (p *progress) line(columns int) string {
	p.mu.Lock()
	name, since := p.name, p.since
	p.mu.Unlock()
	c, l := p.load.snapshot(), p.load
	share, text := 0.0, ""
	switch name {
	case "opening":
		share = float64(c.tried) / float64(l.sockets)
		text = fmt.Sprintf("%d/%d open  %.0f/s  p99 %s  %d failed", c.opened, l.sockets, float64(c.tried)/max(time.Since(since).Seconds(), 0.1),
			brief(l.opening.quantile(0.99)), sum(c.failed))
	case "measuring":
		share = time.Since(since).Seconds() / max(l.duration.Seconds(), 0.001)
		answers := &l.pings
		if l.echo {
			answers = &l.echoes
		}
		text = fmt.Sprintf("%d open  %d sent  %d received  p99 %s  %d lost", c.opened-c.ended, c.sent, c.received, brief(answers.quantile(0.99)), sum(c.lost))
	default:
		share = float64(c.ended) / float64(max(c.opened, 1))
		text = fmt.Sprintf("%d left", c.opened-c.ended)
	}
	return p.compose(name, min(share, 1), text, columns)
}

// compose puts a bar of what is left of columns between the name of the phase and text.
func (p *progress) compose(name string, share float64, text string, columns int) string {
	const least, most = 4, 30
	room := min(columns-len(name)-len(text)-len("  []  "), most)
	if room < least {
		line := name + "  " + text
		return line[:min(len(line), max(columns, 0))]
	}
	full := int(share * float64(room))
	bar := strings.Repeat("#", full)
	if p.colours {
		bar = "\x1b[36m" + bar + "\x1b[0m"
	}
	return fmt.Sprintf("%s  [%s%s]  %s", name, bar, strings.Repeat(".", room-full), text)
}
