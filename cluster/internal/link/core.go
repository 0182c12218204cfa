package link

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
)

// limits are what one end of a link grants to the other.
type limits struct {
	ChannelWindow int `json:"channelWindow"` // bytes
	LinkWindow    int `json:"linkWindow"`    // bytes
	MaxMessage    int `json:"maxMessage"`    // bytes
	MaxChannels   int `json:"maxChannels"`
}

const (
	// messageCost is what a message counts in the windows besides its payload, in bytes: about the memory that it occupies at the two
	// ends. Without it, empty messages would cost nothing.
	messageCost = 64
	// reserve is what each channel may have unconsumed without counting in the link's window, in bytes: so a channel always gets on,
	// however many others are stuck.
	reserve = 4 << 10
	// maxGreeting is the largest greeting of an open, in bytes: room for the header of an HTTP request.
	maxGreeting = 64 << 10
	// maxReason is the largest reason of an end or a reset, in bytes.
	maxReason = 1 << 10
	// quantum is how much of one channel is sent before it is the next one's turn, in bytes.
	quantum = 16 << 10
	// maxReplies bounds the answers to unknown channels and unknown types that wait to be sent: a peer that causes more than it reads
	// gets no answer to some, and asks again.
	maxReplies = 64
	// maxSpare bounds the memory of the unused frames that a link keeps while it is busy, in bytes: sending needs no allocation then.
	maxSpare = 1 << 20
	// spareSlack is how much larger than twice a message the memory of a reused frame may be, in bytes. So what is queued is not much
	// larger than it counts.
	spareSlack = 128
)

// core is one end of a link without its connections: the channels, what is to be sent, what has arrived. It has no goroutines, no clock
// and no locks: its owner calls it one call at a time and sets now. After disconnected and connected it goes on where it was.
type core struct {
	dialer  bool // the end that opens channels
	own     limits
	peer    limits // what may be sent; until the first connection, what every peer grants
	version uint8
	now     int64 // nanoseconds of a monotonic clock
	askTime int64 // how long the peer may leave something unacknowledged before it is asked, in nanoseconds

	channels map[uint64]*Channel
	lastOpen uint64 // the largest channel that was opened on this link
	outUsed  int    // of the link's window, by what is sent and not consumed
	inUsed   int    // of the link's window, by what is received and not consumed

	readyHead, readyTail *Channel   // channels that have something to send
	waitHead, waitTail   *Channel   // channels that have something unacknowledged, ordered by askAt
	credit               []*Channel // channels whose messages do not fit into the link's window
	creditFreed          bool       // there is more room than when grantCredit last looked

	opensWait          bool // an open was dropped because there were too many channels
	pong, ping, reopen bool
	gone               []uint64
	unsupported        []frameType

	shares     shares // of the present connection
	events     []event
	latest     *Channel // the one that receive has looked up last, or nil
	spare      *outFrame
	spareBytes int
}

// event is a call of a Receiver that is due.
type event struct {
	kind     eventKind
	consumed bool // what Message returned
	ch       *Channel
	seq      uint64
	payload  []byte  // of the connection's buffer, or of shared
	shared   *Shared // the message, if it was sent on several channels
	err      error
}

type eventKind uint8

const (
	eventOpen eventKind = iota
	eventMessage
	eventEnded
	eventWritable
	eventClosed
)

func newCore(dialer bool, own limits, askTime int64) *core {
	return &core{
		dialer: dialer, own: own, askTime: askTime, version: 1, channels: make(map[uint64]*Channel),
		peer: limits{ChannelWindow: reserve, LinkWindow: 0, MaxMessage: own.MaxMessage, MaxChannels: own.MaxChannels},
	}
}

// shared returns what bytes of one channel use of the link's window.
func shared(bytes int) int { return max(0, bytes-reserve) }

