package postgres_test

import (
	"context"
	"log"
	"net"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/cluster"
	"github.com/edgews/edgews/cluster/postgres"
)

func Example() {
	ctx := context.Background()
	var secret []byte // the same 32 random bytes on each machine
	var newRoom func(context.Context, *edgews.State) (edgews.Object, error)

	engine, err := postgres.Open(ctx, "postgres://edgews@db.example/edgews?target_session_attrs=read-write", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer engine.Close() // at the very end
	listener, err := net.Listen("tcp", "10.0.0.1:7000")
	if err != nil {
		log.Fatal(err)
	}
	c, err := cluster.Join(ctx, cluster.JoinOptions{
		Options:  cluster.Options{Engine: engine, Self: cluster.Member{ID: "node-1"}},
		Listener: listener,
		Secret:   secret,
	})
	if err != nil {
		log.Fatal(err)
	}
	rooms := edgews.NewNamespace("rooms", newRoom, &edgews.NamespaceOptions{Cluster: c})

	_ = rooms
}
