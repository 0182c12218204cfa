package edgews

import (
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"
)

// Overflow says what Send does with a message for which the socket's queue has no room.
type Overflow uint8

const (
	// OverflowError refuses the message: Send returns ErrBufferFull and the socket lives on.
	OverflowError Overflow = iota
	// OverflowClose gives the reader up: what waits is discarded and the socket closes with 1013 (try again later), which
	// some peers take for a violation of the protocol; see NamespaceOptions.ShutdownCode.
	OverflowClose
	// OverflowDrop drops the newest message, the one given to Send, which returns nil. For streams of
	// which only the present counts.
	OverflowDrop
)

// RateLimit bounds what one peer may send. Both buckets hold one second's worth, so a burst of that size passes.
// A peer that exceeds a limit is closed with 1008 (policy violation). The zero value limits nothing.
type RateLimit struct {
	Messages int // data messages per second; 0: no limit
	Bytes    int // payload bytes of data messages per second, after inflation; 0: no limit
}

// Compression configures permessage-deflate (RFC 7692). The zero value is the recommended setting: agree when
// the peer offers it (as a client: offer it), keep small windows, compress messages of at least 256 bytes.
type Compression struct {
	// Disable never agrees to compression and never offers it.
	Disable bool

	// Threshold is the size in bytes from which a message is compressed; default 256. Smaller ones gain
	// nothing worth the work.
	Threshold int

	// Choose, when set, is asked for each message of at least Threshold bytes whether to compress it: say
	// no to images and archives, and to what contains secrets. It must not keep or change data. Of a message of
	// NextWriter, whose size is not known, it gets the first fragment; see [Socket.NextWriter].
	Choose func(kind Kind, data []byte) bool

	// Level says how much CPU is spent on making our messages smaller, 0 to 9. It matters to this end only: it is not
	// negotiated.
	//
	// 0 and 1 are the fast compressor, the default. It keeps 2 KiB between messages.
	//
	// 2 to 9 are for services whose bandwidth costs more than their CPU. They use klauspost/compress with the whole agreed
	// window as dictionary, and keep that window between messages: up to 32 KiB for each connection (see WindowBits). The
	// numbers are zlib's, whose level 6 makes messages about as small as this one, and not that package's: 2 to 4 are its level 7,
	// 5 is its 8, and 6 to 9 are its 9. With a window of less than 32 KiB, messages larger than a quarter of the window are
	// compressed as by its 5.
	// The writers are shared. Each takes 1.0 to 1.4 MB; there are about as many as messages are being compressed at the same
	// moment, for each level and each smaller window in use, until a garbage collection finds them idle.
	//
	// JSON of 1 KiB on one core of a Xeon, with a window of 32 KiB (-bench 'Levels/size/level=[16]/bits=15' in
	// internal/deflate):
	//
	//	                       level 1        level 6
	//	with context takeover  6 µs, 270 B    103 µs, 223 B
	//	without                6 µs, 402 B    29 µs, 399 B
	Level int

	// NoContextTakeover forgets our own messages between messages: less memory (nothing is kept), worse ratio.
	NoContextTakeover bool

	// PeerNoContextTakeover asks the peer to do the same, so that nothing is kept for inflating. A server may ask for it
	// although the client has not offered it (RFC 7692 §7.1.1.2), but clients of Tornado and Mojolicious ignore what they have
	// not offered, and their second compressed message then fails with 1002: do not set it for a server that they use.
	PeerNoContextTakeover bool

	// WindowBits bounds the window that we compress with, 8 to 15; default 15. A peer that asks for less gets
	// less. Between messages the window is kept; with a Level of 0 or 1 at most 2 KiB of it.
	WindowBits int

	// PeerWindowBits bounds the history that the peer compresses against and that we have to keep for
	// it, 8 to 15; default 12 (4 KiB). A client whose offer does not let us choose uses 15 (32 KiB).
	PeerWindowBits int
}

