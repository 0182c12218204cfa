package server

import (
	"flag"
	"strconv"
)

// Deflate says to which parameters of permessage-deflate a server agrees.
type Deflate string

// The compression of a cell.
const (
	Plain    Deflate = ""         // none
	Reset    Deflate = "reset"    // without context takeover, in both directions
	Takeover Deflate = "takeover" // with context takeover, in both directions
)

// Work says what a server does with a message.
type Work string

// What a server can do. With Count and Block it sends text messages back at once, as an echo does: they are the quiet
// connection's, whose latency is measured.
const (
	Echo      Work = ""          // send it back
	Broadcast Work = "broadcast" // send it to all connections
	Count     Work = "count"     // count binary messages, and send nothing back
	Block     Work = "block"     // sleep for blockTime in the handler of a binary message, and then send it back
)

// Config configures a server. It is passed to the server's process as flags.
type Config struct {
	Peer    string
	Work    Work
	TLS     bool
	Deflate Deflate
	Level   int // of edgews' compression; 0: its default
	Buffer  int // read buffer of the servers that do not parse, in bytes; 0 means 4 KiB

	Upstream string // address of the server that a proxy forwards to

	// Of a proxy that is another program; not passed as flags.
	Addr string // where it listens, with SO_REUSEPORT
	Dir  string // where it may write files
}

// Args returns the flags that Parse reads.
func (c Config) Args() []string {
	return []string{
		"-peer=" + c.Peer,
		"-work=" + string(c.Work),
		"-tls=" + strconv.FormatBool(c.TLS),
		"-deflate=" + string(c.Deflate),
		"-level=" + strconv.Itoa(c.Level),
		"-buffer=" + strconv.Itoa(c.Buffer),
		"-upstream=" + c.Upstream,
	}
}

// Parse reads flags that Args made.
func Parse(args []string) (Config, error) {
	var c Config
	f := flag.NewFlagSet("serve", flag.ContinueOnError)
	f.StringVar(&c.Peer, "peer", "", "name of the server")
	f.StringVar((*string)(&c.Work), "work", "", "what to do with messages, if not to send them back: broadcast, count or block")
	f.BoolVar(&c.TLS, "tls", false, "serve TLS with a new certificate")
	f.StringVar((*string)(&c.Deflate), "deflate", "", "compression to agree to: reset or takeover")
	f.IntVar(&c.Level, "level", 0, "level of edgews' compression")
	f.IntVar(&c.Buffer, "buffer", 0, "read buffer of the servers that do not parse")
	f.StringVar(&c.Upstream, "upstream", "", "address of the server that a proxy forwards to")
	return c, f.Parse(args)
}

func (c Config) buffer() int { return max(c.Buffer, 4<<10) }
