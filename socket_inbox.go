package edgews

import (
	"math"
	"slices"

	"github.com/edgews/edgews/internal/buf"
	"github.com/edgews/edgews/internal/fifo"
)

// inboxLimit bounds the memory, in bytes by weight, of received messages that wait for a receive method. At the limit a wire
// stops reading, so that the peer has to wait. A single message may be larger. Bytes that the wire had already read after these
// messages, 64 KiB at most, wait too.
const inboxLimit = 64 << 10

// inbox holds messages that have arrived and have not been taken: at an end of a pair all messages, on a wire those that
// wait for a receive method or an object. Guarded by the socket's mu.
type inbox struct {
	queue fifo.Queue[item]
	bytes int // the sum of the weights of the items in queue

	// undelivered is the number of items, at the front of queue, that found no listener: they are kept for a receive method.
	undelivered int

	// closing is the peer's Close, which follows all items in queue; nil: none has arrived.
	closing *closeFrame

	// ready wakes the receiver. It has room for one value, so that post never blocks. nil: no receive method has been called.
	ready chan struct{}
	// want is what the receiver waits for.
	want receiveDemand
	// wantFromObject is what the wire asks the object to want: the rest of a large message, or a message that has to be inflated.
	wantFromObject receiveDemand

	// Owned by the receiver, of which there is one at a time.
	receiving    bool
	callSeq      uint64      // the number of receive calls; a messageReader of an earlier call is stale
	lentBuffer   *buf.Buffer // the bytes that the last call returned
	messageBegun bool        // some pieces of the message at the front have been taken, but not the last
}

// item is a message or a piece of one.
type item struct {
	kind        Kind
	first, last bool
	taken       bool   // it no longer counts against the sender's SendBuffer
	wireSize    uint32 // the bytes of its frames, with their headers, for an Observer; on a pair, of its payload
	buf         *buf.Buffer
}

// wireSize returns n as the size of an item, which ends at 4 GiB.
func wireSize(n int) uint32 { return uint32(min(uint64(n), math.MaxUint32)) }

// addSizes returns the sum of two sizes of items.
func addSizes(a, b uint32) uint32 { return a + min(b, math.MaxUint32-a) }

// itemCost is the memory of a queued message beside its payload, in bytes: the item, and the header of its buffer.
const itemCost = 48

// cost returns the bytes that a message of n bytes of payload, in its own buffer, counts against SendBuffer.
func cost(n int) int { return n + itemCost }

// closeFrame is the payload of a Close frame.
type closeFrame struct {
	code   StatusCode // 0: the payload is empty
	reason string
}

// received returns the code for the close event: 1005 for an empty payload (RFC 6455 §7.1.5).
func (c *closeFrame) received() StatusCode {
	if c.code == 0 {
		return StatusNoStatusRcvd
	}
	return c.code
}

// receiveDemand is what a receiver waits for.
type receiveDemand uint8

const (
	wantNothing receiveDemand = iota
	wantMessage               // a whole message, of any size
	wantPiece                 // the first piece of a message
	wantRest                  // the next piece of a message whose first piece has been taken
)

func (in *inbox) push(it item) {
	if in.want == wantNothing { // it may wait for a long time, so its buffer must not be larger than needed
		it.buf = it.buf.Fit()
	}
	in.queue.Push(it)
	in.bytes += weight(it)
	in.post()
}

func (in *inbox) pop() item {
	it := in.queue.Pop()
	in.bytes -= weight(it)
	in.undelivered = max(in.undelivered-1, 0)
	return it
}

// post wakes the receiver, which then checks the inbox again.
func (in *inbox) post() {
	if in.ready == nil {
		return
	}
	select {
	case in.ready <- struct{}{}:
	default:
	}
}

// weight returns the bytes that an item counts against inboxLimit: the capacity of its buffer, and itemCost.
func weight(it item) int { return cap(it.buf.B) + itemCost }

// whole reports whether the message at the front is complete.
func (in *inbox) whole() bool { return in.wholeAfter(0) }

// wholeAfter reports whether the message that begins after n items is complete.
func (in *inbox) wholeAfter(n int) bool {
	return slices.ContainsFunc(in.queue.Items()[n:], func(it item) bool { return it.last })
}

// isAwaited reports whether a receiver waits and the inbox is empty.
func (in *inbox) isAwaited() bool { return in.want != wantNothing && in.queue.Len() == 0 }

// full reports whether a wire must stop reading until a message has been taken.
func (in *inbox) full() bool { return in.bytes >= inboxLimit && in.want == wantNothing }

// dropUndelivered drops the messages that found no listener.
func (in *inbox) dropUndelivered() {
	for in.undelivered > 0 {
		in.pop().buf.Free()
	}
}
