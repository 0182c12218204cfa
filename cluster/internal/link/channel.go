package link

import (
	"bytes"
	"context"
	"iter"
	"sync/atomic"
)

// Receiver gets what arrives on a channel. Its methods are called one at a time, in the order of the events, by a goroutine of the link
// that all channels share: they must not block, and they must not call Channel.Send (TrySend does not block) or Manager.Close. They may
// call every other method.
type Receiver interface {
	// Message takes the next message of the peer. p is valid until Message returns. It returns true if the message, and all before it,
	// are consumed: the peer forgets them and may send others in their place. Otherwise Channel.Consume says so later.
	Message(seq uint64, p []byte) (consumed bool)
	// Ended says that the peer has called End: no message follows. This end may go on sending, and must call End or Reset itself.
	Ended(reason []byte)
	// Writable says that there is room for what TrySend has refused last. Other senders may be faster: TrySend may refuse it again.
	Writable()
	// Closed is the last call. err is nil if both ends have called End and all messages are consumed. Otherwise the channel has failed:
	// Channel.Unconsumed has the messages that the peer may not have seen. Closed is not called after Reset.
	Closed(err error)
}

// SharedReceiver is a Receiver that takes messages that were sent on several channels in a way of its own.
type SharedReceiver interface {
	Receiver
	// SharedMessage is called in place of Message for a message of TrySendShared. Receivers of other channels get the same m.
	SharedMessage(seq uint64, m *Shared) (consumed bool)
}

// Channel is one of many streams of messages, in both directions, on the link to a peer. Its methods are safe for concurrent use.
type Channel struct {
	link     *peerLink
	receiver Receiver // set before the first event; guarded by the turn of the link
	id       uint64

	// Outgoing: the frames from head to tail are not consumed, those from unsent on are to be sent (again).
	head, tail, unsent *outFrame
	next               uint64        // the sequence of the next message
	sentMax            uint64        // the largest sequence that was ever sent
	received, consumed uint64        // by the peer
	outBytes           int           // the cost of the frames from head to tail
	need               int           // the cost of the smallest message that found no room; 0: none
	room               chan struct{} // closed when there is room for it; nil: no Send waits

	// Incoming.
	inReceived, inConsumed uint64
	inSizes                []int32 // the cost of each message that is received and not consumed
	inBytes                int     // their sum

	// Places in the lists of the link's core.
	nextReady          *Channel
	waitPrev, waitNext *Channel
	askAt              int64 // when the peer is asked about what it has not acknowledged

	silent atomic.Bool // Reset was called: the receiver gets nothing more
	flags  channelFlags
	code   uint16 // of the reset
}

type channelFlags uint16

const (
	flagLocalEnded     channelFlags = 1 << iota // End was called
	flagPeerEnded                               // the peer's end was received
	flagResetting                               // Reset was called; the peer does not know yet
	flagOver                                    // the core has forgotten the channel
	flagFinished                                // both ends are over; forgotten once the last ack is sent
	flagAckDue                                  // an ack is to be sent
	flagAskDue                                  // an ask is to be sent
	flagNackDue                                 // a nack is to be sent
	flagNacked                                  // the present gap has been reported
	flagResetDue                                // the reset is to be sent (again)
	flagReady                                   // in the list of channels that have something to send
	flagWaiting                                 // in the list of channels that wait for an acknowledgement
	flagCreditQueued                            // in the list of channels that wait for room in the link's window
	flagWritableWanted                          // TrySend was refused
	flagSent                                    // a frame with its open, or with something behind that, was given to a connection
)

func (f *channelFlags) set(g channelFlags)     { *f |= g }
func (f *channelFlags) clear(g channelFlags)   { *f &^= g }
func (f channelFlags) has(g channelFlags) bool { return f&g != 0 }

// outFrame is a frame that waits to be sent, or that the peer has not consumed yet.
type outFrame struct {
	next    *outFrame
	seq     uint64
	payload []byte
	cost    int32
	kind    frameType
}

// isMessage reports whether the frame has a message of the program.
func (f *outFrame) isMessage() bool { return f.kind == typeData || f.kind == typeShared }

// ID returns the number of the channel. It is unique among the channels that the dialling end of the link opens in one session.
func (ch *Channel) ID() uint64 { return ch.id }

// Peer returns the member at the other end.
func (ch *Channel) Peer() Peer { return ch.link.peer }

// TrySend queues a message for the peer and returns its sequence: the first one as given to Open, or 1, and one more for each message.
// It does not block and does not keep p. When the window is full it returns ErrWindowFull, and Receiver.Writable is called later.
func (ch *Channel) TrySend(p []byte) (seq uint64, err error) {
	return ch.trySend(typeData, p)
}

