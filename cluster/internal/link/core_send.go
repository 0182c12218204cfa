package link

// pull appends frames that are to be sent to b, until b has about size bytes or nothing is left.
func (c *core) pull(b []byte, size int) []byte {
	b = c.pullReplies(b)
	for len(b) < size && c.readyHead != nil {
		ch := c.popReady()
		if !ch.flags.has(flagOver) {
			b = c.pullChannel(b, ch)
		}
	}
	return b
}

// idle reports whether there is nothing to send.
func (c *core) idle() bool {
	return c.readyHead == nil && !c.ping && !c.pong && !c.reopen && len(c.gone) == 0 && len(c.unsupported) == 0
}

// pullReplies appends what concerns the link and not a channel that exists.
func (c *core) pullReplies(b []byte) []byte {
	if c.pong {
		b = appendFrame(b, &frame{version: c.version, kind: typePong})
	}
	if c.ping {
		b = appendFrame(b, &frame{version: c.version, kind: typePing})
	}
	if c.reopen {
		b = appendFrame(b, &frame{version: c.version, kind: typeReopen, channel: c.lastOpen + 1})
	}
	for _, id := range c.gone {
		b = appendFrame(b, &frame{version: c.version, kind: typeGone, channel: id})
	}
	for _, kind := range c.unsupported {
		b = appendFrame(b, &frame{version: c.version, kind: typeUnsupported, code: uint16(kind)})
	}
	c.pong, c.ping, c.reopen = false, false, false
	c.gone, c.unsupported = c.gone[:0], c.unsupported[:0]
	return b
}

// pullChannel appends what the channel has to send, up to a quantum.
func (c *core) pullChannel(b []byte, ch *Channel) []byte {
	if ch.flags.has(flagResetting) {
		return c.pullReset(b, ch)
	}
	f := frame{version: c.version, channel: ch.id, received: uint32(ch.inReceived), consumed: uint32(ch.inConsumed)}
	if ch.flags.has(flagNackDue) {
		f.kind = typeNack
		b = appendFrame(b, &f)
		ch.flags.clear(flagNackDue | flagAckDue)
	}
	start := len(b)
	for ch.unsent != nil && len(b)-start < quantum {
		out := ch.unsent
		ch.flags.clear(flagAckDue)
		if out.kind == typeShared {
			b = c.pullShared(b, ch, f)
			continue
		}
		f.kind, f.seq, f.payload = out.kind, uint32(out.seq), out.payload
		b = appendFrame(b, &f)
		c.advance(ch)
	}
	switch {
	case ch.unsent != nil: // its turn comes again
	case ch.flags.has(flagAskDue):
		f.kind, f.seq, f.payload = typeAsk, uint32(ch.sentMax), nil
		b = appendFrame(b, &f)
		ch.flags.clear(flagAckDue | flagAskDue)
	case ch.flags.has(flagAckDue):
		b = c.pullAcks(b, ch, f)
	}
	c.settlePulled(ch)
	return b
}

// advance notes that the first unsent message of the channel is sent.
func (c *core) advance(ch *Channel) {
	ch.flags.set(flagSent)
	if after(ch.unsent.seq, ch.sentMax) {
		ch.sentMax = ch.unsent.seq
	}
	ch.unsent = ch.unsent.next
}

// settlePulled puts a channel of which something was pulled into the lists where it belongs.
func (c *core) settlePulled(ch *Channel) {
	if ch.unsent != nil || ch.flags.has(flagAckDue|flagAskDue) {
		c.setReady(ch)
	}
	switch {
	case ch.flags.has(flagFinished) && !ch.flags.has(flagAckDue):
		c.forget(ch)
	case ch.head != nil:
		c.setWaiting(ch)
	}
}

// popReady removes the first channel that has something to send from their list. There is one.
func (c *core) popReady() *Channel {
	ch := c.readyHead
	c.readyHead = ch.nextReady
	if c.readyHead == nil {
		c.readyTail = nil
	}
	ch.nextReady = nil
	ch.flags.clear(flagReady)
	return ch
}

func (c *core) pullReset(b []byte, ch *Channel) []byte {
	if !ch.flags.has(flagResetDue) {
		return b
	}
	ch.flags.clear(flagResetDue)
	b = appendFrame(b, &frame{version: c.version, kind: typeReset, channel: ch.id, code: ch.code, payload: ch.head.payload})
	if ch.flags.has(flagFinished) {
		c.forget(ch)
	} else {
		c.setWaiting(ch)
	}
	return b
}

func (c *core) setReady(ch *Channel) {
	if ch.flags.has(flagReady | flagOver) {
		return
	}
	ch.flags.set(flagReady)
	if c.readyTail == nil {
		c.readyHead = ch
	} else {
		c.readyTail.nextReady = ch
	}
	c.readyTail = ch
}

// setWaiting makes tick look at the channel until everything is acknowledged.
func (c *core) setWaiting(ch *Channel) {
	if ch.flags.has(flagWaiting) {
		return
	}
	ch.askAt = c.now + c.askTime
	ch.flags.set(flagWaiting)
	ch.waitPrev = c.waitTail
	if c.waitTail == nil {
		c.waitHead = ch
	} else {
		c.waitTail.waitNext = ch
	}
	c.waitTail = ch
}

func (c *core) removeWaiting(ch *Channel) {
	if !ch.flags.has(flagWaiting) {
		return
	}
	ch.flags.clear(flagWaiting)
	if ch.waitPrev == nil {
		c.waitHead = ch.waitNext
	} else {
		ch.waitPrev.waitNext = ch.waitNext
	}
	if ch.waitNext == nil {
		c.waitTail = ch.waitPrev
	} else {
		ch.waitNext.waitPrev = ch.waitPrev
	}
	ch.waitPrev, ch.waitNext = nil, nil
}

// tick asks the peer about everything that has waited for an acknowledgement for askTime. Without it a loss that leaves no gap, of the
// last message or of an acknowledgement, would be found never.
func (c *core) tick() {
	for ch := c.waitHead; ch != nil && ch.askAt <= c.now; ch = c.waitHead {
		c.removeWaiting(ch)
		c.setWaiting(ch)
		if ch.flags.has(flagResetting) {
			ch.flags.set(flagResetDue)
		} else {
			ch.flags.set(flagAskDue)
		}
		c.setReady(ch)
	}
}
