package edgews

import (
	"slices"

	"github.com/edgews/edgews/internal/buf"
	"github.com/edgews/edgews/internal/fifo"
)

// inboxLimit bounds what received messages hold that wait for a receive method, see weight. A wire stops reading beyond
// it, and with it the peer; a single message may be larger. What the wire had read behind them, 64 KiB at most, waits as well.
const inboxLimit = 64 << 10

// inbox holds what arrived and has not been taken: everything on its way to an end of a pair, and on a wire what
// waits for a receive method. Guarded by the socket's mu.
type inbox struct {
	queue fifo.Queue[item]
	bytes int // what is in queue counts for, see weight

	// unheard is how many of the first items in queue found no listener: they are kept for a receive method.
	undelivered int

	// closing is the peer's Close. It is behind everything in queue.
	closing *closeFrame

	// ready wakes the one receiver; it has room for one token, so that posting never blocks.
	ready chan struct{}
	// want is what the waiting receiver is after.
	want receiveDemand
	// asks is what an object is asked to want: the rest of a large message, or the message that has been compressed.
	wantFromObject receiveDemand

	// Owned by the receiver, of which there is one at a time.
	receiving    bool
	callSeq      uint64      // counts the calls, to tell stale readers
	lentBuffer   *buf.Buffer // what the last call returned
	messageBegun bool        // the message at the front has been begun and is not finished
}

// item is a message or a piece of one.
type item struct {
	kind        Kind
	first, last bool
	taken       bool // it no longer counts as the sender's
	buf         *buf.Buffer
}

// itemCost is what a message in a queue of its own costs beside its bytes: the item, and the buffer's head.
const itemCost = 48

// cost is what n bytes of payload, in a buffer of their own, count for against SendBuffer.
func cost(n int) int { return n + itemCost }

type closeFrame struct {
	code   StatusCode // 0: the frame was empty
	reason string
}

// received is the code as an event shows it.
func (c *closeFrame) received() StatusCode {
	if c.code == 0 {
		return StatusNoStatusRcvd
	}
	return c.code
}

// receiveDemand says what a receiver that found nothing waits for.
type receiveDemand uint8

const (
	wantNothing receiveDemand = iota
	wantMessage               // a whole message, of any size
	wantPiece                 // whatever is there of a new message
	wantRest                  // the next piece of the message that is being read
)

func (in *inbox) push(it item) {
	if in.want == wantNothing { // it waits, perhaps for long
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

// post wakes the receiver to look again.
func (in *inbox) post() {
	if in.ready == nil {
		return
	}
	select {
	case in.ready <- struct{}{}:
	default:
	}
}

// weight is what it counts for against inboxLimit: what it holds.
func weight(it item) int { return cap(it.buf.B) + itemCost }

// whole reports whether the message at the front is complete.
func (in *inbox) whole() bool { return in.wholeAfter(0) }

// wholeAfter reports whether the message that begins behind n items is complete.
func (in *inbox) wholeAfter(n int) bool {
	return slices.ContainsFunc(in.queue.Items()[n:], func(it item) bool { return it.last })
}

// isAwaited reports whether somebody waits for a message that is not here yet.
func (in *inbox) isAwaited() bool { return in.want != wantNothing && in.queue.Len() == 0 }

// full reports whether a wire has to wait before it adds another message.
func (in *inbox) full() bool { return in.bytes >= inboxLimit && in.want == wantNothing }

// dropUndelivered forgets what found no listener in its time.
func (in *inbox) dropUndelivered() {
	for in.undelivered > 0 {
		in.pop().buf.Free()
	}
}
