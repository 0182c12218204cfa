package edgews_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// MinuteBytes is compared with a naive count, with readings at random moments.
func TestMinuteBytes(t *testing.T) {
	const floor = 1000
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 9))
		m := edgews.NewMeter(&edgews.MeterOptions{MinuteFloor: floor})
		overAPipe(t, edgews.Options{Meter: m, KeepAlive: -1}, func(t *testing.T, s *edgews.Socket, p *peer) {
			begin, carried := time.Now(), make(map[time.Duration]int64) // by minute
			due := func() (sum int64) {
				for minute := time.Duration(0); minute == 0 || minute*time.Minute < time.Since(begin); minute++ {
					sum += max(carried[minute], floor)
				}
				return sum
			}
			s.OnMessage(func(e edgews.MessageEvent) { s.SendBytes(e.Data) })
			require.NoError(t, s.Accept())
			p.ignores()
			for range 200 {
				switch r.IntN(4) {
				case 0:
					time.Sleep(time.Duration(r.IntN(200)) * time.Second / 4)
				case 1:
					time.Sleep(time.Minute - time.Since(begin)%time.Minute) // until the last moment of a minute
				case 2:
					n := r.IntN(500)
					p.writesAll(p.encode(text(strings.Repeat("x", n))))
					synctest.Wait()
					carried[max(time.Since(begin)-1, 0)/time.Minute] += 2 * int64(n)
				case 3:
					require.Equal(t, due(), m.Usage().MinuteBytes)
				}
			}
			p.hangsUp()
			synctest.Wait()
			last := due()
			time.Sleep(time.Hour)
			assert.Equal(t, last, m.Usage().MinuteBytes)
		})
	}
}
