package edgews_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A connection whose received frames take long to handle yields its turn to other connections. Whole messages, fragments, pings and the
// Close frame behind them stay complete and in order.
func TestBurstYieldsInOrder(t *testing.T) {
	const messages = 100
	for _, where := range []network{overPipe, overTCP, overTLS} {
		where.run(t, func(t *testing.T, where network) {
			s, p := where.serverAndPeer(t, edgews.Options{})
			got := make(chan string, 2*messages)
			s.OnMessage(func(e edgews.MessageEvent) {
				for began := time.Now(); where.real && time.Since(began) < 100*time.Microsecond; {
				}
				got <- e.Text()
			})
			events := make(chan edgews.CloseEvent, 1)
			s.OnClose(func(e edgews.CloseEvent) { events <- e })
			require.NoError(t, s.Accept())
			var frames []aFrame
			for i := range messages {
				frames = append(frames, text(fmt.Sprint(i)), part(text("part "), false), ping("between"), continuation(fmt.Sprint(i), true))
			}
			frames = append(frames, closing(1000, "done"))
			p.ignores()
			p.sends(frames...)
			for i := range messages {
				require.Equal(t, fmt.Sprint(i), <-got)
				require.Equal(t, fmt.Sprint("part ", i), <-got)
			}
			end := <-events
			assert.EqualValues(t, 1000, end.Code)
			assert.True(t, end.WasClean)
			p.hangsUp()
		})
	}
}
