package edgews

import (
	"github.com/edgews/edgews/internal/buf"
	"github.com/edgews/edgews/internal/fifo"
	"github.com/edgews/edgews/internal/frame"
)

const (
	// batchLimit is how many bytes of small frames are gathered for one write.
	batchLimit = 64 << 10
	// firstBatch is the smallest buffer for small frames: they seldom come alone.
	firstBatch = 512
	// heldCost is what a message that waits for a NextWriter's costs beside its frame: the batch, and the buffer's head.
	heldCost = 96
	// controlLimit bounds the pings and pongs that wait. Beyond it a pong replaces the newest one, which RFC 6455
	// §5.5.3 allows, so that a peer that pings and never reads costs no more than this.
	controlLimit = 2 << 10
	// shareFrom is the size from which a prepared frame is written from where it lies instead of being copied.
	shareFrom = 4 << 10
	// keepLimit is the largest buffer that an outbox keeps for its next frames.
	keepLimit = 128 << 10
)

// outbox holds encoded frames that wait to be written. Guarded by the socket's mu.
type outbox struct {
	front       batch             // what somebody is writing, or what the connection has taken a part of. Its buffer is kept like that of last
	full        fifo.Queue[batch] // … behind it: batches that are full or shared
	open        batch             // … and behind those: what small frames are still added to. Its buffer is kept, empty, for the next ones
	control     *buf.Buffer       // pings and pongs: they overtake data between frames
	afterStream []batch           // messages that wait for a NextWriter's message to end
	waiting     int               // bytes of frames in front, frames, last and control that have not been written
	payload     int               // payload in all of them but control, and in behind
	size        int               // the same, as it counts against SendBuffer
	err         error             // why it is broken

	writeDeadline monoMillis // until when the peer has to take something, while blocked or draining; 0: not limited

	pongAt       int32 // where in control the newest frame begins, if that is a pong; else -1
	writing      bool  // somebody writes; everybody else only appends
	blocked      bool  // there is no room: the connection will tell
	writable     bool  // … and has told, while somebody was writing
	keepForTurn  bool  // the connection's turn keeps it, empty or not, until its end
	flushPending bool  // Flush will come
	broken       bool  // a write has failed: nothing more goes out
	draining     bool  // a goroutine writes to the BlockingConn
	overdue      bool  // … and takenBy has passed, but for drainGrace

	gated *gatedFrames // nil: no gate holds anything back
}

// batch is a run of whole frames that is written at once.
type batch struct {
	buf     *buf.Buffer
	shared  []byte // instead of buf: a prepared frame
	payload int
	size    int
	off     int // bytes written
}

func (b *batch) unwritten() []byte {
	if b.buf != nil {
		return b.buf.B[b.off:]
	}
	return b.shared[b.off:]
}

func (b *batch) isEmpty() bool { return (b.buf == nil || len(b.buf.B) == 0) && b.shared == nil }

func (o *outbox) empty() bool { return o.waiting == 0 }

// flushed reports whether everything has been written.
func (o *outbox) flushed() bool { return !o.writing && o.empty() && o.gated == nil }

// needsWriter reports whether somebody ought to write.
func (o *outbox) needsWriter() bool { return !o.writing && !o.blocked && !o.empty() }

// unused reports whether the outbox can be forgotten. One that has discarded something cannot: Flush says so, and its payload still
// counts.
func (o *outbox) unused() bool {
	return o.waiting|o.payload == 0 && !(o.writing || o.flushPending || o.broken || o.keepForTurn) && o.afterStream == nil && o.gated == nil
}

// add appends a frame.
func (o *outbox) add(h frame.Header, p []byte, payload int) {
	if o.broken {
		return
	}
	n := frame.Size(len(p), h.Masked)
	if o.gated != nil {
		o.gated.add(h, p, payload)
		o.count(payload, n)
		return
	}
	b := o.openBatch(n)
	b.buf.B = frame.AppendFrame(b.buf.B, h, p)
	o.waiting += n
	o.charge(b, payload, n)
}

// addMessage is add for a whole message of a server's, as it is.
func (o *outbox) addMessage(op frame.Opcode, p []byte) {
	if o.broken {
		return
	}
	b := &o.open
	if b.buf == nil || cap(b.buf.B)-len(b.buf.B) < len(p)+frame.MaxHeader || len(b.buf.B) > batchLimit {
		b = o.openBatch(len(p) + frame.MaxHeader)
	}
	buf := b.buf
	n := len(buf.B)
	header := frame.PutHeader((*[frame.MaxHeader]byte)(buf.B[n:n+frame.MaxHeader]), op, len(p))
	buf.B = buf.B[:n+header+len(p)]
	copy(buf.B[n+header:], p)
	o.waiting += header + len(p)
	o.charge(b, len(p), header+len(p))
}

// charge counts a message that has been put into b, and takes size bytes there.
func (o *outbox) charge(b *batch, payload, size int) {
	b.payload += payload
	b.size += size
	o.count(payload, size)
}

func (o *outbox) count(payload, size int) {
	o.payload += payload
	o.size += size
}

// openBatch returns the batch that n more bytes belong to.
func (o *outbox) openBatch(n int) *batch {
	b := &o.open
	if b.buf != nil && len(b.buf.B)+n > batchLimit {
		o.endBatch()
	}
	switch {
	case b.buf == nil:
		b.buf = buf.Get(max(n, firstBatch))
	case cap(b.buf.B)-len(b.buf.B) < n:
		b.buf = b.buf.Resize(max(len(b.buf.B)+n, min(2*len(b.buf.B), batchLimit)))
	}
	return b
}

