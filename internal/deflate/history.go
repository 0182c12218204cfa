package deflate

// history is the end of the plaintext that went by in compressed messages: what the next message may refer to.
// It starts with no memory and grows with what it is given.
type history []byte

// roll appends p and keeps the last size bytes.
func (h *history) roll(p []byte, size int) {
	p = p[max(0, len(p)-size):]
	keep := min(len(*h), size-len(p))
	h.reserve(keep+len(p), size)
	copy((*h)[:keep], (*h)[len(*h)-keep:])
	*h = append((*h)[:keep], p...)
}

// reserve makes room for n bytes, doubling up to size and not a byte beyond.
func (h *history) reserve(n, size int) {
	if n > cap(*h) {
		grown := make([]byte, len(*h), max(n, min(2*cap(*h), size)))
		copy(grown, *h)
		*h = grown
	}
}

// last returns the last n bytes, or all there are.
func (h history) last(n int) []byte { return h[max(0, len(h)-n):] }
