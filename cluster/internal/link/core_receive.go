package link

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// receive takes a frame of the peer. What it means for receivers is appended to events. After an error the peer cannot be trusted to know
// the protocol: the session ends.
func (c *core) receive(f *frame) error {
	if f.version != c.version {
		c.refuseType(f.kind)
		return nil
	}
	switch f.kind {
	case typePing:
		c.pong = true
		return nil
	case typePong, typeUnsupported:
		return nil // a version that sends optional frames looks at "unsupported"; this one sends none
	case typeReopen:
		return c.receiveReopen(f)
	case typeShared:
		return c.receiveShared(f)
	case typeOpen, typeData, typeEnd, typeAck, typeAsk, typeNack, typeReset, typeGone:
	default:
		c.refuseType(f.kind)
		return nil
	}
	if f.kind == typeAck && len(f.payload) > 0 {
		if err := c.receiveAckOf(f); err != nil {
			return err
		}
		return c.receiveAcks(f)
	}
	ch := c.find(f.channel)
	if ch == nil {
		return c.receiveUnknown(f)
	}
	switch f.kind {
	case typeReset:
		c.gone = c.reply(c.gone, f.channel)
		c.fail(ch, &ResetError{Code: f.code, Reason: slices.Clone(f.payload[:min(len(f.payload), maxReason)])})
		return nil
	case typeGone:
		return c.receiveGone(ch)
	}
	if ch.flags.has(flagResetting) {
		ch.flags.set(flagResetDue)
		c.setReady(ch)
		return nil
	}
	if err := c.receiveAck(ch, f); err != nil {
		return err
	}
	switch f.kind {
	case typeOpen: // once more: its acknowledgement was lost
		ch.flags.set(flagAckDue)
		c.setReady(ch)
	case typeData, typeEnd:
		return c.receiveMessage(ch, f, nil)
	case typeAsk:
		ch.flags.set(flagAckDue)
		if after(widen(ch.inReceived, f.seq), ch.inReceived) {
			ch.flags.set(flagNackDue)
		}
		c.setReady(ch)
	case typeNack:
		c.goBack(ch)
		c.setReady(ch)
	}
	return nil
}

// find returns the channel with that number, or nil.
func (c *core) find(id uint64) *Channel {
	if c.latest == nil || c.latest.id != id { // many frames in a row are of one channel
		ch := c.channels[id]
		if ch == nil {
			return nil
		}
		c.latest = ch
	}
	return c.latest
}

// refuseType answers a frame that this version does not know. Answers are not answered, so that two ends cannot go on for ever.
func (c *core) refuseType(kind frameType) {
	if kind != typeUnsupported && len(c.unsupported) < maxReplies && !slices.Contains(c.unsupported, kind) {
		c.unsupported = append(c.unsupported, kind)
	}
}

func (c *core) reply(list []uint64, id uint64) []uint64 {
	if len(list) < maxReplies && !slices.Contains(list, id) {
		list = append(list, id)
	}
	return list
}

// receiveUnknown takes a frame for a channel that does not exist here: it is new, or over, or the frames that opened it were lost.
func (c *core) receiveUnknown(f *frame) error {
	if f.kind == typeGone {
		return nil
	}
	if c.dialer && after(f.channel, c.lastOpen) {
		return fmt.Errorf("%w: a frame for the channel %d, which was not opened", ErrProtocol, f.channel)
	}
	switch {
	case !after(f.channel, c.lastOpen):
		if f.kind == typeAck || f.kind == typeNack {
			return nil // the last ack of a channel that has ended here too
		}
		c.gone = c.reply(c.gone, f.channel)
	case f.kind == typeReset && f.channel == c.lastOpen+1: // it was reset before its open was sent
		c.lastOpen++
		c.gone = c.reply(c.gone, f.channel)
	case len(c.channels) >= c.own.MaxChannels:
		// The peer knows of some that are over before this end does. Its opens wait until then.
		c.opensWait = true
	case f.channel != c.lastOpen+1 || f.kind != typeOpen:
		c.reopen = true
	default:
		return c.receiveOpen(f)
	}
	return nil
}

func (c *core) receiveOpen(f *frame) error {
	if len(f.payload) < 8 || len(f.payload) > 8+maxGreeting {
		return fmt.Errorf("%w: an open of %d bytes", ErrProtocol, len(f.payload))
	}
	base := binary.BigEndian.Uint64(f.payload)
	if uint32(base) != f.seq {
		return fmt.Errorf("%w: an open with the sequence %d and the base %d", ErrProtocol, f.seq, base)
	}
	c.lastOpen++
	ch := &Channel{id: f.channel, next: 1, inReceived: base, inConsumed: base}
	c.channels[ch.id] = ch
	ch.flags.set(flagAckDue)
	c.setReady(ch)
	c.events = append(c.events, event{kind: eventOpen, ch: ch, payload: f.payload[8:]})
	return nil
}

