package link

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// Shared is a message that a peer has sent on several channels of a link, and only once over the connection.
type Shared struct {
	Payload []byte // never changes
	Value   any    // what receivers make of Payload, once for all of them. The link does not use it
}

const (
	// maxShared is the largest message that goes over a connection once for several channels, in bytes. Each end keeps shareSlots of them for a
	// link. Larger ones are sent on each channel.
	maxShared = 33 << 10
	// shareSlots is how many shared messages can be sent to further channels by their numbers: those that an event of an object sends to one
	// socket after the other.
	shareSlots = 4
	// maxChannelList is the largest list of channels of a frame, in bytes, but for its last element.
	maxChannelList = 16 << 10
	// sharedHead is how many bytes of a shared frame stand before its list.
	sharedHead = 8
)

// The codes of a shared frame.
const (
	sharedWithMessage uint16 = 0 // the message follows the list
	sharedAgain       uint16 = 1 // the message is one that was sent on this connection before
)

// shares numbers the shared messages of one direction of a connection.
type shares struct {
	last uint32             // the number that was given last
	sent [shareSlots][]byte // by number: what the peer has on this connection. It keeps the memory from being used for another message
	kept [shareSlots]kept   // by number: what the peer has sent
}

// kept is a shared message of the peer.
type kept struct {
	number  uint32
	message *Shared // nil: none
}

// isSame reports whether a and b are the same memory.
func isSame(a, b []byte) bool { return len(a) == len(b) && len(a) > 0 && &a[0] == &b[0] }

// number returns the number of a message, and whether the peer has it.
func (s *shares) number(p []byte) (n uint32, isSent bool) {
	for i := range uint32(shareSlots) {
		if n := s.last - i; isSame(s.sent[n%shareSlots], p) {
			return n, true
		}
	}
	s.last++
	s.sent[s.last%shareSlots] = p
	return s.last, false
}

// forgetSent has the next shared messages sent as a whole: the peer may not have got earlier ones.
func (s *shares) forgetSent() { clear(s.sent[:]) }

// pullShared appends a frame with the first unsent message of ch, which is a shared one, for ch and for the channels behind it that have to send
// the same next. f has the header for ch.
func (c *core) pullShared(b []byte, ch *Channel, f frame) []byte {
	message := ch.unsent.payload
	number, isSent := c.shares.number(message)
	f.kind, f.code, f.seq = typeShared, sharedWithMessage, uint32(ch.unsent.seq)
	start := len(b)
	f.payload = nil
	b = appendFrame(b, &f)
	b = binary.BigEndian.AppendUint32(b, number)
	b = append(b, 0, 0, 0, 0) // the length of the list
	list := len(b)
	channel, seq := ch.id, uint32(ch.unsent.seq)
	c.advance(ch)
	for other := c.readyHead; other != nil && len(b)-list < maxChannelList && other.sendsNext(message); other = c.readyHead {
		c.popReady()
		b = binary.AppendVarint(b, int64(other.id-channel))
		b = binary.AppendVarint(b, int64(int32(uint32(other.unsent.seq)-seq)))
		channel, seq = other.id, uint32(other.unsent.seq)
		c.advance(other)
		c.settlePulled(other)
	}
	binary.BigEndian.PutUint32(b[list-4:], uint32(len(b)-list))
	if isSent {
		binary.BigEndian.PutUint16(b[start+6:], sharedAgain)
	} else {
		b = append(b, message...)
	}
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start-headerLen))
	return b
}

// sendsNext reports whether the channel has nothing to send before the shared message p.
func (ch *Channel) sendsNext(p []byte) bool {
	return !ch.flags.has(flagOver|flagResetting|flagNackDue) && ch.unsent != nil && ch.unsent.kind == typeShared && isSame(ch.unsent.payload, p)
}

// pullAcks appends an ack of ch, and those of the channels behind it that have nothing else to send. f has the header for ch.
func (c *core) pullAcks(b []byte, ch *Channel, f frame) []byte {
	start := len(b)
	f.kind, f.seq, f.payload = typeAck, 0, nil
	b = appendFrame(b, &f)
	ch.flags.clear(flagAckDue)
	list, before := len(b), ch
	for other := c.readyHead; other != nil && len(b)-list < maxChannelList && other.sendsOnlyAck(); other = c.readyHead {
		c.popReady()
		b = binary.AppendVarint(b, int64(other.id-before.id))
		b = binary.AppendVarint(b, int64(int32(uint32(other.inReceived)-uint32(before.inReceived))))
		b = binary.AppendUvarint(b, uint64(uint32(other.inReceived)-uint32(other.inConsumed)))
		other.flags.clear(flagAckDue)
		c.settlePulled(other)
		before = other
	}
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-list))
	return b
}

