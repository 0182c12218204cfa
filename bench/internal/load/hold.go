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

// Hold configures a process that keeps connections open. It is separate because one process may have too few descriptors, and because
// the memory for the connections must not disturb the measuring process.
type Hold struct {
	Target Target
	Conns  int
	TLS    bool
	Rounds int // how often the connections are opened; all but those of the last round are closed again

	// Messages is the number of messages that are sent on each connection first: of 128 bytes, or compressed.
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
		"-half=" + strconv.FormatBool(h.Target.Half),
		"-conns=" + strconv.Itoa(h.Conns),
		"-tls=" + strconv.FormatBool(h.TLS),
		"-rounds=" + strconv.Itoa(h.Rounds),
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
	f.BoolVar(&h.Target.Half, "half", false, "send only half of the request for a connection, and no messages")
	f.IntVar(&h.Conns, "conns", 0, "number of connections")
	f.BoolVar(&h.TLS, "tls", false, "use TLS")
	f.IntVar(&h.Rounds, "rounds", 1, "how often to open the connections; all but those of the last round are closed again")
	f.IntVar(&h.Messages, "messages", 1, "messages to send on each connection")
	f.BoolVar(&h.Deflated, "deflated", false, "send compressed messages")
	f.BoolVar(&h.Takeover, "takeover", false, "compressed messages refer to earlier ones")
	return h, f.Parse(args)
}

// HoldMain runs that process. It prints "ready" when all connections have received their echoes, or when the halves of all requests are
// sent, and exits at the end of its standard input.
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
	for round := range h.Rounds {
		if err := h.open(round == h.Rounds-1, ended); err != nil {
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
	if !h.Target.Half {
		if _, err := e.Rounds(h.Messages); err != nil {
			return err
		}
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

// idle answers pings, with which a server may check whether the connections are alive.
func (e *Engine) idle() error {
	for {
		events, err := e.poll.wait(noTimeout)
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
