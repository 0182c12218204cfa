package link

import "fmt"

// maxLimit is the largest size that a limit may have, in bytes.
const maxLimit = 1 << 30

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
