package edgewstest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edgews/edgews"
)

// Recorder writes down what happens on a socket, one line for each event:
//
//	open
//	text "hello"
//	binary "\x00\x01"
//	text of 70000 bytes, SHA-256 5d41402a
//	error edgews: nothing received for 30s, and no pong for 15s
//	close 1000 "bye" clean=true
//	sent text "hello"
//	sent close 1000 "bye"
//
// The transcript begins with the call of [Record]. Only a socket of [edgews.NewWebSocket] has the line "open": the others are open from the
// start. Lines that begin with "sent" come from the Recorder's own methods Send, SendBytes and
// Close; the others from events. Texts are quoted as Go strings, and payloads of more than 1000 bytes are described by their size.
//
// Messages are recorded in both styles. With listeners, call Accept on the socket after Record. With a loop, call [Recorder.Receive] or
// [Recorder.Messages] instead of the socket's methods. To record a socket whose messages the program under test receives, record the other end.
//
// The methods may be called from any goroutine, except Next and those whose names begin with Want: they may end the test.
type Recorder struct {
	// Patience is how long Want, WantEnd and Next wait for the next line; a minute after Record. Raise it in a synctest bubble if
	// the program under test waits longer. Set it before the methods are used.
	Patience time.Duration

	t testing.TB
	s *edgews.Socket

	mu sync.Mutex
	// Guarded by mu.
	lines   []line
	checked int           // the number of lines that Want has taken
	added   chan struct{} // closed when a line is added
}

// Record begins a transcript of s. Call it before Accept, so that it misses nothing.
func Record(t testing.TB, s *edgews.Socket) *Recorder {
	r := &Recorder{Patience: patience, t: t, s: s, added: make(chan struct{})}
	s.OnOpen(func(edgews.OpenEvent) { r.add(line{text: "open"}) })
	s.OnMessage(func(e edgews.MessageEvent) { r.add(messageLine(e.Message)) })
	s.OnError(func(e edgews.ErrorEvent) { r.add(line{text: "error " + e.Err.Error()}) })
	s.OnClose(func(e edgews.CloseEvent) { r.add(line{text: CloseLine(e.Code, e.Reason, e.WasClean)}) })
	return r
}

// line is one line of a transcript.
type line struct {
	text  string
	sized string // for a message: its kind and size, as "text of 5 bytes"; otherwise ""
}

// maxDisplayed is the longest payload that a line has in full, in bytes.
const maxDisplayed = 1000

// displayed returns a payload as a line has it.
func displayed[T string | []byte](payload T) string {
	if len(payload) <= maxDisplayed {
		return fmt.Sprintf("%q", payload)
	}
	sum := sha256.Sum256([]byte(payload))
	return fmt.Sprintf("of %d bytes, SHA-256 %x", len(payload), sum[:4])
}

func messageLine(m edgews.Message) line {
	return line{text: MessageLine(m), sized: fmt.Sprintf("%v of %d bytes", m.Kind, len(m.Data))}
}

// MessageLine returns the line of a received message, for a transcript that a test computes.
func MessageLine(m edgews.Message) string {
	return fmt.Sprintf("%v %s", m.Kind, displayed(m.Data))
}

// CloseLine returns the line of a close event.
func CloseLine(code edgews.StatusCode, reason string, clean bool) string {
	return fmt.Sprintf("close %d %q clean=%t", uint16(code), reason, clean)
}

func (r *Recorder) add(l line) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.addLocked(l)
}

func (r *Recorder) addLocked(l line) {
	r.lines = append(r.lines, l)
	close(r.added)
	r.added = make(chan struct{})
}

// Socket returns the socket that is recorded.
func (r *Recorder) Socket() *edgews.Socket { return r.s }

// Receive is [edgews.Socket.Receive], and records the message.
func (r *Recorder) Receive(ctx context.Context) (edgews.Message, error) {
	m, err := r.s.Receive(ctx)
	if err == nil {
		r.add(messageLine(m))
	}
	return m, err
}

// Messages is [edgews.Socket.Messages], and records each message before the loop gets it.
func (r *Recorder) Messages(ctx context.Context) iter.Seq2[edgews.Message, error] {
	return func(yield func(edgews.Message, error) bool) {
		for m, err := range r.s.Messages(ctx) {
			if err == nil {
				r.add(messageLine(m))
			}
			if !yield(m, err) {
				return
			}
		}
	}
}

// Send is [edgews.Socket.Send], and records the message, unless it returns an error.
func (r *Recorder) Send(text string) error {
	return r.sending("text "+displayed(text), func() error { return r.s.Send(text) })
}

// SendBytes is [edgews.Socket.SendBytes], and records the message, unless it returns an error.
func (r *Recorder) SendBytes(p []byte) error {
	return r.sending("binary "+displayed(p), func() error { return r.s.SendBytes(p) })
}

// Close is [edgews.Socket.Close], and records it, unless it returns an error.
func (r *Recorder) Close(code edgews.StatusCode, reason string) error {
	return r.sending(fmt.Sprintf("close %d %q", uint16(code), reason), func() error { return r.s.Close(code, reason) })
}

