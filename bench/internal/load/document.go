package load

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// documentSize is the size of a document in bytes.
const documentSize = 1024

// document returns the i-th of a series of similar events in JSON. The names are the same in all of them, numbers and most words
// differ. It compresses to about half of its size on its own, and to less than a third after others.
func document(i int) []byte {
	r := rand.New(rand.NewPCG(1, uint64(i)))
	p := fmt.Appendf(nil, `{"type":"message","id":"%08x","sequence":%d,"room":{"id":"r%d","members":%d,"topic":%q},`,
		r.Uint32(), 1000+i, r.IntN(400), r.IntN(5000), word(r))
	p = fmt.Appendf(p, `"author":{"id":%d,"name":%q,"avatar":"/a/%04x.png","roles":[%q,%q],"online":%v},`,
		r.Uint32(), word(r), r.IntN(1<<16), word(r), word(r), r.IntN(2) == 0)
	p = fmt.Appendf(p, `"created_at":17%011d,"edited_at":null,"reply_to":%d,"client":{"version":"%d.%d.%d","platform":%q,"latency_ms":%d.%d},`,
		r.Int64N(1e11), r.IntN(9000), r.IntN(9), r.IntN(30), r.IntN(90), word(r), r.IntN(900), r.IntN(10))
	p = fmt.Appendf(p, `"reactions":[{"emoji":%q,"count":%d},{"emoji":%q,"count":%d}],"position":{"x":%d,"y":%d},"text":"`,
		word(r), r.IntN(90), word(r), r.IntN(90), r.IntN(1000), r.IntN(1000))
	const end = `","truncated":false}`
	for len(p) < documentSize-len(end) {
		p = append(append(p, word(r)...), ' ')
	}
	return append(p[:documentSize-len(end)], end...)
}

func word(r *rand.Rand) string { return words[r.IntN(len(words))] }

var words = strings.Fields(`able answer behind build clear credit device email feature forest ground history inside large linger market
	minute moved object packet phase policy purple region ribbon score session space storm system today tunnel
	value warning worker`)
