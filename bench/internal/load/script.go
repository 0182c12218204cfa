package load

import (
	"encoding/binary"
	"math/rand/v2"
)

// Script is a sequence of batches that is sent on each connection repeatedly, with the expected answers.
type Script struct {
	Raw     bool // the server does not parse: it sends back the same bytes
	Pings   bool // the expected answers are pongs
	Batches []Batch
}

// Batch is a number of messages that are sent in one write. The next batch follows when all of them are answered.
type Batch struct {
	send []byte   // frames, masked
	want [][]byte // payloads of the messages
}

// variants is the number of different batches of a script, so that the checker recognizes an old answer.
const variants = 4

// Echo returns a script of binary messages of one size, with window messages in each batch.
func Echo(raw bool, size, window int) *Script {
	s := &Script{Raw: raw}
	random := rand.New(rand.NewPCG(uint64(size), uint64(window)))
	for range variants {
		var b Batch
		for range window {
			b.add(binary2, bytesOf(random, size), random.Uint32(), false)
		}
		s.Batches = append(s.Batches, b)
	}
	return s
}

// Texts returns a script of text messages of one size, in ASCII.
func Texts(size int) *Script {
	s := &Script{}
	random := rand.New(rand.NewPCG(uint64(size), 0))
	for range variants {
		p := bytesOf(random, size)
		for i := range p {
			p[i] = 'a' + p[i]%26
		}
		var b Batch
		b.add(text, p, random.Uint32(), false)
		s.Batches = append(s.Batches, b)
	}
	return s
}

// Pings returns a script of pings of one size, up to 125 bytes, with window pings in each batch. If there are several, a server
// may answer only the last one (RFC 6455 §5.5.3).
func Pings(raw bool, size, window int) *Script {
	s := Echo(raw, size, window)
	s.Pings = true
	for i := range s.Batches {
		b := &s.Batches[i]
		for at := 0; at < len(b.send); at += b.size() {
			b.send[at] = finBit | ping
		}
	}
	return s
}

func bytesOf(random *rand.Rand, n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(random.Uint32())
	}
	return p
}

// Opcodes and header bits of RFC 6455 §5.2.
const (
	text    = 1
	binary2 = 2
	ping    = 9
	pong    = 10

	finBit  = 0x80
	rsv1Bit = 0x40
	maskBit = 0x80
)

// add appends a message with the payload p.
func (b *Batch) add(opcode byte, p []byte, key uint32, compressed bool) {
	b.want = append(b.want, p)
	b.frame(opcode, p, key, compressed)
}

// frame appends a masked frame.
func (b *Batch) frame(opcode byte, p []byte, key uint32, compressed bool) {
	first := finBit | opcode
	if compressed {
		first |= rsv1Bit
	}
	b.send = append(b.send, first)
	switch n := len(p); {
	case n < 126:
		b.send = append(b.send, maskBit|byte(n))
	case n < 1<<16:
		b.send = binary.BigEndian.AppendUint16(append(b.send, maskBit|126), uint16(n))
	default:
		b.send = binary.BigEndian.AppendUint64(append(b.send, maskBit|127), uint64(n))
	}
	mask := binary.BigEndian.AppendUint32(nil, key)
	b.send = append(b.send, mask...)
	for i, c := range p {
		b.send = append(b.send, c^mask[i%4])
	}
}

// size returns the bytes of one message on the wire. Scripts for servers that do not parse have messages of one size.
func (b *Batch) size() int { return len(b.send) / len(b.want) }

// Largest returns the size of the largest batch in bytes. A buffer of this size has room for any batch.
func (s *Script) Largest() int {
	n := 0
	for _, b := range s.Batches {
		n = max(n, len(b.send))
	}
	return n
}