// sending records what send sends. It locks mu during both, so that the line stands before that of an answer.
func (r *Recorder) sending(text string, send func() error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := send(); err != nil { // it does not wait, and calls no listener
		return err
	}
	r.addLocked(line{text: "sent " + text})
	return nil
}

// Note adds a line of the test's own, for example when a function of the program under test is called.
func (r *Recorder) Note(text string) { r.add(line{text: text}) }

// Next takes the next line and returns it, and waits for it as Want does: for a test that computes what it expects.
func (r *Recorder) Next() string {
	r.t.Helper()
	l, why := r.await(0, r.Patience, true)
	if why != "" {
		r.t.Fatalf("edgewstest: %s has no further line: %s\n%s", r.name(), why, r.transcript())
		return ""
	}
	r.take(1)
	return l.text
}

// Lines returns the transcript so far.
func (r *Recorder) Lines() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return texts(r.lines)
}

// Rest returns the lines that Want has not taken yet.
func (r *Recorder) Rest() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return texts(r.lines[r.checked:])
}

func texts(lines []line) []string {
	all := make([]string, len(lines))
	for i, l := range lines {
		all[i] = l.text
	}
	return all
}

// String returns the transcript so far, each line with a line break.
func (r *Recorder) String() string {
	var b strings.Builder
	for _, text := range r.Lines() {
		b.WriteString(text + "\n")
	}
	return b.String()
}

// Want expects that the next lines of the transcript are these, and waits for each for as long as Patience. At the first that is different it
// ends the test with a diff. Each call goes on where the last one ended.
//
// A wanted line that begins with "error " matches an error whose text contains the rest: error texts are not part of edgews' API.
// "text of 70000 bytes" matches every text of that size.
func (r *Recorder) Want(lines ...string) {
	r.t.Helper()
	r.want(lines)
}

// want is Want. It returns false if t.Fatal has returned, which only that of a fake TB does.
func (r *Recorder) want(lines []string) bool {
	r.t.Helper()
	for i, want := range lines {
		got, why := r.await(i, r.Patience, true)
		if why == "" && got.matches(want) {
			continue
		}
		if why == "" {
			<-time.After(settleTime)
		}
		r.t.Fatal(r.mismatch(lines, why))
		return false
	}
	r.take(len(lines))
	return true
}

// WantEnd is Want for the last lines of the transcript: the last of them is the close event. It also checks that Done is closed and
// that Err tells the same end.
func (r *Recorder) WantEnd(lines ...string) {
	r.t.Helper()
	if !r.want(lines) {
		return
	}
	select {
	case <-r.s.Done():
	case <-time.After(r.Patience):
		r.t.Fatalf("edgewstest: %s has not ended after %v: it is %v\n%s", r.name(), r.Patience, r.s.ReadyState(), r.transcript())
		return
	}
	if rest := r.Rest(); len(rest) > 0 {
		r.t.Fatal(r.mismatch(nil, ""))
		return
	}
	end, ok := errors.AsType[*edgews.CloseError](r.s.Err())
	if !ok {
		r.t.Fatalf("edgewstest: %s: Err is %v, not a *edgews.CloseError", r.name(), r.s.Err())
		return
	}
	if told := CloseLine(end.Code, end.Reason, end.WasClean); len(lines) > 0 && told != lines[len(lines)-1] {
		r.t.Fatalf("edgewstest: %s: Err does not tell the end that is wanted (-), but another (+):\n%s", r.name(), lineDiff(lines[len(lines)-1], told))
	}
}

// WantNothing expects that no line is added for a time, beyond those that Want has taken. It waits that long: use it in a synctest bubble.
func (r *Recorder) WantNothing(d time.Duration) {
	r.t.Helper()
	if _, why := r.await(0, d, false); why == "" {
		r.t.Fatal(r.mismatch(nil, ""))
	}
}

// take notes that n more lines have been checked.
func (r *Recorder) take(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.checked += n
}

// settleTime is how long Want waits for further lines for its diff.
const settleTime = 100 * time.Millisecond

// afterDone is how long lines may come after the end of the socket: those of messages that a loop still receives.
const afterDone = time.Second

// await returns the i-th line that has not been checked. If there is none for a time, or none before the end if untilEnd, why says so.
func (r *Recorder) await(i int, patience time.Duration, untilEnd bool) (l line, why string) {
	late := time.NewTimer(patience)
	defer late.Stop()
	var done <-chan struct{}
	if untilEnd {
		done = r.s.Done()
	}
	var ended <-chan time.Time // afterDone after done
	for {
		r.mu.Lock()
		if at := r.checked + i; at < len(r.lines) {
			defer r.mu.Unlock()
			return r.lines[at], ""
		}
		added := r.added
		r.mu.Unlock()
		select {
		case <-added:
		case <-done:
			done, ended = nil, time.After(afterDone)
		case <-ended:
			return line{}, "the socket has ended"
		case <-late.C:
			return line{}, fmt.Sprintf("nothing more has come for %v; the socket is %v", patience, r.s.ReadyState())
		}
	}
}

// matches reports whether the line is the one that is wanted.
func (l line) matches(want string) bool {
	if part, ok := strings.CutPrefix(want, "error "); ok {
		text, ok := strings.CutPrefix(l.text, "error ")
		return ok && strings.Contains(text, part)
	}
	return l.text == want || l.sized != "" && l.sized == want
}
