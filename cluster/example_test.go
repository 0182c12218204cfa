package cluster_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/cluster"
	"github.com/edgews/edgews/cluster/memory"
)

func Example() {
	engine := memory.New() // shared by the nodes of one process; others share a database
	defer engine.Close()
	ctx := context.Background()

	a, err := cluster.Start(ctx, cluster.Options{
		Engine: engine.Connect(),
		Self:   cluster.Member{ID: "a", Addr: "10.0.0.1:7000"},
		Gained: func(ctx context.Context, o cluster.Ownership) { /* load the alarms of the shard */ },
		Losing: func(ctx context.Context, o cluster.Ownership) { /* wait for the events that still run */ },
		Lost:   func(o cluster.Ownership) { /* drop the shard's objects */ },
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}

	room := edgews.ObjectKey{Namespace: "rooms"}
	shard := cluster.ShardOf(room, a.Config().Shards)
	for {
		changed := a.Changed()
		if _, owner, ok := a.Owner(shard); ok {
			fmt.Println("the room is at", owner.Addr)
			break
		}
		<-changed
	}

	leaving, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := a.Leave(leaving); err != nil {
		log.Fatal(err)
	}
	// Output: the room is at 10.0.0.1:7000
}