// open opens a channel whose first message has the sequence first. ch is empty, but for its link and receiver.
func (c *core) open(ch *Channel, greeting []byte, first uint64) error {
	cost := len(greeting) + messageCost
	switch {
	case len(greeting) > maxGreeting:
		return fmt.Errorf("%w: a greeting of %d bytes, the limit is %d", ErrTooLarge, len(greeting), maxGreeting)
	case len(c.channels) >= c.peer.MaxChannels:
		return fmt.Errorf("%w: the limit is %d", ErrTooManyChannels, c.peer.MaxChannels)
	case shared(cost) > 0 && c.outUsed+shared(cost) > max(c.own.LinkWindow, maxGreeting+messageCost):
		return ErrWindowFull
	}
	c.lastOpen++
	ch.id = c.lastOpen
	base := first - 1 // the sequence of the open itself
	ch.next, ch.sentMax, ch.received, ch.consumed = base, base-1, base-1, base-1
	c.channels[ch.id] = ch
	payload := make([]byte, 8, 8+len(greeting))
	binary.BigEndian.PutUint64(payload, base)
	c.queue(ch, typeOpen, append(payload, greeting...), cost) // copies it again, but a channel is opened once
	return nil
}

// send queues a message and returns its sequence. It copies p, unless kind is typeShared.
func (c *core) send(ch *Channel, kind frameType, p []byte) (uint64, error) {
	if ch.flags.has(flagLocalEnded | flagResetting | flagOver | flagFinished) {
		return 0, ErrEnded
	}
	if len(p) > c.peer.MaxMessage {
		return 0, fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooLarge, len(p), c.peer.MaxMessage)
	}
	cost := len(p) + messageCost
	if ok, link := c.fits(ch, cost); !ok {
		if ch.need == 0 || cost < ch.need { // others may wait too
			ch.need = cost
		}
		if link && !ch.flags.has(flagCreditQueued) {
			ch.flags.set(flagCreditQueued)
			c.credit = append(c.credit, ch)
		}
		return 0, ErrWindowFull
	}
	seq := ch.next
	c.queue(ch, kind, p, cost)
	return seq, nil
}

// fits reports whether the windows have room for a message; if not, link says that it is the link's window that is full.
func (c *core) fits(ch *Channel, cost int) (ok, link bool) {
	if ch.outBytes > 0 && ch.outBytes+cost > c.peer.ChannelWindow {
		return false, false
	}
	grows := shared(ch.outBytes+cost) - shared(ch.outBytes)
	if grows > 0 && c.outUsed+grows > c.peer.LinkWindow {
		return false, true
	}
	return true, false
}

// queue appends a frame with a copy of payload, or with payload itself if that is shared.
func (c *core) queue(ch *Channel, kind frameType, payload []byte, cost int) {
	f := c.takeSpare()
	switch {
	case kind == typeShared:
		f.payload = payload
	case cap(f.payload) < len(payload) || cap(f.payload) > 2*len(payload)+spareSlack:
		f.payload = append(make([]byte, 0, len(payload)), payload...)
	default:
		f.payload = append(f.payload[:0], payload...)
	}
	f.seq, f.kind, f.cost = ch.next, kind, int32(cost)
	ch.next++
	if ch.tail == nil {
		ch.head = f
	} else {
		ch.tail.next = f
	}
	ch.tail = f
	if ch.unsent == nil {
		ch.unsent = f
	}
	c.charge(ch, cost)
	c.setReady(ch)
}

// takeSpare returns a frame whose payload has memory to be reused.
func (c *core) takeSpare() *outFrame {
	f := c.spare
	if f == nil {
		return new(outFrame)
	}
	c.spare, f.next = f.next, nil
	c.spareBytes -= messageCost + cap(f.payload)
	return f
}

// putSpare keeps a frame that is not used any more.
func (c *core) putSpare(f *outFrame) {
	if f.kind == typeShared {
		f.payload = nil
	}
	if size := messageCost + cap(f.payload); c.spareBytes+size <= maxSpare {
		*f = outFrame{next: c.spare, payload: f.payload[:0]}
		c.spare = f
		c.spareBytes += size
	}
}

