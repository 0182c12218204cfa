package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"sync"
	"time"
)

var loadCommand = &command{
	name:    "load",
	args:    "URL",
	summary: "open many sockets to a server and measure how it answers",
	help: `
First all sockets are opened, at the rate of -rate. Then, for the time of -duration, they send messages and pings as -send and -ping say, evenly
spread over sockets and time. At the end they close with 1000, and a report is printed to stdout: how long handshakes, echoes and pings took,
what failed, and what limited edgews itself: open files, local ports, its processor time, its queues. A time counts from when it should have begun, so a
server that makes edgews wait does not look faster than it is.

In -text, {socket} and {n} are replaced by the number of the socket and of its message, both from 1.

4 is the exit code if a socket could not be opened or was lost, a message could not be sent, or an echo is missing or different. Use it only on
servers that are yours: what it does is what an attacker would do.`,
	examples: []string{
		"edgews load ws://localhost:8080/ws -sockets 10000 -rate 1000",
		"edgews load ws://localhost:8080/ws -sockets 500 -send 10 -size 200 -echo -duration 30s",
		"edgews load ws://localhost:8080/room/1/socket -send 0.1 -text '{\"say\":\"hello {n} from {socket}\"}'",
		"edgews load wss://example.com/ws -json | jq .round_trip.p99",
	},
	least: 1, greatest: 1,
	setup: func(fs *flag.FlagSet) runner {
		l := new(load)
		l.define(fs)
		return l.run
	},
}

// loadFlags are the flags of load.
type loadFlags struct {
	dialFlags
	sockets  int
	rate     float64
	duration time.Duration
	send     float64
	size     int
	text     string
	echo     bool
	ping     time.Duration
	stalled  int
	dialing  int
	json     bool
}

func (l *loadFlags) define(fs *flag.FlagSet) {
	l.dialFlags.define(fs)
	fs.IntVar(&l.sockets, "sockets", 1000, "open this `many` sockets")
	fs.Float64Var(&l.rate, "rate", 500, "open this `many` per second")
	fs.DurationVar(&l.duration, "duration", 10*time.Second, "how long to measure once they are open")
	fs.Float64Var(&l.send, "send", 0, "send this `many` messages per second and socket, for example 0.1")
	fs.IntVar(&l.size, "size", 64, "the size of a message in `bytes`, unless -text is set")
	fs.StringVar(&l.text, "text", "", "send this `text`")
	fs.BoolVar(&l.echo, "echo", false, "the server sends every message back: measure that, and check it")
	fs.DurationVar(&l.ping, "ping", 5*time.Second, "send a ping this often from each socket; 0: none")
	fs.IntVar(&l.stalled, "stalled", 0, "this `many` of the sockets read nothing and send nothing, as a peer that hangs")
	fs.IntVar(&l.dialing, "dialing", 500, "wait for answers to this `many` handshakes at most before opening more")
	fs.BoolVar(&l.json, "json", false, "print the report as JSON; durations are in milliseconds")
}

// check returns what is wrong with the flags.
func (l *loadFlags) check() error {
	switch {
	case l.sockets < 1:
		return errors.New("-sockets must be at least 1")
	case l.rate <= 0 || l.rate > 1e6:
		return errors.New("-rate must be greater than 0, and at most 1000000 per second")
	case l.duration < 0:
		return errors.New("-duration cannot be negative")
	case l.send < 0 || l.send > 1e6:
		return errors.New("-send must be from 0 to 1000000 per second")
	case l.echo && l.send == 0:
		return errors.New("-echo needs messages: set -send")
	case l.size < 1 || l.size > 16<<20:
		return errors.New("-size must be from 1 to 16777216 bytes")
	case l.ping < 0:
		return errors.New("-ping cannot be negative")
	case l.stalled < 0 || l.stalled > l.sockets:
		return errors.New("-stalled must be from 0 to -sockets")
	case l.dialing < 1:
		return errors.New("-dialing must be at least 1")
	}
	return nil
}

// load is the command load while it runs.
type load struct {
	loadFlags
	env     *env
	url     string
	limits  limits
	opening histogram // handshakes
	echoes  histogram // messages that were sent back
	pings   histogram
	late    histogram // how late messages and pings were sent: this process's fault

	mu    sync.Mutex
	count loadCount
	open  []*loadSocket // in the order in which they have opened, also those that have ended since
	first error         // the first failure to open a socket
}

// loadCount is what load counts.
type loadCount struct {
	tried, opened, ended       int
	failed, lost               map[string]int // sockets by reason: that did not open, and that ended before they were closed
	sent, received, echoed     int64          // messages
	sentBytes, receivedBytes   int64          // of messages
	unsent, wrongEcho, badPing int64
	queued                     int // the greatest BufferedAmount that was seen, in bytes
	closing                    bool
}

// run opens the sockets, measures, closes them and prints the report.
func (l *load) run(ctx context.Context, e *env, args []string) error {
	if err := l.check(); err != nil {
		return &usageError{err: err}
	}
	opts, err := l.options()
	if err != nil {
		return err
	}
	l.env, l.url = e, args[0]
	l.count.failed, l.count.lost = make(map[string]int), make(map[string]int)
	l.limits.begin(l.sockets)
	if text := l.limits.filesText(); text != "" {
		e.note("edgews: %s", text)
	}
	bar := newProgress(e, l)
	l.openAll(ctx, opts, min(l.sockets, l.limits.sockets))
	l.limits.opened(time.Now())
	opened := l.snapshot().opened
	bar.phase("measuring")
	if opened > 0 && ctx.Err() == nil {
		l.measure(ctx)
	}
	l.limits.measured(time.Now())
	bar.phase("closing")
	l.closeAll()
	bar.end()
	if err := l.report().write(e.stdout, l.json); err != nil {
		return err
	}
	return l.outcome(ctx)
}

// outcome returns the error that has the right exit code.
func (l *load) outcome(ctx context.Context) error {
	c := l.snapshot()
	l.mu.Lock()
	first := l.first
	l.mu.Unlock()
	missing := int64(0)
	if l.echo {
		missing = c.sent - c.echoed
	}
	switch {
	case ctx.Err() != nil:
		return cause(ctx)
	case c.opened == 0 && isArgumentError(first):
		return &usageError{err: first}
	case c.opened == 0 && first != nil:
		return first
	case c.opened < l.sockets:
		return &unmetError{fmt.Sprintf("%d of %d sockets were not opened", l.sockets-c.opened, l.sockets)}
	case sum(c.lost) > 0:
		return &unmetError{fmt.Sprintf("%d sockets were lost", sum(c.lost))}
	case c.unsent > 0:
		return &unmetError{fmt.Sprintf("%d messages could not be sent", c.unsent)}
	case c.wrongEcho > 0 || missing > 0:
		return &unmetError{fmt.Sprintf("%d echoes are missing and %d are different", missing-c.wrongEcho, c.wrongEcho)}
	case c.badPing > 0:
		return &unmetError{fmt.Sprintf("%d pings were not answered", c.badPing)}
	}
	return nil
}

// snapshot returns a copy of what has been counted.
func (l *load) snapshot() loadCount {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.count
	c.failed, c.lost = maps.Clone(c.failed), maps.Clone(c.lost)
	return c
}

func sum(m map[string]int) (n int) {
	for _, v := range m {
		n += v
	}
	return n
}
