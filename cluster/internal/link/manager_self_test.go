package link_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews/cluster/internal/link"
)

// A node reaches itself without its address: in memory.
func TestOwnLinkStaysInMemory(t *testing.T) {
	for _, secret := range [][]byte{nil, bytes.Repeat([]byte("s"), 32)} {
		t.Run(fmt.Sprint(len(secret)), func(t *testing.T) {
			a := startTCPNode(t, "a", func(o *link.Options) {
				o.Secret = secret
				o.Dial = func(context.Context, string) (net.Conn, error) { return nil, errors.New("nothing is dialled") }
			})
			r := a.open(a, "hello")
			accepted := <-a.opened
			assert.Equal(t, "hello", accepted.greeting)
			assert.Equal(t, a.self.ID, accepted.from.ID)
			var all []string
			for i := range 1000 {
				all = append(all, fmt.Sprint(i, " ", string(make([]byte, i))))
			}
			r.send(t, all)
			accepted.send(t, all)
			require.Equal(t, all, accepted.received(len(all)))
			require.Equal(t, all, r.received(len(all)))
			require.NoError(t, r.End(nil))
			require.NoError(t, accepted.End(nil))
			require.NoError(t, r.failure())
		})
	}
}