// dropSpare frees the frames that are not used, if nothing is under way.
func (c *core) dropSpare() {
	if c.waitHead == nil {
		c.spare, c.spareBytes = nil, 0
		c.shares.forgetSent()
	}
}

// charge adds cost, which may be negative, to what is unconsumed.
func (c *core) charge(ch *Channel, cost int) {
	c.outUsed += shared(ch.outBytes+cost) - shared(ch.outBytes)
	ch.outBytes += cost
	c.creditFreed = c.creditFreed || cost < 0
}

// end queues the end of this direction. It needs no room in the windows.
func (c *core) end(ch *Channel, reason []byte) error {
	if ch.flags.has(flagLocalEnded | flagResetting | flagOver | flagFinished) {
		return ErrEnded
	}
	if len(reason) > maxReason {
		return fmt.Errorf("%w: a reason of %d bytes, the limit is %d", ErrTooLarge, len(reason), maxReason)
	}
	c.queue(ch, typeEnd, reason, 0)
	ch.flags.set(flagLocalEnded)
	c.releaseSender(ch)
	return nil
}

// reset ends the channel here and keeps what the peer must be told until it answers.
func (c *core) reset(ch *Channel, code uint16, reason []byte) {
	if ch.flags.has(flagResetting | flagOver | flagFinished) {
		return
	}
	c.dropQueues(ch)
	ch.code = code
	ch.head = &outFrame{kind: typeReset, payload: slices.Clone(reason[:min(len(reason), maxReason)])}
	ch.flags.set(flagResetting | flagResetDue)
	c.releaseSender(ch)
	c.setReady(ch)
}

// dropQueues forgets what is unconsumed in both directions, and the room that it occupied in the windows.
func (c *core) dropQueues(ch *Channel) {
	c.charge(ch, -ch.outBytes)
	ch.head, ch.tail, ch.unsent = nil, nil, nil
	c.inUsed -= shared(ch.inBytes)
	ch.inBytes, ch.inSizes = 0, nil
}

// consume acknowledges the messages up to seq, so that the peer forgets them.
func (c *core) consume(ch *Channel, seq uint64) {
	if ch.flags.has(flagResetting|flagOver|flagFinished) || !after(seq, ch.inConsumed) || seq-ch.inConsumed > uint64(len(ch.inSizes)) {
		return
	}
	c.consumeSizes(ch, int(seq-ch.inConsumed))
	ch.inConsumed = seq
	c.consumeEnd(ch)
	ch.flags.set(flagAckDue)
	c.setReady(ch)
	c.finish(ch)
}

func (c *core) consumeSizes(ch *Channel, n int) {
	before := shared(ch.inBytes)
	for _, size := range ch.inSizes[:n] {
		ch.inBytes -= int(size)
	}
	if n == len(ch.inSizes) && cap(ch.inSizes) > 16 {
		ch.inSizes = nil
	} else {
		ch.inSizes = ch.inSizes[:copy(ch.inSizes, ch.inSizes[n:])]
	}
	c.inUsed += shared(ch.inBytes) - before
}

// consumeEnd consumes the peer's end when all messages before it are consumed.
func (c *core) consumeEnd(ch *Channel) {
	if ch.flags.has(flagPeerEnded) && len(ch.inSizes) == 0 {
		ch.inConsumed = ch.inReceived
	}
}

// finish forgets a channel that both ends have ended and whose messages are all consumed, after one more ack.
func (c *core) finish(ch *Channel) {
	if ch.head == nil && ch.flags.has(flagLocalEnded) && ch.flags.has(flagPeerEnded) && ch.inConsumed == ch.inReceived && !ch.flags.has(flagFinished) {
		ch.flags.set(flagFinished | flagAckDue)
		c.events = append(c.events, event{kind: eventClosed, ch: ch})
		c.setReady(ch)
	}
}

// fail ends the channel with an error. What is unconsumed stays with it, for Unconsumed.
func (c *core) fail(ch *Channel, err error) {
	if ch.flags.has(flagOver) {
		return
	}
	if !ch.flags.has(flagResetting | flagFinished) {
		c.events = append(c.events, event{kind: eventClosed, ch: ch, err: err})
	}
	c.forget(ch)
}

