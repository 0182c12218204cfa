package edgewsnats_test

import (
	"context"
	"log"

	"github.com/nats-io/nats.go"

	edgewsnats "github.com/edgews/edgews/cluster/nats"
)

func ExampleConnect() {
	run := func(ctx context.Context, system *nats.Conn) error {
		engine, err := edgewsnats.Connect(ctx, edgewsnats.Options{
			URLs:   []string{"nats://n1:4222", "nats://n2:4222", "nats://n3:4222"},
			System: system, // a connection with the system account; optional
		})
		if err != nil {
			return err
		}
		defer engine.Close()
		// cluster.Options{Engine: engine, ...}
		return nil
	}
	if err := run(context.Background(), nil); err != nil {
		log.Print(err)
	}
}
