package edgews

import (
	"math/rand/v2"
	"testing"

	"github.com/edgews/edgews/internal/frame"
	"github.com/stretchr/testify/require"
)

// bytesWaiting returns what outbox.waiting must be, added up from the frames.
func bytesWaiting(o *outbox) (n int) {
	n = len(o.front.unwritten()) + len(o.open.unwritten())
	for _, b := range o.full.Items() {
		n += len(b.unwritten())
	}
	if o.control != nil {
		n += len(o.control.B)
	}
	return n
}

// TestOutboxCounts uses an outbox at random, as a wire does, and checks its counts after each step.
func TestOutboxCounts(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		data := func(limit int) []byte { return make([]byte, r.IntN(limit)) }
		o := new(outbox)
		for step := range 100 {
			switch r.IntN(13) {
			case 0:
				p := data(80 << 10)
				o.add(frame.Header{Fin: true, Opcode: frame.Binary, Masked: true}, p, len(p))
			case 1:
				if o.gated == nil {
					o.addMessage(frame.Text, data(300))
				}
			case 2:
				p := append(data(2*shareFrom), 0)
				o.addShared(p, len(p))
			case 3, 4:
				o.addControl(frame.Header{Fin: true, Opcode: frame.Ping + frame.Opcode(r.IntN(2))}, data(frame.MaxControl))
			case 5:
				o.addAfterStream(frame.Header{Fin: true, Opcode: frame.Text}, data(50))
			case 6:
				o.releaseAfterStream()
			case 7:
				if o.gated == nil {
					o.gated = new(gatedFrames)
				}
			case 8:
				if o.gated != nil && r.IntN(2) == 0 {
					o.dropGated()
				} else if o.gated != nil {
					o.releaseGated()
				}
			case 9:
				if r.IntN(20) == 0 {
					o.writing = r.IntN(2) == 0
					o.fail(errGoexit)
				}
			default:
				if !o.empty() {
					o.wrote(1 + r.IntN(len(o.next())))
				}
			}
			require.Equal(t, bytesWaiting(o), o.waiting, "seed %d, step %d", seed, step)
		}
		for o.releaseAfterStream(); !o.empty(); {
			o.wrote(len(o.next()))
		}
		if o.gated == nil && !o.broken {
			require.Zero(t, o.payload, "seed %d", seed)
			require.Zero(t, o.size, "seed %d", seed)
		}
	}
}
