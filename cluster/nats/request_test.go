package edgewsnats

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A request whose first answers say that there is no leader gets the one that follows.
func TestAnswerAfterNoLeader(t *testing.T) {
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true})
	require.NoError(t, err)
	s.Start()
	t.Cleanup(s.Shutdown)
	require.True(t, s.ReadyForConnections(10*time.Second))
	nc, err := nats.Connect(s.ClientURL())
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	const noLeader = `{"error":{"code":503,"err_code":10008,"description":"JetStream system temporarily unavailable"}}`
	answers := make(chan string, 10)
	_, err = nc.Subscribe("$JS.API.STREAM.>", func(m *nats.Msg) { m.Respond([]byte(<-answers)) })
	require.NoError(t, err)
	e := &Engine{o: Options{Logger: slog.New(slog.DiscardHandler)}, nc: nc}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()

	for _, next := range []string{noLeader, noLeader, `{"message":{"subject":"s","seq":7,"data":"aGk="}}`} {
		answers <- next
	}
	m, err := e.getLast(ctx, "objects", "s")
	require.NoError(t, err)
	assert.Equal(t, &message{"s", 7, []byte("hi")}, m)

	for _, next := range []string{noLeader, `{"total":1,"state":{"subjects":{"s":1}}}`} {
		answers <- next
	}
	subjects, err := e.subjects(ctx, "objects", ">")
	require.NoError(t, err)
	assert.Equal(t, []string{"s"}, subjects)

	answers <- noLeader
	answers <- `{"error":{"code":404,"err_code":10037,"description":"no message found"}}`
	m, err = e.getLast(ctx, "objects", "s")
	require.NoError(t, err)
	assert.Nil(t, m)
}
