package link

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzCore hands an end whatever frames a peer may make up. It may refuse them, but it does not panic, its sums are right, and what it keeps is
// bounded.
func FuzzCore(f *testing.F) {
	f.Add(true, []byte{17, 0, 1, 1, 0, 0, 10, 19, 0, 1, 0, 1, 1, 0})
	f.Add(false, []byte{
		16, 0, 1, 0, 0, 0, 8, 17, 0, 1, 1, 0, 0, 10, 17, 0, 1, 9, 0, 0, 10, 20, 0, 1, 9, 0, 0, 0, 18, 0, 1, 2, 0, 0, 1, 23, 0, 1, 0, 0, 0, 0,
	})
	f.Add(false, []byte{22, 0, 1, 0, 0, 0, 0, 24, 0, 9, 0, 0, 0, 0, 200, 0, 1, 0, 0, 0, 0, 26, 0, 0, 0, 0, 0, 0, 21, 0, 1, 0, 0, 0, 0})
	f.Add(true, []byte{28, 0, 1, 1, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 4, 2, 0, 2, 0, 1, 2, 28, 1, 1, 2, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	f.Add(true, []byte{19, 0, 1, 0, 1, 0, 1, 2, 0, 0, 2, 0, 1, 0, 0})
	f.Fuzz(func(t *testing.T, dialer bool, script []byte) {
		s := newSimulation(t, 1, small)
		c := s.ends[1].core
		if dialer {
			c = s.ends[0].core
			for range 3 {
				ch := new(Channel)
				require.NoError(t, c.open(ch, nil, 1))
				_, err := c.send(ch, typeData, make([]byte, 10))
				require.NoError(t, err)
			}
		}
		var out []byte
		for len(script) >= 7 {
			step := script[:7]
			script = script[7:]
			fr := frame{
				version: 1 + step[1]/128, kind: frameType(step[0]), code: uint16(step[1]), channel: uint64(step[2]),
				seq: uint32(int8(step[3])), received: uint32(int8(step[4])), consumed: uint32(int8(step[5])), payload: make([]byte, int(step[6])*8),
			}
			copy(fr.payload, script) // lists of channels and shared messages
			c.now += simSecond / 3
			c.tick()
			if c.receive(&fr) != nil {
				break
			}
			for _, e := range c.events {
				switch {
				case e.kind == eventMessage && step[1]%2 == 0:
					c.consume(e.ch, e.seq)
				case e.kind == eventEnded && step[1]%3 == 0:
					c.end(e.ch, nil)
				case e.kind == eventOpen && step[1]%5 == 1:
					c.reset(e.ch, 300, nil)
				}
			}
			c.events = nil
			if step[1]%4 != 3 {
				out = c.pull(out[:0], 1000)
				require.LessOrEqual(t, len(out), 1000+quantum+c.own.MaxMessage+maxReplies*2*headerLen+5*headerLen)
			}
			s.checkBounds(c)
		}
		c.connected(small, 1)
		c.failAll(ErrClosed)
		s.checkBounds(c)
		require.Empty(t, c.channels)
		require.Nil(t, c.waitHead)
		require.Zero(t, c.outUsed)
		require.Zero(t, c.inUsed)
	})
}
