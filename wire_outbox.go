package edgews

import (
	"github.com/edgews/edgews/internal/buf"
	"github.com/edgews/edgews/internal/fifo"
	"github.com/edgews/edgews/internal/frame"
)

const (
	// batchLimit is the number of bytes of small frames that are gathered for one write.
	batchLimit = 64 << 10
	// firstBatch is the smallest buffer for small frames, in bytes. It has room for more than one, because more usually follow.
	firstBatch = 512
	// afterStreamCost is the memory, in bytes, of a message in afterStream besides its frame: the batch and the buffer's header.
	afterStreamCost = 96
	// controlLimit limits the bytes of waiting pings and pongs. Beyond it a pong replaces the newest pong, which RFC 6455
	// §5.5.3 allows. So a peer that sends pings and never reads takes no more memory than this.
	controlLimit = 2 << 10
	// shareFrom is the size, in bytes, from which a prepared frame is shared by outboxes instead of being copied.
	shareFrom = 4 << 10
	// keepLimit is the largest buffer, in bytes, that an outbox keeps for its next frames.
	keepLimit = 128 << 10
)

// outbox holds encoded frames that wait to be written. They are written in this order: front, control, full, open. Guarded by the socket's
// mu, except that the goroutine that has set writing reads the bytes of front without it.
type outbox struct {
	front       batch             // what is being written, or has been written in part. When it is empty, its buffer is kept for open
	full        fifo.Queue[batch] // batches to which nothing is added any more: full or shared ones
	open        batch             // the batch to which frames are added
	control     *buf.Buffer       // pings and pongs, which go before data frames (RFC 6455 §5.5); nil: none
	afterStream []batch           // messages that wait for the end of a NextWriter's message
	waiting     int               // bytes of frames in front, control, full and open that have not been written
	payload     int               // bytes of payload that have not been written, also in afterStream and gated, but not in control
	size        int               // bytes that count against SendBuffer: the same frames with their headers, and afterStreamCost
	err         error             // why broken is set; nil: the connection was closed

	writeDeadline monoMillis // by when the peer must take something, while blocked or draining; 0: no deadline

	pongAt       int32 // offset in control of the newest frame, if it is a pong; otherwise -1
	writing      bool  // a goroutine writes: the others only add frames
	blocked      bool  // the kernel has no room: Writable will be called
	writable     bool  // Writable has been called while a goroutine was writing
	keepForTurn  bool  // the outbox stays with the wire until the turn ends, even if it is empty
	flushPending bool  // Flush will be called and writes
	broken       bool  // a write has failed or the connection is closed: frames are discarded
	draining     bool  // writeBlocking is writing
	overdue      bool  // writeDeadline has passed while draining, and has been extended by drainGrace

	gated *gatedFrames // the frames that an output gate holds back; nil: no gate does
}

// batch is one or more whole frames that are written together.
type batch struct {
	buf     *buf.Buffer
	shared  []byte // a prepared frame, instead of buf
	payload int    // bytes of payload that have not been written
	size    int    // bytes that count against SendBuffer until the whole batch has been written
	off     int    // bytes that have been written
}

// unwritten returns the bytes that have not been written.
func (b *batch) unwritten() []byte {
	if b.buf != nil {
		return b.buf.B[b.off:]
	}
	return b.shared[b.off:]
}

// isEmpty reports whether the batch has no frames.
func (b *batch) isEmpty() bool { return (b.buf == nil || len(b.buf.B) == 0) && b.shared == nil }

// empty reports whether no frame waits to be written, apart from afterStream and gated.
func (o *outbox) empty() bool { return o.waiting == 0 }

// flushed reports whether everything has been written and no gate holds frames back.
func (o *outbox) flushed() bool { return !o.writing && o.empty() && o.gated == nil }

// needsWriter reports whether frames wait that can be written and no goroutine is writing.
func (o *outbox) needsWriter() bool { return !o.writing && !o.blocked && !o.empty() }

// unused reports whether the wire can give the outbox up. It cannot if frames have been discarded: their payload still counts, and
// Socket.Flush reports the loss.
func (o *outbox) unused() bool {
	return o.waiting|o.payload == 0 && !(o.writing || o.flushPending || o.broken || o.keepForTurn) && o.afterStream == nil && o.gated == nil
}

// add appends a frame with payload p, which is copied. payload is the size that counts as BufferedAmount, before compression.
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

// addMessage is add for an unfragmented, uncompressed message of a server, whose frames are not masked. No gate may hold output back.
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

// charge counts a message that has been put into b. size is the size of its frame in bytes.
func (o *outbox) charge(b *batch, payload, size int) {
	b.payload += payload
	b.size += size
	o.count(payload, size)
}

// count adds to the bytes of payload and to the bytes that count against SendBuffer.
func (o *outbox) count(payload, size int) {
	o.payload += payload
	o.size += size
}

// openBatch returns the open batch, with room for n more bytes.
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

// endBatch moves the open batch to full, so that the next frame begins another one.
func (o *outbox) endBatch() {
	if !o.open.isEmpty() {
		o.full.Push(o.open)
		o.open = batch{}
	}
}

// addShared appends an encoded frame that many sockets send. Its bytes are never changed. payload is as in add.
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

// addAfterStream keeps a message until releaseAfterStream. p is copied.
func (o *outbox) addAfterStream(h frame.Header, p []byte) {
	if o.broken {
		return
	}
	n := frame.Size(len(p), h.Masked)
	encoded := buf.Get(n)
	encoded.B = frame.AppendFrame(encoded.B, h, p)
	b := batch{buf: encoded}
	o.charge(&b, len(p), n+afterStreamCost)
	o.afterStream = append(o.afterStream, b)
}

// releaseAfterStream appends the messages in afterStream.
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

// addControl adds a ping or a pong, which goes before the data frames that are not in front.
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

// next moves the next batch to front, unless front is not written completely, and returns its unwritten bytes. The outbox must not be empty.
func (o *outbox) next() []byte {
	switch {
	case !o.front.isEmpty():
		return o.front.unwritten()
	case o.control != nil || o.full.Len() > 0:
		o.nextToFront()
		return o.front.unwritten()
	}
	front, open := &o.front, &o.open
	front.buf, open.buf = open.buf, front.buf // front's buffer is empty or nil
	front.payload, front.size = open.payload, open.size
	open.payload, open.size = 0, 0
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

// wrote records that n bytes of front have been written.
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

// reset empties the buffer, which is kept for the next frames unless it is larger than keepLimit.
func (b *batch) reset() {
	if cap(b.buf.B) > keepLimit {
		b.buf.Free()
		b.buf = nil
		return
	}
	b.buf.B = b.buf.B[:0]
}

// trim frees memory before a wait: an empty buffer of open, and a buffer of front of which less than a quarter has still to be written. No
// write may be running.
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

// discard drops the waiting frames except front. Their payload still counts as BufferedAmount, because the peer has not taken it.
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

// fail discards all frames, also those added later. err is the reason; the first one that is not nil is kept.
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
