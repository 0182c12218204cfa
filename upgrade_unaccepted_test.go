package edgews_test

import (
	"bufio"
	"bytes"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A server that forgets to accept a socket looks like a network problem: one line in the log names the mistake.
func TestWarningAboutUnacceptedSockets(t *testing.T) {
	upgrade := func(w http.ResponseWriter, r *http.Request, opts *edgews.UpgradeOptions) (*edgews.Socket, error) {
		return edgews.Upgrade(w, r, opts)
	}
	respond := func(w http.ResponseWriter, r *http.Request, opts *edgews.UpgradeOptions) (*edgews.Socket, error) {
		client, server := edgews.NewPair()
		return server, edgews.Respond(w, r, client, opts)
	}
	warnings := map[string]struct {
		open   func(http.ResponseWriter, *http.Request, *edgews.UpgradeOptions) (*edgews.Socket, error)
		accept time.Duration // 0: never
		want   int
	}{
		"Upgrade, never":  {upgrade, 0, 1},
		"Upgrade, soon":   {upgrade, 9 * time.Second, 0},
		"Upgrade, late":   {upgrade, 11 * time.Second, 1},
		"Respond, never":  {respond, 0, 1},
		"Respond, at all": {respond, 1, 0},
	}
	for name, c := range warnings {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				var log bytes.Buffer
				opts := &edgews.UpgradeOptions{Options: edgews.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}}
				sockets := make(chan *edgews.Socket, 1)
				dial, _, _ := overPipe.serve(t, func(w http.ResponseWriter, r *http.Request) {
					s, err := c.open(w, r, opts)
					assert.NoError(t, err)
					sockets <- s
				})
				conn := dial()
				raw := &peer{t, conn, bufio.NewReader(conn), true}
				raw.upgrades()
				s := <-sockets
				if c.accept > 0 {
					time.Sleep(c.accept)
					require.NoError(t, s.Accept())
				}
				time.Sleep(time.Hour)
				synctest.Wait()
				assert.Equal(t, c.want, strings.Count(log.String(), "has not been accepted"), "%s", &log)
			})
		})
	}
}
