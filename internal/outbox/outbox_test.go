package outbox

import (
	"io"
	"math/rand/v2"
	"testing"

	"github.com/edgews/edgews/internal/frame"
	"github.com/stretchr/testify/require"
)

// bytesWaiting returns what outbox.waiting must be, added up from the frames.
func bytesWaiting(o *Outbox) (n int) {
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
		o := new(Outbox)
		for step := range 100 {
			switch r.IntN(10) {
			case 0:
				p := data(80 << 10)
				o.Add(frame.Header{Fin: true, Opcode: frame.Binary, Masked: true}, p, len(p))
			case 1:
				o.AddMessage(frame.Text, data(300))
			case 2:
				p := append(data(2*shareFrom), 0)
				o.AddShared(p, len(p))
			case 3, 4:
				o.AddControl(frame.Header{Fin: true, Opcode: frame.Ping + frame.Opcode(r.IntN(2))}, data(frame.MaxControl))
			case 5:
				if r.IntN(20) == 0 {
					o.Writing = r.IntN(2) == 0
					o.Fail(io.ErrClosedPipe)
				}
			case 6:
				if o.Empty() && !o.Writing && !o.Broken {
					header, p := make([]byte, 10), data(80<<10)
					o.BeginDirect(len(p), len(header)+len(p))
					o.AddMessage(frame.Text, data(300))
					o.EndDirect(header, p, r.IntN(len(header)+len(p)+1))
				}
			default:
				if !o.Empty() {
					o.Wrote(1 + r.IntN(len(o.Next())))
				}
			}
			require.Equal(t, bytesWaiting(o), o.waiting, "seed %d, step %d", seed, step)
		}
		for !o.Empty() {
			o.Wrote(len(o.Next()))
		}
		if !o.Broken {
			require.Zero(t, o.Payload, "seed %d", seed)
			require.Zero(t, o.Size, "seed %d", seed)
		}
	}
}
