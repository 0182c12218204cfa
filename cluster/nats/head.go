package edgewsnats

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"time"
)

// head is what the head message of an object says. Each commit, and each Open by another owner, replaces it by a compare-and-swap with the
// number of the one before. The contents of the object are the changes of its segments and of the head itself, in this order.
type head struct {
	epoch  uint64
	nonce  nonce // of the call that has written it: shows whether a call whose answer was lost has happened
	writer nonce // of the Engine that has written it
	before nonce // of the last head before the Open of this epoch, or of this Engine

	alarm    time.Time // zero: none
	alarmSeq uint64    // the number of the message in the index of alarms
	setsNow  bool      // it is the message before this one and its parts

	segments []segment // commits since the last one that contains everything, without this one

	isCommit bool   // it is a commit, and not an Open
	parts    int    // the number of messages right before this one that contain the changes; 0: this one does
	changes  []byte // if parts is 0; see changes.go
}

// segment is a commit.
type segment struct {
	seq   uint64 // of its head
	parts int
}

type nonce [16]byte

func newNonce() (n nonce) {
	rand.Read(n[:]) // it never fails
	return n
}

func (n nonce) String() string { return hex.EncodeToString(n[:]) }

// headVersion is the first byte of a head.
const headVersion = 1

// Flags of a head.
const (
	flagAlarm = 1 << iota
	flagSetsNow
	flagCommit
)

// ErrDamaged: what is stored of an object is not what this package writes.
var ErrDamaged = errors.New("edgews: object in NATS is damaged")

func (h *head) append(b []byte) []byte {
	flags := byte(0)
	if !h.alarm.IsZero() {
		flags |= flagAlarm
	}
	if h.setsNow {
		flags |= flagSetsNow
	}
	if h.isCommit {
		flags |= flagCommit
	}
	b = append(b, headVersion, flags)
	b = binary.BigEndian.AppendUint64(b, h.epoch)
	b = append(append(append(b, h.nonce[:]...), h.writer[:]...), h.before[:]...)
	if !h.alarm.IsZero() {
		b = binary.AppendUvarint(appendTime(b, h.alarm), h.alarmSeq)
	}
	b = binary.AppendUvarint(b, uint64(len(h.segments)))
	last := uint64(0)
	for _, s := range h.segments {
		b = binary.AppendUvarint(b, s.seq-last)
		b = binary.AppendUvarint(b, uint64(s.parts))
		last = s.seq
	}
	b = binary.AppendUvarint(b, uint64(h.parts))
	return append(b, h.changes...)
}

// parseHead returns the head in the message with the number seq.
func parseHead(b []byte, seq uint64) (h head, err error) {
	r := reader{b: b}
	if r.byte() != headVersion {
		return head{}, ErrDamaged
	}
	flags := r.byte()
	h.setsNow, h.isCommit = flags&flagSetsNow != 0, flags&flagCommit != 0
	if raw := r.take(8); raw != nil {
		h.epoch = binary.BigEndian.Uint64(raw)
	}
	copy(h.nonce[:], r.take(uint64(len(h.nonce))))
	copy(h.writer[:], r.take(uint64(len(h.writer))))
	copy(h.before[:], r.take(uint64(len(h.before))))
	if flags&flagAlarm != 0 {
		if raw := r.take(timeLen); raw != nil {
			h.alarm = parseTime(raw)
			r.bad = r.bad || h.alarm.IsZero()
		}
		h.alarmSeq = r.uvarint()
	}
	last := uint64(0)
	for n := r.uvarint(); n > 0 && !r.bad; n-- {
		last += r.uvarint()
		h.segments = append(h.segments, segment{seq: last, parts: r.parts(last)})
	}
	h.parts = r.parts(seq)
	h.changes = r.b
	if r.bad {
		return head{}, ErrDamaged
	}
	if h.setsNow {
		h.alarmSeq = seq - uint64(h.parts) - 1
	}
	return h, nil
}

// all returns the segments including the head itself, whose number is seq.
func (h *head) all(seq uint64) []segment {
	if !h.isCommit {
		return h.segments
	}
	return append(h.segments[:len(h.segments):len(h.segments)], segment{seq: seq, parts: h.parts})
}

// reader takes a message apart. When something is missing, it is bad.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.b, r.bad = nil, true
		return nil
	}
	taken := r.b[:n:n]
	r.b = r.b[n:]
	return taken
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.b, r.bad = nil, true
		return 0
	}
	r.b = r.b[n:]
	return v
}

// parts takes the number of the messages before the one with the number seq.
func (r *reader) parts(seq uint64) int {
	n := r.uvarint()
	if n > maxParts || n >= seq {
		r.b, r.bad = nil, true
		return 0
	}
	return int(n)
}

// timeLen is the length of a time: seconds since 1970 with the sign bit flipped, then nanoseconds. Times sort as their bytes do.
const timeLen = 12

func appendTime(b []byte, t time.Time) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(t.Unix())^1<<63)
	return binary.BigEndian.AppendUint32(b, uint32(t.Nanosecond()))
}

func parseTime(b []byte) time.Time {
	return time.Unix(int64(binary.BigEndian.Uint64(b)^1<<63), int64(binary.BigEndian.Uint32(b[8:])))
}
