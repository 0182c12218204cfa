package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews"
)

// TestLeaveClosesSockets: a node that leaves ends the sockets of its clients with 1012, whether their objects live there or on another node, and
// whether they are silent or talk.
func TestLeaveClosesSockets(t *testing.T) {
	for _, others := range []int{0, 1} {
		t.Run(fmt.Sprint(others), func(t *testing.T) {
			sites := startSites(t, []string{"a", "b"}[:others+1]...)
			var wg sync.WaitGroup
			for i := range 20 {
				c := sites[0].dial(t, fmt.Sprint("room", i), "u")
				assert.Equal(t, "u x 1 of 1", ask(t, c, "x"))
				wg.Go(func() { assert1012(t, c, i%2 == 0) })
			}
			last := sites[0].dial(t, "last", "u")
			require.NoError(t, last.Write(t.Context(), edgews.Text, []byte("z")))
			wg.Go(func() { assert1012(t, last, false) })
			require.NoError(t, sites[0].Leave(t.Context()))
			assert.Zero(t, sites[0].OpenSockets(), "Leave waits until the clients have been told")
			wg.Wait()
			if others > 0 {
				n, err := edgews.Call[string, int](t.Context(), sites[1].rooms.ByName("last"), "get", "z")
				require.NoError(t, err)
				assert.Equal(t, 1, n, "what clients have sent is handled")
			}
		})
	}
}

// assert1012 waits for the end of a client's socket. With talk it sends until then.
func assert1012(t *testing.T, c *edgews.Socket, talk bool) {
	for {
		if talk {
			_ = c.Send("y")
		}
		_, err := receiveWithin(t, c, 30*time.Second)
		if err == nil {
			continue
		}
		end, ok := errors.AsType[*edgews.CloseError](err)
		if assert.True(t, ok, "%v", err) {
			assert.Equal(t, edgews.StatusServiceRestart, end.Code, "%v", err)
			assert.True(t, end.WasClean, "%v", err)
		}
		return
	}
}

// TestLeaveEndsNewSockets: a client that connects while its node leaves gets 1012, or no socket at all, but not one that nobody serves.
func TestLeaveEndsNewSockets(t *testing.T) {
	sites := startSites(t, "a", "b")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				c, _, err := edgews.Dial(ctx, fmt.Sprintf("%s/room%d?user=u", sites[0].url, i*100+n%100), &edgews.DialOptions{Protocols: []string{"tally"}})
				cancel()
				if err != nil {
					assert.NotErrorIs(t, err, context.DeadlineExceeded)
					continue
				}
				wg.Go(func() { assert1012(t, c, false) })
			}
		})
	}
	require.NoError(t, sites[0].Leave(t.Context()))
	close(stop)
	wg.Wait()
}
