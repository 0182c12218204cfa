package edgews

import (
	"time"

	"github.com/edgews/edgews/internal/frame"
)

const (
	// batchLimit is how many bytes of small frames are gathered for one write.
	batchLimit = 64 << 10
	// controlLimit bounds the pings and pongs that wait. Beyond it a pong replaces the newest one, which RFC 6455
	// §5.5.3 allows, so that a peer that pings and never reads costs no more than this.
	controlLimit = 2 << 10
	// shareFrom is the size from which a prepared frame is written from where it lies instead of being copied.
	shareFrom = 4 << 10
)

// outbox holds encoded frames that wait to be written. Guarded by the socket's mu.
type outbox struct {
	frames  fifo[batch]
	behind  fifo[batch] // what a gate holds back: it is behind everything in frames
	control *buffer     // pings and pongs: they overtake data between frames
	held    []batch     // messages that wait for a NextWriter's message to end
	payload int         // payload in frames, in behind, in held and in the hands of the writer
	size    int         // the same, as it counts against SendBuffer

	front   batch     // what the connection has taken a part of, or nothing
	takenBy time.Time // until when the peer has to take something, while blocked
	err     error     // why it is broken

	pongAt   int32 // where in control the newest frame begins, if that is a pong; else -1
	writing  bool  // somebody writes; everybody else only appends
	blocked  bool  // there is no room: the connection will tell
	roomy    bool  // … and has told, while somebody was writing
	deferred bool  // Flush will come
	broken   bool  // a write has failed: nothing more goes out
	gated    bool  // what is added goes behind

	gatedClose bool // a Close is there
}

// batch is a run of whole frames that is written at once.
type batch struct {
	buf     *buffer
	shared  []byte // instead of buf: a prepared frame
	payload int
	size    int
	off     int // bytes written
}

func (b *batch) rest() []byte {
	if b.buf != nil {
		return b.buf.b[b.off:]
	}
	return b.shared[b.off:]
}

func (b *batch) none() bool { return b.buf == nil && b.shared == nil }

func (o *outbox) empty() bool { return o.frames.len() == 0 && o.control == nil && o.front.none() }

// flushed reports whether everything has been written.
func (o *outbox) flushed() bool { return !o.writing && o.empty() && !o.gated }

// ready reports whether somebody ought to write.
func (o *outbox) ready() bool { return o != nil && !o.empty() && !o.writing && !o.blocked }

// idle reports whether the outbox can be forgotten.
func (o *outbox) idle() bool {
	return o.empty() && o.held == nil && o.payload == 0 && !o.writing && !o.deferred && !o.broken && !o.gated
}

// add appends a frame.
func (o *outbox) add(h frame.Header, p []byte, payload int) {
	if o.broken {
		return
	}
	b := o.tail(frame.Size(len(p), h.Masked))
	b.buf.b = frame.AppendFrame(b.buf.b, h, p)
	o.charge(b, payload)
}

// charge counts a message of n bytes that has been put into b.
func (o *outbox) charge(b *batch, n int) {
	b.payload += n
	b.size += cost(n)
	o.payload += n
	o.size += cost(n)
}

// tail returns the batch that n more bytes belong to.
func (o *outbox) tail(n int) *batch {
	q := o.queue()
	if q.len() > 0 {
		if b := q.back(); b.buf != nil && len(b.buf.b)+n <= batchLimit {
			b.buf = b.buf.reserve(n)
			return b
		}
	}
	q.push(batch{buf: newBuffer(n)})
	return q.back()
}

// queue is what frames are added to.
func (o *outbox) queue() *fifo[batch] {
	if o.gated {
		return &o.behind
	}
	return &o.frames
}

// letGo has what a gate has held back follow the rest.
func (o *outbox) letGo() {
	for o.behind.len() > 0 {
		o.frames.push(o.behind.pop())
	}
	o.gated, o.gatedClose, o.behind = false, false, fifo[batch]{}
}

// dropGated forgets what a gate has held back. It reports whether a Close was among it.
func (o *outbox) dropGated() (closing bool) {
	for o.behind.len() > 0 {
		b := o.behind.pop()
		o.payload -= b.payload
		o.size -= b.size
		b.buf.free()
	}
	closing = o.gatedClose
	o.letGo()
	return closing
}

// addShared appends a frame that many sockets send. Its bytes are never changed.
func (o *outbox) addShared(encoded []byte, payload int) {
	if o.broken {
		return
	}
	if len(encoded) >= shareFrom {
		q := o.queue()
		q.push(batch{shared: encoded})
		o.charge(q.back(), payload)
		return
	}
	b := o.tail(len(encoded))
	b.buf.b = append(b.buf.b, encoded...)
	o.charge(b, payload)
}

// hold keeps a message back until release.
func (o *outbox) hold(h frame.Header, p []byte) {
	if o.broken {
		return
	}
	buf := newBuffer(frame.Size(len(p), h.Masked))
	buf.b = frame.AppendFrame(buf.b, h, p)
	b := batch{buf: buf}
	o.charge(&b, len(p))
	o.held = append(o.held, b)
}

func (o *outbox) release() {
	for _, b := range o.held {
		o.queue().push(b)
	}
	o.held = nil
}

// addControl appends a ping or a pong.
func (o *outbox) addControl(h frame.Header, p []byte) {
	if o.broken {
		return
	}
	n := frame.Size(len(p), h.Masked)
	if o.control == nil {
		o.control, o.pongAt = newBuffer(n), -1
	}
	pong := h.Opcode == frame.Pong
	if pong && o.pongAt >= 0 && len(o.control.b)+n > controlLimit {
		o.control.b = o.control.b[:o.pongAt]
	}
	o.control = o.control.reserve(n)
	o.pongAt = -1
	if pong {
		o.pongAt = int32(len(o.control.b))
	}
	o.control.b = frame.AppendFrame(o.control.b, h, p)
}

// next hands the writer what is to be written next.
func (o *outbox) next() (batch, bool) {
	if b := o.front; !b.none() {
		o.front = batch{}
		return b, true
	}
	if b := o.control; b != nil {
		o.control = nil
		return batch{buf: b}, true
	}
	if o.frames.len() > 0 {
		return o.frames.pop(), true
	}
	return batch{}, false
}

// wrote accounts for n bytes of b that have been written.
func (o *outbox) wrote(b *batch, n int) {
	b.off += n
	payload, size := min(b.payload, len(b.rest())), b.size
	if len(b.rest()) == 0 {
		size = 0
	}
	o.payload -= b.payload - payload
	o.size -= b.size - size
	b.payload, b.size = payload, size
}

// discard forgets what waits, except what the writer has in hand. It still counts: nobody has taken it.
func (o *outbox) discard() {
	for o.frames.len() > 0 {
		o.frames.pop().buf.free()
	}
	for o.behind.len() > 0 {
		o.behind.pop().buf.free()
	}
	for _, b := range o.held {
		b.buf.free()
	}
	o.held = nil
	o.control.free()
	o.control = nil
}

// fail makes the outbox refuse everything from now on, because of err. The first reason counts.
func (o *outbox) fail(err error) {
	if o.err == nil {
		o.err = err
	}
	o.discard()
	o.front.buf.free()
	o.front = batch{}
	o.broken = true
}
