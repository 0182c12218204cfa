package deflate

// history is the end of the plaintext of earlier compressed messages, which the next message may refer to. It starts without memory
// and grows as needed.
type history []byte

// add appends p and keeps the last size bytes.
func (h *history) add(p []byte, size int) {
	p = p[max(0, len(p)-size):]
	keep := min(len(*h), size-len(p))
	h.reserve(keep+len(p), size)
	copy((*h)[:keep], (*h)[len(*h)-keep:])
	*h = append((*h)[:keep], p...)
}

// reserve grows the capacity to at least n bytes. It doubles it, but not beyond size.
func (h *history) reserve(n, size int) {
	if n > cap(*h) {
		grown := make([]byte, len(*h), max(n, min(2*cap(*h), size)))
		copy(grown, *h)
		*h = grown
	}
}

// last returns the last n bytes, or all if there are fewer.
func (h history) last(n int) []byte { return h[max(0, len(h)-n):] }