// TrySendShared is TrySend for a message that is sent on several channels of the link. It keeps p, which must never change. Calls with the same
// memory send the same message: it goes over the connection once, as long as few others are sent in between.
func (ch *Channel) TrySendShared(p []byte) (seq uint64, err error) {
	if len(p) == 0 || len(p) > maxShared {
		return ch.trySend(typeData, p)
	}
	return ch.trySend(typeShared, p)
}

func (ch *Channel) trySend(kind frameType, p []byte) (seq uint64, err error) {
	l := ch.link
	l.mu.Lock()
	seq, err = l.core.send(ch, kind, p)
	if err == ErrWindowFull {
		ch.flags.set(flagWritableWanted)
	}
	l.wakeLocked()
	l.mu.Unlock()
	return seq, err
}

// Send is TrySend, but waits for room in the window until ctx ends. The order of concurrent calls is not defined.
func (ch *Channel) Send(ctx context.Context, p []byte) (seq uint64, err error) {
	l := ch.link
	for {
		l.mu.Lock()
		seq, err = l.core.send(ch, typeData, p)
		if err != ErrWindowFull {
			l.wakeLocked()
			l.mu.Unlock()
			return seq, err
		}
		if ch.room == nil {
			ch.room = make(chan struct{})
		}
		room := ch.room
		l.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

// SetReceiver has r get what arrives from now on, in place of the receiver before, which the link does not refer to any more. It waits for a
// call of a receiver of the link that is under way: the methods of receivers must not call it, nor goroutines that have a lock which those
// take. If the channel is over already, r gets nothing.
func (ch *Channel) SetReceiver(r Receiver) {
	ch.link.turn <- struct{}{}
	defer func() { <-ch.link.turn }()
	if ch.receiver != nil {
		ch.receiver = r
	}
}

// Consume says that all messages of the peer up to seq are dealt with: the peer forgets them and may send others in their place. Until
// then they count in the window. A sequence that has not been received, or was consumed before, changes nothing.
func (ch *Channel) Consume(seq uint64) {
	l := ch.link
	l.mu.Lock()
	l.core.consume(ch, seq)
	l.wakeLocked()
	l.deliverLaterLocked()
	l.mu.Unlock()
}

// End says that this end sends nothing more; reason, of at most 1 KiB, reaches the peer after all messages. What the peer sends goes on
// arriving until it calls End too.
func (ch *Channel) End(reason []byte) error {
	l := ch.link
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.core.end(ch, reason)
	l.wakeLocked()
	return err
}

// Reset ends the channel at once, in both directions. The peer gets a ResetError with code, which must be at least 256, and reason, of
// at most 1 KiB: what is longer is cut off. What was sent and not consumed is dropped; this end's Receiver is not called any more, except
// for a call that is under way. Reset of a channel that is over does nothing.
func (ch *Channel) Reset(code uint16, reason []byte) {
	ch.link.mu.Lock()
	defer ch.link.mu.Unlock()
	ch.resetLocked(code, reason)
}

// Withdraw is Reset, and returns copies of the messages that were sent and that the peer has not said to have consumed, the oldest first: they
// are to be sent to another node. The peer may have seen them.
func (ch *Channel) Withdraw(code uint16, reason []byte) (unconsumed [][]byte) {
	l := ch.link
	l.mu.Lock()
	defer l.mu.Unlock()
	for f := ch.head; f != nil; f = f.next {
		if f.isMessage() {
			unconsumed = append(unconsumed, bytes.Clone(f.payload))
		}
	}
	ch.resetLocked(code, reason)
	return unconsumed
}

// resetLocked is Reset. The link's mu must be held.
func (ch *Channel) resetLocked(code uint16, reason []byte) {
	l := ch.link
	ch.silent.Store(true)
	l.core.reset(ch, max(code, firstUserCode), reason)
	l.wakeLocked()
	l.deliverLaterLocked()
}

const firstUserCode = 256

// Unconsumed returns the messages that were sent and that the peer has not said to have consumed, the oldest first, with their sequences:
// after a failure, what another node has to be sent. The payloads must not be changed. While the channel is alive it returns nothing.
func (ch *Channel) Unconsumed() iter.Seq2[uint64, []byte] {
	return func(yield func(uint64, []byte) bool) {
		l := ch.link
		l.mu.Lock()
		over := ch.flags.has(flagOver)
		f := ch.head
		l.mu.Unlock()
		for over && f != nil {
			if f.isMessage() && !yield(f.seq, f.payload) {
				return
			}
			f = f.next
		}
	}
}

// Sent reports whether something of the channel may have reached the peer, on any connection. If not, the peer knows nothing of a channel that
// this end has opened and that has failed.
func (ch *Channel) Sent() bool {
	l := ch.link
	l.mu.Lock()
	defer l.mu.Unlock()
	return ch.flags.has(flagSent)
}

// Version returns the version of the protocol that the two ends speak; 0 before the first connection.
func (ch *Channel) Version() uint16 {
	l := ch.link
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.used {
		return 0
	}
	return uint16(l.core.version)
}
