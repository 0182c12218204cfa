package edgewsnats_test

import (
	"context"
	"fmt"
	"hash/crc32"
	"log/slog"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews"
	edgewsnats "github.com/edgews/edgews/cluster/nats"
	"github.com/edgews/edgews/storetest"
)

// The full disk is a limit for the bytes of each stream. An Engine that opens an object which another one has written last stores a head,
// which needs room. So the limit is a little larger after each restart, as when an operator makes room.
func TestStoreIsFull(t *testing.T) {
	urls := sharedURLs(t)
	restarts := make(map[string]int64)
	storetest.RunFull(t, func(t *testing.T, dir string) edgews.Store {
		name := fmt.Sprintf("full-%x", crc32.ChecksumIEEE([]byte(dir)))
		e := connect(t, edgewsnats.Options{URLs: urls, Name: name, Streams: 2, Logger: slog.New(slog.DiscardHandler)})
		_, err := e.Setup(context.Background(), config)
		require.NoError(t, err)
		limitStreams(t, urls, name, 2<<20+restarts[dir]*64<<10)
		if restarts[dir]++; restarts[dir] == 1 {
			t.Cleanup(func() { removeStreams(t, urls, name) })
		}
		return e
	})
}

// limitStreams sets how many bytes each of the two streams of objects may have.
func limitStreams(t *testing.T, urls []string, name string, size int64) {
	t.Helper()
	nc, err := nats.Connect(urls[0])
	require.NoError(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	for k := range 2 {
		s, err := js.Stream(context.Background(), fmt.Sprintf("%s-objects-%d", name, k))
		require.NoError(t, err)
		c := s.CachedInfo().Config
		c.MaxBytes = size
		_, err = js.UpdateStream(context.Background(), c)
		require.NoError(t, err)
	}
}