// sendsOnlyAck reports whether the channel has an ack to send and nothing else.
func (ch *Channel) sendsOnlyAck() bool {
	return ch.unsent == nil && ch.flags.has(flagAckDue) && !ch.flags.has(flagOver|flagResetting|flagNackDue|flagAskDue)
}

// receiveShared takes a message for several channels.
func (c *core) receiveShared(f *frame) error {
	if len(f.payload) < sharedHead {
		return fmt.Errorf("%w: a shared message of %d bytes", ErrProtocol, len(f.payload))
	}
	number, size := binary.BigEndian.Uint32(f.payload), binary.BigEndian.Uint32(f.payload[4:])
	rest := f.payload[sharedHead:]
	if uint64(size) > uint64(len(rest)) {
		return fmt.Errorf("%w: a list of %d bytes in a frame of %d bytes", ErrProtocol, size, len(f.payload))
	}
	list, message := rest[:size], rest[size:]
	slot := &c.shares.kept[number%shareSlots]
	switch {
	case f.code == sharedWithMessage && len(message) > maxShared:
		return fmt.Errorf("%w: a shared message of %d bytes, the limit is %d", ErrProtocol, len(message), maxShared)
	case f.code == sharedWithMessage:
		*slot = kept{number, &Shared{Payload: slices.Clone(message)}}
	case f.code != sharedAgain || len(message) > 0:
		return fmt.Errorf("%w: a shared message with code %d and %d bytes", ErrProtocol, f.code, len(message))
	}
	m := slot.message
	if slot.number != number {
		m = nil // the frame that had it was lost
	}
	one := frame{version: f.version, kind: typeShared, channel: f.channel, seq: f.seq, received: f.received, consumed: f.consumed}
	if err := c.receiveOne(&one, m, true); err != nil {
		return err
	}
	for len(list) > 0 {
		var channel, seq int64
		var ok bool
		if channel, list, ok = readVarint(list); ok {
			seq, list, ok = readVarint(list)
		}
		if !ok {
			return fmt.Errorf("%w: a list of channels that breaks off", ErrProtocol)
		}
		one.channel += uint64(channel)
		one.seq += uint32(seq)
		if err := c.receiveOne(&one, m, false); err != nil {
			return err
		}
	}
	return nil
}

// receiveOne takes a shared message for one of its channels, with the acknowledgements of the frame if it carries some. m is nil if the
// message itself was lost.
func (c *core) receiveOne(f *frame, m *Shared, carriesAck bool) error {
	ch := c.find(f.channel)
	if ch == nil {
		return c.receiveUnknown(f)
	}
	if ch.flags.has(flagResetting) {
		ch.flags.set(flagResetDue)
		c.setReady(ch)
		return nil
	}
	if carriesAck {
		if err := c.receiveAck(ch, f); err != nil {
			return err
		}
	}
	if m == nil {
		c.receiveNothing(ch, f)
		return nil
	}
	f.payload = m.Payload
	return c.receiveMessage(ch, f, m)
}

// receiveNothing has a message sent again of which only the sequence has arrived.
func (c *core) receiveNothing(ch *Channel, f *frame) {
	switch {
	case !after(widen(ch.inReceived, f.seq), ch.inReceived):
		ch.flags.set(flagAckDue)
	case !ch.flags.has(flagNacked):
		ch.flags.set(flagNacked | flagNackDue)
	default:
		return
	}
	c.setReady(ch)
}

// receiveAcks takes the acknowledgements of the channels behind the first one of an ack.
func (c *core) receiveAcks(f *frame) error {
	list := f.payload
	one := frame{version: f.version, kind: typeAck, channel: f.channel, received: f.received}
	for len(list) > 0 {
		var channel, received int64
		var open uint64
		var ok bool
		if channel, list, ok = readVarint(list); ok {
			if received, list, ok = readVarint(list); ok {
				open, list, ok = readUvarint(list)
			}
		}
		if !ok {
			return fmt.Errorf("%w: a list of acks that breaks off", ErrProtocol)
		}
		one.channel += uint64(channel)
		one.received += uint32(received)
		one.consumed = one.received - uint32(open)
		if err := c.receiveAckOf(&one); err != nil {
			return err
		}
	}
	return nil
}

// receiveAckOf takes an ack of one channel.
func (c *core) receiveAckOf(f *frame) error {
	ch := c.find(f.channel)
	switch {
	case ch == nil:
		return c.receiveUnknown(f)
	case ch.flags.has(flagResetting):
		ch.flags.set(flagResetDue)
		c.setReady(ch)
		return nil
	}
	return c.receiveAck(ch, f)
}

func readVarint(p []byte) (n int64, rest []byte, ok bool) {
	n, size := binary.Varint(p)
	if size <= 0 {
		return 0, nil, false
	}
	return n, p[size:], true
}

func readUvarint(p []byte) (n uint64, rest []byte, ok bool) {
	n, size := binary.Uvarint(p)
	if size <= 0 {
		return 0, nil, false
	}
	return n, p[size:], true
}
