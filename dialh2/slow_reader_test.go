package dialh2_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews"
)

// A client that does not read gets the last value of each key and the newest message, in order, and the queue stays short.
func TestSlowReader(t *testing.T) {
	const keys, rounds, room = 5, 1000, 200_000
	compressions := map[string]edgews.Compression{"uncompressed": {Disable: true}, "takeover": {}, "no takeover": {NoContextTakeover: true}}
	for name, compression := range compressions {
		t.Run(name, func(t *testing.T) {
			meter := edgews.NewMeter(nil)
			opts := edgews.Options{SendBuffer: room, Overflow: edgews.OverflowDropOldest, Compression: &compression, Meter: meter}
			sent, drained := make(chan struct{}), make(chan struct{}, rounds)
			s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				s, err := edgews.Upgrade(w, r, &edgews.UpgradeOptions{Options: opts})
				if !assert.NoError(t, err) {
					return
				}
				assert.NoError(t, s.Accept())
				for i := range rounds {
					padding := string(payload(15_000)) // which compression does not make smaller
					assert.NoError(t, s.SendLatest(fmt.Sprint("key", i%keys), edgews.Binary, fmt.Appendf(nil, "key%d %d %s", i%keys, i, padding)))
					assert.NoError(t, s.SendBytes(fmt.Appendf(nil, "plain %d %s", i, padding)))
					assert.LessOrEqual(t, s.BufferedAmount(), room)
				}
				assert.NotZero(t, s.BufferedAmount(), "the client has taken everything")
				s.OnDrain(0, func(*edgews.Socket) { drained <- struct{}{} })
				close(sent)
				<-s.Done()
			}), smallWindows)
			client := s.dial(t, "/", edgews.DialOptions{Options: edgews.Options{Compression: &compression}})
			<-sent
			last, arrived := make(map[string]int), 0
			for len(last) < keys+1 || last["plain"] < rounds-1 {
				m, err := client.Receive(within(t))
				require.NoError(t, err)
				words := strings.SplitN(m.Text(), " ", 3)
				n, err := strconv.Atoi(words[1])
				require.NoError(t, err)
				before, seen := last[words[0]]
				require.True(t, !seen || before < n, "%s: %d after %d", words[0], n, before)
				last[words[0]] = n
				arrived++
			}
			select {
			case <-drained:
			case <-within(t).Done():
				require.Fail(t, "OnDrain is not called")
			}
			for key := range keys {
				assert.Equal(t, rounds-keys+key, last[fmt.Sprint("key", key)])
			}
			require.NoError(t, client.Close(1000, ""))
			assert.EqualValues(t, 1000, ended(t, client).Code)
			used := meter.Usage()
			assert.EqualValues(t, arrived, used.MessagesOut)
			assert.EqualValues(t, 2*rounds, used.MessagesOut+used.Replaced+used.DroppedOldest)
			assert.NotZero(t, used.Replaced)
			assert.NotZero(t, used.DroppedOldest)
		})
	}
}
