package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/edgews/edgews"
)

var dialCommand = &command{
	name:    "dial",
	args:    "URL",
	summary: "open a socket to a server and talk to it",
	help: `
The URL may have the scheme ws, wss, http or https. Each line that is typed is sent as a text message, and what the server sends is
printed: text with control characters escaped, binary messages as hex. Lines that begin with / are commands; /help lists them. ^D closes
the socket.

If stdin is not a terminal, its lines are sent in the same way: a script. After its end the socket is closed when nothing has arrived for
the time of -wait. /expect REGEXP waits for a message that matches, and ends the command with 4 if none comes. If the server closes first, the
script's messages that are left are not sent, but what it expects is still checked.

Messages go to stdout, everything else to stderr.`,
	examples: []string{
		"edgews dial ws://localhost:8080/ws",
		"edgews dial -H 'Authorization: Bearer 123' -protocol chat.v2 wss://example.com/socket",
		"echo '{\"type\":\"hello\"}' | edgews dial -count 1 wss://example.com/socket | jq .",
		"printf '%s\\n' hello '/expect ^hello' | edgews dial ws://localhost:8080/ws || echo no answer",
	},
	least: 1, greatest: 1,
	setup: func(fs *flag.FlagSet) runner {
		d := new(dial)
		d.define(fs)
		return d.run
	},
}

// dial is the command dial: its flags, and the conversation while it runs.
type dial struct {
	dialFlags
	printFlags
	ping     time.Duration
	wait     time.Duration
	patience time.Duration
	count    int
	maxSize  int64
	plain    bool
	whole    bool
	binary   bool
	quiet    bool

	env     *env
	print   *printer
	socket  *edgews.Socket
	arrived chan struct{} // has a token when a message has arrived since the last look
	recent  recent
	counted chan struct{} // closed when -count messages have arrived
}

func (d *dial) define(fs *flag.FlagSet) {
	d.dialFlags.define(fs)
	d.printFlags.define(fs)
	fs.DurationVar(&d.ping, "ping", 0, "send a ping this often and print how long its answer took; 0: never")
	fs.DurationVar(&d.wait, "wait", time.Second, "after the end of stdin, close when nothing has arrived for this long;\nnegative: stay until the server closes")
	fs.DurationVar(&d.patience, "patience", 5*time.Second, "how long /expect waits")
	fs.IntVar(&d.count, "count", 0, "close after this many `messages`; 4 is the exit code if there are fewer")
	fs.Int64Var(&d.maxSize, "max-size", 0, "the largest message that is received, in `bytes`; 0: 32 MiB")
	fs.BoolVar(&d.plain, "plain", false, "lines that begin with / are messages too")
	fs.BoolVar(&d.whole, "whole", false, "send all of stdin as one message")
	fs.BoolVar(&d.binary, "binary", false, "send binary messages, not text")
	fs.BoolVar(&d.quiet, "quiet", false, "print messages and errors only")
}

// run opens the socket and talks until one side ends it.
func (d *dial) run(ctx context.Context, e *env, args []string) error {
	opts, err := d.options()
	if err != nil {
		return err
	}
	opts.MaxMessageSize = d.maxSize
	d.env, d.arrived, d.counted = e, make(chan struct{}, 1), make(chan struct{})
	if d.print, err = newPrinter(e, d.printFlags); err != nil {
		return err
	}
	s, resp, err := edgews.Dial(ctx, args[0], opts)
	if err != nil {
		return d.dialError(ctx, err, func() error { return refusal(err, resp) })
	}
	d.socket = s
	d.note("connected to %s%s", escape(s.URL(), onOneLine), agreed(s))
	return d.talk(ctx)
}

// dialError returns why there is no socket: the signal if ctx has ended, wrong usage if the error is about the arguments.
func (d *dial) dialError(ctx context.Context, err error, answer func() error) error {
	if ctx.Err() != nil {
		return cause(ctx)
	}
	if isArgumentError(err) {
		return &usageError{err: err}
	}
	return answer()
}

// agreed describes what the handshake has agreed on.
func agreed(s *edgews.Socket) string {
	text := ""
	if p := s.Protocol(); p != "" {
		text += ", subprotocol " + escape(p, onOneLine)
	}
	if x := s.Extensions(); x != "" {
		text += ", " + escape(x, onOneLine)
	}
	return text
}

// talk sends what stdin has and prints what arrives, until both have ended or one side closes the socket.
func (d *dial) talk(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	input, restore, err := d.open(cancel)
	if err != nil {
		return err
	}
	defer restore()
	d.socket.OnMessage(d.receive)
	if err := d.socket.Accept(); err != nil {
		return err
	}
	if d.ping > 0 {
		go d.pingEvery(ctx)
	}
	mine, err := d.converse(ctx, input)
	if ctx.Err() != nil {
		err, mine = cause(ctx), true
		d.close(edgews.StatusGoingAway, "")
	}
	<-d.socket.Done() // Options.CloseTimeout bounds the wait
	if err != nil {
		return err
	}
	return d.outcome(mine)
}

