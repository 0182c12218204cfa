package edgews

import (
	"fmt"
	"log/slog"
	"time"
)

// Overflow says what Send does with a message for which the socket's queue has no room.
type Overflow uint8

const (
	// OverflowError refuses the message: Send returns ErrBufferFull, and the socket stays open.
	OverflowError Overflow = iota
	// OverflowClose discards the queue and closes the socket with 1013 (try again later), which some peers treat as a protocol
	// error; see NamespaceOptions.ShutdownCode.
	OverflowClose
	// OverflowDrop drops the newest message, the one given to Send, which returns nil. It is for streams whose missed messages do
	// not matter later.
	OverflowDrop
	// OverflowDropOldest drops the oldest messages in the queue until the new one fits, and Send returns nil. The newest message always
	// arrives. Only messages of Send and methods like it are dropped (SendBytes, SendPrepared, SendJSON, Broadcast), and only as long as
	// they have not begun to be written: not those of Write and NextWriter, whose senders wait for room, nor of SendLatest. If dropping all
	// of them makes no room, the queue exceeds its limit by the new one. A waiting message is compressed when it is written.
	OverflowDropOldest
)

// RateLimit bounds what one peer may send. Each limit is a token bucket that holds one second's worth, so a burst of that size passes.
// A peer that exceeds a limit is closed with 1008 (policy violation). The zero value limits nothing.
type RateLimit struct {
	Messages int // data messages per second; 0: no limit
	Bytes    int // payload bytes of data messages per second, after inflation; 0: no limit
}

// Options configures one socket. The zero value is recommended and safe; a field that is zero means its default. Functions that take
// options copy them, so a later change has no effect. Invalid values are refused: by Dial with an error, by Upgrade and Respond with
// 500, by NewNamespace with a panic.
type Options struct {
	// MaxMessageSize is the largest message that is received, in bytes after inflation; default 32 MiB, as in Workers; negative: no
	// limit. A larger message fails the connection with 1009 and [ErrMessageTooBig]. The limit also applies to messages that are
	// read through NextReader.
	MaxMessageSize int64

	// SendBuffer is how many bytes may wait in one socket's queue; default 1 MiB. An empty queue takes one message of any size. The
	// limit is for memory, so a message counts with the memory that it occupies: its frame, compressed if the message is, with a
	// header of 2 to 14 bytes; on a pair, its payload and 48 bytes; 128 bytes instead of the header while it waits for the end of a
	// NextWriter's message or for a commit of the socket's object, or may still be dropped (OverflowDropOldest) or replaced
	// ([Socket.SendLatest], with 64 bytes and the key in addition), or waits behind such messages. A queue occupies at most 1.5 times
	// SendBuffer plus about 100 KiB.
	SendBuffer int

	// Overflow says what happens to a message that does not fit in SendBuffer; default OverflowError.
	Overflow Overflow

	// KeepAlive is how long nothing may have been received, or nothing sent, before a ping is sent, because proxies have a time-out
	// for each direction; default 30 s; negative: never. Choose less than the shortest read time-out of the proxies between the
	// peers. A few peers do not answer pings, such as the inspector of Node: dial those with a negative KeepAlive.
	KeepAlive time.Duration

	// KeepAliveTimeout is how long nothing may arrive after a ping that followed a silence of KeepAlive; then the connection is
	// dropped with 1006 and [ErrNoPong]. Default 15 s. It may be shorter or longer than KeepAlive. Any received byte resets the
	// timer, and so does progress in sending. Time in which this process was stopped, and could not read an answer, does not count.
	KeepAliveTimeout time.Duration

	// CloseTimeout bounds the wait for the peer's Close after our own; then the connection is cut and the close event has 1006.
	// Default 5 s.
	CloseTimeout time.Duration

	// WriteTimeout is how long a write may make no progress before the connection is dropped; default 10 s; negative: no limit. On a
	// connection whose deadlines do not work, it may be dropped a second later, and progress is noticed only after every 16 KiB.
	WriteTimeout time.Duration

	// Compression configures permessage-deflate; nil means the zero Compression.
	Compression *Compression

	// RateLimit bounds what the peer may send; the zero value limits nothing.
	RateLimit RateLimit

	// Meter counts the usage of the socket. In an object whose namespace has a meter, that meter counts instead. Nil: nothing is
	// counted.
	Meter *Meter

	// Observer is told what happens to the socket. Nil, the default, costs nothing.
	Observer Observer

	// Logger receives the end of each socket (Debug), the errors of sockets that fail, messages that OnJSON refuses and a server's
	// sockets that are not accepted within 10 s (Warn), and panics of listeners (Error), each with a group
	// "websocket", which tells sockets apart: id (Socket.ID), remote (its RemoteAddr), path (of the request or the dialed URL), object and
	// namespace (of the object that has it) and protocol (the subprotocol). Those that are empty are left out. Nil: only panics are logged,
	// to slog.Default.
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
)

// validate returns why a value can never work, or nil. of is the name of the options that o is a part of.
func (o *Options) validate(of string) error {
	switch {
	case o.SendBuffer < 0:
		return fmt.Errorf("%s.SendBuffer: %d bytes: it cannot be negative; 0 is the default, %d", of, o.SendBuffer, defaultSendBuffer)
	case o.Overflow > OverflowDropOldest:
		return fmt.Errorf("%s.Overflow: %d: use OverflowError, OverflowClose, OverflowDrop or OverflowDropOldest", of, o.Overflow)
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

// withDefaults returns a copy of o with every default filled in.
func (o Options) withDefaults() *Options {
	setDefault(&o.MaxMessageSize, defaultMaxMessageSize)
	setDefault(&o.SendBuffer, defaultSendBuffer)
	setDefault(&o.KeepAlive, defaultKeepAlive)
	setDefault(&o.KeepAliveTimeout, defaultKeepAliveTimeout)
	setDefault(&o.CloseTimeout, defaultCloseTimeout)
	setDefault(&o.WriteTimeout, defaultWriteTimeout)

	o.Compression = o.Compression.withDefaults()
	return &o
}

// setDefault sets a field that is zero.
func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