// failAll ends all channels with an error.
func (c *core) failAll(err error) {
	for _, ch := range c.inOrder() {
		c.fail(ch, err)
	}
}

// inOrder returns the channels in the order in which they were opened.
func (c *core) inOrder() []*Channel {
	return slices.SortedFunc(maps.Values(c.channels), func(a, b *Channel) int { return cmp.Compare(a.id, b.id) })
}

// forget removes the channel from the core. Its frames stay with it.
func (c *core) forget(ch *Channel) {
	delete(c.channels, ch.id)
	if c.latest == ch {
		c.latest = nil
	}
	ch.flags.set(flagOver)
	c.charge(ch, -ch.outBytes)
	c.inUsed -= shared(ch.inBytes)
	ch.inBytes, ch.inSizes = 0, nil
	if c.opensWait {
		c.opensWait, c.reopen = false, true
	}
	c.removeWaiting(ch)
	c.releaseSender(ch)
}

// releaseSender makes a Send that waits for room try again, and find that the channel has ended.
func (c *core) releaseSender(ch *Channel) {
	ch.need = 0
	ch.flags.clear(flagWritableWanted)
	if ch.room != nil {
		close(ch.room)
		ch.room = nil
	}
}

// offerRoom tells those who wait for room in the channel's window, if there is enough.
func (c *core) offerRoom(ch *Channel) (offered bool) {
	if ch.need == 0 {
		return true
	}
	if ok, link := c.fits(ch, ch.need); !ok {
		if link && !ch.flags.has(flagCreditQueued) {
			ch.flags.set(flagCreditQueued)
			c.credit = append(c.credit, ch)
		}
		return false
	}
	ch.need = 0
	if ch.room != nil {
		close(ch.room)
		ch.room = nil
	}
	if ch.flags.has(flagWritableWanted) {
		ch.flags.clear(flagWritableWanted)
		c.events = append(c.events, event{kind: eventWritable, ch: ch})
	}
	return true
}

// grantCredit offers the room in the link's window to the channels that wait for it, in the order in which they came. One whose message is too
// large for what is left does not hold up the others. The owner calls it after the calls that may have freed room.
func (c *core) grantCredit() {
	if !c.creditFreed {
		return
	}
	c.creditFreed = false
	room := c.peer.LinkWindow - c.outUsed
	waiting := c.credit[:0]
	for i, ch := range c.credit {
		if room <= 0 {
			waiting = append(waiting, c.credit[i:]...)
			break
		}
		grows := shared(ch.outBytes+ch.need) - shared(ch.outBytes)
		if ch.need > 0 && grows > room {
			waiting = append(waiting, ch)
			continue
		}
		ch.flags.clear(flagCreditQueued)
		if ch.need > 0 && c.offerRoom(ch) {
			room -= grows
		}
	}
	clear(c.credit[len(waiting):])
	c.credit = waiting
	if len(waiting) == 0 {
		c.credit = nil
	}
}

// connected begins a connection: what the peer has not received is sent again.
func (c *core) connected(peer limits, version uint8) {
	c.peer, c.version, c.creditFreed = peer.within(c.own), version, true
	c.pong, c.ping, c.gone, c.unsupported = false, false, nil, nil
	c.shares = shares{}
	for _, ch := range c.inOrder() {
		ch.flags.clear(flagNacked)
		switch {
		case ch.flags.has(flagResetting):
			ch.flags.set(flagResetDue)
		case ch.head != nil:
			c.goBack(ch)
			ch.flags.set(flagAskDue)
		}
		c.setReady(ch)
		c.offerRoom(ch)
	}
}

// goBack sends everything again that the peer has not received.
func (c *core) goBack(ch *Channel) {
	f := ch.head
	for f != nil && !after(f.seq, ch.received) {
		f = f.next
	}
	ch.unsent = f
	c.shares.forgetSent()
}
