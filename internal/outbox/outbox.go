// Package outbox queues the encoded frames of one connection until they are written, and gathers small ones for one write. Pings and pongs
// overtake data between frames.
package outbox

import (
	"github.com/edgews/edgews/internal/buf"
	"github.com/edgews/edgews/internal/fifo"
	"github.com/edgews/edgews/internal/frame"
)

const (
	// bundleLimit is the number of bytes of small frames that are gathered for one write.
	bundleLimit = 64 << 10
	// firstBundle is the smallest buffer for small frames, in bytes. It has room for more than one, because more usually follow.
	firstBundle = 512
	// controlLimit limits the bytes of waiting pings and pongs. Beyond it a pong replaces the newest pong, which RFC 6455
	// §5.5.3 allows. So a peer that sends pings and never reads takes no more memory than this.
	controlLimit = 2 << 10
	// shareFrom is the size, in bytes, from which AddShared does not copy a frame.
	shareFrom = 4 << 10
	// keepLimit is the largest buffer, in bytes, that an Outbox keeps for its next frames.
	keepLimit = 128 << 10
)

// Outbox holds the encoded frames of one connection that wait to be written. They are written in this order: front, control, full, open. It
// has one owner at a time (see Get), whose mutex guards it, except that the goroutine that has set Writing reads the bytes of front without
// it.
type Outbox struct {
	front   bundle             // what is being written, or has been written in part. When it is empty, its buffer is kept for open
	full    fifo.Queue[bundle] // bundles to which nothing is added any more: full or shared ones
	open    bundle             // the bundle to which frames are added
	control *buf.Buffer        // pings and pongs, which go before data frames (RFC 6455 §5.5); nil: none
	waiting int                // bytes of frames in front, control, full and open that have not been written
	pongAt  int32              // offset in control of the newest frame, if it is a pong; otherwise -1

	Payload int   // bytes of payload that have not been written, but not those in control
	Size    int   // bytes that count against Options.SendBuffer: the same frames with their headers
	Err     error // why Broken is set; nil: the connection was closed

	WriteDeadline uint32 // by when the peer must take something, while Blocked or Draining, as a monoMillis of the owner; 0: no deadline

	Writing      bool // a goroutine writes: the others only add frames
	Blocked      bool // the kernel has no room: the connection will call Writable
	Writable     bool // the connection has called Writable while a goroutine was writing
	KeepForTurn  bool // the outbox stays with the connection until its turn ends, even if it is empty
	FlushPending bool // the connection will call Flush, which writes
	Broken       bool // a write has failed or the connection is closed: frames are discarded
	Draining     bool // a goroutine writes to the BlockingConn
	Overdue      bool // WriteDeadline has passed while Draining, and has been extended
}

// bundle is one or more whole frames that are written together.
type bundle struct {
	buf     *buf.Buffer
	shared  []byte // an encoded frame that is not copied, instead of buf
	payload int    // bytes of payload that have not been written
	size    int    // bytes that count against SendBuffer until the whole bundle has been written
	off     int    // bytes that have been written
}

// unwritten returns the bytes that have not been written.
func (b *bundle) unwritten() []byte {
	if b.buf != nil {
		return b.buf.B[b.off:]
	}
	return b.shared[b.off:]
}

// isEmpty reports whether the bundle has no frames.
func (b *bundle) isEmpty() bool { return (b.buf == nil || len(b.buf.B) == 0) && b.shared == nil }

// Empty reports whether there is nothing to write.
func (o *Outbox) Empty() bool { return o.waiting == 0 }

// Flushed reports whether everything has been written.
func (o *Outbox) Flushed() bool { return !o.Writing && o.Empty() }

// NeedsWriter reports whether a goroutine has to begin to write.
func (o *Outbox) NeedsWriter() bool { return !o.Writing && !o.Blocked && !o.Empty() }

// Unused reports whether the owner may give the outbox away. It may not while frames have been discarded that count in Payload, since
// Flush reports them.
func (o *Outbox) Unused() bool {
	return o.waiting|o.Payload == 0 && !(o.Writing || o.FlushPending || o.Broken || o.KeepForTurn)
}

// Add appends a frame with the body p, which counts as payload bytes. It copies p.
func (o *Outbox) Add(h frame.Header, p []byte, payload int) {
	if o.Broken {
		return
	}
	n := frame.Size(len(p), h.Masked)
	b := o.openBundle(n)
	b.buf.B = frame.AppendFrame(b.buf.B, h, p)
	o.waiting += n
	o.charge(b, payload, n)
}

// AddMessage is Add for a whole message in one unmasked frame.
func (o *Outbox) AddMessage(op frame.Opcode, p []byte) {
	if o.Broken {
		return
	}
	b := &o.open
	if b.buf == nil || cap(b.buf.B)-len(b.buf.B) < len(p)+frame.MaxHeader || len(b.buf.B) > bundleLimit {
		b = o.openBundle(len(p) + frame.MaxHeader)
	}
	into := b.buf
	n := len(into.B)
	header := frame.PutHeader((*[frame.MaxHeader]byte)(into.B[n:n+frame.MaxHeader]), op, len(p))
	o.waiting += header + len(p)
	o.charge(b, len(p), header+len(p))
	into.B = into.B[:n+header+len(p)]
	copy(into.B[n+header:], p) // at the end, because it is a call: what is needed after it has to be saved
}

// charge counts payload and size bytes, which are in b.
func (o *Outbox) charge(b *bundle, payload, size int) {
	b.payload += payload
	b.size += size
	o.Payload += payload
	o.Size += size
}

