//go:build race

package buf

import "bytes"

// poisoned is the content that overwrites freed memory.
var poisoned = bytes.Repeat([]byte{Wiped}, 4<<10)

// Poison overwrites the whole capacity of p, with the race detector. It is for memory that has lost its owner, pooled or not.
func Poison(p []byte) {
	for p = p[:cap(p)]; len(p) > 0; {
		p = p[copy(p, poisoned):]
	}
}
