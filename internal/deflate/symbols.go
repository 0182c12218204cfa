package deflate

import (
	"math/bits"
	"sync"
)

// Lengths and distances of matches are symbols with extra bits (RFC 1951 §3.2.5).

// lengthSymbols maps the length of a match, less 3, to its symbol, less 257.
var lengthSymbols = func() (symbols [256]uint8) {
	for s := range 29 {
		for i := range 1 << lengthExtra[s] {
			if at := int(lengthBase[s]) - 3 + i; at < 256 {
				symbols[at] = uint8(s)
			}
		}
	}
	return symbols
}()

// lengthBase is the smallest length of each symbol, lengthExtra the number of its extra bits.
var (
	lengthBase  = [32]uint16{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258}
	lengthExtra = [32]uint8{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}
)

// distanceSymbol returns the symbol of a distance, and the number of its extra bits. The argument is the distance less one, whose lowest
// bits are the extra bits.
func distanceSymbol(less1 uint16) (symbol, extra uint) {
	extra = uint(max(2, bits.Len16(less1)) - 2)
	return 2*extra + uint(less1>>extra), extra
}

// The lengths of the fixed codes of RFC 1951 §3.2.6. There are two literal codewords that never occur.
var (
	fixedNumber       = [16]uint16{7: 24, 8: 144 + 8, 9: 112}
	fixedLiteralLens  = fixedLens(8, 144, 9, 112, 7, 24, 8, 8)
	fixedDistanceLens = fixedLens(5, 32)
)

// fixedLens returns lengths from pairs of a length and its number of repetitions.
func fixedLens(pairs ...int) (lens [144 + 112 + 24 + 8]uint8) {
	next := 0
	for i := 0; i < len(pairs); i += 2 {
		for range pairs[i+1] {
			lens[next] = uint8(pairs[i])
			next++
		}
	}
	return lens
}

// fixed has the fixed codes. They are made when a block first needs them, so that programs start sooner.
var fixed struct {
	once      sync.Once
	forWrite  codes
	literals  table // for reading
	distances table
}

// fixedForWriting returns the fixed codes for blocks that are written.
func fixedForWriting() *codes {
	fixed.once.Do(makeFixed)
	return &fixed.forWrite
}

// fixedForReading returns the fixed codes for blocks that are read.
func fixedForReading() (literals, distances *table) {
	fixed.once.Do(makeFixed)
	return &fixed.literals, &fixed.distances
}

func makeFixed() {
	var leaves [numLiterals]uint32
	for i := range leaves {
		leaves[i] = uint32(i)
	}
	distanceLens := fixedDistanceLens[:32]
	assign(fixed.forWrite.literals[:], leaves[:], fixedLiteralLens[:], &fixedNumber)
	assign(fixed.forWrite.distances[:], leaves[:numDistances], distanceLens, new([16]uint16))
	fixed.literals.entries, fixed.distances.entries = make([]entry, 1<<9), make([]entry, 1<<9)
	fixed.literals.build(fixedLiteralLens[:], literalEntries[:], 9)
	fixed.distances.build(distanceLens, distanceEntries[:], 9)
}

// lengthOrder is the order in which the lengths of the code for codeLens are written (RFC 1951 §3.2.7).
var lengthOrder = [numLengths]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
