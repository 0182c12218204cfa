package edgewsnats_test

import (
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
	shown, ended := make(chan cluster.Change, 16), make(chan error, 1)
	go func() { ended <- e.Watch(t.Context(), func(c cluster.Change) { shown <- c }) }()
	require.True(t, (<-shown).Synced)

	nc, err := nats.Connect(o.URLs[0])
	require.NoError(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	stream, err := js.Stream(t.Context(), o.Name+"-records")
	require.NoError(t, err)
	deadline := time.After(2 * time.Minute)
	for beat := uint64(1); ; beat++ {
		pauseConsumers(t, stream)
		require.NoError(t, e.Join(t.Context(), cluster.Member{ID: "a", Incarnation: 1, Beat: beat}))
		select {
		case <-shown: // by another consumer, or before it has paused: it has not stalled
		case err := <-ended:
			require.ErrorContains(t, err, "heartbeats")
			return
		case <-deadline:
			require.Fail(t, "Watch goes on")
		}
	}
}

// pauseConsumers has the consumers of a stream send heartbeats and nothing else, except those that are replaced meanwhile.
func pauseConsumers(t *testing.T, stream jetstream.Stream) {
	for info := range stream.ListConsumers(t.Context()).Info() {
		if _, err := stream.PauseConsumer(t.Context(), info.Name, time.Now().Add(time.Hour)); err != nil {
			t.Log("pausing", info.Name, err)
		}
	}
}