// open returns the input that suits stdin, and a function that restores the terminal. interrupt is called for ^C.
func (d *dial) open(interrupt context.CancelCauseFunc) (*input, func(), error) {
	if isTerminal(d.env.stdin) && !d.whole {
		return d.openTerminal(interrupt)
	}
	return newInput(d.env.stdin, d.whole), func() {}, nil
}

// converse deals with the lines of input. At the end of the input it waits as -wait says and closes the socket. mine reports whether this side
// has closed the socket.
func (d *dial) converse(ctx context.Context, in *input) (mine bool, err error) {
	lines := in.lines(ctx)
	for {
		select {
		case <-ctx.Done():
			return true, nil
		case <-d.socket.Done():
			return false, d.checkRest(ctx, in, lines)
		case <-d.counted:
			return true, d.close(edgews.StatusNormalClosure, "")
		case l := <-lines:
			if errors.Is(l.err, io.EOF) {
				return d.finish(ctx, in.interactive)
			}
			if l.err != nil {
				return true, errors.Join(fmt.Errorf("stdin: %w", l.err), d.close(edgews.StatusGoingAway, ""))
			}
			closed, err := d.line(ctx, l.text)
			if err != nil && in.interactive && d.socket.Err() == nil {
				d.note("%s", errorText(err))
				continue
			}
			if errors.Is(err, edgews.ErrClosed) {
				return false, d.checkRest(ctx, in, lines)
			}
			if closed || err != nil {
				d.close(edgews.StatusNormalClosure, "")
				return true, err
			}
		}
	}
}

// restPatience is how long checkRest waits for a line: those of a script are there, while what feeds stdin may live on.
const restPatience = time.Second

// checkRest deals with the lines that a script still has when the server has ended the socket: what they expect must have arrived before. Otherwise
// the exit code would depend on which is read first, the script or the Close.
func (d *dial) checkRest(ctx context.Context, in *input, lines <-chan inputLine) error {
	if in.interactive || d.plain || d.whole {
		return nil
	}
	<-d.socket.Done()
	quiet := time.NewTimer(restPatience)
	defer quiet.Stop()
	for {
		select {
		case l := <-lines:
			if l.err != nil {
				return nil
			}
			if pattern, found := strings.CutPrefix(l.text, "/expect "); found {
				if err := d.expect(ctx, strings.TrimSpace(pattern)); err != nil {
					return err
				}
			}
			quiet.Reset(restPatience)
		case <-quiet.C:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// finish waits after the end of the input until nothing has arrived for the time of -wait, and closes the socket.
func (d *dial) finish(ctx context.Context, interactive bool) (mine bool, err error) {
	if interactive {
		return true, d.close(edgews.StatusNormalClosure, "")
	}
	quiet := time.NewTimer(max(d.wait, 0))
	defer quiet.Stop()
	for {
		expired := quiet.C
		if d.wait < 0 {
			expired = nil
		}
		select {
		case <-ctx.Done():
			return true, nil
		case <-d.socket.Done():
			return false, nil
		case <-d.counted:
			return true, d.close(edgews.StatusNormalClosure, "")
		case <-d.arrived:
			quiet.Reset(max(d.wait, 0))
		case <-expired:
			return true, d.close(edgews.StatusNormalClosure, "")
		}
	}
}

// close closes the socket. It is no error if the socket is closing already.
func (d *dial) close(code edgews.StatusCode, reason string) error {
	err := d.socket.Close(code, reason)
	if errors.Is(err, edgews.ErrClosed) {
		return nil
	}
	return err
}

// receive deals with a message that has arrived. It is a listener, so the socket waits while stdout takes nothing.
func (d *dial) receive(e edgews.MessageEvent) {
	d.print.message(e.Message)
	d.recent.add(e.Message)
	select {
	case d.arrived <- struct{}{}:
	default:
	}
	if d.print.messages() == d.count {
		close(d.counted)
	}
}

// outcome returns how the conversation has ended. mine reports whether this side has closed the socket.
func (d *dial) outcome(mine bool) error {
	err := d.socket.Err()
	c, ok := errors.AsType[*edgews.CloseError](err)
	if !ok {
		return err
	}
	sound := c.WasClean && (mine || c.Code == edgews.StatusNormalClosure || c.Code == edgews.StatusGoingAway || c.Code == edgews.StatusNoStatusRcvd)
	if !sound {
		return err
	}
	d.note("%s", errorText(c))
	if got := d.print.messages(); got < d.count {
		return &unmetError{fmt.Sprintf("%d messages have arrived, not %d", got, d.count)}
	}
	return nil
}

// pingEvery sends pings until the socket or ctx ends.
func (d *dial) pingEvery(ctx context.Context) {
	tick := time.NewTicker(d.ping)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.socket.Done():
			return
		case <-tick.C:
		}
		if d.pingOnce(ctx) != nil {
			return
		}
	}
}

// pingOnce sends a ping and prints how long the answer took.
func (d *dial) pingOnce(ctx context.Context) error {
	rtt, err := d.socket.Ping(ctx)
	if err == nil {
		d.print.note("pong after %s", brief(rtt))
	}
	return err
}

// note prints a line for people, unless -quiet is set.
func (d *dial) note(format string, args ...any) {
	if !d.quiet {
		d.print.note(format, args...)
	}
}
