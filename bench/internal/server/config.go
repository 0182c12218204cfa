package server

import (
	"flag"
	"strconv"
)

// Deflate says what a server agrees to when it is offered permessage-deflate.
type Deflate string

// The three ways a cell can be compressed.
const (
	Plain    Deflate = ""         // not at all
	Reset    Deflate = "reset"    // without context takeover, in both directions
	Takeover Deflate = "takeover" // with context takeover, in both directions
)

// Config is how one server is to be run. It travels to the server's process as flags.
type Config struct {
	Peer      string
	Broadcast bool // send every message to all connections instead of back
	TLS       bool
	Deflate   Deflate
	Level     int // of edgews' compression; 0: its default
	Buffer    int // read buffer of the servers that do not parse, in bytes; 0 means 4 KiB
}

// Args returns the flags that Parse reads.
func (c Config) Args() []string {
	return []string{
		"-peer=" + c.Peer,
		"-broadcast=" + strconv.FormatBool(c.Broadcast),
		"-tls=" + strconv.FormatBool(c.TLS),
		"-deflate=" + string(c.Deflate),
		"-level=" + strconv.Itoa(c.Level),
		"-buffer=" + strconv.Itoa(c.Buffer),
	}
}

// Parse reads flags that Args made.
func Parse(args []string) (Config, error) {
	var c Config
	f := flag.NewFlagSet("serve", flag.ContinueOnError)
	f.StringVar(&c.Peer, "peer", "", "which server to be")
	f.BoolVar(&c.Broadcast, "broadcast", false, "send every message to all connections")
	f.BoolVar(&c.TLS, "tls", false, "serve TLS with a certificate made on the spot")
	f.StringVar((*string)(&c.Deflate), "deflate", "", "what to agree to: reset or takeover")
	f.IntVar(&c.Level, "level", 0, "of edgews' compression")
	f.IntVar(&c.Buffer, "buffer", 0, "read buffer of the servers that do not parse")
	return c, f.Parse(args)
}

func (c Config) buffer() int { return max(c.Buffer, 4<<10) }
