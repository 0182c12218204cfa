package link

// Sequences are 64-bit numbers, of which frames carry the low 32 bits. Both ends know to within a window which number is meant. The
// windows are far smaller than 2^31 messages, because an empty message counts too. Comparisons are by difference: a sequence may start
// anywhere and pass its largest value.

// widen returns the sequence nearest to near whose low 32 bits are low.
func widen(near uint64, low uint32) uint64 {
	return near + uint64(int64(int32(low-uint32(near))))
}

// after reports whether a comes after b.
func after(a, b uint64) bool { return int64(a-b) > 0 }
