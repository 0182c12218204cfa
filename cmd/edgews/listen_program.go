package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/edgews/edgews"
)

const (
	programGrace  = 5 * time.Second // how long a process may run after its socket has ended
	programOutput = time.Second     // how long a child of the process may keep stdout open after its end

	// programLine is the longest line of stdout that becomes one message, in bytes: as MaxMessageSize. A longer one becomes several.
	programLine = 32 << 20
)

// runProgram starts the program and carries messages between it and s, until both have ended.
func (l *listen) runProgram(s *edgews.Socket, r *http.Request, n int64) error {
	ctx, kill := context.WithCancel(context.Background())
	defer kill()
	cmd := exec.CommandContext(ctx, l.program[0], l.program[1:]...)
	cmd.Env = append(os.Environ(), "EDGEWS_REMOTE="+r.RemoteAddr, "EDGEWS_PATH="+r.URL.EscapedPath(), "EDGEWS_QUERY="+r.URL.RawQuery,
		"EDGEWS_PROTOCOL="+s.Protocol())
	cmd.WaitDelay = programOutput
	inOwnGroup(cmd)
	out := &messageWriter{socket: s, binary: l.binary}
	complaints := &noteWriter{env: l.env, prefix: fmt.Sprintf("edgews: %d: ", n)}
	cmd.Stdout, cmd.Stderr = out, complaints
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return errors.Join(err, s.Accept(), s.Close(edgews.StatusInternalError, "the program does not start"))
	}
	fed := make(chan struct{})
	go func() {
		defer close(fed)
		l.feed(s, in)
		time.AfterFunc(programGrace, kill)
	}()
	err = cmd.Wait()
	out.end()
	complaints.end()
	closeAfter(s, err)
	<-fed
	return nil
}

// feed writes the messages of s to the process, and closes its stdin when s ends. It keeps taking messages when the process takes none.
func (l *listen) feed(s *edgews.Socket, in io.WriteCloser) {
	defer in.Close()
	for m, err := range s.Messages(context.Background()) {
		if err != nil {
			return
		}
		data := m.Data
		if !l.binary {
			data = append(data[:len(data):len(data)], '\n')
		}
		_, _ = in.Write(data) // it fails if the process has closed its stdin or has ended, which Wait finds out
	}
}

// closeAfter closes s as the exit of its process says.
func closeAfter(s *edgews.Socket, exit error) {
	code, reason := edgews.StatusNormalClosure, ""
	if exit != nil {
		code, reason = edgews.StatusInternalError, "the program has failed"
	}
	_ = s.Close(code, reason) // ErrClosed: the peer was first
}

// messageWriter sends what is written to it: each line as a text message, or everything as it comes as binary messages. A write waits while
// the peer takes nothing, so the process waits as well.
type messageWriter struct {
	socket *edgews.Socket
	binary bool
	line   []byte // that has no end yet
}

func (w *messageWriter) Write(p []byte) (int, error) {
	if w.binary {
		return len(p), w.socket.Write(w.socket.Context(), edgews.Binary, p)
	}
	rest := p
	for {
		line, after, found := bytes.Cut(rest, []byte{'\n'})
		w.line = append(w.line, line...)
		if !found && len(w.line) < programLine {
			return len(p), nil
		}
		if err := w.send(); err != nil {
			return 0, err
		}
		if rest = after; !found {
			return len(p), nil
		}
	}
}

// send sends the line. Bytes that are not UTF-8 become U+FFFD, since a text message cannot have them.
func (w *messageWriter) send() error {
	text := strings.ToValidUTF8(strings.TrimSuffix(string(w.line), "\r"), "\ufffd")
	w.line = w.line[:0]
	return w.socket.Write(w.socket.Context(), edgews.Text, []byte(text))
}

// end sends a last line that has no end.
func (w *messageWriter) end() {
	if len(w.line) > 0 {
		_ = w.send() // it fails if the socket has ended
	}
}

// noteWriter prints each line that is written to it as a note, escaped: it may contain what a peer has sent.
type noteWriter struct {
	env    *env
	prefix string
	line   []byte
}

// maxNote is the longest line of a note, in bytes; a longer one becomes several.
const maxNote = 4 << 10

func (w *noteWriter) Write(p []byte) (int, error) {
	for _, b := range p {
		if b == '\n' || len(w.line) == maxNote {
			w.flush()
		}
		if b != '\n' {
			w.line = append(w.line, b)
		}
	}
	return len(p), nil
}

func (w *noteWriter) flush() {
	w.env.note("%s%s", w.prefix, escape(string(w.line), onOneLine))
	w.line = w.line[:0]
}

func (w *noteWriter) end() {
	if len(w.line) > 0 {
		w.flush()
	}
}
