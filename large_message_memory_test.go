package edgews_test

import (
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A handler that blocks on a small message keeps no buffer for large ones, though the message before was large.
func TestBlockedHandlersKeepNoLargeBuffers(t *testing.T) {
	const handlers = 50
	entered, got, release := make(chan bool, handlers), make(chan bool, handlers), make(chan bool)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := edgews.Upgrade(w, r, &edgews.UpgradeOptions{Options: edgews.Options{Compression: &edgews.Compression{Disable: true}}})
		if !assert.NoError(t, err) {
			return
		}
		s.OnMessage(func(e edgews.MessageEvent) {
			if e.Text() == "block" {
				entered <- true
				<-release
				return
			}
			got <- true
		})
		assert.NoError(t, s.Accept())
	}))
	t.Cleanup(srv.Close)
	var clients []*edgews.Socket
	for range handlers {
		c, _, err := edgews.Dial(t.Context(), "ws"+strings.TrimPrefix(srv.URL, "http"), nil)
		require.NoError(t, err)
		endWith(t, c)
		require.NoError(t, c.Accept())
		require.NoError(t, c.Send(strings.Repeat("x", 300<<10)))
		<-got
		clients = append(clients, c)
	}
	before := heapAfterCollections()
	for _, c := range clients {
		require.NoError(t, c.Send("block"))
	}
	for range handlers {
		<-entered
	}
	each := (heapAfterCollections() - before) / handlers
	close(release)
	assert.Less(t, each, int64(160<<10), "bytes for each handler, of which 64 KiB are the buffer that every read has")
}

func heapAfterCollections() int64 {
	for range 3 { // pools keep what they have for two
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
