package link

import "fmt"

// maxLimit is the largest size that a limit may have, in bytes: the sum of two fits into 32 bits.
const maxLimit = 512 << 20

// within returns the smaller ones of the limits of a peer and of this end: what is sent is kept here until it is consumed there.
func (l limits) within(own limits) limits {
	return limits{
		ChannelWindow: min(l.ChannelWindow, own.ChannelWindow), LinkWindow: min(l.LinkWindow, own.LinkWindow),
		MaxMessage: min(l.MaxMessage, own.MaxMessage), MaxChannels: min(l.MaxChannels, own.MaxChannels),
	}
}

// check checks limits, of this end or of a peer.
func (l limits) check() error {
	switch {
	case l.ChannelWindow < reserve || l.ChannelWindow > maxLimit:
		return fmt.Errorf("%w: a window of %d bytes for a channel, want %d to %d", ErrProtocol, l.ChannelWindow, reserve, maxLimit)
	case l.MaxMessage < reserve || l.MaxMessage > maxLimit-messageCost:
		return fmt.Errorf("%w: messages of up to %d bytes, want %d to %d", ErrProtocol, l.MaxMessage, reserve, maxLimit-messageCost)
	case l.LinkWindow < l.MaxMessage+messageCost || l.LinkWindow > maxLimit:
		return fmt.Errorf("%w: a window of %d bytes for a link, want %d (a message) to %d", ErrProtocol, l.LinkWindow, l.MaxMessage+messageCost, maxLimit)
	case l.MaxChannels < 1:
		return fmt.Errorf("%w: %d channels", ErrProtocol, l.MaxChannels)
	}
	return nil
}