// Options configures one socket. The zero value is recommended and safe; a field that is left zero means its
// default. Functions that take options copy them: a later change has no effect. A value that can never work is refused: by
// Dial with an error, by Upgrade and Respond with 500, by NewNamespace with a panic.
type Options struct {
	// MaxMessageSize is the largest message that is received, in bytes after inflation; default 32 MiB,
	// as in Workers. Beyond it the connection fails with 1009 and [ErrMessageTooBig]. Negative: no limit.
	// It also bounds what a compressed message may inflate to, and messages read through NextReader.
	MaxMessageSize int64

	// SendBuffer is how many bytes may wait in one socket's queue; default 1 MiB. An empty queue takes one
	// message of any size. It bounds memory, so a message counts as what it takes: its frame, compressed if it is, with
	// 2 to 14 bytes of header; on a pair, and behind a NextWriter that is in the middle of its message, 48 to 96 bytes more
	// than its payload. The memory held is at most 1.5 times SendBuffer, and some 100 KiB.
	SendBuffer int

	// Overflow says what happens to a message that does not fit in SendBuffer; default OverflowError.
	Overflow Overflow

	// KeepAlive pings the peer after this long with nothing received, and after this long with nothing sent, because
	// proxies have a time-out for each direction; default 30 s; negative: never. Choose less than the shortest read
	// time-out of the proxies on the way. A few peers do not know pings, such as the inspector of Node: dial those
	// with a negative KeepAlive.
	KeepAlive time.Duration

	// KeepAliveTimeout drops the connection as 1006 ([ErrNoPong]) when nothing at all arrives for this long after a
	// ping that followed a silence of KeepAlive; default 15 s. It may be shorter or longer than KeepAlive. A peer that
	// is taking data counts as alive, and so does one whose answer this process could not read because it was stopped.
	KeepAliveTimeout time.Duration

	// CloseTimeout bounds the wait for the peer's Close after ours; then the connection is cut and the
	// close event says 1006. Default 5 s.
	CloseTimeout time.Duration

	// WriteTimeout drops the connection when a write makes no progress for this long; default 10 s;
	// negative: never.
	WriteTimeout time.Duration

	// Compression configures permessage-deflate; nil means the zero Compression.
	Compression *Compression

	// RateLimit bounds what the peer may send; the zero value limits nothing.
	RateLimit RateLimit

	// Meter counts what the socket uses. In an object whose namespace has a meter that one counts, not this. Nil: nobody
	// counts.
	Meter *Meter

	// Logger gets the life of the socket (Debug), peers that break the protocol and a server's sockets that are not
	// accepted within 10 s (Warn), and listeners that panic (Error). Nil: nothing is logged, except panics, which go to slog.Default.
	Logger *slog.Logger
}

// Defaults of Options, in the order of its fields.
const (
	defaultMaxMessageSize   = 32 << 20 // as workerd since 2025-10-31
	defaultSendBuffer       = 1 << 20
	defaultKeepAlive        = 30 * time.Second
	defaultKeepAliveTimeout = 15 * time.Second
	defaultCloseTimeout     = 5 * time.Second
	defaultWriteTimeout     = 10 * time.Second
	defaultThreshold        = 256
	defaultLevel            = 1
	defaultWindowBits       = 15
	defaultPeerWindowBits   = 12
)

// The bits of a window in permessage-deflate (RFC 7692 §7.1.2).
const (
	minWindowBits = 8
	maxWindowBits = 15
)

// maxLevel is the highest Compression.Level.
const maxLevel = 9

// resolve returns a copy of o with every default filled in, and without Meter. The sockets of a server have the same options,
// whoever pays for them; they share one copy.
func (o Options) resolve() *Options {
	o.Meter = nil
	key, ok := o.key()
	if !ok {
		return o.withDefaults()
	}
	for i := range recentlyResolved {
		if r := recentlyResolved[i].Load(); r != nil && r.key == key {
			return r.options
		}
	}
	r := &resolvedOptions{key, o.withDefaults()}
	recentlyResolved[nextResolved.Add(1)%uint32(len(recentlyResolved))].Store(r)
	return r.options
}

// resolutions are the options that were resolved last.
var (
	recentlyResolved [8]atomic.Pointer[resolvedOptions]
	nextResolved     atomic.Uint32
)

