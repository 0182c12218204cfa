package cluster_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/cluster"
	"github.com/edgews/edgews/cluster/memory"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	code "github.com/edgews/edgews/docs/code/cluster"
)

func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	engine := memory.New() // stands for the database that the members share
	defer engine.Close()
	start := func(id string) *code.Node {
		links, err := net.Listen("tcp", "127.0.0.1:0") // on loopback there need be no secret
		if err != nil {
			log.Fatal(err)
		}
		n, err := code.Join(ctx, engine.Connect(), cluster.Member{ID: id}, links, nil)
		if err != nil {
			log.Fatal(err)
		}
		return n
	}
	a, b := start("a"), start("b")
	server := httptest.NewServer(b) // the client's edge
	defer server.Close()

	client, _, err := edgews.Dial(ctx, "ws"+strings.TrimPrefix(server.URL, "http")+"/lobby", nil) // a room whose home is a
	if err != nil {
		log.Fatal(err)
	}
	say := func() {
		if err := client.Write(ctx, edgews.Text, []byte("hello")); err != nil {
			log.Fatal(err)
		}
		reply, err := client.Receive(ctx)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(reply.Text())
	}
	say()
	if err := a.Stop(ctx); err != nil { // the room moves; the client's connection to b stays
		log.Fatal(err)
	}
	say()

	client.Close(edgews.StatusNormalClosure, "")
	if err := b.Stop(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// message 1, on node a
	// message 2, on node b
}

// TestStopTellsClients: clients of a node that stops get 1012. An edge owns no shards.
func TestStopTellsClients(t *testing.T) {
	engine := memory.New()
	defer engine.Close()
	links := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		return l
	}
	home, err := code.Join(t.Context(), engine.Connect(), cluster.Member{ID: "a"}, links(), nil)
	require.NoError(t, err)
	connection := engine.Connect()
	edge, err := code.JoinAsEdge(t.Context(), connection, links(), nil)
	require.NoError(t, err)
	server := httptest.NewServer(edge)
	client, _, err := edgews.Dial(t.Context(), "ws"+strings.TrimPrefix(server.URL, "http")+"/any", nil)
	require.NoError(t, err)
	require.NoError(t, client.Write(t.Context(), edgews.Text, []byte("hello")))
	m, err := client.Receive(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "message 1, on node a", m.Text())

	require.NoError(t, code.StopServer(t.Context(), server.Config, edge, connection))
	_, err = client.Receive(t.Context())
	closed, ok := err.(*edgews.CloseError)
	require.True(t, ok, "%v", err)
	assert.Equal(t, edgews.StatusServiceRestart, closed.Code)
	require.NoError(t, home.Stop(t.Context()))
}
