package deflate

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// corpus makes messages of one kind and any size.
type corpus struct {
	name    string
	message func(r *rand.Rand, size int) []byte
}

var corpora = []corpus{
	{"chat", chat},
	{"random", noise},
	{"zeros", func(_ *rand.Rand, size int) []byte { return make([]byte, size) }},
	{"letters", func(r *rand.Rand, size int) []byte {
		p := noise(r, size)
		for i := range p {
			p[i] = "acgt"[p[i]%4]
		}
		return p
	}},
}

func noise(r *rand.Rand, size int) []byte {
	p := make([]byte, size)
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	return p
}

var words = strings.Fields("the meeting moved to tomorrow please review this patch before lunch deploy finished " +
	"without errors rollback of node seven thanks see you latency spike in graph who owns alert coffee anyone")

// chat makes events of a chat in JSON, cut to size: names repeat, numbers and text do not.
func chat(r *rand.Rand, size int) []byte {
	var p []byte
	for len(p) < size {
		p = fmt.Appendf(p, `{"type":"message","id":%d,"room":"r%d","user":{"id":%d,"name":"user%d"},"ts":17%011d,"text":"`,
			r.Uint32(), r.IntN(40), r.Uint32N(1e6), r.IntN(5000), r.Int64N(1e11))
		for range 4 + r.IntN(12) {
			p = append(append(p, words[r.IntN(len(words))]...), ' ')
		}
		p = append(p, `","reactions":[],"edited":false}`...)
	}
	return p[:size]
}

func seeded() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }
