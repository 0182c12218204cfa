package edgews

import (
	"errors"
	"fmt"
	"unicode/utf8"
	"unsafe"

	"github.com/edgews/edgews/internal/park"
)

// Send sends a text message. It queues the message and returns without blocking; success does not mean that
// the peer gets the message. Text must be valid UTF-8 (ErrInvalidUTF8); it may be empty.
//
// If earlier messages wait in the queue and this one would exceed SendBuffer, Overflow decides what happens: by default
// Send returns ErrBufferFull, and the message is not sent. Write waits for room instead.
//
// Send returns ErrNotAccepted before the socket is accepted, and ErrClosed once Close has been called or the
// connection has ended. A peer's Close that has been answered counts as Close.
func (s *Socket) Send(text string) error {
	if !utf8.ValidString(text) {
		return ErrInvalidUTF8
	}
	if p := bytesOf(text); !s.sendPlain(Text, p) {
		return s.send(outgoing{kind: Text, data: p, first: true, last: true})
	}
	return nil
}

// SendBytes sends a binary message. p is not retained and may be changed when SendBytes has returned. Otherwise
// SendBytes is like Send.
func (s *Socket) SendBytes(p []byte) error {
	if s.sendPlain(Binary, p) {
		return nil
	}
	return s.send(outgoing{kind: Binary, data: p, first: true, last: true})
}

// SendPrepared sends a message that was encoded once for many sockets. Otherwise it is like Send.
func (s *Socket) SendPrepared(m *Prepared) error {
	if err := m.check(); err != nil {
		return err
	}
	return s.sendPreparedIn(nil, m, false)
}

// sendPreparedIn is SendPrepared for a message that is not nil. With counted, it returns an error also if OverflowDrop has dropped the message.
// The write is left to b, which may be nil, if b takes it; then the caller must hold no lock of a socket, and close b in the end.
func (s *Socket) sendPreparedIn(b *park.Batch, m *Prepared, counted bool) error {
	b.MakeRoom()
	if s.sendEncoded(b, m.plain(), len(m.data)) {
		return nil
	}
	return s.send(outgoing{kind: m.kind, data: m.data, first: true, last: true, prepared: m, counted: counted, batch: b})
}

// sendPlain is the fast path of send: a server's open connection, a message without compression, and room in the queue. In every
// other case it has no effect and returns false.
func (s *Socket) sendPlain(kind Kind, p []byte) bool {
	s.mu.Lock()
	w, ok := s.link.(*wire)
	if !ok || !s.isPlainLocked(w, len(p)) {
		s.mu.Unlock()
		return false
	}
	if s.observed != nil {
		w.sendObservedAndUnlock(kind, p)
		return true
	}
	s.counter.countWholeSentLocked(len(p))
	if len(p) >= directWriteFrom && w.mayWriteDirectlyLocked() {
		w.writeDirectlyAndUnlock(kind, p)
		return true
	}
	w.outboxLocked().AddMessage(opcodeOf(kind), p)
	if s.is(corked) {
		s.mu.Unlock()
		return true
	}
	w.transmitAndUnlock()
	return true
}

// sendEncoded is sendPlain for the frame of a message of n bytes, on a socket without Observer. The write is left to b if b takes it.
func (s *Socket) sendEncoded(b *park.Batch, encoded []byte, n int) bool {
	s.mu.Lock()
	w, ok := s.link.(*wire)
	if !ok || !s.isPlainLocked(w, n) || s.observed != nil {
		s.mu.Unlock()
		return false
	}
	s.counter.countWholeSentLocked(n)
	w.outboxLocked().AddShared(encoded, n)
	w.transmitInAndUnlock(b)
	return true
}

// isPlainLocked reports whether the fast path may queue a message of n bytes on w, the link of s. It must return false where admitLocked
// returns an error, and where the message would be compressed, masked or held back. An object's sockets, whose output may be held back,
// have manualClose. mu must be held.
func (s *Socket) isPlainLocked(w *wire, n int) bool {
	return !w.client && s.phase == phaseOpen && s.facts&(manualClose|sentClose|lost|streamingOut) == 0 &&
		(s.counter == nil || s.counter.quotaErr == nil) && s.deferred == nil &&
		(w.deflater == nil || n < s.opts.Compression.Threshold) &&
		(w.out == nil || w.out.Size == 0 || w.out.Size+n <= s.opts.SendBuffer && s.opts.Overflow != OverflowDropOldest)
}

func (s *Socket) send(m outgoing) error {
	for {
		s.mu.Lock()
		l := s.link
		o := s.observed
		w, isWire := l.(*wire)
		compresses := isWire && w.compressesLocked(&m)
		if m.batch != nil && (o != nil || compresses && s.opts.Compression.Choose != nil) {
			s.mu.Unlock() // the program's code may block, or wait for a socket in the batch
			m.batch.Write()
			m.batch = nil
			continue
		}
		if isWire && !compresses {
			err := w.sendAndUnlock(&m)
			if o != nil {
				s.tell()
			}
			return err
		}
		s.mu.Unlock()
		err := l.send(m)
		if isWire {
			s.mu.Lock()
			w.transmitInAndUnlock(m.batch)
		} else {
			l.transmit()
		}
		if o != nil {
			s.tell()
		}
		if err != errMoved {
			return err
		}
	}
}

