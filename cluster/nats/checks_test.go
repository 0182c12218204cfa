package edgewsnats_test

import (
	"bytes"
	"context"
	"log/slog"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews"
	edgewsnats "github.com/edgews/edgews/cluster/nats"
)

// A stream that exists with other settings is refused, whoever has made it.
func TestUnsuitableStreams(t *testing.T) {
	nc, err := nats.Connect(sharedURLs(t)[0])
	require.NoError(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	for setting, spoil := range map[string]func(*jetstream.StreamConfig){
		"replicas":     func(c *jetstream.StreamConfig) { c.Replicas = 1 },
		"allow_direct": func(c *jetstream.StreamConfig) { c.AllowDirect = true },
		"allow_atomic": func(c *jetstream.StreamConfig) { c.AllowAtomicPublish = false },
		"storage":      func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage },
		"discard":      func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardOld },
	} {
		t.Run(setting, func(t *testing.T) {
			o := options(t, sharedURLs(t))
			c := jetstream.StreamConfig{
				Name: o.Name + "-objects-0", Subjects: []string{o.Name + ".objects.0.>"}, Storage: jetstream.FileStorage, Replicas: 3,
				Discard: jetstream.DiscardNew, AllowAtomicPublish: true,
			}
			spoil(&c)
			_, err := js.CreateStream(t.Context(), c)
			require.NoError(t, err)
			e := connect(t, o)
			defer e.Close()
			_, err = e.Setup(t.Context(), config)
			require.ErrorIs(t, err, edgewsnats.ErrServer)
			assert.ErrorContains(t, err, setting)
		})
	}
}

// Servers are asked whether they call fsync before each acknowledgement.
func TestSyncIsChecked(t *testing.T) {
	warnings := func(urls []string, replicas int) string {
		system, err := nats.Connect(urls[0], nats.UserInfo("sys", "sys"))
		require.NoError(t, err)
		defer system.Close()
		var log bytes.Buffer
		e := connect(t, edgewsnats.Options{
			URLs: urls, System: system, UnsafeReplicas: replicas, Logger: slog.New(slog.NewTextHandler(&log, nil)),
		})
		require.NoError(t, e.Close())
		return log.String()
	}
	assert.Empty(t, warnings(sharedURLs(t), 0))

	servers, err := startServers(t.TempDir(), 1, "jetstream { store_dir: \""+t.TempDir()+"\", sync_interval: 10s }")
	t.Cleanup(func() {
		for _, s := range servers {
			s.kill()
		}
	})
	require.NoError(t, err)
	log := warnings(urls(servers), 1)
	assert.Contains(t, log, "server=n0")
	assert.Contains(t, log, "replicas=1")
}

func TestWrongOptions(t *testing.T) {
	urls := []string{"nats://127.0.0.1:1"}
	for _, o := range []edgewsnats.Options{
		{}, {URLs: urls, Name: "a.b"}, {URLs: urls, Streams: -1}, {URLs: urls, BatchesAtOnce: 50}, {URLs: urls}, // there is no server
	} {
		_, err := edgewsnats.Connect(context.Background(), o)
		assert.Error(t, err)
	}
}

func TestMethodsBeforeSetup(t *testing.T) {
	e := connect(t, options(t, sharedURLs(t)))
	defer e.Close()
	_, err := e.Open(t.Context(), objectKey(t, 1), edgews.Fence{Epoch: 1})
	assert.ErrorContains(t, err, "Setup")
}
