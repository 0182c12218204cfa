package link

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"
)

// Peer is a member of the cluster.
type Peer struct {
	ID          string
	Incarnation uint64 // not 0; a process that has restarted has another one
	Addr        string // host:port where it accepts links
	// Versions are the lowest and the highest version of the protocol that it speaks. Zero means Version.
	Versions [2]uint16
}

// Version is the version of the protocol that this package speaks.
const Version = 1

// key is what a Manager finds a peer by.
func (p Peer) key() peerKey { return peerKey{p.ID, p.Incarnation} }

type peerKey struct {
	id          string
	incarnation uint64
}

// Options are the options of a Manager. Accept is required if peers may open channels; Self and Cluster always are.
type Options struct {
	Self    Peer
	Cluster string // the name of the cluster; members of others are refused

	// Secret, of at least 32 random bytes, is known to the members of the cluster and to no other program. Both ends prove that they know it.
	// Without TLS, connections are encrypted with certificates that are made for the purpose; the proof covers the connection, so that
	// a relay cannot use it for another one.
	Secret []byte
	// TLS is the configuration of connections in both directions. Without Secret it must have Certificates, RootCAs and ClientCAs: both
	// ends show a certificate of the cluster's own authority. Any such certificate counts as any member. Without Secret and TLS,
	// connections are plain, and only loopback addresses are dialled and served.
	TLS *tls.Config

	// Admit, if not nil, decides whether a peer that has proved to be a member may connect. It must not block for long.
	Admit func(Peer) bool
	// Accept decides on a channel that a peer opens: it returns the receiver, or nil to refuse, after Channel.Reset with a code of its own
	// or else with CodeRefused. greeting is valid until it returns. The same rules apply to it as to the methods of a Receiver.
	Accept func(from Peer, ch *Channel, greeting []byte) Receiver
	// Event, if not nil, is told which peers can be reached. It is called for one event at a time, in order. It may block, but must not
	// call Close.
	Event func(Event)

	// Limits of what peers may send, and of what this end sends: the smaller one of the two ends counts.

	ChannelWindow int // bytes that are sent on one channel, in one direction, and not consumed; default 64 KiB. One message may be larger
	LinkWindow    int // the same for all channels of a link together, beyond 4 KiB for each channel; default 32 MiB
	MaxMessage    int // the largest message, in bytes; default 16 MiB
	MaxChannels   int // how many channels a link may have at once; default 131072

	AckTimeout       time.Duration // after which a peer is asked about what it has not acknowledged; default 1 s
	HeartbeatEvery   time.Duration // a silent peer is pinged; after three intervals the connection is given up; default 2 s
	HandshakeTimeout time.Duration // default 10 s
	ResumeWithin     time.Duration // how long the channels of a peer that is not connected are kept; default 2 min
	MaxBackoff       time.Duration // the longest pause between attempts to connect; default 2 s

	Dial   func(ctx context.Context, addr string) (net.Conn, error) // default: TCP
	Logger *slog.Logger                                             // failed handshakes, protocol errors; default: none
}

// The defaults of Options.
const (
	defaultChannelWindow    = 64 << 10
	defaultLinkWindow       = 32 << 20
	defaultMaxMessage       = 16 << 20
	defaultMaxChannels      = 131072
	defaultAckTimeout       = time.Second
	defaultHeartbeatEvery   = 2 * time.Second
	defaultHandshakeTimeout = 10 * time.Second
	defaultResumeWithin     = 2 * time.Minute
	defaultMaxBackoff       = 2 * time.Second
)

// minSecret is the least length of a secret, in bytes: one that can be guessed proves nothing.
const minSecret = 32

// resolve fills in the defaults and checks the options.
func (o *Options) resolve() error {
	o.ChannelWindow = cmp.Or(o.ChannelWindow, defaultChannelWindow)
	o.LinkWindow = cmp.Or(o.LinkWindow, defaultLinkWindow)
	o.MaxMessage = cmp.Or(o.MaxMessage, defaultMaxMessage)
	o.MaxChannels = cmp.Or(o.MaxChannels, defaultMaxChannels)
	o.AckTimeout = cmp.Or(o.AckTimeout, defaultAckTimeout)
	o.HeartbeatEvery = cmp.Or(o.HeartbeatEvery, defaultHeartbeatEvery)
	o.HandshakeTimeout = cmp.Or(o.HandshakeTimeout, defaultHandshakeTimeout)
	o.ResumeWithin = cmp.Or(o.ResumeWithin, defaultResumeWithin)
	o.MaxBackoff = cmp.Or(o.MaxBackoff, defaultMaxBackoff)
	if o.Self.Versions == [2]uint16{} {
		o.Self.Versions = [2]uint16{Version, Version}
	}
	if o.Dial == nil {
		o.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", addr)
		}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Accept == nil {
		o.Accept = func(Peer, *Channel, []byte) Receiver { return nil }
	}
	return o.check()
}

func (o *Options) check() error {
	switch {
	case o.Self.ID == "" || o.Self.Incarnation == 0 || o.Cluster == "":
		return errors.New("edgews: link: Self.ID, Self.Incarnation and Cluster must be set")
	case len(o.Self.ID) > 255 || len(o.Cluster) > 255 || len(o.Self.Addr) > 255:
		return errors.New("edgews: link: Self.ID, Self.Addr and Cluster may have at most 255 bytes")
	case o.Self.Versions[0] < 1 || o.Self.Versions[0] > o.Self.Versions[1] || o.Self.Versions[1] > 255:
		return fmt.Errorf("edgews: link: Self.Versions are %d, want 1 to 255 in order", o.Self.Versions)
	case len(o.Secret) > 0 && len(o.Secret) < minSecret:
		return fmt.Errorf("edgews: link: Secret has %d bytes, at least %d random bytes are needed", len(o.Secret), minSecret)
	case min(o.AckTimeout, o.HeartbeatEvery, o.HandshakeTimeout, o.ResumeWithin, o.MaxBackoff) <= 0:
		return errors.New("edgews: link: durations must be positive")
	}
	if o.TLS != nil && len(o.Secret) == 0 {
		hasCertificate := len(o.TLS.Certificates) > 0 || o.TLS.GetCertificate != nil && o.TLS.GetClientCertificate != nil
		if !hasCertificate || o.TLS.RootCAs == nil || o.TLS.ClientCAs == nil || o.TLS.InsecureSkipVerify {
			return errors.New("edgews: link: TLS without Secret needs Certificates, RootCAs and ClientCAs, and no InsecureSkipVerify")
		}
	}
	return o.limits().check()
}

func (o *Options) limits() limits {
	return limits{ChannelWindow: o.ChannelWindow, LinkWindow: o.LinkWindow, MaxMessage: o.MaxMessage, MaxChannels: o.MaxChannels}
}
