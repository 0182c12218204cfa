//go:build linux

package load

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
)

// Hold is what a process does that only keeps connections open: a process may have too few descriptors for all, and what
// it holds must not weigh on the one that measures.
type Hold struct {
	Target Target
	Conns  int
	TLS    bool
	Turns  int // how often connections are opened: all but the last are cut again

	// Say how many messages on each connection first: one of 128 bytes, or compressed ones.
	Messages int
	Deflated bool
	Takeover bool
}

// Args returns the flags that ParseHold reads.
func (h Hold) Args() []string {
	return []string{
		"-addr=" + h.Target.Addr,
		"-raw=" + strconv.FormatBool(h.Target.Raw),
		"-offer=" + h.Target.Offer,
		"-conns=" + strconv.Itoa(h.Conns),
		"-tls=" + strconv.FormatBool(h.TLS),
		"-turns=" + strconv.Itoa(h.Turns),
		"-messages=" + strconv.Itoa(h.Messages),
		"-deflated=" + strconv.FormatBool(h.Deflated),
		"-takeover=" + strconv.FormatBool(h.Takeover),
	}
}

// ParseHold reads flags that Args made.
func ParseHold(args []string) (Hold, error) {
	var h Hold
	f := flag.NewFlagSet("hold", flag.ContinueOnError)
	f.StringVar(&h.Target.Addr, "addr", "", "address of the server")
	f.BoolVar(&h.Target.Raw, "raw", false, "the server does not parse")
	f.StringVar(&h.Target.Offer, "offer", "", "extensions to offer")
	f.IntVar(&h.Conns, "conns", 0, "number of connections")
	f.BoolVar(&h.TLS, "tls", false, "speak TLS")
	f.IntVar(&h.Turns, "turns", 1, "how often to open connections, all but the last of which are cut again")
	f.IntVar(&h.Messages, "messages", 1, "messages to say on each connection")
	f.BoolVar(&h.Deflated, "deflated", false, "say compressed messages")
	f.BoolVar(&h.Takeover, "takeover", false, "that refer to earlier ones")
	return h, f.Parse(args)
}

// HoldMain is that process: it says "ready" when all connections have had their echo, and ends with its standard input.
func HoldMain(args []string) error {
	h, err := ParseHold(args)
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() {
		_, err := bufio.NewReader(os.Stdin).ReadByte()
		ended <- err
	}()
	for turn := range h.Turns {
		if err := h.open(turn == h.Turns-1, ended); err != nil {
			return err
		}
	}
	fmt.Println("ready")
	if err := <-ended; err != io.EOF {
		return err
	}
	return nil
}

func (h Hold) open(last bool, ended chan error) error {
	if h.TLS {
		return h.openTLS(last)
	}
	return h.openPlain(last, ended)
}

func (h Hold) openPlain(last bool, ended chan error) error {
	c, err := Open(h.Target, h.Conns)
	if err != nil {
		return err
	}
	s, err := h.script(c.Extensions)
	if err != nil {
		return err
	}
	e, err := NewEngine(c, s, h.Takeover)
	if err != nil {
		return err
	}
	if _, err := e.Rounds(h.Messages); err != nil {
		return err
	}
	if !last {
		e.Close()
		c.Close()
		return nil
	}
	go func() { ended <- e.idle() }()
	return nil
}

func (h Hold) script(extensions string) (*Script, error) {
	if !h.Deflated {
		return Echo(h.Target.Raw, 128, 1), nil
	}
	return ScriptFor(extensions, h.Takeover)
}

// idle answers pings, as a server may send them to find out who is alive.
func (e *Engine) idle() error {
	for {
		events, err := e.poll.wait(forever)
		if err != nil {
			return err
		}
		for _, ev := range events {
			if err := e.read(&e.conns[ev.Fd]); err != nil {
				return fmt.Errorf("on an idle connection: %w", err)
			}
		}
	}
}
