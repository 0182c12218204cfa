package edgews

import (
	"fmt"

	"github.com/edgews/edgews/internal/deflate"
)

// Compression configures permessage-deflate (RFC 7692). The zero value is recommended: a server agrees when the client offers the
// extension, a client offers it, windows are small, and messages of at least 256 bytes are compressed.
type Compression struct {
	// Disable turns compression off: it is neither offered nor agreed to.
	Disable bool

	// Threshold is the size in bytes from which messages are compressed; default 256. Smaller messages become little smaller.
	Threshold int

	// Choose, if it is not nil, is called for each message of at least Threshold bytes and returns whether to compress it. Return
	// false for images and archives, and for messages that contain secrets. It must not keep or change data, and may be called
	// from several goroutines. For a message of NextWriter, whose size is not known, data is the first fragment; see
	// [Socket.NextWriter].
	Choose func(kind Kind, data []byte) bool

	// Level says how much CPU is spent on making sent messages smaller, 0 to 9. It is not negotiated with the peer.
	//
	// 0 and 1 are the fast compressor, the default. It keeps 2 KiB between messages.
	//
	// 2 to 9 are for services whose bandwidth costs more than their CPU. They use klauspost/compress with the whole agreed
	// window as dictionary, and keep that window between messages: up to 32 KiB for each connection (see WindowBits). The
	// numbers have the meaning of zlib's: level 6 makes messages about as small as zlib's level 6. In terms of klauspost/compress,
	// 2 to 4 are level 7, 5 is level 8, and 6 to 9 are level 9; with a window of less than 32 KiB, messages larger than a quarter
	// of the window are compressed with level 5.
	// Connections share the writers, which take 1.0 to 1.4 MB each. For each level, and each smaller window in use, there are about
	// as many as there are messages being compressed at the same moment, until a garbage collection finds them idle.
	//
	// JSON of 1 KiB on one core of a Xeon, with a window of 32 KiB (-bench 'Levels/size/level=[16]/bits=15' in
	// internal/deflate):
	//
	//	                       level 1        level 6
	//	with context takeover  6 µs, 267 B    103 µs, 223 B
	//	without                6 µs, 402 B    29 µs, 399 B
	Level int

	// NoContextTakeover compresses each sent message without reference to earlier ones. Nothing is kept between messages, and they
	// become less small.
	NoContextTakeover bool

	// PeerNoContextTakeover asks the peer to do the same, so that nothing is kept for inflating. A server may ask for it
	// even if the client has not offered it (RFC 7692 §7.1.1.2). But clients of Tornado and Mojolicious ignore a parameter that they
	// have not offered, and their second compressed message then fails with 1002: do not set it for a server that they use.
	PeerNoContextTakeover bool

	// WindowBits bounds the window that sent messages are compressed with: 8 (256 bytes) to 15 (32 KiB); default 15. If the peer asks
	// for a smaller window, that is used. The window is kept between messages; with a Level of 0 or 1 at most 2 KiB of it.
	WindowBits int

	// PeerWindowBits bounds the window that the peer compresses with, which has to be kept for inflating: 8 to 15; default 12
	// (4 KiB). A client whose offer does not let the server choose uses 15 (32 KiB).
	PeerWindowBits int
}

// Defaults of Compression, in the order of its fields.
const (
	defaultThreshold      = 256
	defaultLevel          = 1
	defaultWindowBits     = deflate.MaxWindowBits
	defaultPeerWindowBits = 12
)

// maxCompressionLevel is the highest Compression.Level.
const maxCompressionLevel = 9

// withDefaults returns a copy of c, which may be nil, with every default filled in.
func (c *Compression) withDefaults() *Compression {
	var d Compression
	if c != nil {
		d = *c
	}
	setDefault(&d.Threshold, defaultThreshold)
	setDefault(&d.Level, defaultLevel)
	setDefault(&d.WindowBits, defaultWindowBits)
	setDefault(&d.PeerWindowBits, defaultPeerWindowBits)
	return &d
}

// validate returns why c can never work, or nil. c may be nil; of is the name of the options that it is a part of.
func (c *Compression) validate(of string) error {
	if c == nil {
		return nil
	}
	for _, window := range []struct {
		name string
		bits int
	}{{"WindowBits", c.WindowBits}, {"PeerWindowBits", c.PeerWindowBits}} {
		if bits := window.bits; bits != 0 && (bits < deflate.MinWindowBits || bits > deflate.MaxWindowBits) {
			return fmt.Errorf("%s.Compression.%s: %d: a window has %d to %d bits (RFC 7692 §7.1.2); 0 is the default", of, window.name, bits, deflate.MinWindowBits, deflate.MaxWindowBits)
		}
	}
	if c.Threshold < 0 {
		return fmt.Errorf("%s.Compression.Threshold: %d bytes: it cannot be negative; 1 compresses every message", of, c.Threshold)
	}
	if c.Level < 0 || c.Level > maxCompressionLevel {
		return fmt.Errorf("%s.Compression.Level: %d: levels are 0 to %d; 0 is the default, fast", of, c.Level, maxCompressionLevel)
	}
	return nil
}

// want returns what is to be negotiated, or nil if compression is disabled.
func (c *Compression) want() *deflate.Want {
	if c.Disable {
		return nil
	}
	return &deflate.Want{
		NoContextTakeover:     c.NoContextTakeover,
		PeerNoContextTakeover: c.PeerNoContextTakeover,
		WindowBits:            c.WindowBits,
		PeerWindowBits:        c.PeerWindowBits,
	}
}