// errMoved tells send to try again: the socket has another link now.
var errMoved = errors.New("edgews: socket has another link")

func (s *Socket) currentLink() link {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.link
}

// bytesOf returns the memory of text as a slice, which must not be changed. Payloads are only read: masking works on a copy.
func bytesOf(text string) []byte { return unsafe.Slice(unsafe.StringData(text), len(text)) }

// writableLocked returns nil if a data message may be sent now, otherwise the error to return. mu must be held.
func (s *Socket) writableLocked() error {
	switch {
	case s.phase == phaseUsed:
		return ErrUsed
	case s.is(sentClose | lost):
		return ErrClosed
	case s.phase == phaseConnecting:
		return fmt.Errorf("%w (this one is still connecting: wait for its open event, or use Write)", ErrNotAccepted)
	case !s.isAcceptedLocked():
		return ErrNotAccepted
	}
	return nil
}

// errNoRoom tells Write and NextWriter to wait.
var errNoRoom = fmt.Errorf("%w: wait", ErrBufferFull)

// errDropped tells send to return nil although the message was dropped (OverflowDrop).
var errDropped = fmt.Errorf("%w: dropped", ErrBufferFull)

// admitLocked decides whether m may be queued. It returns nil, errNoRoom, errDropped or the error for the caller of Send. If it admits m, it
// looks at the output gate: from then on, until mu is released, no commit changes whether m is deferred. mu must be held.
func (s *Socket) admitLocked(m *outgoing) error {
	if err := s.refuseLocked(m); err != nil {
		return err
	}
	s.beginGatedOutputLocked(m)
	return nil
}

// refuseLocked returns why m may not be queued, see admitLocked, or nil. mu must be held.
func (s *Socket) refuseLocked(m *outgoing) error {
	if m.wait && s.phase == phaseConnecting && !s.is(sentClose|lost) {
		return errNoRoom
	}
	if err := s.writableLocked(); err != nil {
		return err
	}
	if s.counter.quotaErrLocked() != nil {
		s.counter.failOverQuotaLocked()
		return ErrClosed
	}
	if s.is(streamingOut) && m.wait && (m.claims || m.first && !m.stream) {
		return errNoRoom
	}
	_, size := s.bufferedLocked()
	s.observeQueueLocked(size)
	if size == 0 || m.force || size+len(m.data) <= s.opts.SendBuffer || m.stream && s.waitsOnlyForStreamLocked(size) {
		return nil
	}
	return s.overflowsLocked(m, size)
}

// closeSlowLocked drops what is queued for a peer that reads too slowly, and sends a Close with 1013. mu must be held.
func (s *Socket) closeSlowLocked() {
	s.noteCauseLocked(ClosedAsSlow)
	s.discardDeferredLocked()
	if w, ok := s.link.(*wire); ok && w.out != nil {
		w.out.Discard()
	}
	s.closeLinkLocked(closeFrame{StatusTryAgainLater, "receiver is too slow"})
	s.notifyRoomLocked()
}

// outgoing is a message, or a piece of one, on its way out.
type outgoing struct {
	kind        Kind
	data        []byte // neither retained nor changed
	first, last bool
	stream      bool      // from NextWriter
	claims      bool      // a new NextWriter: there is nothing to send, but other messages wait from now on
	prepared    *Prepared // the message whose payload is data; nil: data is not prepared
	wait        bool      // without room, errNoRoom is returned: Overflow does not apply
	force       bool      // SendBuffer does not apply
	countAs     countRule // what a meter counts it as
	ungated     bool      // it does not wait for a commit
	counted     bool      // the sender counts who has queued it: OverflowDrop returns ErrBufferFull

	batch *park.Batch // the write is left to it, if it takes it; nil: none

	latest        bool   // from SendLatest
	key           string // of SendLatest
	compressLater bool   // data is to be compressed when it is released, if it is deferred
}

// checkWritable returns nil if a data message may be sent now, otherwise the error to return.
func (s *Socket) checkWritable() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writableLocked()
}

// sendIfHalfEmpty sends m if not more than half of SendBuffer waits then, or if nothing waits. Otherwise it returns errNoRoom: Overflow does
// not apply.
func (s *Socket) sendIfHalfEmpty(m outgoing) error {
	s.mu.Lock()
	_, size := s.bufferedLocked()
	limit := s.opts.SendBuffer / 2
	s.mu.Unlock()
	if size > 0 && size+len(m.data) > limit {
		return errNoRoom
	}
	m.wait = true
	return s.send(m)
}

// waitUntilHalfEmpty waits until sendIfHalfEmpty has room for a message of n bytes, and half of what it may fill is free. It returns false
// if the socket cannot send any more.
func (s *Socket) waitUntilHalfEmpty(n int) bool {
	for {
		s.mu.Lock()
		over := s.writableLocked() != nil
		_, size := s.bufferedLocked()
		limit := s.opts.SendBuffer / 2
		isLow := size == 0 || size <= min(limit/2, limit-n)
		ready := isLow && !s.is(streamingOut)
		room := s.waitersLocked().hasRoom.wait()
		s.mu.Unlock()
		if over || ready {
			return !over
		}
		<-room
	}
}