type resolvedOptions struct {
	key     optionsKey
	options *Options
}

// optionsKey is what tells options apart.
type optionsKey struct {
	options     Options // without Compression and Meter
	compression compressionKey
}

// compressionKey is a Compression without Choose.
type compressionKey struct {
	disable, noTakeover, noPeerTakeover bool
	threshold, level, bits, peerBits    int
}

// key returns what tells o from others, if that can be compared.
func (o Options) key() (optionsKey, bool) {
	var c Compression
	if o.Compression != nil {
		c = *o.Compression
	}
	o.Compression = nil
	return optionsKey{o, compressionKey{
		c.Disable, c.NoContextTakeover, c.PeerNoContextTakeover, c.Threshold, c.Level, c.WindowBits, c.PeerWindowBits,
	}}, c.Choose == nil
}

// check refuses what can never work. of names the options that o is a part of.
func (o *Options) validate(of string) error {
	switch {
	case o.SendBuffer < 0:
		return fmt.Errorf("%s.SendBuffer: %d bytes: it cannot be negative; 0 is the default, %d", of, o.SendBuffer, defaultSendBuffer)
	case o.Overflow > OverflowDrop:
		return fmt.Errorf("%s.Overflow: %d: use OverflowError, OverflowClose or OverflowDrop", of, o.Overflow)
	case o.KeepAliveTimeout < 0:
		return fmt.Errorf("%s.KeepAliveTimeout: %v: it cannot be negative; to send no pings set KeepAlive: -1", of, o.KeepAliveTimeout)
	case o.CloseTimeout < 0:
		return fmt.Errorf("%s.CloseTimeout: %v: it cannot be negative, since a socket may not wait for ever to close", of, o.CloseTimeout)
	case o.RateLimit.Messages < 0:
		return fmt.Errorf("%s.RateLimit.Messages: %d per second: it cannot be negative; 0 is no limit", of, o.RateLimit.Messages)
	case o.RateLimit.Bytes < 0:
		return fmt.Errorf("%s.RateLimit.Bytes: %d per second: it cannot be negative; 0 is no limit", of, o.RateLimit.Bytes)
	}
	return o.Compression.validate(of)
}

// check is Options.check for a Compression, which may be nil.
func (c *Compression) validate(of string) error {
	if c == nil {
		return nil
	}
	for _, window := range []struct {
		name string
		bits int
	}{{"WindowBits", c.WindowBits}, {"PeerWindowBits", c.PeerWindowBits}} {
		if bits := window.bits; bits != 0 && (bits < minWindowBits || bits > maxWindowBits) {
			return fmt.Errorf("%s.Compression.%s: %d: a window has %d to %d bits (RFC 7692 §7.1.2); 0 is the default", of, window.name, bits, minWindowBits, maxWindowBits)
		}
	}
	if c.Threshold < 0 {
		return fmt.Errorf("%s.Compression.Threshold: %d bytes: it cannot be negative; 1 compresses every message", of, c.Threshold)
	}
	if c.Level < 0 || c.Level > maxLevel {
		return fmt.Errorf("%s.Compression.Level: %d: levels are 0 to %d; 0 is the default, fast", of, c.Level, maxLevel)
	}
	return nil
}

func (o Options) withDefaults() *Options {
	setDefault(&o.MaxMessageSize, defaultMaxMessageSize)
	setDefault(&o.SendBuffer, defaultSendBuffer)
	setDefault(&o.KeepAlive, defaultKeepAlive)
	setDefault(&o.KeepAliveTimeout, defaultKeepAliveTimeout)
	setDefault(&o.CloseTimeout, defaultCloseTimeout)
	setDefault(&o.WriteTimeout, defaultWriteTimeout)

	var c Compression
	if o.Compression != nil {
		c = *o.Compression
	}
	setDefault(&c.Threshold, defaultThreshold)
	setDefault(&c.Level, defaultLevel)
	setDefault(&c.WindowBits, defaultWindowBits)
	setDefault(&c.PeerWindowBits, defaultPeerWindowBits)
	o.Compression = &c
	return &o
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
