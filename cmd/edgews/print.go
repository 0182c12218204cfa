package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"sync"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/edgews/edgews"
)

// printFlags say how messages are printed.
type printFlags struct {
	format string
	pretty string
	limit  int
}

func (p *printFlags) define(fs *flag.FlagSet) {
	fs.StringVar(&p.format, "format", "text", "how messages are printed (`format`): text escapes control characters and shows bytes as hex,\n"+
		"json is one object per line, raw is what has arrived, which a terminal does not get")
	fs.StringVar(&p.pretty, "pretty", "auto", "`when` to indent messages that are JSON: always, never, or auto, which is on a terminal")
	fs.IntVar(&p.limit, "limit", -1, "print this many `bytes` of a message; 0: all. Without the flag 64 KiB on a terminal, all elsewhere")
}

// Limits of what a terminal shows of one message: beyond, a person does not read it. A dump needs five columns for a byte.
const (
	terminalLimit = 64 << 10
	dumpLimit     = 1 << 10
)

// printer prints messages on stdout and notes on stderr, whole lines at a time. It is safe for concurrent use.
type printer struct {
	format   string
	pretty   bool
	limit    int // bytes of a message; 0: all
	terminal bool

	mu       sync.Mutex
	out, err stream
	count    int // messages printed
	editor   io.Writer
}

// stream is an output, and what marks its lines.
type stream struct {
	w              io.Writer
	terminal       bool
	mark, colour   string
	restoreColours string
}

// newPrinter returns a printer for e.
func newPrinter(e *env, flags printFlags) (*printer, error) {
	p := &printer{format: flags.format, limit: flags.limit, terminal: isTerminal(e.stdout)}
	switch {
	case p.format != "text" && p.format != "json" && p.format != "raw":
		return nil, &usageError{err: fmt.Errorf("-format %s: it is text, json or raw", quote(p.format))}
	case p.format == "raw" && p.terminal:
		return nil, &usageError{err: errors.New("-format raw: what a peer sends must not control the terminal; send stdout to a file or a program")}
	}
	switch flags.pretty {
	case "always", "never":
		p.pretty = flags.pretty == "always"
	case "auto":
		p.pretty = p.terminal
	default:
		return nil, &usageError{err: fmt.Errorf("-pretty %s: it is always, never or auto", quote(flags.pretty))}
	}
	if p.limit < 0 {
		p.limit = 0
		if p.terminal {
			p.limit = terminalLimit
		}
	}
	p.out = newStream(e, e.stdout, "< ", "\x1b[36m")
	p.err = newStream(e, e.stderr, "edgews: ", "\x1b[2m")
	if !p.terminal {
		p.out.mark = "" // stdout has the messages and nothing else
	}
	return p, nil
}

func newStream(e *env, w io.Writer, mark, colour string) stream {
	s := stream{w: w, mark: mark, terminal: isTerminal(w)}
	if e.colours(w) {
		s.colour, s.restoreColours = colour, "\x1b[0m"
	}
	return s
}

// through makes everything that is meant for a terminal go to editor; nil ends this.
func (p *printer) through(editor io.Writer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.editor = editor
}

// message prints a message on stdout.
func (p *printer) message(m edgews.Message) {
	var text []byte
	switch p.format {
	case "json":
		text = messageJSON(m)
	case "raw":
		text = append(text, m.Data...)
		if m.Kind == edgews.Text {
			text = append(text, '\n')
		}
	default:
		text = []byte(p.text(m))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count++
	if p.format == "text" {
		p.writeLocked(&p.out, text)
		return
	}
	_, _ = p.destinationLocked(&p.out).Write(text)
}

// messages returns how many messages have been printed.
func (p *printer) messages() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count
}

// note prints a line on stderr.
func (p *printer) note(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.writeLocked(&p.err, fmt.Appendf(nil, format, args...))
}

// writeLocked writes a line with the mark of s.
func (p *printer) writeLocked(s *stream, text []byte) {
	line := fmt.Appendf(nil, "%s%s%s%s\n", s.colour, s.mark, s.restoreColours, text)
	_, _ = p.destinationLocked(s).Write(line) // an error of stdout of stdout has no other place to go to
}

// destinationLocked returns where what is meant for s goes.
func (p *printer) destinationLocked(s *stream) io.Writer {
	if p.editor != nil && s.terminal {
		return p.editor
	}
	return s.w
}

// text returns a message as text that is safe to print.
func (p *printer) text(m edgews.Message) string {
	if m.Kind == edgews.Binary {
		return p.hex(m.Data)
	}
	data := m.Data
	indented := p.pretty && json.Valid(data) && len(data) > 0 && (data[0] == '{' || data[0] == '[')
	if indented {
		var b bytes.Buffer
		if json.Indent(&b, data, "", "  ") == nil {
			data = b.Bytes()
		}
	}
	as := onOneLine
	if p.terminal || indented {
		as = onLines
	}
	shown, rest := cut(data, p.limit)
	return escape(string(shown), as) + rest
}

// hex returns bytes as hex: on a terminal as a dump with offsets, elsewhere on one line.
func (p *printer) hex(data []byte) string {
	if !p.terminal {
		shown, rest := cut(data, p.limit)
		return hex.EncodeToString(shown) + rest
	}
	shown, rest := cut(data, min(p.limit, dumpLimit))
	text := fmt.Sprintf("%d bytes", len(data))
	for _, line := range bytes.Split(bytes.TrimSpace([]byte(hex.Dump(shown))), []byte("\n")) {
		text += "\n  " + string(line)
	}
	return text + rest
}

// cut returns the first limit bytes of data, and a text about what is left out; limit 0 leaves out nothing.
func cut(data []byte, limit int) (shown []byte, rest string) {
	if limit <= 0 || len(data) <= limit {
		return data, ""
	}
	return data[:limit], fmt.Sprintf(" (%d bytes more)", len(data)-limit)
}

// messageJSON returns a message as a JSON object on one line.
func messageJSON(m edgews.Message) []byte {
	v := struct {
		Time time.Time `json:"time"`
		Kind string    `json:"kind"`
		Text *string   `json:"text,omitempty"`
		Data []byte    `json:"data,omitempty"` // in base64
	}{Time: time.Now(), Kind: m.Kind.String(), Data: m.Data}
	if m.Kind == edgews.Text {
		text := string(m.Data)
		v.Text, v.Data = &text, nil
	}
	line, err := json.Marshal(v)
	if err != nil {
		panic(err) // the type has nothing that cannot be JSON
	}
	return append(escapeJSON(line), '\n')
}

// escapeJSON escapes the characters in a JSON text that escape would escape, as JSON does: json.Marshal leaves DEL, C1 and others as they are. The ends of
// lines between the values are kept.
func escapeJSON(text []byte) []byte {
	if safe(string(text)) {
		return text
	}
	var b []byte
	for _, r := range string(text) {
		if visible(r) || r == '\n' {
			b = utf8.AppendRune(b, r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			b = fmt.Appendf(b, `\u%04x`, unit)
		}
	}
	return b
}

// brief returns d with three digits or so.
func brief(d time.Duration) string {
	for unit := time.Duration(1); unit < time.Hour; unit *= 10 {
		if d < unit*1000 {
			return d.Round(unit).String()
		}
	}
	return d.Round(time.Second).String()
}
