package edgewsnats_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews/cluster"
)

// A consumer that is alive and sends nothing is replaced: Watch ends, and the node watches again.
func TestWatchEndsWhenItsConsumerStalls(t *testing.T) {
	o := options(t, sharedURLs(t))
	e := connect(t, o)
	defer e.Close()
	_, err := e.Setup(t.Context(), config)
	require.NoError(t, err)
	synced, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- e.Watch(t.Context(), func(c cluster.Change) {
			if c.Synced {
				close(synced)
			}
		})
	}()
	<-synced

	nc, err := nats.Connect(o.URLs[0])
	require.NoError(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	stream, err := js.Stream(t.Context(), o.Name+"-records")
	require.NoError(t, err)
	paused := 0
	for info := range stream.ListConsumers(t.Context()).Info() {
		_, err := stream.PauseConsumer(t.Context(), info.Name, time.Now().Add(time.Hour)) // it sends heartbeats
		require.NoError(t, err)
		paused++
	}
	require.Equal(t, 1, paused)
	require.NoError(t, e.Join(t.Context(), cluster.Member{ID: "a", Incarnation: 1, Beat: 1}))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	select {
	case err := <-ended:
		require.ErrorContains(t, err, "heartbeats")
	case <-ctx.Done():
		require.Fail(t, "Watch goes on")
	}
}