// endBatch puts what comes next into another batch.
func (o *outbox) endBatch() {
	if !o.open.isEmpty() {
		o.full.Push(o.open)
		o.open = batch{}
	}
}

// addShared appends a frame that many sockets send. Its bytes are never changed.
func (o *outbox) addShared(encoded []byte, payload int) {
	if o.broken {
		return
	}
	if o.gated != nil {
		o.gated.addShared(encoded, payload)
		o.count(payload, len(encoded))
		return
	}
	if len(encoded) >= shareFrom {
		o.endBatch()
		o.full.Push(batch{shared: encoded})
		o.waiting += len(encoded)
		o.charge(o.full.Back(), payload, len(encoded))
		return
	}
	b := o.openBatch(len(encoded))
	b.buf.B = append(b.buf.B, encoded...)
	o.waiting += len(encoded)
	o.charge(b, payload, len(encoded))
}

// addAfterStream keeps a message back until release.
func (o *outbox) addAfterStream(h frame.Header, p []byte) {
	if o.broken {
		return
	}
	n := frame.Size(len(p), h.Masked)
	encoded := buf.Get(n)
	encoded.B = frame.AppendFrame(encoded.B, h, p)
	b := batch{buf: encoded}
	o.charge(&b, len(p), n+heldCost)
	o.afterStream = append(o.afterStream, b)
}

func (o *outbox) releaseAfterStream() {
	o.endBatch()
	for _, b := range o.afterStream {
		if o.gated != nil {
			o.gated.push(b)
		} else {
			o.full.Push(b)
			o.waiting += len(b.unwritten())
		}
	}
	o.afterStream = nil
}

// addControl appends a ping or a pong.
func (o *outbox) addControl(h frame.Header, p []byte) {
	if o.broken {
		return
	}
	n := frame.Size(len(p), h.Masked)
	if o.control == nil {
		o.control, o.pongAt = buf.Get(n), -1
	}
	pong := h.Opcode == frame.Pong
	if pong && o.pongAt >= 0 && len(o.control.B)+n > controlLimit {
		o.waiting -= len(o.control.B) - int(o.pongAt)
		o.control.B = o.control.B[:o.pongAt]
	}
	o.control = o.control.Reserve(n)
	o.pongAt = -1
	if pong {
		o.pongAt = int32(len(o.control.B))
	}
	o.control.B = frame.AppendFrame(o.control.B, h, p)
	o.waiting += n
}

// next puts what is to be written next in front, and returns it. The outbox must not be empty.
func (o *outbox) next() []byte {
	switch {
	case !o.front.isEmpty():
		return o.front.unwritten()
	case o.control != nil || o.full.Len() > 0:
		o.nextToFront()
		return o.front.unwritten()
	}
	front, last := &o.front, &o.open
	front.buf, last.buf = last.buf, front.buf // that is empty, or nil
	front.payload, front.size = last.payload, last.size
	last.payload, last.size = 0, 0
	return front.buf.B
}

// nextToFront is next for control frames and full batches.
func (o *outbox) nextToFront() {
	o.front.buf.Free()
	if o.control != nil {
		o.front.buf, o.control = o.control, nil
		return
	}
	o.front = o.full.Pop()
}

// wrote accounts for n bytes of what is in front.
func (o *outbox) wrote(n int) {
	b := &o.front
	b.off += n
	o.waiting -= n
	left := len(b.unwritten())
	if left > 0 {
		payload := min(b.payload, left)
		o.payload -= b.payload - payload
		b.payload = payload
		return
	}
	o.payload -= b.payload
	o.size -= b.size
	b.payload, b.size, b.off, b.shared = 0, 0, 0, nil
	if b.buf != nil {
		b.reset()
	}
}

// reset keeps the buffer for the next frames, unless it is large.
func (b *batch) reset() {
	if cap(b.buf.B) > keepLimit {
		b.buf.Free()
		b.buf = nil
		return
	}
	b.buf.B = b.buf.B[:0]
}

// trim gives back memory that is only kept, before a wait: an empty buffer, and one of which little is left to be written.
// Nobody may be writing.
func (o *outbox) trim() {
	if o.open.isEmpty() {
		o.open.buf.Free()
		o.open.buf = nil
	}
	b := &o.front
	if b.buf == nil || cap(b.buf.B) <= max(4*len(b.unwritten()), 4<<10) {
		return
	}
	rest := buf.Copy(b.unwritten())
	b.buf.Free()
	b.buf, b.off = rest, 0
}

// discard forgets what waits, except what is in front. That still counts: nobody has taken it.
func (o *outbox) discard() {
	for o.full.Len() > 0 {
		o.full.Pop().buf.Free()
	}
	if o.gated != nil {
		o.gated.discard()
	}
	for _, b := range o.afterStream {
		b.buf.Free()
	}
	o.afterStream = nil
	o.open.buf.Free()
	o.open = batch{}
	o.control.Free()
	o.control = nil
	o.waiting = len(o.front.unwritten())
}

// fail makes the outbox refuse everything from now on, because of err. The first reason counts.
func (o *outbox) fail(err error) {
	if o.err == nil {
		o.err = err
	}
	o.discard()
	if !o.writing {
		o.front.buf.Free()
		o.front, o.waiting = batch{}, 0
	}
	o.broken = true
}