// openBundle returns open, with room for n more bytes.
func (o *Outbox) openBundle(n int) *bundle {
	b := &o.open
	if b.buf != nil && len(b.buf.B)+n > bundleLimit {
		o.endBundle()
	}
	switch {
	case b.buf == nil:
		b.buf = buf.Get(max(n, firstBundle))
	case cap(b.buf.B)-len(b.buf.B) < n:
		b.buf = b.buf.Resize(max(len(b.buf.B)+n, min(2*len(b.buf.B), bundleLimit)))
	}
	return b
}

// endBundle moves open to full, so that what is added next goes into another bundle.
func (o *Outbox) endBundle() {
	if !o.open.isEmpty() {
		o.full.Push(o.open)
		o.open = bundle{}
	}
}

// AddShared appends an encoded frame that other connections send too. Its bytes must never change: a large one is not copied.
func (o *Outbox) AddShared(encoded []byte, payload int) {
	if o.Broken {
		return
	}
	if len(encoded) >= shareFrom {
		o.endBundle()
		o.full.Push(bundle{shared: encoded})
		o.waiting += len(encoded)
		o.charge(o.full.Back(), payload, len(encoded))
		return
	}
	b := o.openBundle(len(encoded))
	b.buf.B = append(b.buf.B, encoded...)
	o.waiting += len(encoded)
	o.charge(b, payload, len(encoded))
}

// AddControl adds a ping or a pong. More than controlLimit bytes of pongs are not kept: a new pong replaces the newest one.
func (o *Outbox) AddControl(h frame.Header, p []byte) {
	if o.Broken {
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

// Front returns what is left of what Next has returned.
func (o *Outbox) Front() []byte { return o.front.unwritten() }

// Next returns what is to be written next. The outbox must not be Empty. The slice is valid until Wrote.
func (o *Outbox) Next() []byte {
	switch {
	case !o.front.isEmpty():
		return o.front.unwritten()
	case o.control != nil || o.full.Len() > 0:
		o.nextToFront()
		return o.front.unwritten()
	}
	front, last := &o.front, &o.open
	front.buf, last.buf = last.buf, front.buf // front's is empty, or nil
	front.payload, front.size = last.payload, last.size
	last.payload, last.size = 0, 0
	return front.buf.B
}

// nextToFront moves control, or the oldest full bundle, to front.
func (o *Outbox) nextToFront() {
	o.front.buf.Free()
	if o.control != nil {
		o.front.buf, o.control = o.control, nil
		return
	}
	o.front = o.full.Pop()
}

// Wrote notes that n bytes of what Next has returned have been written. It returns how many bytes of payload, of those that Payload counted,
// have been written with them.
func (o *Outbox) Wrote(n int) (payload int) {
	b := &o.front
	b.off += n
	o.waiting -= n
	if left := len(b.unwritten()); left > 0 {
		payload = max(b.payload-left, 0)
		b.payload -= payload
		o.Payload -= payload
		return payload
	}
	payload = b.payload
	o.Payload -= payload
	o.Size -= b.size
	b.payload, b.size, b.off = 0, 0, 0
	if b.buf != nil {
		b.reset()
	} else {
		b.shared = nil
	}
	return payload
}

// reset empties the buffer and keeps it for other frames, unless it is larger than keepLimit.
func (b *bundle) reset() {
	if b.buf.B = b.buf.B[:0]; cap(b.buf.B) > keepLimit {
		b.buf.Free()
		b.buf = nil
	}
}

// BeginDirect is called by a goroutine that is about to write a frame which the Outbox does not have: a whole message of payload bytes, with
// its header size bytes in all. No goroutine may be writing, and the Outbox must be Empty. EndDirect must follow.
func (o *Outbox) BeginDirect(payload, size int) {
	o.Writing = true
	o.Payload += payload
	o.Size += size
}

// EndDirect notes that n bytes of the frame with the given header and payload have been written. A copy of the rest goes to the front. It
// returns how many bytes of payload have been written.
func (o *Outbox) EndDirect(header, payload []byte, n int) int {
	o.Writing = false
	left := len(header) + len(payload) - n
	written := max(n-len(header), 0)
	o.Payload -= written
	switch {
	case left == 0:
		o.Size -= n
	case !o.Broken:
		o.front.buf.Free()
		rest := buf.Get(left)
		rest.B = append(append(rest.B, header[min(n, len(header)):]...), payload[written:]...)
		o.front = bundle{buf: rest, payload: len(payload) - written, size: len(header) + len(payload)}
		o.waiting += left
	}
	return written
}

// Trim frees memory before a wait: an empty buffer, and most of a large one of which little is left to be written. No goroutine may use
// what Next has returned.
func (o *Outbox) Trim() {
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

// Discard drops all frames but the one in front, a part of which may have been written. The payload still counts: the peer has not got it.
func (o *Outbox) Discard() {
	for o.full.Len() > 0 {
		o.full.Pop().buf.Free()
	}
	o.open.buf.Free()
	o.open = bundle{}
	o.control.Free()
	o.control = nil
	o.waiting = len(o.front.unwritten())
}

// Fail discards the frames and sets Broken: nothing is added from now on. The first err that is not nil is kept in Err.
func (o *Outbox) Fail(err error) {
	if o.Err == nil {
		o.Err = err
	}
	o.Discard()
	if !o.Writing {
		o.front.buf.Free()
		o.front, o.waiting = bundle{}, 0
	}
	o.Broken = true
}