// receiveReopen sends the opens again from the channel that the peer expects.
func (c *core) receiveReopen(f *frame) error {
	if !c.dialer || after(f.channel, c.lastOpen+1) {
		return fmt.Errorf("%w: a reopen of the channel %d", ErrProtocol, f.channel)
	}
	for id := f.channel; !after(id, c.lastOpen); id++ {
		ch := c.channels[id]
		if ch == nil {
			// It came to its end, which takes the peer's consent: the peer knows it, so this is not an answer to the present state.
			return nil
		}
		if ch.flags.has(flagResetting) {
			ch.flags.set(flagResetDue)
		} else {
			c.goBack(ch)
		}
		c.setReady(ch)
	}
	return nil
}

// receiveGone ends a channel that the peer does not know any more.
func (c *core) receiveGone(ch *Channel) error {
	if ch.flags.has(flagResetting | flagFinished) {
		c.forget(ch)
		return nil
	}
	if ch.flags.has(flagLocalEnded) && ch.flags.has(flagPeerEnded) && ch.inConsumed == ch.inReceived {
		// The peer forgets a channel in which both have ended when it has consumed everything: its last ack was lost.
		c.acknowledge(ch, ch.next-1)
		c.events = append(c.events, event{kind: eventClosed, ch: ch})
		c.forget(ch)
		return nil
	}
	c.fail(ch, ErrUnknownChannel)
	return nil
}

// receiveAck takes the acknowledgements that every frame of a channel carries.
func (c *core) receiveAck(ch *Channel, f *frame) error {
	received, consumed := widen(ch.received, f.received), widen(ch.consumed, f.consumed)
	if after(received, ch.sentMax) || after(consumed, received) && after(consumed, ch.received) {
		return fmt.Errorf("%w: channel %d: %d is acknowledged, %d was sent", ErrProtocol, ch.id, received, ch.sentMax)
	}
	progress := false
	if after(received, ch.received) {
		ch.received = received
		for ch.unsent != nil && !after(ch.unsent.seq, received) {
			ch.unsent = ch.unsent.next
		}
		progress = true
	}
	if after(consumed, ch.consumed) {
		c.acknowledge(ch, consumed)
		progress = true
	}
	if progress {
		if ch.flags.has(flagWaiting) {
			c.removeWaiting(ch)
			if ch.head != nil {
				c.setWaiting(ch)
			}
		}
		c.offerRoom(ch)
		c.finish(ch)
	}
	return nil
}

// acknowledge forgets the frames up to seq, which the peer has consumed.
func (c *core) acknowledge(ch *Channel, seq uint64) {
	ch.consumed = seq
	freed := 0
	for ch.head != nil && !after(ch.head.seq, seq) {
		f := ch.head
		ch.head = f.next
		freed += int(f.cost)
		if ch.unsent == f {
			ch.unsent = f.next
		}
		c.putSpare(f)
	}
	if ch.head == nil {
		ch.tail = nil
	}
	c.charge(ch, -freed)
}

// receiveMessage takes a message, or the end after the last one. m is the message, if it was sent on several channels.
func (c *core) receiveMessage(ch *Channel, f *frame, m *Shared) error {
	seq := widen(ch.inReceived, f.seq)
	if !after(seq, ch.inReceived) { // once more: its acknowledgement was lost
		ch.flags.set(flagAckDue)
		c.setReady(ch)
		return nil
	}
	if ch.flags.has(flagPeerEnded) {
		return fmt.Errorf("%w: channel %d: a message after the end", ErrProtocol, ch.id)
	}
	if seq != ch.inReceived+1 { // a gap; what follows is dropped until it is sent again
		if !ch.flags.has(flagNacked) {
			ch.flags.set(flagNacked | flagNackDue)
			c.setReady(ch)
		}
		return nil
	}
	if f.kind == typeEnd {
		if len(f.payload) > maxReason {
			return fmt.Errorf("%w: channel %d: a reason of %d bytes", ErrProtocol, ch.id, len(f.payload))
		}
		ch.inReceived = seq
		ch.flags.set(flagPeerEnded | flagAckDue)
		ch.flags.clear(flagNacked)
		c.setReady(ch)
		c.events = append(c.events, event{kind: eventEnded, ch: ch, payload: f.payload})
		c.consumeEnd(ch)
		c.finish(ch)
		return nil
	}
	cost := len(f.payload) + messageCost
	grows := shared(ch.inBytes+cost) - shared(ch.inBytes)
	if ch.inBytes > 0 && ch.inBytes+cost > c.own.ChannelWindow || grows > 0 && c.inUsed+grows > c.own.LinkWindow || len(f.payload) > c.own.MaxMessage {
		return fmt.Errorf("%w: channel %d: %d bytes more than its window", ErrProtocol, ch.id, cost)
	}
	c.inUsed += grows
	ch.inBytes += cost
	ch.inSizes = append(ch.inSizes, int32(cost))
	ch.inReceived = seq
	ch.flags.set(flagAckDue)
	ch.flags.clear(flagNacked)
	c.setReady(ch)
	c.events = append(c.events, event{kind: eventMessage, ch: ch, seq: seq, payload: f.payload, shared: m})
	return nil
}
