package deflate

import "math/bits"

// entry is an entry of a decoding table, whose index is the next bits of the input. From the lowest bit: the length of the
// codeword (4 bits), the number of its extra bits (4 bits), a kind (4 bits), and from bit 16 a value: a literal, the base of a
// length or distance, or the start of a second table, for which extra is the number of index bits.
type entry uint32

const (
	isLiteral entry = 1 << 8
	isSpecial entry = 1 << 9  // neither a literal nor a length nor a distance
	isEnd     entry = 1 << 10 // special: the end of the block
	isSecond  entry = 1 << 11 // special: more bits are needed
)

func (e entry) len() uint     { return uint(e & 15) }
func (e entry) extra() uint   { return uint(e >> 4 & 15) }
func (e entry) value() uint32 { return uint32(e >> 16) }

func newEntry(value uint16, extra uint8) entry { return entry(value)<<16 | entry(extra)<<4 }

// The entries of the symbols, without the lengths of their codewords. Symbols that must not occur are special.
var (
	literalEntries = func() (entries [288]entry) {
		for i := range entries {
			switch {
			case i < endOfBlock:
				entries[i] = isLiteral | entry(i)<<16
			case i == endOfBlock:
				entries[i] = isSpecial | isEnd
			case i < numLiterals:
				entries[i] = newEntry(lengthBase[i-endOfBlock-1], lengthExtra[i-endOfBlock-1])
			default:
				entries[i] = isSpecial
			}
		}
		return entries
	}()
	distanceEntries = func() (entries [32]entry) {
		base := uint16(1)
		for i := range entries {
			entries[i] = isSpecial
			if i < numDistances {
				extra := uint8(max(i/2, 1) - 1)
				entries[i] = newEntry(base, extra)
				base += 1 << extra
			}
		}
		return entries
	}()
	lengthEntries = func() (entries [numLengths]entry) {
		for i := range entries {
			entries[i] = newEntry(uint16(i), repeatExtra[i])
		}
		return entries
	}()
)

// table decodes one code. Its first 1<<bits entries are indexed by the next bits of the input. Second tables follow them, all with
// the same number of index bits.
type table struct {
	entries []entry
	bits    uint
	used    [288]uint16
	sorted  [288]uint16
}

// The index bits of first tables. A second table has at least two codewords, which limits the size of all of them.
const (
	literalTableBits  = 10
	distanceTableBits = 8

	literalTableSize  = 1<<literalTableBits + numLiterals/2<<(15-literalTableBits)
	distanceTableSize = 1<<distanceTableBits + numDistances/2<<(15-distanceTableBits)
)

// build makes t decode the code whose codewords have the given lengths. It returns false if the lengths are not a complete code
// (RFC 1951 §3.2.2). A single codeword of one bit, and no codeword at all, are allowed. most is the limit for the index bits.
func (t *table) build(lens []uint8, symbols []entry, most uint) (ok bool) {
	var number, next [16]uint16
	used := t.gather(lens)
	for _, u := range used {
		number[u>>symbolBits]++
	}
	longest, free := 0, 1
	for length := 1; length < 16; length++ {
		if number[length] > 0 {
			longest = length
		}
		if free = 2*free - int(number[length]); free < 0 {
			return false
		}
		next[length] = next[length-1] + number[length-1]
	}
	for _, u := range used {
		place := &next[u>>symbolBits]
		t.sorted[*place] = u & (1<<symbolBits - 1)
		*place++
	}
	if longest <= 1 && free > 0 {
		t.entries[0], t.entries[1], t.bits = isSpecial, isSpecial, 1
	} else if free > 0 {
		return false
	}
	t.fill(&number, symbols, uint(longest), most)
	return true
}

// gather collects the symbols that have a codeword, usually few. The bits above symbolBits are the length of the codeword.
func (t *table) gather(lens []uint8) []uint16 {
	n := 0
	for symbol, length := range lens {
		t.used[n] = uint16(length)<<symbolBits | uint16(symbol)
		n += int(length+15) >> 4 // 1 unless length is 0
	}
	return t.used[:n]
}

// fill enters all codewords. They are consecutive numbers, shorter codewords first.
func (t *table) fill(number *[16]uint16, symbols []entry, longest, most uint) {
	sorted := t.sorted[:]
	t.bits = max(1, min(longest, most))
	codeword := uint16(0)
	for length := uint(1); length <= t.bits; length++ {
		// The entries of shorter codewords repeat with each further bit.
		copy(t.entries[1<<(length-1):1<<length], t.entries[:1<<(length-1)])
		for _, symbol := range sorted[:number[length]] {
			t.entries[bits.Reverse16(codeword)>>(16-length)] = symbols[symbol] | entry(length)
			codeword++
		}
		sorted = sorted[number[length]:]
		codeword <<= 1
	}
	t.fillSecond(number, symbols, sorted, codeword, longest)
}

// fillSecond enters the codewords that are too long for the first table.
func (t *table) fillSecond(number *[16]uint16, symbols []entry, sorted []uint16, codeword uint16, longest uint) {
	more := longest - t.bits
	end := 1 << t.bits
	start := end
	last := -1
	for length := t.bits + 1; length <= longest; length++ {
		for _, symbol := range sorted[:number[length]] {
			reversed := int(bits.Reverse16(codeword) >> (16 - length))
			codeword++
			if first := reversed & (1<<t.bits - 1); first != last {
				start, end, last = end, end+1<<more, first
				t.entries[first] = isSpecial | isSecond | newEntry(uint16(start), uint8(more)) | entry(t.bits)
			}
			for at := start + reversed>>t.bits; at < end; at += 1 << (length - t.bits) {
				t.entries[at] = symbols[symbol] | entry(length-t.bits)
			}
		}
		sorted = sorted[number[length]:]
		codeword <<= 1
	}
}
